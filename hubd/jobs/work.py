"""What a job is given: its specification and the doors to the machine that it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.errors import CommandFailed
from hubd.host.commands import Commands, Result
from hubd.host.web import Web
from hubd.tools.job_limits import JobLimits, took_too_long
from hubd.tools.lock import Lock, parse_lock


@dataclass(frozen=True, slots=True)
class Work:
    """spec: what to do. phase: tells those who follow what is being done now. began: in seconds that never jump.

    doing: what `phase` was told last.
    """

    spec: Mapping[str, Any]
    commands: Commands
    web: Web
    phase: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    doing: Callable[[], str] = str

    def path(self, key: str) -> Path:
        """A path of the specification."""
        return Path(self.spec[key])

    @property
    def lock(self) -> Lock | None:
        """The lock to build exactly; None where packages are asked for. Raises HubdError where it is none."""
        text = str(self.spec["lock"])
        return parse_lock(text) if text else None

    def run(self, argv: tuple[str, ...], **environment: str) -> Result:
        """Run a program to its end, its output going to the job's log as it comes; its exit code is not judged.

        Raises HubdError when the job's time is over, which ends the program. systemd would end the whole job then; where
        there is none, nobody else does.
        """
        limits = JobLimits(**self.spec["limits"])
        left = max(0.0, self.began + limits.time - time.monotonic())
        try:
            return self.commands.run(argv, check=False, timeout=left, environment=environment, line=_log)
        except CommandFailed as error:
            raise took_too_long(str(self.spec["job"]), limits, self.doing()) from error


def _log(line: str) -> None:
    print(line, flush=True)
