"""Watches addresses while something happens: asks each again and again and keeps every answer, to count the bad ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests


@dataclass(frozen=True, slots=True)
class Answer:
    """at: seconds since the watch began; took: seconds; status: HTTP's, or the name of what went wrong."""

    at: float
    took: float
    status: int | str


class Watcher:
    """Polls while its block runs.

        with Watcher({"hub": hub.url + "/hub/health"}) as watcher:
            machine.run(["systemctl", "restart", "jupyterhub"])
        assert not watcher.bad("hub")

    urls: addresses by a word for each, one thread per address. session: whose cookies to send. every: seconds between
    the end of one request and the next; so the load stays bounded. patience: seconds that an answer may take.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        session: requests.Session | None = None,
        *,
        every: float = 0.02,
        patience: float = 10,
    ) -> None:
        self.answers: dict[str, list[Answer]] = {name: [] for name in urls}
        self._every, self._patience, self._stop = every, patience, threading.Event()
        self._jar = session.cookies.copy() if session else requests.cookies.RequestsCookieJar()
        self._threads = [threading.Thread(target=self._poll, args=pair) for pair in urls.items()]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def bad(self, name: str) -> list[Answer]:
        """The answers other than 200."""
        return [answer for answer in self.answers[name] if answer.status != 200]

    def slowest(self, name: str) -> float:
        """Seconds that the slowest answer took."""
        return max((answer.took for answer in self.answers[name]), default=0)

    def summary(self) -> dict[str, dict[str, object]]:
        """For each address: requests, bad ones by status, the slowest one."""
        return {
            name: {
                "requests": len(answers),
                "bad": sorted(str(answer.status) for answer in self.bad(name)),
                "slowest": round(self.slowest(name), 3),
            }
            for name, answers in self.answers.items()
        }

    def _poll(self, name: str, url: str) -> None:
        session = requests.Session()
        session.cookies.update(self._jar)
        while not self._stop.is_set():
            start = time.monotonic()
            status = self._ask(session, url)
            self.answers[name].append(Answer(start - self._began, time.monotonic() - start, status))
            self._stop.wait(self._every)

    def _ask(self, session: requests.Session, url: str) -> int | str:
        try:
            return session.get(url, timeout=self._patience, allow_redirects=False).status_code
        except requests.RequestException as broken:
            return type(broken).__name__
