"""Units on a machine without systemd: hubd starts the programs itself and finds them again by their process ids.

Sandbox and limits are not enforced here. A program is alive while the process with its recorded id and start time is,
so hubd may restart and take its programs over; what died is started again by the next pass. What a program starts carries
the program's mark in its environment, as it may outlive it in a session of its own.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.commands import clean_environment
from hubd.host.init import UnitState, process_settings
from hubd.tools.program import SETTINGS_VARIABLE, Listener, Program

STOP_LIMIT = 15.0
# For what a program leaves behind, to end by itself once it is asked to.
REST_LIMIT = 2.0
# How long a program may take until it has opened what it works with; here nobody waits for its word that it is ready.
FRESH = 60.0

MARK_VARIABLE = "HUBD_UNIT"


def handed_on() -> dict[str, str]:
    """The mark of this program, for those that it starts in an environment of its own making."""
    return {name: value for name, value in os.environ.items() if name == MARK_VARIABLE}


class Processes:
    """Supervises programs as plain processes, described by JSON files in one folder."""

    name = "hubd"
    enforces = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def render(self, unit: Program | Listener) -> str:
        if isinstance(unit, Listener):
            raise HubdError(f"{unit.name} cannot be held", why="listening sockets are held by systemd only")
        return json.dumps(asdict(unit), indent=1, default=str) + "\n"

    def definition(self, name: str) -> str | None:
        data = files.read(self._folder / f"{name}.json")
        return None if data is None else data.decode(errors="replace")

    def define(self, unit: Program | Listener) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_atomic(self._folder / f"{unit.name}.json", self.render(unit).encode(), mode=0o600)

    def undefine(self, name: str) -> None:
        self.stop(name)
        files.remove(self._folder / f"{name}.json")

    def state(self, name: str) -> UnitState:
        definition = self._load(name)
        running = self._running(name)
        ended = bool(running) and not _alive(running)
        if not running or ended:
            return UnitState(name, bool(definition), "failed" if ended else "inactive", enabled=bool(definition))
        pid = int(running["pid"])
        settings = process_settings(pid, SETTINGS_VARIABLE)
        return UnitState(name, True, "active", "running", pid, settings, fresh=_age(pid) < FRESH, enabled=True)

    def look(self, name: str) -> UnitState:
        return self.state(name)

    def states(self, pattern: str) -> dict[str, UnitState]:
        names = {name.removesuffix(".pid") for name in files.children(self._folder) if name.endswith(".pid")}
        names |= {name.removesuffix(".json") for name in files.children(self._folder) if name.endswith(".json")}
        return {name: self.state(name) for name in names if fnmatch.fnmatchcase(name, pattern)}

    def forget(self) -> None:
        """Nothing is kept: every question looks at the processes."""

    def start(self, name: str) -> None:
        definition = self._load(name)
        if definition is None:
            raise HubdError(f"{name} is not defined")
        if not self.state(name).is_active:
            self.run(_program(definition))

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def stop(self, name: str) -> None:
        running = self._running(name)
        if running and _alive(running):
            _end_group(running)
        _end_marked(self._mark(name))
        files.remove(self._folder / f"{name}.pid")

    def clear(self, name: str) -> None:
        self.stop(name)
        files.remove(self._folder / f"{name}.log")

    def run(self, program: Program) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.state(program.name).is_active:
            raise HubdError(f"{program.name} is already running")
        _end_rest(self._running(program.name))
        _end_marked(self._mark(program.name))
        log = os.open(self._folder / f"{program.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = _spawn(program, log, self._mark(program.name))
        except (OSError, KeyError) as error:
            raise HubdError(f"{program.name} could not be started", why=str(error), retry=True) from error
        finally:
            os.close(log)
        self.adopt(program.name, process.pid)

    def adopt(self, name: str, pid: int) -> None:
        """From now on this process is the unit: one that somebody else started (a container's start command)."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = {"pid": pid, "started": _started(pid)}
        files.write_atomic(self._folder / f"{name}.pid", json.dumps(mark).encode(), mode=0o600)

    def set_limits(self, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Limits are not enforced without systemd; `enforces` says so."""

    def log(self, name: str, *, lines: int) -> tuple[str, ...]:
        data = files.read(self._folder / f"{name}.log") or b""
        return tuple(data.decode(errors="replace").splitlines()[-lines:])

    def follow(self, name: str, *, lines: int) -> Generator[str, None, None]:
        path = self._folder / f"{name}.log"
        yield from self.log(name, lines=lines)
        while not path.exists():  # it was never started here
            time.sleep(0.2)
        with path.open(errors="replace") as stream:
            stream.seek(0, os.SEEK_END)
            while True:
                line = stream.readline()
                if line:
                    yield line.rstrip("\n")
                else:
                    time.sleep(0.2)

    def _mark(self, name: str) -> str:
        # There may be several hubs on a machine, each with its own folder.
        return str(self._folder.absolute() / name)

    def _load(self, name: str) -> dict[str, Any] | None:
        text = self.definition(name)
        try:
            return dict(json.loads(text)) if text else None
        except ValueError:
            return None

    def _running(self, name: str) -> dict[str, Any]:
        try:
            mark = dict(json.loads(files.read(self._folder / f"{name}.pid") or b"{}"))
        except (ValueError, TypeError):
            return {}
        # 0 and less would mean whole groups, our own among them.
        return mark if isinstance(mark.get("pid"), int) and mark["pid"] > 1 else {}


def _program(definition: dict[str, Any]) -> Program:
    definition["argv"] = tuple(definition["argv"])
    definition["directory"] = Path(definition["directory"])
    file = definition["environment_file"]
    definition["environment_file"] = Path(file) if file else None
    for key in ("environment", "properties", "relations"):
        definition[key] = tuple((name, value) for name, value in definition[key])
    return Program(**definition)


def _started(pid: int) -> str:
    """A process's start time in clock ticks, which tells it from a later one with the same id; empty when gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _age(pid: int) -> float:
    """Seconds since a process was started."""
    ticks = _started(pid)
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - int(ticks) / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _alive(mark: dict[str, Any]) -> bool:
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(int(mark["pid"]), os.WNOHANG)
    return bool(mark.get("started")) and _started(int(mark["pid"])) == mark["started"]


def _end_group(mark: dict[str, Any]) -> None:
    pid = int(mark["pid"])
    for number, limit in ((signal.SIGTERM, STOP_LIMIT), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            # One that somebody else started need not lead a group of its own.
            (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if not _alive(mark):
                return
            time.sleep(0.05)


def _end_rest(mark: dict[str, Any]) -> None:
    """End what a program that died left behind: its children may still hold its port."""
    if mark and _started(int(mark["pid"])) == "":  # a number that was given to somebody else is left alone
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(mark["pid"]), signal.SIGKILL)


def _end_marked(mark: str) -> None:
    """End what a program left behind in sessions of its own: a build's uv goes on where its job was killed."""
    for number, limit in ((signal.SIGTERM, REST_LIMIT), (signal.SIGKILL, REST_LIMIT)):
        deadline = time.monotonic() + limit
        asked: set[int] = set()
        while left := _marked(mark):
            for pid in set(left) - asked:
                _send_signal(pid, mark, number)
            asked.update(left)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def _marked(mark: str) -> list[int]:
    pids = (int(name) for name in files.children(Path("/proc")) if name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and process_settings(pid, MARK_VARIABLE) == mark]


def _send_signal(pid: int, mark: str, number: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # it has ended
        return
    try:
        # Asked again: the number may have gone to somebody else, and the handle never does.
        if process_settings(pid, MARK_VARIABLE) == mark:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass
    finally:
        os.close(handle)


def _groups(account: str) -> list[int]:
    import pwd

    return os.getgrouplist(account, pwd.getpwnam(account).pw_gid)


def _read_environment_file(path: Path) -> dict[str, str]:
    variables = {}
    for line in (files.read(path) or b"").decode().splitlines():
        name, _, value = line.partition("=")
        if name and value[:1] == '"' == value[-1:]:
            inner = iter(value[1:-1])
            variables[name] = "".join(next(inner, "") if letter == "\\" else letter for letter in inner)
    return variables


def _spawn(program: Program, log: int, mark: str) -> subprocess.Popen[bytes]:
    account = program.user or None
    environment = clean_environment(dict(program.variables))
    if program.environment_file:
        environment |= _read_environment_file(program.environment_file)
    environment[MARK_VARIABLE] = mark
    return subprocess.Popen(
        program.argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        cwd=program.directory,
        user=account,
        group=account,
        extra_groups=_groups(account) if account else None,
        umask=int(dict(program.properties).get("UMask", "0022"), 8),
        start_new_session=True,
    )
