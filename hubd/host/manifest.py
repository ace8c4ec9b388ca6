"""What is in a folder, file by file, written down so that a later look shows what became of it. Reads no file's content."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files

# Written beside what it tells of.
NAME = ".hubd-files.gz"

# A build writes it, and so perhaps its packages: it is read with bounds. Far more than any environment has.
LONGEST = 16 * 1024 * 1024
LONGEST_TEXT = 64 * 1024 * 1024
MOST_LINES = 400_000

# What programs leave for themselves where they can write, and where nobody sees a difference.
_COMPILED = b".pyc"
_CACHES = (b"__pycache__",)
_CACHES_AT = (b"var/cache",)


@dataclass(frozen=True, slots=True)
class Difference:
    """path: of the first that differs, from the folder on. what: added, removed or changed. at: when, in ns; 0 for unknown.

    more: how many others do; what is below something that came or went is not counted.
    """

    path: str
    what: str
    at: int = 0
    more: int = 0


def write(folder: Path, *, without: tuple[str, ...] = ()) -> None:
    """Write down what is in a folder now. without: names in it that do not count. Nothing is written of a folder that is huge."""
    text = b"".join(line for line, _ in _lines(folder, without))
    data = gzip.compress(text, 6, mtime=0)
    if len(data) <= LONGEST and _is_bounded(text):
        files.write_atomic(folder / NAME, data, mode=0o444)


def difference(folder: Path, *, without: tuple[str, ...] = ()) -> Difference | None:
    """What became of a folder since `write`; None where nothing did, or where nobody can tell."""
    before = _read(folder / NAME)
    if before is None:
        return None
    at = 0
    for line, _ in _lines(folder, without):
        if not before.startswith(line, at):
            break
        at += len(line)
    else:
        if at == len(before):
            return None
    # Only now all of it is taken into memory.
    found = list(_lines(folder, without))
    folders = {b"": _changed(os.fsencode(folder))} | {line.partition(b"\0")[0]: when for line, when in found if when}
    return _first(_by_path(before.split(b"\n")), _by_path(line[:-1] for line, _ in found), folders)


def _lines(folder: Path, without: tuple[str, ...]) -> Iterator[tuple[bytes, int]]:
    """A line for each file, link and folder, always in the same order, and when it was changed last where it is a folder.

    A file's number and the time of its last change of any kind do not count: it may be shared with others by hard links.
    """
    root, left_out = os.fsencode(folder) + b"/", {os.fsencode(name) for name in (NAME, *without)}
    waiting = [b""]
    while waiting:
        inside = waiting.pop()
        for entry in _entries(root + inside):
            path = inside + entry.name
            if path in left_out or path in _CACHES_AT or entry.name in _CACHES or entry.name.endswith(_COMPILED):
                continue
            with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                status = entry.stat(follow_symlinks=False)
                is_folder = stat.S_ISDIR(status.st_mode)
                yield b"%b\0%b\n" % (_one_line(path), _told(entry, status)), status.st_mtime_ns if is_folder else 0
                if is_folder:
                    waiting.append(path + b"/")


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _one_line(name: bytes) -> bytes:
    return name.replace(b"\n", b"?").replace(b"\r", b"?")


def _told(entry: os.DirEntry[bytes], status: os.stat_result) -> bytes:
    if stat.S_ISREG(status.st_mode):
        return b"%d %d" % (status.st_size, status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return b"folder"
    if stat.S_ISLNK(status.st_mode):
        return b"link " + _one_line(os.readlink(entry.path))
    return b"other"


def _changed(folder: bytes) -> int:
    try:
        return os.lstat(folder).st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> bytes | None:
    try:
        data = files.read(path, follow=False, most=LONGEST)
        if not data:
            return None
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            text = unpacked.read(LONGEST_TEXT + 1)
    except (HubdError, OSError, EOFError, zlib.error):
        return None
    return text if _is_bounded(text) else None


def _is_bounded(text: bytes) -> bool:
    return len(text) <= LONGEST_TEXT and text.count(b"\n") < MOST_LINES


def _by_path(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    return {path: told for path, _, told in (line.partition(b"\0") for line in lines) if path}


def _first(before: dict[bytes, bytes], now: dict[bytes, bytes], folders: dict[bytes, int]) -> Difference | None:
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    found = {path: "changed" for path in before.keys() & now.keys() if before[path] != now[path]}
    for paths, what in ((gone, "removed"), (new, "added")):
        found |= {path: what for path in paths if path.rpartition(b"/")[0] not in paths}
    if not found:
        return None
    path = min(found)
    size, _, at = now.get(path, b"").partition(b" ")
    # Of what came or went its folder tells; what was put there may be old.
    is_file = found[path] == "changed" and size.isdigit() and at.isdigit()
    when = int(at) if is_file else folders.get(path.rpartition(b"/")[0], 0)
    return Difference(os.fsdecode(path), found[path], when, len(found) - 1)
