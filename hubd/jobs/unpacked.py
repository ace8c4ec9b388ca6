"""Unpacked conda packages for people: what builds used, as hard links in a folder that everybody may read and only builds write.

The cache of builds is closed to people: whoever can open a lock in there holds all builds up. And conda unpacks in place, so that
half a package could be taken for a whole one: here each is linked aside, and put in place by a rename once its build is proven.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs.damage import cache_of
from hubd.jobs.work import Work

# Without this file conda does not look into a folder of packages, and where it cannot be written conda writes nothing there.
MAGIC = "urls.txt"
# By these conda knows a package that is unpacked, and then asks for no archive. It writes the second when it is done.
RECORDS = ("info/index.json", "info/repodata_record.json")
# In the cache of builds: what lies in the folder itself, under whatever name, is a package to conda.
ASIDE = "sharing"


def gather(work: Work, prefix: Path) -> None:
    """Link what an environment consists of aside, but for what people have already; for the holder of the cache's lock.

    Where that cannot be, it is noted in the log: people download what is not there.
    """
    if not _shared(work):
        return
    aside, shared = _aside(work), work.path("share_into")
    files.clear(aside)
    names = (name.removesuffix(".json") for name in files.children(prefix / "conda-meta") if name.endswith(".json"))
    for name in names:
        package = cache_of(work) / name
        if not all((package / record).is_file() for record in RECORDS) or _is_one(package, shared / name):
            continue
        try:
            aside.mkdir(parents=True, exist_ok=True)
            whole = _link(package, aside / name)
        except OSError as error:  # no room, too many links
            print(f"{name} is not shared with people: {error.strerror or error}", flush=True)
            whole = False
        if not whole:
            files.clear(aside / name)


def put_in_place(work: Work) -> None:
    """Let people have what `gather` linked, each package by one rename, in the place of one that builds use no more."""
    if not _shared(work):
        return
    aside, shared = _aside(work), work.path("share_into")
    names = files.children(aside)
    try:
        if names and not (shared / MAGIC).exists():
            files.write_atomic(shared / MAGIC, b"", mode=0o644)
        for name in names:
            _put(aside / name, shared / name)
    except (HubdError, OSError) as error:
        # The environment is made, and this is not what it is for.
        print(f"packages are not shared with people: {error}", flush=True)
    forget(work)


def _put(package: Path, place: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rename(place, package.with_name(f".{package.name}"))
    try:
        os.rename(package, place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another build was faster
            raise


def forget(work: Work) -> None:
    """Remove what `gather` linked and nothing came of."""
    if _shared(work):
        with contextlib.suppress(OSError):  # what is left goes at the next build, or when somebody frees disk space
            files.clear(_aside(work))


def drop(work: Work) -> None:
    """Take away from people what no generation consists of (`unpacked` names the rest), for the holder of the cache's lock.

    Else its files would have a second name for ever, and conda would take them for used.
    """
    files.clear(work.path("cache") / ASIDE)
    if not _shared(work):
        return
    shared, aside = work.path("share_into"), work.path("cache") / ASIDE
    used = {MAGIC, *work.spec["unpacked"]}
    for name in files.children(shared):
        if name not in used:
            # Away at once: half a package must not be taken for a whole one.
            aside.mkdir(exist_ok=True)
            os.rename(shared / name, aside / name)
    files.clear(aside)


def _shared(work: Work) -> bool:
    return bool(work.spec.get("share_into"))


def _aside(work: Work) -> Path:
    return work.path("cache") / ASIDE / str(work.spec["environment"])


def _is_one(package: Path, shared: Path) -> bool:
    """Whether people have this very package: one that was damaged is another since it was fetched anew."""
    try:
        return os.path.samefile(package / RECORDS[0], shared / RECORDS[0])
    except OSError:
        return False


def _link(package: Path, target: Path) -> bool:
    """Link all that is in a package; False for one that holds what others may not read, which conda would stumble over."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        (target / folder).mkdir(mode=0o755)
        with os.scandir(package / folder) as entries:
            for entry in entries:
                path, mode = os.path.join(folder, entry.name), entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(path)
                elif not _is_for_all(entry.path, mode):
                    return False
                else:
                    os.link(entry.path, target / path, follow_symlinks=False)
    return True


def _is_for_all(path: str, mode: int) -> bool:
    if stat.S_ISLNK(mode):
        return True
    if not stat.S_ISREG(mode) or not mode & stat.S_IROTH:
        return False
    if stat.S_IMODE(mode) & ~0o755:
        os.chmod(path, stat.S_IMODE(mode) & 0o755)  # nobody but builds writes what everybody uses
    return True
