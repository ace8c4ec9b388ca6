"""What a job is given: its specification and the doors to the machine that it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.errors import CommandFailed, HubdError
from hubd.host.commands import Commands, Leash, Line, Result
from hubd.host.web import Web
from hubd.tools.job_limits import JobLimits, took_too_long
from hubd.tools.lock import Lock, parse_lock
from hubd.words import shown


@dataclass(frozen=True, slots=True)
class Work:
    """spec: what to do. phase: tells those who follow what is being done now. began: in seconds that never jump.

    doing: what `phase` was told last. heard: tells those who follow what a program printed last. end_all: ends whatever the
    programs that ran have left behind; nothing runs beside it.
    """

    spec: Mapping[str, Any]
    commands: Commands
    web: Web
    phase: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    doing: Callable[[], str] = str
    heard: Callable[[str], object] = str
    end_all: Callable[[], None] = lambda: None

    def path(self, key: str) -> Path:
        """A path of the specification."""
        return Path(self.spec[key])

    @property
    def lock(self) -> Lock | None:
        """The lock to build exactly; None where packages are asked for. Raises HubdError where it is none."""
        text = str(self.spec["lock"])
        return parse_lock(text) if text else None

    @property
    def left(self) -> float:
        """Seconds of the job's time that are left."""
        return max(0.0, self.began + self._limits.time - time.monotonic())

    @property
    def _limits(self) -> JobLimits:
        return JobLimits(**self.spec["limits"])

    def run(
        self, argv: tuple[str, ...], *, stdin: bytes = b"", line: Line | None = None, quiet: bool = False,
        leash: Leash | None = None, **environment: str,
    ) -> Result:  # fmt: skip
        """Run a program to its end, its output going to the job's log as it comes; its exit code is not judged.

        stdin: what it reads. line: what hears each line of its output instead of the log. quiet: whether nobody does.
        leash: lets another thread end it.

        Raises HubdError when the job's time is over, which ends the program. systemd would end the whole job then; where
        there is none, nobody else does.
        """
        hear = None if quiet else line or self.log
        try:
            return self.commands.run(
                argv, check=False, timeout=self.left, stdin=stdin, environment=environment, line=hear, leash=leash
            )
        except CommandFailed as error:
            raise self._too_long() from error

    def log(self, line: str) -> None:
        """A line for the job's log, and for those who follow: both in a terminal, which whatever printed it is not to steer."""
        print(shown(line), flush=True)
        self.heard(line)

    def check_time(self) -> None:
        """Raise HubdError when the job's time is over, for those who give a program less time than that."""
        if not self.left:
            raise self._too_long()

    def _too_long(self) -> HubdError:
        return took_too_long(str(self.spec["job"]), self._limits, self.doing())
