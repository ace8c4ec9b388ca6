"""One job at a time at something that several of them use: a lock that ends with its holder."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hubd.jobs.work import Work

# Seconds between two looks whether it is over.
WAIT = 0.1


@contextmanager
def alone(work: Work, lock: Path, *, waiting: str) -> Iterator[None]:
    """Hold the lock. waiting: what the job does meanwhile, in words.

    Raises HubdError when the job's time is over.
    """
    with lock.open("w") as file:
        while not is_free(file):
            if work.doing() != waiting:
                work.phase(waiting)
            work.check_time()
            time.sleep(WAIT)
        yield


def is_free(lock: IO[str]) -> bool:
    """Whether nobody held the lock; from now on this program does, until it closes the file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
