"""How much of the disk folders take, with files that are also elsewhere (hard links) counted apart. Reads only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# `stat` counts blocks of this many bytes, whatever the file system's are.
BLOCK = 512


@dataclass(frozen=True, slots=True)
class DiskUse:
    """own: bytes that would be free if the folders were gone. shared: bytes of files that have a name elsewhere, too.

    unread: how many folders could not be looked into.
    """

    own: int = 0
    shared: int = 0
    unread: int = 0


@dataclass(slots=True)
class _Walk:
    """files: by device and inode, their bytes, how many names they have, and how many of these were met."""

    files: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    folders: int = 0
    unread: int = 0

    def visit(self, folder: str) -> None:
        waiting = [folder]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as found:
                    for entry in found:
                        if self._meet(entry.stat(follow_symlinks=False)):
                            waiting.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed in the meantime
            except OSError:
                self.unread += 1

    def _meet(self, status: os.stat_result) -> bool:
        """Count one entry; True for a folder."""
        if stat.S_ISDIR(status.st_mode):
            self.folders += status.st_blocks * BLOCK
            return True
        met = self.files.setdefault((status.st_dev, status.st_ino), [status.st_blocks * BLOCK, status.st_nlink, 0])
        met[2] += 1
        return False


def disk_use(folders: Iterable[Path]) -> DiskUse:
    """What these folders take together. Links are not followed, and a file with several names counts once."""
    walk = _Walk()
    for folder in folders:
        walk.visit(os.fspath(folder))
    own = sum(size for size, names, met in walk.files.values() if met >= names)
    shared = sum(size for size, names, met in walk.files.values() if met < names)
    return DiskUse(own + walk.folders, shared, walk.unread)


def free_space(folder: Path) -> int | None:
    """Bytes that may still be written where `folder` is, or will be; None where that cannot be told."""
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    try:
        found = os.statvfs(there)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
