"""The package cache of conda and of mamba: where packages lie in it, and how they are taken out of it. Never fetches anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hubd.host import files
from hubd.tools.conda import platform

# A package in the cache: unpacked, and as it came.
ARCHIVES = (".conda", ".tar.bz2")
FORMS = ("", *ARCHIVES)

# Below a channel; an address has no more parts than that.
PLATFORMS = (platform(), "noarch")
DEEPEST = 12


def package_of(path: str) -> str:
    """The package, with version and build, that a path below the cache belongs to."""
    parts = path.split("/")
    after = next((parts.index(each) + 1 for each in PLATFORMS if each in parts[:-1]), 0)
    return parts[after].removesuffix(".tar.bz2").removesuffix(".conda")


def shelves(cache: Path) -> Iterator[Path]:
    """The folders in which packages lie: the cache itself, and with mamba from 2.6 on one for each channel and platform."""
    yield cache
    yield from _below(cache, DEEPEST)


def _below(folder: Path, deep: int) -> Iterator[Path]:
    for path in (folder / name for name in files.children(folder)):
        if path.is_dir() and not path.is_symlink() and not _is_package(path):
            if path.name in PLATFORMS:
                yield path
            elif deep:
                yield from _below(path, deep - 1)


def _is_package(path: Path) -> bool:
    return os.path.lexists(path / "info")


def take_out(cache: Path, name: str) -> None:
    """Remove a package, by its name with version and build."""
    for shelf in list(shelves(cache)):
        for form in FORMS:
            files.clear(shelf / f"{name}{form}")


def clear_unused(cache: Path) -> None:
    """Remove all archives, and what is unpacked and has no hard link in any environment, as conda's own `clean` does."""
    for shelf in list(shelves(cache)):
        for name in files.children(shelf):
            path = shelf / name
            if name.endswith(ARCHIVES) or (_is_package(path) and not _is_used(path)):
                files.clear(path)


def _is_used(package: Path) -> bool:
    for folder, _, names in os.walk(package):
        for each in (os.lstat(os.path.join(folder, name)) for name in names):
            if stat.S_ISREG(each.st_mode) and each.st_nlink > 1:
                return True
    return False
