"""The processes that descend from this one, wherever they put themselves: keeps hold of them, and ends them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from hubd.host import files

# From Linux's prctl.h; Python does not name it.
PR_SET_CHILD_SUBREAPER = 36
# Seconds after which those that go on making others are left to whoever ends the whole unit.
PATIENCE = 10.0


def keep_hold() -> None:
    """From now on a process whose parent ends becomes this one's child, also one that made itself a session of its own."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_offspring() -> None:
    """Kill all that descend from this process, until none is left. Nobody else may be waiting for one of them."""
    deadline = time.monotonic() + PATIENCE
    while (found := tuple(_descendants())) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):  # a grandchild comes to this one when its parent has gone
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _descendants() -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for name in files.children(Path("/proc")):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(name))
    left = [os.getpid()]
    while left:
        found = children.get(left.pop(), [])
        yield from found
        left += found
