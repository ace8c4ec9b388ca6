"""Units on a machine whose PID 1 is systemd."""

from __future__ import annotations

import fnmatch
import subprocess
import threading
from collections.abc import Generator, Iterable
from pathlib import Path

from hubd.errors import CommandFailed
from hubd.host import files, ports
from hubd.host.commands import Commands, clean_environment
from hubd.host.init import UnitState, process_settings
from hubd.tools import systemctl
from hubd.tools.program import SETTINGS_VARIABLE, Listener, Program, service_text, socket_text
from hubd.words import plain

START_LIMIT = 90.0


class Systemd:
    """Drives systemd through its commands; one `show` a pass answers for all units."""

    name = "systemd"
    enforces = True

    def __init__(self, commands: Commands, units: Path) -> None:
        self._commands, self._units = commands, units
        self._seen: dict[str, UnitState] | None = None
        # A look that has begun before a change must not be kept after it.
        self._guard = threading.Lock()

    def render(self, unit: Program | Listener) -> str:
        return service_text(unit) if isinstance(unit, Program) else socket_text(unit)

    def definition(self, name: str) -> str | None:
        data = files.read(systemctl.unit_path(self._units, name))
        return None if data is None else data.decode(errors="replace")

    def define(self, unit: Program | Listener) -> None:
        path = systemctl.unit_path(self._units, unit.name)
        files.write_atomic(path, self.render(unit).encode(), mode=0o644)
        self._change(systemctl.daemon_reload())

    def undefine(self, name: str) -> None:
        self.stop(name)
        self._commands.run(systemctl.control("disable", name), check=False, timeout=START_LIMIT)
        files.remove(systemctl.unit_path(self._units, name))
        self._change(systemctl.daemon_reload())

    def state(self, name: str) -> UnitState:
        seen = self._all()
        return seen.get(name) or UnitState(name)

    def look(self, name: str) -> UnitState:
        result = self._commands.run(systemctl.show((name,)), check=False)
        units = [_state(unit) for unit in systemctl.parse_show(result.out)]
        return units[0] if units else UnitState(name)

    def states(self, pattern: str) -> dict[str, UnitState]:
        return {name: state for name, state in self._all().items() if fnmatch.fnmatchcase(name, pattern)}

    def forget(self) -> None:
        with self._guard:
            self._seen = None

    def _all(self) -> dict[str, UnitState]:
        with self._guard:
            if self._seen is None:
                self._seen = self._look_at_all()
            return self._seen

    def _look_at_all(self) -> dict[str, UnitState]:
        names = ("hubd*.service", "hubd*.socket", "jupyterhub*.service", "jupyterhub*.socket")
        # `show` with patterns lists only loaded units; the defined ones are named so that stopped ones are seen.
        defined = [name for name in files.children(self._units) if _is_ours(name)]
        result = self._commands.run(systemctl.show((*names, *defined)), check=False)
        return {unit["Id"]: _state(unit) for unit in systemctl.parse_show(result.out)}

    def start(self, name: str) -> None:
        self._reload_if_stale(name)
        self._change(systemctl.control("reset-failed", name), check=False)
        self._change(systemctl.control("enable", name))
        self._change(systemctl.control("start", name, order=not name.endswith(".service")))

    def restart(self, name: str) -> None:
        self._reload_if_stale(name)
        self._change(systemctl.control("reset-failed", name), check=False)
        self._change(systemctl.control("enable", name))
        # The hub comes after hubd at boot. While hubd is being stopped, in mid-pass, that would make each wait for the other.
        self._change(systemctl.control("restart", name, order=not name.endswith(".service")))

    def stop(self, name: str) -> None:
        self._change(systemctl.control("stop", name), check=False)

    def clear(self, name: str) -> None:
        self.stop(name)
        self._change(systemctl.control("reset-failed", name), check=False)

    def run(self, program: Program) -> None:
        # A unit of that name that failed stays loaded and would refuse its successor.
        self._change(systemctl.control("reset-failed", program.name), check=False)
        try:
            self._change(systemctl.run_transient(program))
        except CommandFailed as error:
            # Why a unit could not even begin systemd tells its log alone.
            said = self.log(program.name, lines=1)
            error.why = error.why or plain(said[-1] if said else "")
            raise

    def set_limits(self, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        self._change(systemctl.set_property(name, pairs))

    def log(self, name: str, *, lines: int) -> tuple[str, ...]:
        result = self._commands.run(systemctl.journal(name, lines=lines), check=False)
        return tuple(result.out.splitlines())

    def follow(self, name: str, *, lines: int) -> Generator[str, None, None]:
        argv = systemctl.journal(name, lines=lines, follow=True)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
            assert process.stdout
            try:
                yield from (line.rstrip("\n") for line in process.stdout)
            finally:
                process.terminate()

    def _reload_if_stale(self, name: str) -> None:
        if self.state(name).stale:
            self._change(systemctl.daemon_reload())

    def _change(self, argv: tuple[str, ...], *, check: bool = True) -> None:
        try:
            self._commands.run(argv, check=check, timeout=START_LIMIT)
        except CommandFailed as error:
            error.retry = True
            raise
        finally:
            self.forget()


def _is_ours(name: str) -> bool:
    return name.startswith(("hubd", "jupyterhub")) and name.endswith((".service", ".socket"))


def _state(unit: dict[str, str]) -> UnitState:
    pid = int(unit.get("MainPID") or 0)
    return UnitState(
        name=unit["Id"],
        known=unit.get("LoadState") == "loaded",
        active=unit.get("ActiveState", "inactive"),
        sub=unit.get("SubState", ""),
        pid=pid,
        settings=process_settings(pid, SETTINGS_VARIABLE) if pid else "",
        stale=unit.get("NeedDaemonReload") == "yes",
        enabled=unit.get("UnitFileState") == "enabled",
        result=unit.get("Result", ""),
        restarts=int(unit.get("NRestarts") or 0),
        memory=unit.get("MemoryMax", ""),
        cpu=unit.get("CPUQuotaPerSecUSec", ""),
        listen=_held(unit.get("Listen", "")),
    )


def _held(listen: str, proc: Path = Path("/proc")) -> str:
    """`listen` when PID 1 really holds that port, else nothing.

    systemd lets go of a socket whose address changes while it is held, and goes on showing it as active at the new one.
    """
    port = listen.partition(" ")[0].rpartition(":")[2]
    # Who is not root cannot see it, and believes systemd.
    return "" if port.isdigit() and ports.holds(1, int(port), proc) is False else listen
