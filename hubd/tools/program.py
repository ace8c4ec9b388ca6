"""A long-running program as a value, and its systemd unit text. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

SETTINGS_VARIABLE = "HUBD_SETTINGS"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One service, job or person's server.

    name: the unit's name, `jupyterhub.service`.
    argv: the words of the command; the first is an absolute path.
    user: the account it runs as; empty means root.
    environment: variables it is started with, besides a small fixed set.
    environment_file: a root-only file with more variables (secrets); systemd's syntax.
    properties: further lines of the unit's [Service] section: sandbox and limits.
    relations: lines of the unit's [Unit] section.
    restart: started again whenever it ends.
    install: started at boot.
    remembered: where it runs undefined, that it ended badly and how stays known until its next start.
    settings: a digest of everything it reads at its start. It is put into the environment of the process, so that
        whether a running process has the present settings can be seen on the process itself.
    """

    name: str
    description: str
    argv: tuple[str, ...]
    user: str = ""
    directory: Path = Path("/")
    environment: Pairs = ()
    environment_file: Path | None = None
    properties: Pairs = ()
    relations: Pairs = ()
    restart: bool = True
    install: bool = True
    remembered: bool = False
    kind: str = "exec"
    settings: str = ""

    @property
    def variables(self) -> Pairs:
        return self.environment + (((SETTINGS_VARIABLE, self.settings),) if self.settings else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening socket that is held for a program, so that the program can restart without losing a connection.

    name: the socket unit's name; service: the program it is handed to, and that a connection starts where it does not run;
    address: as in `ListenStream=`; descriptor: the name the program looks for among the sockets it is given.
    """

    name: str
    description: str
    service: str
    address: str
    descriptor: str


def with_settings(program: Program, settings: str) -> Program:
    """The same program, started with other settings."""
    return replace(program, settings=settings)


def quote(word: str) -> str:
    """One word of a unit file's `ExecStart=` or `Environment=`, safe from systemd's quoting, `%` and `$` rules."""
    if any(ord(letter) < 32 for letter in word):
        raise ValueError(f"control character in {word!r}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def command_line(argv: Iterable[str]) -> str:
    """`ExecStart=` text of an argv; `$` is doubled so that systemd expands nothing."""
    return " ".join(quote(word.replace("$", "$$")) for word in argv)


def service_text(program: Program) -> str:
    """The unit file of a program."""
    lines = ["# Written by hubd; changes here are undone.", "[Unit]", f"Description={program.description}"]
    lines += [f"{key}={value}" for key, value in program.relations]
    lines += ["", "[Service]", f"Type={program.kind}", f"ExecStart={command_line(program.argv)}"]
    if program.user:
        lines += [f"User={program.user}"]
    lines += [f"WorkingDirectory={program.directory}"]
    lines += [f"Environment={quote(f'{key}={value}')}" for key, value in program.variables]
    if program.environment_file:
        lines += [f"EnvironmentFile=-{program.environment_file}"]
    if program.restart:
        lines += ["Restart=always", "RestartSec=1"]
    lines += [f"{key}={value}" for key, value in program.properties]
    if program.install:
        lines += ["", "[Install]", "WantedBy=multi-user.target"]
    return "\n".join(lines) + "\n"


def socket_text(listener: Listener) -> str:
    """The unit file of a listener."""
    return "\n".join(
        [
            "# Written by hubd; changes here are undone.",
            "[Unit]",
            f"Description={listener.description}",
            "StartLimitIntervalSec=0",
            "",
            "[Socket]",
            f"ListenStream={listener.address}",
            f"FileDescriptorName={listener.descriptor}",
            f"Service={listener.service}",
            "Backlog=4096",
            # Restarts in quick succession must not close the public port.
            "TriggerLimitIntervalSec=0",
            "BindIPv6Only=both",
            "",
            "[Install]",
            "WantedBy=sockets.target",
            "",
        ]
    )


def environment_file_text(variables: Iterable[tuple[str, str]]) -> str:
    """The text of an `EnvironmentFile=`: double quotes with backslash escapes, as systemd reads them.

    Values may hold JSON; a line break is refused because the format cannot carry it safely.
    """
    lines = []
    for key, value in variables:
        if "\n" in value or "\0" in value:
            raise ValueError(f"line break in the value of {key}")
        escaped = "".join("\\" + letter if letter in '\\"`$' else letter for letter in value)
        lines.append(f'{key}="{escaped}"\n')
    return "".join(lines)
