"""What people notice while the hub is changed under them: requests that fail, and the longest wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from websocket import WebSocketException

from bench import ADMIN, LOGIN, PASSWORD, Bench, Installed
from figures import Figure
from hubclient import Hub, Kernel, Person, Server
from watcher import Answer, Watcher

ROUNDS = 3
QUIET = 3.0
EVERY = 0.02
WATCHED = {"server": "the running server", "login": "the sign-in page", "kernel": "cells over a websocket"}


class Cells:
    """Runs a cell again and again over one websocket while its block runs; made like `Watcher`."""

    def __init__(self, kernel: Kernel) -> None:
        self.answers: list[Answer] = []
        self._kernel, self._over = kernel, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            start = time.monotonic()
            status = self._cell()
            self.answers.append(Answer(start - self._began, time.monotonic() - start, status))

    def _cell(self) -> int | str:
        try:
            return 200 if self._kernel.run("print(6 * 7)", timeout=10).strip() == "42" else "wrong answer"
        except (WebSocketException, OSError) as broken:
            try:
                self._kernel.connect()
            except (WebSocketException, OSError):
                return f"{type(broken).__name__}, and no new connection"
            return type(broken).__name__


def measure(bench: Bench) -> Iterable[Figure]:
    """Polls every 20 ms: a quiet spell first, then a change of the memory limit, then a restart of the hub."""
    hub = bench.installed
    hub.settle()
    address = Hub(hub.machine.url().rstrip("/"))
    person = address.sign_in(ADMIN, PASSWORD)
    server = person.start_server()
    kernel = server.start_kernel(next(iter(server.kernelspecs())))
    quiet = _watch(person, server, kernel, lambda turn: None)
    for name, change in (("a limit changes", _change_limit(hub)), ("the hub restarts", _restart_hub(hub, address))):
        watched = _watch(person, server, kernel, change)
        yield from _figures(name, watched, quiet)
        yield Figure(f"while {name}: the change itself", "s", watched.changes)
    kernel.stop()
    person.stop_server()


@dataclass(frozen=True, slots=True)
class Watched:
    """answers: by what was asked. changes: seconds that each change took, until its command and the hub were through."""

    answers: dict[str, list[Answer]]
    changes: list[float]


def _watch(person: Person, server: Server, kernel: Kernel, change: Callable[[int], None]) -> Watched:
    answers: dict[str, list[Answer]] = {name: [] for name in WATCHED}
    changes = []
    urls = {"server": f"{server.url}api/status", "login": f"{person.hub.url}{LOGIN}"}
    for turn in range(ROUNDS):
        # Signed-in people are sent on from the sign-in page: it is asked for without cookies.
        with (
            Watcher({"server": urls["server"]}, person.session, every=EVERY, patience=30) as of_server,
            Watcher({"login": urls["login"]}, every=EVERY, patience=30) as of_login,
            Cells(kernel) as cells,
        ):
            time.sleep(1)
            began = time.monotonic()
            change(turn)
            changes.append(time.monotonic() - began)
            time.sleep(QUIET)
        answers["server"] += of_server.answers["server"]
        answers["login"] += of_login.answers["login"]
        answers["kernel"] += cells.answers
    return Watched(answers, changes)


def _change_limit(hub: Installed) -> Callable[[int], None]:
    def change(turn: int) -> None:
        hub.machine.run(("hubd", "config", "set", "limits.memory", f"{1100 + turn}M"))
        hub.machine.run(("hubd", "apply"))

    return change


def _restart_hub(hub: Installed, address: Hub) -> Callable[[int], None]:
    def restart(turn: int) -> None:
        hub.machine.run(("systemctl", "restart", "jupyterhub"))
        address.wait_healthy()

    return restart


def _figures(what: str, watched: Watched, quiet: Watched) -> Iterable[Figure]:
    for name, label in WATCHED.items():
        answers = watched.answers[name]
        bad = [answer for answer in answers if answer.status != 200]
        kinds = ", ".join(sorted({str(answer.status) for answer in bad}))
        note = f"of {len(answers)} in {ROUNDS} rounds{f' ({kinds})' if bad else ''}"
        yield Figure(f"while {what}: failed, {label}", "requests", [len(bad)], aim=0, note=note)
        peers = {"when nothing happens": _longest(quiet.answers[name])}
        yield Figure(f"while {what}: longest wait, {label}", "s", [_longest(answers)], peers=peers)


def _longest(answers: Iterable[Answer]) -> float:
    return max(answer.took for answer in answers)
