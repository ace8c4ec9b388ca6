"""A machine that is not there: programs that answer from a table, accounts, units and HTTP in memory. For unit tests."""

from __future__ import annotations

import fnmatch
import json
import os
import urllib.parse
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host, files
from hubd.host.accounts import Account
from hubd.host.commands import Result
from hubd.host.host import Running
from hubd.host.init import UnitState
from hubd.host.web import Answer
from hubd.layout import Layout
from hubd.resources.base import Memo, Progress, Resource, Step
from hubd.tools.program import Listener, Program

# The names of owners, and by path the numbers of those who own something.
Kept = tuple[list[str], dict[Path, tuple[int, int]]]
Handler = Callable[[tuple[str, ...]], str | int | None]


class FakeCommands:
    """ran: every argv. answers: from the first words of an argv to its output, or to its exit code when a number."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.options: list[dict[str, Any]] = []
        self.answers: dict[tuple[str, ...], str | int | Handler] = {}

    def run(self, argv: tuple[str, ...], *, check: bool = True, **options: Any) -> Result:
        self.ran.append(argv)
        self.options.append({"check": check, **options})
        answer: Any = ""
        for start in sorted(self.answers, key=len, reverse=True):
            if argv[: len(start)] == start:
                answer = self.answers[start]
                break
        if callable(answer):
            answer = answer(argv)
        code, out = (answer, "it went wrong") if isinstance(answer, int) and answer else (0, str(answer or ""))
        if check and code:
            raise CommandFailed(argv, code=code, output=out)
        return Result(argv, code, out if not code else "", out if code else "")


class FakeAccounts:
    """people: name to account. groups: name to members. asked: how often it was made to look again."""

    def __init__(self) -> None:
        self.people: dict[str, Account] = {}
        self.groups: dict[str, frozenset[str]] = {}
        self.forgotten = 0

    def add(self, name: str, uid: int = 1000, *, home: Path | None = None, comment: str = "", closed: bool = False) -> None:
        self.people[name] = Account(name, uid, uid, home or Path("/home") / name, comment, closed)

    def forget(self) -> None:
        self.forgotten += 1

    def get(self, name: str) -> Account | None:
        return self.people.get(name)

    def members(self, group: str) -> frozenset[str] | None:
        return self.groups.get(group)


class FakeInit:
    """units: name to state. defined: name to the unit. did: what was asked of it, in order. newest: the last process's id."""

    name = "systemd"

    def __init__(self) -> None:
        self.enforces = True
        self.units: dict[str, UnitState] = {}
        self.defined: dict[str, Program | Listener] = {}
        self.started: dict[str, Program] = {}
        self.did: list[tuple[str, str]] = []
        self.newest = 6
        self.limits: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        self.logs: dict[str, tuple[str, ...]] = {}
        self.broken: dict[str, HubdError] = {}
        self.on_run: Callable[[Program], None] = lambda program: None
        self.forgotten = 0

    def render(self, unit: Program | Listener) -> str:
        return repr(unit)

    def definition(self, name: str) -> str | None:
        return self.render(self.defined[name]) if name in self.defined else None

    def define(self, unit: Program | Listener) -> None:
        self.did.append(("define", unit.name))
        self.defined[unit.name] = unit

    def undefine(self, name: str) -> None:
        self.stop(name)
        self.did.append(("undefine", name))
        self.defined.pop(name, None)

    def state(self, name: str) -> UnitState:
        return self.units.get(name) or UnitState(name)

    look = state

    def states(self, pattern: str) -> dict[str, UnitState]:
        return {name: each for name, each in self.units.items() if fnmatch.fnmatchcase(name, pattern)}

    def forget(self) -> None:
        self.forgotten += 1

    def start(self, name: str) -> None:
        self._start("start", name)

    def restart(self, name: str) -> None:
        self._start("restart", name)

    def stop(self, name: str) -> None:
        self.did.append(("stop", name))
        self.units.pop(name, None)

    def clear(self, name: str) -> None:
        self.stop(name)
        self.did.append(("clear", name))

    def run(self, program: Program) -> None:
        self.did.append(("run", program.name))
        if program.name in self.broken:
            raise self.broken[program.name]
        self.started[program.name] = program
        self.units[program.name] = UnitState(program.name, True, "active", "running", 7)
        self.on_run(program)

    def set_limits(self, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        self.limits.append((name, tuple(pairs)))

    def log(self, name: str, *, lines: int) -> tuple[str, ...]:
        return self.logs.get(name, ())[-lines:]

    def follow(self, name: str, *, lines: int) -> Generator[str, None, None]:
        yield from self.log(name, lines=lines)

    def _start(self, verb: str, name: str) -> None:
        self.did.append((verb, name))
        if name in self.broken:
            raise self.broken[name]
        unit = self.defined[name]
        settings, listen = (unit.settings, "") if isinstance(unit, Program) else ("", f"{_place(unit.address)} (Stream)")
        self.newest += 1
        self.units[name] = UnitState(name, True, "active", "running", self.newest, settings, enabled=True, listen=listen)


def _place(address: str) -> str:
    return f"[::]:{address}" if address.isdigit() else address


class FakeWeb:
    """asked: method, address and body of every question. answer: what is answered. down: why an address can't be reached."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.answer: Callable[[str, str, Any], Answer] = lambda method, url, body: Answer(200, b"{}")
        self.down: dict[str, str] = {}
        self.probed: list[str] = []

    def ask(
        self, method: str, url: str, *, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 5
    ) -> Answer:
        self.asked.append((method, url, body))
        self.headers.append(headers or {})
        return self.answer(method, url, body)

    def reachable(self, url: str, *, timeout: float = 10) -> str:
        self.probed.append(url)
        return self.down.get(url, "")


class FakeHost(Host):
    """A machine in a folder. said: sentences for whoever follows the pass. slept: seconds, none of them waited."""

    __slots__ = (
        "accounts", "commands", "folder", "holding", "init", "kernels", "listening", "now", "processes", "replaced", "said",
        "slept", "web",
    )  # fmt: skip

    commands: FakeCommands  # type: ignore[assignment]
    accounts: FakeAccounts  # type: ignore[assignment]
    init: FakeInit
    web: FakeWeb  # type: ignore[assignment]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        layout = Layout(folder / "hub", run=folder / "run", units=folder / "units", homes=folder / "home")
        super().__init__(layout, FakeCommands(), FakeAccounts(), FakeInit(), FakeWeb())  # type: ignore[arg-type]
        self.said: list[str] = []
        self.slept: list[float] = []
        self.now = 1_700_000_000.0
        self.processes: dict[Path, int] = {}
        self.kernels: dict[Path, int] = {}
        self.listening: dict[int, frozenset[int]] = {}
        self.holding: set[tuple[int, int]] = set()
        self.replaced: dict[Path, int] = {}
        self.say = self.said.append
        self.sleep = self.slept.append
        self.clock = lambda: self.now
        self.ticks = lambda: sum(self.slept)

    def processes_using(self, folder: Path) -> int:
        return self.processes.get(folder, 0)

    def running_from(self, folder: Path) -> Running:
        kernels = self.kernels.get(folder, 0)
        return Running(kernels, max(0, self.processes.get(folder, 0) - kernels))

    def listeners(self, port: int) -> frozenset[int]:
        hub = self.accounts.get("hubd-hub")
        return self.listening.get(port, frozenset({hub.uid} if hub else ()))

    def replace(self, folder: Path) -> None:
        """Another folder is at its place from now on; processes that run keep the old one."""
        self.replaced[folder] = self.init.newest

    def is_in_use(self, folder: Path, pid: int) -> bool:
        return pid > self.replaced.get(folder, 0)

    def holds(self, pid: int, port: int) -> bool:
        return (pid, port) in self.holding


class Owners:
    """Who owns which file, in memory: by device and inode, told at `fchown` and read at `look`."""

    FIRST = 70_000

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._names: list[str] = []
        self._owned: dict[tuple[int, int], tuple[int, int]] = {}
        self._look = files.look
        monkeypatch.setattr(files, "ids", self._ids)
        monkeypatch.setattr(files, "look", self._looked)
        monkeypatch.setattr(os, "fchown", self._fchown)

    def kept(self, folder: Path) -> Kept:
        """Who owns what below `folder`, for `put_back` when other files are at the same places."""
        found = ((path, self._owned.get(_inode(path.lstat()))) for path in folder.rglob("*"))
        return list(self._names), {path: owner for path, owner in found if owner}

    def put_back(self, kept: Kept) -> None:
        names, owned = kept
        self._names, self._owned = list(names), {_inode(path.lstat()): owner for path, owner in owned.items()}

    def _ids(self, owner: str | None, group: str | None) -> tuple[int, int]:
        return self._number(owner), self._number(group)

    def _number(self, name: str | None) -> int:
        if name is None:
            return -1
        if name not in self._names:
            self._names.append(name)
        return self.FIRST + self._names.index(name)

    def _fchown(self, descriptor: int, uid: int, gid: int) -> None:
        inode = _inode(os.fstat(descriptor))
        old = self._owned.get(inode, (-1, -1))
        self._owned[inode] = (old[0] if uid == -1 else uid, old[1] if gid == -1 else gid)

    def _looked(self, path: Path, *, names: bool = True) -> files.Found | None:
        found = self._look(path, names=names)
        if found is None or not names:
            return found
        uid, gid = self._owned.get(_inode(path.lstat()), (-1, -1))
        return replace(found, owner=self._name(uid, found.owner), group=self._name(gid, found.group))

    def _name(self, number: int, otherwise: str) -> str:
        return self._names[number - self.FIRST] if number >= self.FIRST else otherwise


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Resource):
    """A resource of the tests. world: name to value, the machine. wanted: the value it should have.

    fails: raised by its step. blind: raised by its look. stays: its step changes nothing. job: its step starts a job.
    """

    kind: ClassVar[str] = "thing"

    label: str
    world: dict[str, Any] = field(compare=False)
    wanted: Any = "on"
    fails: BaseException | None = None
    blind: BaseException | None = None
    stays: bool = False
    job: bool = False
    act: Callable[[], None] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.label

    def observe(self, host: Host) -> Any:
        if self.blind:
            raise self.blind
        return self.world.get(self.label)

    def steps(self, seen: Any) -> tuple[Step, ...]:
        return () if seen in (self.wanted, "going") else (Step(f"turn {self.label} {self.wanted}", self._turn),)

    def progress(self, seen: Any) -> Progress | None:
        return Progress("under way") if seen == "going" else None

    def memo(self) -> Memo | None:
        return {"label": self.label}

    def _turn(self, host: Host) -> None:
        self.world.setdefault("order", []).append(self.label)
        if self.act:
            self.act()
        if self.fails:
            raise self.fails
        if self.job:
            self.world[self.label] = "going"
        elif not self.stays:
            self.world[self.label] = self.wanted


class HubApi:
    """What the REST API of a hub with these users and groups answers; it changes them as it is told."""

    def __init__(self, people: dict[str, bool], groups: dict[str, set[str]]) -> None:
        self.people, self.groups = people, groups

    def __call__(self, method: str, url: str, body: Any) -> Answer:
        path, _, query = url.partition("/hub/api/")[2].partition("?")
        what, *rest = (urllib.parse.unquote(part, errors="surrogatepass") for part in path.split("/"))
        if not what:
            return Answer(200)
        if method == "GET":
            asked = dict(each.split("=") for each in query.split("&"))
            start = int(asked["offset"])
            return Answer(200, json.dumps(self._shown(what)[start : start + int(asked["limit"])]).encode())
        (self._change_people if what == "users" else self._change_groups)(method, rest, body)
        return Answer(204)

    def _shown(self, what: str) -> list[dict[str, Any]]:
        if what == "users":
            return [{"name": name, "admin": admin} for name, admin in self.people.items()]
        return [{"name": name, "users": sorted(members)} for name, members in self.groups.items()]

    def _change_people(self, method: str, rest: list[str], body: Any) -> None:
        if method == "POST":
            self.people.update(dict.fromkeys(body["usernames"], body["admin"]))
        elif method == "PATCH":
            self.people[rest[0]] = body["admin"]
        else:
            del self.people[rest[0]]
            for members in self.groups.values():
                members.discard(rest[0])

    def _change_groups(self, method: str, rest: list[str], body: Any) -> None:
        if rest[1:] == ["users"] and method == "POST":
            self.groups[rest[0]] |= set(body["users"])
        elif rest[1:] == ["users"]:
            self.groups[rest[0]] -= set(body["users"])
        elif method == "POST":
            self.groups[rest[0]] = set()
        else:
            del self.groups[rest[0]]
