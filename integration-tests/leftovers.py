"""A folder of one's own for each machine, and the clearing away of what killed test runs left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from commands import run
from made_once import remove_tree
from waiting import wait_for

LOCK, PROCESSES = "lock", "processes"


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


def note_processes(folder: Path, *pids: int) -> None:
    """Write down which processes hold the machine, the one to kill first first, for a later `sweep`."""
    (folder / PROCESSES).write_text("".join(f"{pid} {started(pid)}\n" for pid in pids))


def started(pid: int) -> int:
    """When a process was started, in ticks since this host was; 0 when it has ended. Tells it from a later one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


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
    note = folder / PROCESSES
    if note.exists():
        for line in note.read_text().splitlines():
            pid, start = map(int, line.split())
            _kill(pid, start)
    for root in folder.glob("*/root"):
        if root.is_mount():
            run(("umount", "--", root))
    remove_tree(folder)


def _kill(pid: int, start: int) -> None:
    """Kill that process, if it still is the one that started then, and wait until it has gone."""
    if start and started(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: started(pid) != start, f"the end of process {pid}", timeout=20)
