"""One file of a git repository at an exact commit: fetched into a folder that is gone afterwards, and never checked out."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.config.problems import did_you_mean
from hubd.errors import HubdError
from hubd.host import files
from hubd.host.commands import Leash, Result, network_environment
from hubd.host.disk_use import disk_use
from hubd.jobs.alone import alone, is_free
from hubd.jobs.work import Work
from hubd.tools import git
from hubd.words import about, named

# In a package cache: what the folders begin with in which repositories are while they are read, and what tells that one is.
# Each job has its own: a server that hangs keeps nobody else waiting.
FOLDER, LOCK = "repository-", ".lock"
WAITING = "waiting for another fetch"
# Bytes of the disk that a fetch may take, packs and single objects alike: no server can send around that.
MOST_FETCHED = 2 * 10**9
# Seconds after which it is looked at again.
LOOK = 1.0
# Bytes of a folder's list that are read to say what there is instead.
LONGEST_FOLDER = 1024 * 1024

# What git calls differently, of the variables by which a host says which certificates it trusts.
CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def text_of(work: Work, source: Mapping[str, Any], *, most: int) -> str:
    """The text of the file that a source of the specification names. most: bytes.

    Raises HubdError where it cannot be had or is no such file.
    """
    url, commit, place = str(source["url"]), str(source["commit"]), str(source["place"])
    with _folder(work) as folder:
        repository = _Repository(work, folder, url, commit)
        work.phase(f"fetching {git.told(place, url, commit)}")
        repository.fetch(most=most)
        return repository.text(place, most=most)


def clear_left(cache: Path) -> None:
    """Remove what a killed job left, unless somebody fetches at this moment."""
    for name in files.children(cache):
        if name.startswith(FOLDER) and name.endswith(LOCK):
            with (cache / name).open("w") as lock:
                if is_free(lock):
                    _clear(cache / name.removesuffix(LOCK))
                    files.remove(cache / name)


def _clear(folder: Path) -> None:
    """Remove a fetch, and what a killed removal left of it."""
    for name in (each for each in files.children(folder.parent) if files.is_left(each, f"{folder.name}.")):
        files.clear(folder.with_name(name))
    files.clear(folder)


@contextmanager
def _folder(work: Work) -> Iterator[Path]:
    """An empty folder; what lies in its place was left by a job that was killed."""
    folder = work.path("cache") / f"{FOLDER}{work.spec['job']}"
    with alone(work, folder.with_name(f"{folder.name}{LOCK}"), waiting=WAITING):
        _clear(folder)
        try:
            files.make_directory(folder, mode=0o700)
            yield folder
        finally:
            _clear(folder)


@dataclass(frozen=True, slots=True)
class _Repository:
    """A copy of one, without its files. folder: where git has its settings and the copy."""

    work: Work
    folder: Path
    url: str
    commit: str

    @property
    def path(self) -> Path:
        return self.folder / "copy"

    def fetch(self, *, most: int) -> None:
        """Have the commit in the copy. Raises HubdError."""
        self._make()
        result = self._fetch(git.fetch_commit(self.path, self.url, self.commit, most=most))
        if result.code != 0:
            error = git.failure(result.err, self.url, final=False)
            if error:
                raise error
            if not git.is_refused(result.err):
                self._fetch_all()
        if self._ask(git.has_commit(self.path, self.commit)).code != 0:
            fix = "Correct the commit, or push it there."
            raise HubdError(f"{self.url} has no commit {self.commit}", why="none of its branches and tags leads there", fix=fix)

    def _fetch_all(self) -> None:
        # A copy in which some files may be left out goes on leaving them out.
        files.clear(self.path)
        self._make()
        self.work.phase(f"fetching all of {self.url}, which gives no single commits")
        result = self._fetch(git.fetch_all(self.path, self.url))
        error = git.failure(result.err, self.url, final=True) if result.code != 0 else None
        if error:
            raise error

    def text(self, place: str, *, most: int) -> str:
        """The text of a file. Raises HubdError where it is none, or more than `most` bytes."""
        thing, told = self._find(place), git.told(place, self.url, self.commit)
        size = self._ask(git.size(self.path, thing))
        # What the server was asked to leave out is not there, and its size is not told.
        if size.code != 0 or int(size.out) > most:
            has = f"it has {about(int(size.out))}" if size.code == 0 else "it has more"
            raise HubdError(f"{told} is too large", why=f"at most {about(most)} are read, and {has}", fix="Name another file.")
        text = self._ask(git.content(self.path, thing)).out
        if _id(text, thing) != thing:
            raise HubdError(f"{told} cannot be read", why="it is not text")
        if text.startswith(git.LFS):
            fix = "Keep it in the repository itself, without LFS."
            raise HubdError(f"{told} is not in the repository", why="Git LFS keeps it elsewhere, which is not looked at", fix=fix)
        return text

    def _find(self, place: str) -> str:
        """The id of the file at a path. Raises HubdError where there is none."""
        parts, told = place.split("/"), git.told(place, self.url, self.commit)
        folder = f"{self.commit}^{{tree}}"
        for count, part in enumerate(parts, 1):
            here = "/".join(parts[:count])
            entry = git.parsed_entry(self._ask(git.entry(self.path, self.commit, here)).out)
            if entry is None:
                raise self._missing(told, parts[: count - 1], part, folder)
            wanted = git.FILE if count == len(parts) else git.FOLDER
            if entry.kind != wanted:
                raise _unlike(told, here, entry.kind, wanted)
            folder = entry.id
        return folder

    def _missing(self, told: str, above: list[str], name: str, folder: str) -> HubdError:
        """The error of a name that is not in a folder, with the names that are."""
        size = self._ask(git.size(self.path, folder))
        short = size.code == 0 and int(size.out) <= LONGEST_FOLDER
        there = git.parsed_names(self._ask(git.names(self.path, folder)).out) if short else []
        where = f"the folder {'/'.join(above)}" if above else "its first folder"
        guess = did_you_mean(name, there)
        fix = f"Did you mean {'/'.join((*above, guess))}?" if guess else "Correct the path."
        holds = f"; there are {named(there)}" if there else ""
        return HubdError(f"there is no {told}", why=f"{where} has no {name}{holds}", fix=fix)

    def _make(self) -> None:
        files.write_atomic(self.folder / ".gitconfig", git.SETTINGS.encode(), mode=0o600)
        try:
            result = self._ask(git.make(self.path, self.commit))
        except HubdError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise HubdError(error.what, why="the repository is fetched with it", fix="Install it: apt-get install git") from error
        if result.code != 0:
            raise git.failure(result.err, self.url, final=True) or HubdError("git failed")

    def _fetch(self, argv: git.Argv) -> Result:
        known = network_environment(os.environ)
        certificates = next((known[name] for name in CERTIFICATES if known.get(name)), "")
        variables: dict[str, Any] = git.variables(self.folder, url=self.url, certificates=certificates)
        leash = Leash()
        with self._watched(leash):
            result = self.work.run(argv, leash=leash, **variables)
        if self._is_too_large():
            why = f"at most {about(MOST_FETCHED)} of a repository are fetched, and there is more"
            fix = "Use a smaller repository, or let its server leave large files out: git config uploadpack.allowFilter true"
            raise HubdError(f"{self.url} is too large", why=why, fix=fix)
        return self._within_memory(result)

    def _within_memory(self, result: Result) -> Result:
        if not git.needs_more_memory(result.err):
            return result
        why = f"git may take {about(git.MOST_MEMORY)} of memory for it, and needs more"
        raise HubdError(f"{self.url} is too large", why=why, fix="Use a smaller repository, or one on a server that you trust.")

    @contextmanager
    def _watched(self, leash: Leash) -> Iterator[None]:
        """End what is on the leash as soon as too much has come."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK):
                if self._is_too_large():
                    return leash.end()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _is_too_large(self) -> bool:
        return disk_use([self.folder]).own > MOST_FETCHED

    def _ask(self, argv: git.Argv) -> Result:
        variables: dict[str, Any] = git.variables(self.folder)
        return self._within_memory(self.work.run(argv, quiet=True, **variables))


def _unlike(told: str, here: str, kind: str, wanted: str) -> HubdError:
    """The error of something that is not the file, or not the folder on the way to it."""
    if kind == git.LINK:
        return HubdError(
            f"{told} cannot be used", why=f"{here} is a symbolic link, and none is followed: it may lead out of the repository",
            fix="Name the file that it leads to.",
        )  # fmt: skip
    if kind == git.OTHER_REPOSITORY:
        return HubdError(
            f"{told} cannot be used", why=f"{here} is another repository (a submodule), which is not followed",
            fix="Name that repository and its commit in `git`.",
        )  # fmt: skip
    return HubdError(f"{told} cannot be used", why=f"{here} is a {kind} and no {wanted}", fix="Correct the path.")


def _id(text: str, like: str) -> str:
    """What git calls a file with this text: another name than the one asked for where bytes were no text."""
    data = text.encode(errors="replace")
    kind = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
