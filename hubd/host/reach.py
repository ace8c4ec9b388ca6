"""Whether an account gets as far as a file: told from the modes on the way to it, by somebody who gets everywhere."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

# Where it is, modes alone do not tell.
_LISTS = "system.posix_acl_access"


def closed_to(path: Path, account: str, *, below: Path = Path("/")) -> Path | None:
    """The first folder on the way to `path` that an account may not enter, or the file where it may not run it; else None.

    A link is followed. below: the folders above it do not count. Where nobody can tell, as with access lists, it counts as open.
    """
    real = Path(os.path.realpath(path))
    numbers = _numbers(account)
    on_the_way = dict.fromkeys((*reversed(path.parents), *reversed(real.parents), real))
    return next((each for each in on_the_way if below in each.parents and not _is_open(each, *numbers)), None)


def is_refused(path: Path) -> bool:
    """Whether this process may not even look at `path`."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:  # not there
        return False
    return False


def _numbers(account: str) -> tuple[int, frozenset[int]]:
    try:
        found = pwd.getpwnam(account)
    except KeyError:  # it is made later
        return -1, frozenset()
    return found.pw_uid, frozenset(os.getgrouplist(account, found.pw_gid))


def _is_open(path: Path, uid: int, groups: frozenset[int]) -> bool:
    try:
        status = path.stat()
    except OSError:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH) or _has_list(path)


def _has_list(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, _LISTS))
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
