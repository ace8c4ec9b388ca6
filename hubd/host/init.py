"""What hubd asks of the thing that starts programs: systemd, or hubd itself where there is no systemd."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hubd.tools.program import Listener, Program


@dataclass(frozen=True, slots=True)
class UnitState:
    """How a unit is right now.

    active: systemd's word: active, activating, inactive, failed.
    pid: the main process, 0 when there is none.
    settings: the digest of the settings the running process was started with.
    lost: a folder that it should have in use and has not.
    fresh: it was started a moment ago, and nobody says when it is ready.
    stale: its file changed since it was read. listen: the address of a listening socket, as systemd shows it.
    """

    name: str
    known: bool = False
    active: str = "inactive"
    sub: str = "dead"
    pid: int = 0
    settings: str = ""
    lost: Path | None = None
    fresh: bool = False
    stale: bool = False
    enabled: bool = False
    result: str = ""
    restarts: int = 0
    memory: str = ""
    cpu: str = ""
    listen: str = ""

    @property
    def is_active(self) -> bool:
        return self.active in ("active", "reloading")

    @property
    def is_going(self) -> bool:
        return self.active in ("active", "activating", "reloading", "deactivating")


class Init(Protocol):
    """Starts, stops and describes programs.

    name: `systemd` or `hubd`. enforces: whether sandbox and limits of a program are really enforced.
    """

    name: str
    enforces: bool

    def render(self, unit: Program | Listener) -> str:
        """The definition of a unit as text, as `definition` gives it back."""

    def definition(self, name: str) -> str | None:
        """The definition that is in place, or None."""

    def define(self, unit: Program | Listener) -> None:
        """Put a definition in place; nothing is started."""

    def undefine(self, name: str) -> None:
        """Stop a unit and take its definition away."""

    def state(self, name: str) -> UnitState:
        """How a unit is; cheap after `states` was asked for it in the same pass."""

    def look(self, name: str) -> UnitState:
        """How a unit is at this very moment."""

    def states(self, pattern: str) -> dict[str, UnitState]:
        """All units whose names match a pattern with `*`."""

    def forget(self) -> None:
        """Look at the machine again at the next question."""

    def start(self, name: str) -> None:
        """Start a defined unit, and at every boot."""

    def restart(self, name: str) -> None:
        """Stop and start a defined unit so that it has its present settings."""

    def stop(self, name: str) -> None:
        """Stop a unit; it is fine when it does not run."""

    def clear(self, name: str) -> None:
        """Stop a unit that is not defined anywhere, and forget how it ended."""

    def run(self, program: Program) -> None:
        """Start a program that is not defined anywhere: a job or a person's server."""

    def set_limits(self, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Change the limits of a running unit."""

    def log(self, name: str, *, lines: int) -> tuple[str, ...]:
        """The newest lines a unit printed, oldest first."""

    def follow(self, name: str, *, lines: int) -> Generator[str, None, None]:
        """The newest lines and then each new one as it comes; closing it ends the program that they come from."""


# Bytes that are looked at of a command line or of variables: a process can make its own as large as its memory.
MOST_OF_PROCESS = 1024 * 1024


def head(path: Path, most: int) -> bytes:
    """What a file of /proc begins with. Raises OSError."""
    found = bytearray()
    with open(path, "rb", buffering=0) as stream:
        # The system gives a page at a time.
        while len(found) < most and (more := stream.read(most - len(found))):
            found += more
    return bytes(found)


def process_settings(pid: int, variable: str, proc: Path = Path("/proc")) -> str:
    """The value of a variable in the environment a process was started with; empty when it cannot be seen."""
    try:
        data = head(proc / str(pid) / "environ", MOST_OF_PROCESS)
    except OSError:
        return ""
    start = f"{variable}=".encode()
    for pair in data.split(b"\0"):
        if pair.startswith(start):
            return pair[len(start) :].decode(errors="replace")
    return ""
