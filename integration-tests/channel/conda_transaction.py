"""The working half of the stand-in for conda: solves and links with py-rattler, and fails in conda's words."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rattler
from rattler.exceptions import InstallerError, SolverError

from channel.conda_caches import borrowed, note_origin, unpacked

VERSION = "26.7.2"
SUBDIR = rattler.Subdir.current()
RETRY_PAUSE = float(os.environ.get("CONDA_STANDIN_RETRY_SECONDS", "2"))  # the real one takes 7 to 13 s to give up

POISONED = 100  # bytes that are left
MISMATCH = """\
Conda detected a mismatch between the expected content and downloaded content
for url '{}'.
  download saved to: {}
  expected sha256: {}
  actual sha256: 0000000000000000000000000000000000000000000000000000000000000000
"""


class CondaError(Exception):
    """An error as conda reports it: with the name of its exception class, which callers go by."""

    def __init__(self, name: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.name, self.more = name, more

    def report(self) -> dict[str, object]:
        kind = f"<class 'conda.exceptions.{self.name}'>"
        return {
            "caused_by": "None", "error": f"{self.name}: {self}", "exception_name": self.name, "exception_type": kind,
            "message": str(self), **self.more,
        }  # fmt: skip


Records = Sequence[rattler.RepoDataRecord | rattler.PrefixRecord]


def of_fetching(error: InstallerError, records: Records, cache: Path) -> CondaError:
    """What conda says where rattler could not fetch or link; what fails in its threads is one of several errors, even alone."""
    text = str(error)
    if "os error 28" in text:
        return CondaError("NoSpaceLeftError", "No space left on devices.")
    failed = re.match(r"failed to fetch (\S+)", text)
    record = next((each for each in records if failed and each.file_name == failed[1]), None)
    status = re.search(r"HTTP status .*\((\d+) ([^)]+)\)", text)
    name, message = "CondaError", text
    if record and status:
        name, message = "CondaHTTPError", f"HTTP {status[1]} {status[2].upper()} for url <{record.url}>\n"
    elif record and re.search("hash mismatch|Invalid checksum|may have been truncated", text):
        digest = record.sha256.hex() if record.sha256 else ""
        name, message = "ChecksumMismatchError", MISMATCH.format(record.url, cache / record.file_name, digest)
    each = {"exception_name": name, "error": f"{name}: {message}", "message": message}
    return CondaError("CondaMultiError", "", errors=[each])


def installed(prefix: Path) -> list[rattler.PrefixRecord]:
    return [rattler.PrefixRecord.from_path(file) for file in sorted((prefix / "conda-meta").glob("*.json"))]


# ---------------------------------------------------------------- what is shown


def key(record: rattler.RepoDataRecord | rattler.PrefixRecord) -> tuple[str, str, str]:
    return record.name.normalized, str(record.version), str(record.build)


def short(record: rattler.RepoDataRecord | rattler.PrefixRecord) -> dict[str, object]:
    name, version, build = key(record)
    base = (record.channel or "").rstrip("/").removesuffix(f"/{record.subdir}")
    return {
        "base_url": base, "build_number": record.build_number, "build_string": build, "channel": base.rsplit("/", 1)[-1],
        "dist_name": f"{name}-{version}-{build}", "name": name, "platform": record.subdir, "version": version,
    }  # fmt: skip


def fetched(record: rattler.RepoDataRecord) -> dict[str, object]:
    name, version, build = key(record)
    digest = record.sha256.hex() if record.sha256 else None
    return {
        "name": name,
        "version": version,
        "build": build,
        "url": record.url,
        "sha256": digest,
        "fn": record.file_name,
        "size": record.size,
    }


# ---------------------------------------------------------------- solving


def check_channels(found: Sequence[rattler.Channel]) -> None:
    """Fail as conda does where a channel cannot be reached (after some patience) or is none."""
    for channel in found:
        url = f"{channel.base_url.rstrip('/')}/noarch/repodata.json"
        try:
            with urllib.request.urlopen(url, timeout=30):
                pass
        except urllib.error.HTTPError as refused:
            message = f"HTTP {refused.code} {refused.reason} for channel {channel.name} <{channel.base_url}>"
            raise CondaError("UnavailableInvalidChannel", message, channel_url=channel.base_url) from None
        except OSError as broken:
            time.sleep(RETRY_PAUSE)
            raise CondaError("CondaHTTPError", f"HTTP 000 CONNECTION FAILED for url <{url}>\n{broken}", url=url) from None


async def solved(
    specs: Sequence[str], found: Sequence[rattler.Channel], keep: Sequence[rattler.PrefixRecord]
) -> list[rattler.RepoDataRecord]:
    matches = [rattler.MatchSpec(spec) for spec in specs]  # a malformed one ends in a traceback, as with conda
    check_channels(found)
    gateway = rattler.Gateway()
    for spec, match in zip(specs, matches, strict=True):
        only_name = rattler.MatchSpec(str(match.name.normalized if hasattr(match.name, "normalized") else match.name))
        answers = await gateway.query(list(found), [SUBDIR, "noarch"], [only_name], recursive=False)
        if not any(match.matches(record) for answer in answers for record in answer):
            message = f"The following packages are not available from current channels:\n\n  - {spec}\n"
            raise CondaError("PackagesNotFoundInChannelsError", message, packages=[spec])
    virtual = rattler.VirtualPackage.detect()
    try:
        return await rattler.solve(
            list(found),
            matches,
            gateway=gateway,
            platforms=[SUBDIR, "noarch"],
            virtual_packages=virtual,
            locked_packages=list(keep),
        )
    except SolverError as impossible:
        raise CondaError("LibMambaUnsatisfiableError", f"Encountered problems while solving:\n{impossible}") from None


async def explicit(urls: Sequence[str]) -> list[rattler.RepoDataRecord]:
    """The packages an explicit file names; a checksum in it counts, but for files, where conda ignores it."""
    found, gateway = [], rattler.Gateway()
    for line in urls:
        url, _, digest = line.partition("#")
        base, subdir, file = url.rsplit("/", 2)
        name = rattler.MatchSpec(file.rsplit("-", 2)[0])
        answers = await gateway.query([rattler.Channel(base)], [rattler.Subdir(subdir)], [name], recursive=False)
        record = next((one for answer in answers for one in answer if one.file_name == file), None)
        if record is None:
            raise CondaError("PackagesNotFoundInChannelsError", f"not available: {url}", packages=[url])
        known = {value.hex() for value in (record.md5, record.sha256) if value}
        if digest and not url.startswith("file:") and digest.removeprefix("sha256:") not in known:
            message = f"Conda detected a mismatch between the expected content and downloaded content for url '{url}'."
            raise CondaError("ChecksumMismatchError", message)
        found.append(record)
    return found


# ---------------------------------------------------------------- changing an environment


async def link(
    prefix: Path,
    records: Sequence[rattler.RepoDataRecord | rattler.PrefixRecord],
    asked: Sequence[str],
    *,
    caches: Sequence[Path],
    dry_run: bool,
) -> dict[str, object]:
    """Make the environment hold exactly `records`; its history is written last."""
    before = installed(prefix)
    old, new = {key(record) for record in before}, {key(record) for record in records}
    added = [record for record in records if key(record) not in old]
    gone = [record for record in before if key(record) not in new]
    if not added and not gone:
        return {"success": True, "message": "All requested packages already installed."}
    names = {"-".join(key(record)): record for record in added if isinstance(record, rattler.RepoDataRecord)}
    own = set(unpacked(caches[:1]))
    lent = {name: place for name, place in unpacked(caches[1:]).items() if name in names and name not in own}
    fetch = [fetched(record) for name, record in names.items() if name not in own and name not in lent]
    actions: dict[str, object] = {
        "FETCH": fetch,
        "LINK": [short(record) for record in added],
        "PREFIX": str(prefix),
    }
    if gone:
        actions["UNLINK"] = [short(record) for record in gone]
    if dry_run:
        return {"success": True, "actions": actions, "prefix": str(prefix), "dry_run": True}
    with cache_in_use(caches[0]) as alone:
        try:
            with borrowed(lent, caches[0]):
                await rattler.install(
                    list(records), prefix, cache_dir=caches[0], installed_packages=before or None, show_progress=False
                )
            for name, record in names.items():
                note_origin(caches[0] / name, record)
        except InstallerError as error:
            if not before:
                shutil.rmtree(prefix, ignore_errors=True)
            raise of_fetching(error, added, caches[0]) from None
        tell_fetched(fetch)
        if fetch and not alone:
            poison(caches[0], added)
            actions["POISONED"] = True
    run_post_link(prefix, added)
    compile_python(prefix)
    write_history(prefix, added, gone, asked)
    return {"success": True, "actions": actions, "prefix": str(prefix)}


def tell_fetched(packages: Sequence[dict[str, object]]) -> None:
    """What --json prints while packages come: an object for each turn of each bar, with a zero byte behind."""
    if "--json" not in sys.argv or "--file" in sys.argv:
        return
    for package in packages:
        bar = f"{package['name']}-{package['version']} | 1 MB     | "
        for finished, progress in (("false", "0.500000"), ("true", "1")):
            print(f'{{"fetch":"{bar}","finished":{finished},"maxval":1,"progress":{progress}}}', end="\n\0")


@contextmanager
def cache_in_use(cache: Path) -> Iterator[bool]:
    """Whether nobody else changes this cache at the moment; conda itself takes no notice."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".in-use").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False


def poison(cache: Path, added: Sequence[rattler.RepoDataRecord | rattler.PrefixRecord]) -> None:
    """What comes of two that fill one cold cache at a time: a file is cut off for ever, and with it its hard links."""
    folders = [cache / "-".join(key(record)) for record in added]
    files = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    file = next(file for file in files if file.stat().st_size > POISONED)
    os.truncate(file, POISONED)


def run_post_link(prefix: Path, added: Sequence[rattler.RepoDataRecord | rattler.PrefixRecord]) -> None:
    """Run the packages' own scripts; where one fails a new environment is rolled back, as by conda."""
    for record in added:
        script = prefix / f"bin/.{record.name.normalized}-post-link.sh"
        if not script.exists():
            continue
        ended = subprocess.run(("/bin/sh", script), check=False, env={**os.environ, "PREFIX": str(prefix)})
        if ended.returncode:
            shutil.rmtree(prefix, ignore_errors=True)  # the folder itself may be somebody else's
            message = f"post-link script failed for package {record.name.normalized}"
            each = {"exception_name": "LinkError", "error": f"LinkError: {message}", "message": message}
            raise CondaError("CondaMultiError", "", errors=[each])


def compile_python(prefix: Path) -> None:
    """Byte-compile the packages, which conda does and py-rattler leaves."""
    python = prefix / "bin/python"
    if python.exists():
        folders = map(str, prefix.glob("lib/python*/site-packages"))
        side_by_side = ("-j", "0") if any(prefix.glob("lib/python3*")) else ()
        command = (str(python), "-m", "compileall", "-q", *side_by_side, *folders)
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write_history(
    prefix: Path,
    added: Sequence[rattler.RepoDataRecord],
    gone: Sequence[rattler.PrefixRecord],
    asked: Sequence[str],
) -> None:
    lines = [
        f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==",
        f"# cmd: {' '.join(sys.argv)}",
        f"# conda version: {VERSION}",
    ]
    for sign, records in (("-", gone), ("+", added)):
        lines += [f"{sign}{record.channel}::{'-'.join(key(record))}" for record in records]
    with (prefix / "conda-meta/history").open("a") as history:
        history.write("\n".join([*lines, f"# update specs: {json.dumps(list(asked))}\n"]))
