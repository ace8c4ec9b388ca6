"""Closes a generation: nothing in it is to be written any more, and what shows that somebody did so all the same is noted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hubd.host import manifest

# The folders in which an installation by pip, conda, uv or R leaves traces. The generation's own is not among them: the mark
# comes into it later.
TRACES = ("bin", "conda-meta", "lib", "lib/R/library", "lib/python*/site-packages")

_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def seal(prefix: Path) -> dict[str, int]:
    """Make all that is below `prefix` read-only, write down every file of it, and give when each of the telling folders was
    changed last, in ns.

    Files that are one with those of the package cache become so there, too: nobody may write into what others use.
    """
    for folder in prefix.glob("lib/python*/site-packages"):
        # Whoever runs the environment's Python as root leaves compiled files, which is no change; the folder is there for it.
        (folder / "__pycache__").mkdir(exist_ok=True)
    for where, folders, names in os.walk(prefix):
        for name in (*folders, *names):
            _close(os.path.join(where, name))
    found = (path for pattern in TRACES for path in prefix.glob(pattern) if path.is_dir() and not path.is_symlink())
    manifest.write(prefix)
    return {str(path.relative_to(prefix)): path.stat().st_mtime_ns for path in sorted(found)}


def _close(path: str) -> None:
    mode = os.lstat(path).st_mode
    if mode & _WRITE and not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode) & ~_WRITE)
