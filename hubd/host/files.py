"""Files, folders and links: what is there, and writes that leave the old state or the new one, never a half."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import secrets
import shlex
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError

MAX_READ = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a path. kind: file, directory, link or other. mode: permission bits. target: where a link points.

    uid: the owner's number, also where no name was asked for.
    """

    kind: str
    mode: int
    owner: str
    group: str
    size: int
    target: str = ""
    uid: int = -1


def look(path: Path, *, names: bool = True) -> Found | None:
    """What lies at `path` itself (a link is not followed), or None.

    names: False leaves owner and group empty. To find a name the whole list of accounts is read, each time anew, which
    counts where there are thousands of homes.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
    target = os.readlink(path) if kind == "link" else ""
    mode = stat.S_IMODE(status.st_mode)
    owner, group = (owner_name(status.st_uid), group_name(status.st_gid)) if names else ("", "")
    return Found(kind, mode, owner, group, status.st_size, target, status.st_uid)


def changed_at(path: Path) -> int | None:
    """When the folder or file at `path` itself was changed last, in nanoseconds since the epoch; None where there is none."""
    try:
        return path.lstat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_program(path: Path) -> bool:
    """Whether there is a file at `path`, behind links too, that may be run."""
    try:
        status = path.stat()
    except OSError:  # not there, a link to nowhere, links in a circle
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def read(path: Path, *, follow: bool = True, most: int = MAX_READ) -> bytes | None:
    """The content of a file, or None where there is none.

    follow: False refuses a link at the path's end, for files that other accounts can replace.
    most: bytes. Raises HubdError when it is no file, cannot be read or is larger than that.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HubdError(f"{path} cannot be read", why=error.strerror or str(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HubdError(f"{path} cannot be read", why="it is not a file", fix=move_away(path))
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise HubdError(f"{path} cannot be read", why=f"it is larger than {most >> 10} KB")
    return data


def owner_name(number: int) -> str:
    """The account with this number, or the number as text."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """The group with this number, or the number as text."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def ids(owner: str | None, group: str | None) -> tuple[int, int]:
    """The numbers for chown; -1 leaves one as it is. Raises HubdError for a name the machine does not know."""
    try:
        uid = pwd.getpwnam(owner).pw_uid if owner else -1
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise HubdError(f"no account or group {error.args[0]!r} on this machine") from error
    return uid, gid


def write_atomic(
    path: Path,
    data: bytes,
    *,
    mode: int | None = None,
    owner: str | None = None,
    group: str | None = None,
    keep: bool = False,
) -> None:
    """Put `data` at `path` by one rename; a kill leaves the old file or the new one.

    keep: take mode, owner and group from the file that is there; a link is followed so that it stays a link.
    Raises HubdError when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    uid, gid = ids(owner, group)
    if keep:
        path = Path(os.path.realpath(path))
        with contextlib.suppress(FileNotFoundError):
            old = path.stat()
            mode, uid, gid = stat.S_IMODE(old.st_mode), old.st_uid, old.st_gid
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.hubd-new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if (uid, gid) != (-1, -1):
                os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, 0o644 if mode is None else mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _not_replaced(f"{path} could not be written", path, error) from error


def _not_replaced(what: str, path: Path, error: OSError) -> HubdError:
    if isinstance(error, IsADirectoryError):
        return HubdError(what, why="a folder is in its place", fix=move_away(path))
    return HubdError(what, why=error.strerror or str(error), retry=True)


def move_away(path: Path) -> str:
    """What to do about something that is in a file's place; nothing is lost by it."""
    return f"Move it out of the way: mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')}"


def set_aside(path: Path) -> None:
    """Rename whatever lies at `path`, a folder too, to a name beside it that nothing has yet."""
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while look(aside, names=False) is not None:
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    os.replace(path, aside)


def sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all() -> None:
    """Make all that was written anywhere survive a power cut; takes as long as the disks do.

    There is no other way in the standard library for a folder of many files: to sync each of them takes a hundred times longer.
    """
    os.sync()


def make_directory(path: Path, *, mode: int, owner: str | None = None, group: str | None = None) -> None:
    """A folder with this mode and owner; what is in it stays. Its parent must be there."""
    uid, gid = ids(owner, group)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if (uid, gid) != (-1, -1):
                os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HubdError(f"the folder {path} could not be made", why=error.strerror or str(error), retry=True) from error


def set_access(path: Path, *, mode: int, owner: str | None = None, group: str | None = None) -> None:
    """Mode and owner of the file or folder at `path`; a link there is refused."""
    uid, gid = ids(owner, group)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if (uid, gid) != (-1, -1):
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def link(path: Path, target: str) -> None:
    """A symbolic link at `path`, replaced by one rename."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.hubd-new")
    try:
        temporary.symlink_to(target)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _not_replaced(f"the link {path} could not be made", path, error) from error


def share(source: Path, path: Path) -> bool:
    """Let a file be at `path` too, as a hard link, with the folders on the way; False where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:  # another file system, too many links, somebody else's file
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file, a link or an empty folder; nothing there is fine."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it, after moving it out of the way so that nobody uses half of it."""
    if look(path) is None:
        return
    aside = path
    if not is_left(path.name):
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.hubd-gone")
        os.replace(path, aside)
    try:
        shutil.rmtree(aside)
    except (RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        _flatten(aside)
        shutil.rmtree(aside)


def _flatten(folder: Path) -> None:
    """Bring all that is nested below a folder up into it; of what it is made for, thousands lie one in the other.

    By open folders and not by paths: whoever owns what is removed may still exchange something for a link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    top = os.open(folder, flags)
    try:
        waiting = [name for name in os.listdir(top) if _is_folder(name, top)]
        while waiting:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                below = os.open(waiting.pop(), flags, dir_fd=top)
                try:
                    for name in [name for name in os.listdir(below) if _is_folder(name, below)]:
                        waiting.append(secrets.token_hex(16))
                        os.rename(name, waiting[-1], src_dir_fd=below, dst_dir_fd=top)
                finally:
                    os.close(below)
    finally:
        os.close(top)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def is_left(name: str, label: str = "") -> bool:
    """Whether a name is of what a removal that was killed left of something whose name began with `label`."""
    return name.startswith(f".{label}") and name.endswith(".hubd-gone")


def clear(path: Path) -> None:
    """Remove whatever lies at `path`, a folder with everything in it; a link goes and what it points to stays."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        remove(path)


def children(path: Path) -> tuple[str, ...]:
    """The names in a folder, sorted; empty where there is none."""
    try:
        return tuple(sorted(os.listdir(path)))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return ()
        raise
