"""One at a time, machine-wide: a lock file that the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hubd.errors import HubdError, Locked
from hubd.host.files import move_away


@contextlib.contextmanager
def file_lock(path: Path, *, wait: float, what: str = "", waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock at `path`.

    wait: seconds to wait for another holder; 0 does not wait.
    what: what the holder is doing, for the message of those who wait.
    waiting: called once with a sentence when somebody else holds it.
    Raises Locked when it is still held after `wait`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        fix = move_away(path) if isinstance(error, IsADirectoryError) else "Run this with sudo."
        raise HubdError(f"{path} cannot be opened", why=error.strerror or str(error), fix=fix) from error
    try:
        _acquire(descriptor, wait=wait, waiting=waiting)
        with contextlib.suppress(OSError):  # a full disk keeps nobody from holding it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {what}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, *, wait: float, waiting: Callable[[str], None] | None) -> None:
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        if time.monotonic() >= deadline:
            pid, _, what = holder.partition(" ")
            raise Locked(
                "another pass is under way",
                why=f"process {pid or 'unknown'} holds the lock{f' ({what})' if what else ''}",
                fix="Wait for it, or follow it with `hubd status --watch`.",
                retry=True,
            )
        if waiting and not told:
            told = True
            waiting("waiting for another pass to end")
        time.sleep(0.05)
