"""What a job is given: its specification and the doors to the machine that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.host.commands import Commands, Result
from hubd.host.web import Web
from hubd.tools.lock import Lock, parse_lock

LIMIT = 6000.0


@dataclass(frozen=True, slots=True)
class Work:
    """spec: what to do. phase: tells those who follow what is being done now."""

    spec: Mapping[str, Any]
    commands: Commands
    web: Web
    phase: Callable[[str], None]

    def path(self, key: str) -> Path:
        """A path of the specification."""
        return Path(self.spec[key])

    @property
    def lock(self) -> Lock | None:
        """The lock to build exactly; None where packages are asked for. Raises HubdError where it is none."""
        text = str(self.spec["lock"])
        return parse_lock(text) if text else None

    def run(self, argv: tuple[str, ...], **environment: str) -> Result:
        """Run a program to its end, its output going to the job's log as it comes; its exit code is not judged."""
        return self.commands.run(argv, check=False, timeout=LIMIT, environment=environment, line=_log)


def _log(line: str) -> None:
    print(line, flush=True)
