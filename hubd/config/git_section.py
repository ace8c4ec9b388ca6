"""The options of config.yaml for what comes from a git repository: where that is, and the exact commit. Reads nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from hubd.config.names import is_address
from hubd.config.problems import quoted
from hubd.config.section import Finding, Matching, Section, refusal, written_as

COMMIT = r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}"
REPOSITORY = r"(?:https?://[^\s/?#\\\x00-\x1f\x7f]|file:///)[^\s?#\\\x00-\x1f\x7f]+"
# Where nothing is known that could stand for it in a command.
ANY_URL, ANY_BRANCH = "URL", "BRANCH"


def _without_credentials(url: str) -> str:
    # The host ends at the first slash; an `@` further on is part of a path.
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise refusal(
            "holds a user name or a password, which all who may read config.yaml, a plan or a log would read, too",
            "leave out what stands before the `@`; a build signs in nowhere",
        )
    return url


RepositoryUrl = Annotated[
    str,
    Matching(
        REPOSITORY,
        # Not one that shows the address, in which there may be a password.
        "names no repository that a build can fetch",
        "write one that starts with https://, http:// or file:/// (for ssh a build has no key)",
    ),
    AfterValidator(_without_credentials),
]
# What is no commit is told by `findings`, which know the repository.
Commit = Annotated[str, AfterValidator(str.lower), WithJsonSchema({"type": "string", "pattern": f"^(?:{COMMIT})$"})]


class Git(Section):
    """The git repository that holds the lock or file, at an exact commit."""

    url: RepositoryUrl = Field(
        description="Its address, for fetching without signing in: https, http, or file:/// for one on this machine that "
        "the account hubd-build can read.",
        examples=["https://git.example.org/course"],
    )
    commit: Commit = Field(
        description="The commit with all its 40 (or 64) digits: a branch or a tag would be something else tomorrow.",
        examples=["8f2a4c1be07d53946a1f0c9e2d7b85634afe1290"],
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        commit = written_as(str, written, "commit")
        if commit is None or re.fullmatch(COMMIT, commit):
            return
        if re.fullmatch(r"[0-9a-fA-F]{7,}", commit):
            told = f"has {len(commit)} digits of the 40 (or 64) of a commit"
            yield ("commit",), told, f"write all of them: `git rev-parse {commit[:12]}` in a clone tells them"
            return
        told = f"{quoted(commit)} is not an exact commit, and only that is built the same again: a branch or a tag moves"
        yield ("commit",), told, f"write the commit that `{_look_up(written, commit)}` gives"


def _look_up(written: Mapping[str, Any], branch: str) -> str:
    """The command that tells which commit a branch or a tag is at now."""
    url = written_as(str, written, "url") or ""
    fit = re.fullmatch(REPOSITORY, url) and "@" not in url
    name = branch if re.fullmatch(r"[\w.][\w./+-]{0,99}", branch) else ANY_BRANCH
    return f"git ls-remote {shlex.quote(url) if fit else ANY_URL} {name}"


def misplaced_git(written: Mapping[str, Any]) -> Iterator[Finding]:
    """A `git` beside nothing that it could hold, or beside what says the same in another way; a path that leads out of it."""
    if not written.get("git"):
        return
    given = [key for key in ("lock", "file") if written_as(str, written, key)]
    if written.get("publish"):
        yield ("git",), "`git` can't be used together with `publish`", "keep one of the two"
    elif not given:
        fix = "add its path in the repository, such as `file: environments/r.yml`, or remove it"
        yield ("git",), "there is neither a `lock` nor a `file` that could be in it", fix
    if written.get("sha256"):
        yield ("sha256",), "`sha256` can't be used together with `git`", "remove it: the commit says what the file is"
    for key in given:
        place = written[key]
        if is_address(place) or any(part in ("", ".", "..") for part in place.split("/")):
            what = f"{quoted(place)} is not the path of a file inside of a repository"
            yield (key,), what, "write it from the repository's first folder on, such as environments/r.yml"
