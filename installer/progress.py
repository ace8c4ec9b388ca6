"""What bootstrap.py is told while the installer works: steps, commands, and words for the person at the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any


class Progress:
    """Writes events as JSON lines to a descriptor, or as text where there is none.

    Only `say` may carry a password: it goes to the terminal and never to the log.
    """

    def __init__(self, events: int | None) -> None:
        self._events = events

    @contextlib.contextmanager
    def step(self, words: str) -> Iterator[None]:
        """A step with its time; failed when it raises."""
        began = time.monotonic()
        self._send(step=words, state="start")
        state = "failed"
        try:
            yield
            state = "done"
        finally:
            self._send(step=words, state=state, seconds=round(time.monotonic() - began, 1))

    def command(self, words: str) -> None:
        """What is being done right now within a step."""
        self._send(command=words)

    def release_port(self) -> None:
        """The public port is needed now."""
        self._send(release="port")

    def say(self, words: str) -> None:
        """A line for the person at the terminal."""
        self._send(say=words)

    def error(self, words: str) -> None:
        """A line of why the installation ends here. The caller prints it as well, for the log."""
        if self._events is not None:
            self._send(error=words)

    def _send(self, **event: Any) -> None:
        line = json.dumps(event)
        if self._events is None:
            print(event.get("say") or event.get("step") or event.get("command") or "", flush=True)
            return
        # bootstrap.py may be gone (killed, terminal closed): the installation goes on without it.
        with contextlib.suppress(OSError):
            os.write(self._events, line.encode() + b"\n")
