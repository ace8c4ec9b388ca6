"""A defined unit that runs with its present settings, and an address that answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host
from hubd.host.init import UnitState
from hubd.host.web import Answer
from hubd.resources.base import Resource, Step
from hubd.words import plain

LOG_LINES = 60
LONGEST_LINE = 10_000
# Retried at this pace; each poll costs a few milliseconds.
POLL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Resource):
    """A unit that runs.

    settings: the digest its process must have been started with. That is read from the process itself, so a crash
    between writing a file and restarting heals at the next pass.
    folders: what its process must have in use; one that was made anew in such a place is another, and it sees it when it
    is started anew only.
    effect: what a restart means for people.
    """

    kind = "service"

    unit: str
    settings: str = ""
    folders: tuple[Path, ...] = ()
    effect: str = ""

    @property
    def name(self) -> str:
        return self.unit

    def observe(self, host: Host) -> UnitState:
        seen = host.init.state(self.unit)
        # One that was started a moment ago may not have come so far as to open them.
        lost = [folder for folder in self.folders if not seen.fresh and not host.is_in_use(folder, seen.pid)]
        return replace(seen, lost=lost[0]) if lost else seen

    def steps(self, seen: UnitState) -> tuple[Step, ...]:
        effect = f"; {self.effect}" if self.effect else ""
        if not seen.is_active:
            return (Step(f"start {self.unit}", self._start),)
        if self.settings and seen.settings != self.settings:
            return (Step(f"restart {self.unit} with its new settings{effect}", self._restart),)
        if seen.lost:
            say = f"restart {self.unit}, as another {seen.lost} is there than it was started with{effect}"
            return (Step(say, self._restart),)
        if not seen.enabled:
            return (Step(f"start {self.unit} at every boot", lambda host: host.init.start(self.unit)),)
        return ()

    def _start(self, host: Host) -> None:
        # What is starting already, at boot or by somebody's hand, is waited for: starting it anew would be a second outage.
        self._do(host, host.init.start)
        if self.settings and host.init.look(self.unit).settings != self.settings:
            self._restart(host)

    def _restart(self, host: Host) -> None:
        self._do(host, host.init.restart)

    def _do(self, host: Host, act: Callable[[str], None]) -> None:
        try:
            act(self.unit)
        except CommandFailed as error:
            told = telling_line(host.init.log(self.unit, lines=LOG_LINES))
            raise HubdError(
                f"{self.unit} does not start",
                why=f"its log says: {told}" if told else error.why,
                fix=f"Read its log: hubd logs {self.unit.removesuffix('.service')}",
                retry=True,
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering(Resource):
    """An address on this machine that answers 200.

    deadline: seconds given after its service was started. unit: whose log tells why it does not. behind: another unit
    that it takes. While one of the two does not run nobody is asked: where systemd holds the port, a connection waits.
    """

    kind = "answer"

    label: str
    url: str
    unit: str
    deadline: float
    behind: str = ""

    @property
    def name(self) -> str:
        return self.label

    def observe(self, host: Host) -> Answer:
        for unit in filter(None, (self.unit, self.behind)):
            if not host.init.state(unit).is_active:
                return Answer(0, why=f"{unit} does not run")
        return host.web.ask("GET", self.url)

    def steps(self, seen: Answer) -> tuple[Step, ...]:
        if seen.status == 200:
            return ()
        return (Step(f"wait until {self.label} answers", self._wait),)

    def _wait(self, host: Host) -> None:
        end = host.ticks() + self.deadline
        while (answer := host.web.ask("GET", self.url)).status != 200:
            if host.ticks() >= end:
                raise self._silent(host, answer)
            host.sleep(POLL)

    def _silent(self, host: Host, answer: Answer) -> HubdError:
        told = telling_line(host.init.log(self.unit, lines=LOG_LINES))
        answered = f"it answers {answer.status}" if answer.status else answer.why
        return HubdError(
            f"{self.label} does not answer within {self.deadline:.0f} seconds",
            why=f"{answered}; its log says: {told}" if told else answered,
            fix=f"Read its log: hubd logs {self.unit.removesuffix('.service')}",
            retry=True,
        )


_TELLING = re.compile(r"error|critical|exception|denied|refused|in use|no such|failed|does not start", re.IGNORECASE)

# What systemd adds to the log of a unit says that it failed, never why.
_SYSTEMD = re.compile(r"\S+\.(service|socket): |Failed to start |Start(ed|ing) |Stopp(ed|ing) ")


def telling_line(lines: tuple[str, ...]) -> str:
    """The line of a log that most likely tells why a program did not come up: the last that names an error."""
    shown = [plain(line, LONGEST_LINE) for line in lines]
    spoken = [line for line in shown if line and not _SYSTEMD.match(line)]
    telling = [line for line in spoken if _TELLING.search(line)]
    chosen = telling or spoken or [line for line in shown if line]
    return plain(chosen[-1], 400) if chosen else ""
