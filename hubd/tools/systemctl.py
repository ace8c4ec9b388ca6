"""systemctl, systemd-run and journalctl: argv tuples and the parser of `show`. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hubd.tools.program import Program

Argv = tuple[str, ...]

SHOWN = (
    "Id", "LoadState", "ActiveState", "SubState", "MainPID", "NeedDaemonReload", "UnitFileState", "Result",
    "NRestarts", "ExecMainStatus", "MemoryMax", "CPUQuotaPerSecUSec", "Listen",
)  # fmt: skip


def show(names: Iterable[str]) -> Argv:
    """All the named units (patterns allowed) in one call."""
    return ("systemctl", "show", f"--property={','.join(SHOWN)}", "--", *names)


def parse_show(text: str) -> Iterator[dict[str, str]]:
    """One mapping a unit from the output of `show`."""
    for block in text.strip().split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
        unit = {key: value for key, _, value in pairs}
        if "Id" in unit:
            yield unit


def control(verb: str, *names: str, block: bool = True, order: bool = True) -> Argv:
    """`systemctl VERB NAME…` for verbs that change a unit.

    order: False does it now, whatever other units are ordered before it.
    """
    options = (*(() if block else ("--no-block",)), *(() if order else ("--job-mode=ignore-dependencies",)))
    return ("systemctl", verb, "--quiet", *options, "--", *names)


def daemon_reload() -> Argv:
    """Make systemd read its unit files again."""
    return ("systemctl", "daemon-reload")


def set_property(name: str, pairs: Iterable[tuple[str, str]]) -> Argv:
    """Change limits of a running unit, until it stops."""
    return ("systemctl", "set-property", "--runtime", "--", name, *(f"{key}={value}" for key, value in pairs))


def run_transient(program: Program) -> Argv:
    """Start a program as a transient unit that disappears when it ends; one that is remembered only if it ended well."""
    properties = [*program.properties, *program.relations]
    if program.environment_file:
        properties.append(("EnvironmentFile", str(program.environment_file)))
    return (
        "systemd-run",
        "--quiet",
        *(() if program.remembered else ("--collect",)),
        f"--unit={program.name}",
        f"--description={program.description}",
        f"--working-directory={program.directory}",
        f"--service-type={program.kind}",
        *((f"--uid={program.user}",) if program.user else ()),
        *(f"--property={key}={value}" for key, value in properties),
        *(f"--setenv={key}={value}" for key, value in program.variables),
        "--",
        *program.argv,
    )


def journal(name: str, *, lines: int, follow: bool = False) -> Argv:
    """The newest lines of a unit's log, oldest first."""
    return (
        "journalctl", f"--unit={name}", f"--lines={lines}", "--no-pager", "--quiet",
        *(("--follow", "--output=short") if follow else ("--output=cat",)),
    )  # fmt: skip


def unit_path(units: Path, name: str) -> Path:
    """The file of a unit of the administrator's."""
    return units / name
