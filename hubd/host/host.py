"""The machine as one value that resources are given: files, commands, accounts, units, HTTP, clock."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hubd.host import files, ports
from hubd.host.accounts import Accounts
from hubd.host.commands import Commands
from hubd.host.init import MOST_OF_PROCESS, Init, head
from hubd.host.processes import Processes
from hubd.host.systemd import Systemd
from hubd.host.web import Web
from hubd.layout import Layout


@dataclass(slots=True)
class Host:
    """Everything a resource may ask the machine or do to it.

    clock: seconds since the epoch. ticks: seconds that never jump.
    say: a sentence about what goes on, shown to whoever follows the pass.
    """

    layout: Layout
    commands: Commands
    accounts: Accounts
    init: Init
    web: Web
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = field(default=lambda words: None)
    _running: tuple[_Program, ...] | None = field(default=None, repr=False)

    def forget(self) -> None:
        """The next look is at the machine as it is then."""
        self.accounts.forget()
        self.init.forget()
        self._running = None

    def listeners(self, port: int) -> frozenset[int]:
        """The numbers of the accounts whose sockets get what is sent to 127.0.0.1 at a port; 0 is root, and so systemd."""
        return ports.listeners(port)

    def holds(self, pid: int, port: int) -> bool:
        """Whether a process has a socket that listens on a port."""
        return bool(ports.holds(pid, port))

    def is_in_use(self, folder: Path, pid: int) -> bool:
        """Whether a process works in a folder or has it open: that very one, and not one that was at its place before.

        A folder that is in use is never taken for another, as its number is not given away. True where it cannot be seen.
        """
        try:
            there = {_identity(Path(link)) for link in _used(pid)}
        except OSError:
            return True  # it has ended, or we are not root
        return _identity(folder) in there - {None}

    def processes_using(self, folder: Path) -> int:
        """How many processes run a program from `folder`, have its path on their command line, or were started in it."""
        return sum(each.uses(folder) for each in _programs())

    def running_from(self, folder: Path) -> Running:
        """The same, told apart, as it was when first asked since `forget`: for telling, and never for deciding what may go."""
        if self._running is None:
            self._running = tuple(_programs())
        found = [each.is_kernel for each in self._running if each.uses(folder)]
        return Running(kernels=sum(found), others=len(found) - sum(found))


@dataclass(frozen=True, slots=True)
class Running:
    """How many programs there are. kernels: those that notebooks run on. others: shells, scripts and the like."""

    kernels: int = 0
    others: int = 0


# How a program is told which environment it was started in: a shell there has nothing of it on its command line.
_VARIABLES = (b"CONDA_PREFIX", b"VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class _Program:
    """command: its command line. path: its file. started_in: environments, each with a `/` at its end. The last two are empty
    where this account may not know them.
    """

    command: bytes
    path: bytes
    started_in: tuple[bytes, ...] = ()

    def uses(self, folder: Path) -> bool:
        needle = os.fsencode(f"{folder}/")
        return needle in self.command or needle in self.path or any(each.startswith(needle) for each in self.started_in)

    @property
    def is_kernel(self) -> bool:
        # Whatever its language, a kernel is told by a file of this name where to listen.
        return re.search(rb"/kernel-[^/\0]*\.json(?:\0|$)", self.command) is not None


def _used(pid: int) -> list[str]:
    return [f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd"))]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _programs() -> Iterator[_Program]:
    for name in files.children(Path("/proc")):
        if name.isdigit():
            try:
                command = head(Path(f"/proc/{name}/cmdline"), MOST_OF_PROCESS)
            except OSError:
                continue
            path = b""
            with contextlib.suppress(OSError):
                path = os.fsencode(os.readlink(f"/proc/{name}/exe"))
            # Threads of the kernel have no command line, and nothing else either.
            yield _Program(command, path, _started_in(name) if command else ())


def _started_in(pid: str) -> tuple[bytes, ...]:
    try:
        variables = head(Path(f"/proc/{pid}/environ"), MOST_OF_PROCESS)
    except OSError:
        return ()
    if not any(name in variables for name in _VARIABLES):
        return ()
    found = (each.partition(b"=") for each in variables.split(b"\0"))
    return tuple(value + b"/" for name, _, value in found if name in _VARIABLES and value)


def has_systemd() -> bool:
    """Whether PID 1 of this machine is systemd."""
    return Path("/run/systemd/system").is_dir()


def local_host(layout: Layout, *, systemd: bool | None = None) -> Host:
    """This machine. systemd: None finds out."""
    commands = Commands()
    use_systemd = has_systemd() if systemd is None else systemd
    init: Init = Systemd(commands, layout.units) if use_systemd else Processes(layout.state / "units")
    return Host(layout, commands, Accounts(), init, Web())
