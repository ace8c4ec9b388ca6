"""The machine that most benchmarks share: installed once by bootstrap.py, timed while it is, and given people to hold."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import requests

from base_tree import base_tree
from machine import Machine

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = "/opt/hub/hub/bin/python"
CONFIG = "/opt/hub/config.yaml"
ADMIN = "ada"
PASSWORD = "a word only for benchmarks"
LOGIN = "/hub/login"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run of a program took: wall and cpu in seconds, memory (highest resident size) in MiB."""

    wall: float
    cpu: float
    memory: float
    code: int


@dataclass(frozen=True, slots=True)
class Installed:
    """A machine with a hub. to_login: seconds from bootstrap.py's start to the sign-in page; to_end: until it ended."""

    machine: Machine
    to_login: float
    to_end: float

    def take(self, commands: Mapping[str, Sequence[str]], *, rounds: int, pause: float = 0.0) -> dict[str, list[Taken]]:
        """Run commands in turns in the machine; `{round}` in a word is the turn's number.

        :raises AssertionError: one of them failed.
        """
        order = {"rounds": rounds, "pause": pause, "commands": commands}
        self.machine.copy_in(Path(__file__).with_name("stopwatch.py"), "/root/stopwatch.py")
        done = self.machine.run((PYTHON, "/root/stopwatch.py", json.dumps(order)), timeout=900)
        taken = {name: [Taken(**each) for each in runs] for name, runs in json.loads(done.out).items()}
        for name, runs in taken.items():
            if codes := {each.code for each in runs if each.code}:
                raise AssertionError(f"{name} ended with {codes}")
        return taken

    def put_config(self, text: str) -> None:
        """Put another config.yaml in place, by one rename as an editor would."""
        self.machine.write(f"{CONFIG}.new", text, mode=0o640)
        self.machine.shell(f"chgrp hubd-admins {CONFIG}.new && mv {CONFIG}.new {CONFIG}")

    def settle(self) -> None:
        """Follow passes and builds until nothing is left to do. :raises AssertionError: something failed."""
        self.machine.run(("hubd", "apply", "--yes", "--wait"), timeout=900)

    def main_pid(self, unit: str) -> int:
        return int(self.machine.run(("systemctl", "show", "--value", "--property=MainPID", unit)).out)


class Bench:
    """Gives benchmarks their machines, one at a time, and keeps the shared one until the end of its block."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        self.base = self._stack.enter_context(base_tree())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def installed(self) -> Installed:
        """The shared machine, its downloads from the cache that test machines share."""
        return self._stack.enter_context(self.new(share_cache=True))

    @contextmanager
    def new(self, *, share_cache: bool) -> Iterator[Installed]:
        """A fresh machine, installed."""
        with Machine("bench", self.base, share_cache=share_cache) as machine:
            yield install(machine)


def install(machine: Machine) -> Installed:
    """Run the checkout's bootstrap.py in a bare machine, and see when the sign-in page answers."""
    machine.copy_in(CHECKOUT, "/root/hubd")
    machine.write("/root/password", PASSWORD, mode=0o600)
    answered: list[float] = []
    over = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not over.is_set() and not answered:
            if _answers(machine.url(path=LOGIN)):
                answered.append(time.monotonic() - began)
            over.wait(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        words = ("python3", "/root/hubd/bootstrap.py", "--admin", ADMIN, "--admin-password-file", "/root/password", "--yes")
        machine.run(words, timeout=1200)
        ended = time.monotonic() - began
    finally:
        over.set()
        watcher.join()
    if not answered:
        raise AssertionError("bootstrap.py ended well, and the sign-in page does not answer")
    return Installed(machine, answered[0], ended)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False
