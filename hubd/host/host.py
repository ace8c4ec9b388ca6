"""The machine as one value that resources are given: files, commands, accounts, units, HTTP, clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hubd.host import files, ports
from hubd.host.accounts import Accounts
from hubd.host.commands import Commands
from hubd.host.init import Init
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

    def forget(self) -> None:
        """The next look is at the machine as it is then."""
        self.accounts.forget()
        self.init.forget()

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
        """How many processes run a program from `folder` or have its path on their command line."""
        needle = os.fsencode(f"{folder}/")
        return sum(needle in command for command in _command_lines())


def _used(pid: int) -> list[str]:
    return [f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd"))]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _command_lines() -> Iterator[bytes]:
    for name in files.children(Path("/proc")):
        if name.isdigit():
            try:
                yield Path(f"/proc/{name}/cmdline").read_bytes()
                yield os.fsencode(os.readlink(f"/proc/{name}/exe"))
            except OSError:
                continue


def has_systemd() -> bool:
    """Whether PID 1 of this machine is systemd."""
    return Path("/run/systemd/system").is_dir()


def local_host(layout: Layout, *, systemd: bool | None = None) -> Host:
    """This machine. systemd: None finds out."""
    commands = Commands()
    use_systemd = has_systemd() if systemd is None else systemd
    init: Init = Systemd(commands, layout.units) if use_systemd else Processes(layout.state / "units")
    return Host(layout, commands, Accounts(), init, Web())
