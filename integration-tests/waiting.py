"""Waiting for something to become true, never without an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, *, timeout: float, every: float = 0.05) -> T:
    """Look again and again until `look` gives something true, and give that. timeout and every: seconds.

    :raises TimeoutError: it did not within `timeout`; the message names `what`.
    """
    end = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(every)
