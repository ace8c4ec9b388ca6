"""A folder of one's own for each machine, and the clearing away of what killed test runs left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from commands import run
from made_once import remove_tree

LOCK, PID = "lock", "nspawn.pid"


@contextmanager
def own_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder that nobody else touches while this process lives; removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
    with ExitStack() as stack:
        with (parent / LOCK).open("w") as sweeping:  # so that nobody sees the new folder before it is locked
            fcntl.flock(sweeping, fcntl.LOCK_EX)
            sweep(parent)
            folder.mkdir()
            lock = stack.enter_context((folder / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            remove_tree(folder)


def note_pid(folder: Path, pid: int) -> None:
    """Write down which process runs the machine, for a later `sweep`."""
    (folder / PID).write_text(str(pid))


def sweep(parent: Path) -> None:
    """End and remove machines whose test run is no more (its lock is free)."""
    for lock_file in parent.glob(f"*/{LOCK}"):
        with lock_file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _end(lock_file.parent)


def _end(folder: Path) -> None:
    note = folder / PID
    if note.exists():
        _kill_nspawn(int(note.read_text()), folder)
    for root in folder.glob("*/root"):
        if root.is_mount():
            run(("umount", "--", root))
    remove_tree(folder)


def _kill_nspawn(pid: int, folder: Path) -> None:
    """Kill that process if it is the one that ran the machine in `folder`: numbers are used again."""
    command = Path(f"/proc/{pid}/cmdline")
    if not command.exists() or str(folder).encode() not in command.read_bytes():
        return
    # nspawn ends its machine when it is told to terminate twice; killing it outright kills the machine by itself.
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if not command.exists():
            return
        time.sleep(0.1)
