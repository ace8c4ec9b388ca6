"""One at a time, machine-wide: a lock file that the kernel frees when its holder dies, and that tells whether they ended well."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError, Locked
from hubd.host.files import move_away

# What is in a lock file that was left well. Any holder's words stay in it when they fail or are killed.
FREE = "free\n"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, or held it last and failed or was killed.

    pid: 0 when it is not known. since: when they took it, in seconds since 1970. holds: whether they still do.
    """

    pid: int
    what: str
    since: float
    holds: bool


def holder(path: Path) -> Holder | None:
    """Who holds the lock at `path`, or held it last and did not leave it well. None where it is free, or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        holds = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # and nobody takes it while it is read
        except BlockingIOError:
            holds = True
        pid, what = _said(descriptor)
        return Holder(pid, what, os.fstat(descriptor).st_mtime, holds) if holds or pid else None
    finally:
        os.close(descriptor)


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
        _say(descriptor, f"{os.getpid()} {what}\n")
        yield
        _say(descriptor, FREE)
    finally:
        os.close(descriptor)


def _say(descriptor: int, words: str) -> None:
    """Put `words` in the place of what is there: a full disk takes what needs no new room."""
    with contextlib.suppress(OSError):  # and keeps nobody from holding the lock
        os.ftruncate(descriptor, os.pwrite(descriptor, words.encode(), 0))


def _said(descriptor: int) -> tuple[int, str]:
    """The holder's process and words; nobody's are 0 and nothing."""
    pid, _, what = os.pread(descriptor, 200, 0).decode(errors="replace").strip().partition(" ")
    return (int(pid), what) if pid.isascii() and pid.isdigit() else (0, "")


def _acquire(descriptor: int, *, wait: float, waiting: Callable[[str], None] | None) -> None:
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pid, what = _said(descriptor)
        if time.monotonic() >= deadline:
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
