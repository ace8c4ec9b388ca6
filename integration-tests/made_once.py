"""Things that take long to make and are kept: made once however many test runs want them, never seen half made."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from commands import run


@contextmanager
def made_once(place: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder `place`, made by `make` if it is not there, and kept from removal while the block runs.

    make: is given the path of a folder to make aside, which then gets its name. What is beside `place`, made in
    another way, is removed on that occasion unless somebody uses it.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not place.is_dir():
            # A shared lock is not traded for an exclusive one in one step: look again.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_dir():
                _make(place, make)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield place


def remove_tree(tree: Path) -> None:
    """Delete a folder and what is in it, but never follow into something mounted there."""
    if tree.exists():
        run(("rm", "-rf", "--one-file-system", "--", tree), timeout=300)


def _make(place: Path, make: Callable[[Path], None]) -> None:
    aside = place.with_name(f"{place.name}.making")
    remove_tree(aside)
    for lock_file in place.parent.glob("*.lock"):
        if lock_file.stem != place.name:
            _remove_unused(lock_file)
    make(aside)
    aside.rename(place)


def _remove_unused(lock_file: Path) -> None:
    with lock_file.open() as lock, _taken(lock) as mine:
        if mine:
            for folder in (lock_file.with_suffix(""), lock_file.with_suffix(".making")):
                remove_tree(folder)
            lock_file.unlink()


@contextmanager
def _taken(lock: TextIO) -> Iterator[bool]:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
