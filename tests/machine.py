"""A machine in a folder on which a whole hub can be set up: account programs, units, jobs and the hub's API, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from begun import Begun
from fakes import FakeHost, HubApi, Owners

from hubd.flow.reconcile import reconcile
from hubd.flow.values import Event, Pass, Result
from hubd.host import files
from hubd.host.web import Answer
from hubd.layout import HUB_UNIT
from hubd.parts import machine as machine_part
from hubd.resources.generation import MARK
from hubd.resources.job import result_path
from hubd.tools.accounts import MADE_BY_HUBD
from hubd.tools.program import Program

CONFIG = """\
people:
  admins: [ada]
  users: [bea, cid]
  groups: {course: {members: [ada, bea]}}
limits: {memory: 1G, cpu: 2}
environments:
  science:
    packages: [python=3.12, ipykernel]
    manager: uv
"""


# By the texts that the machine came to rest with, in their order.
_begun: dict[tuple[str, ...], Begun] = {}


class Machine:
    """host: the fake. slow: jobs do not end by themselves. people, groups: what the hub's API tells.

    cleaned: hears of each package cache that a job cleans. solved: does the work of a job that only solves.
    """

    def __init__(self, host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.owners, self.layout, self.slow = host, owners, host.layout, False
        self.people: dict[str, bool] = {}
        self.groups: dict[str, set[str]] = {}
        self.events: list[Event] = []
        self.cleaned: Callable[[Path], object] = lambda cache: None
        self.solved: Callable[[dict[str, Any]], object] = lambda spec: None
        self._next = {True: 100, False: 1000}
        for name in ("SUDOERS", "COMMAND", "ENV_COMMAND"):
            path = host.layout.prefix.parent / "etc" / name.lower()
            path.parent.mkdir(exist_ok=True)
            monkeypatch.setattr(machine_part, name, path)
        look = files.look
        monkeypatch.setattr(files, "look", lambda path, **options: self._owned(path, look(path, **options)))
        host.layout.prefix.mkdir()
        host.layout.state.mkdir()
        host.layout.homes.mkdir()
        host.layout.hub.symlink_to("versions/hub-1")
        host.commands.answers.update({
            ("useradd",): self._useradd, ("groupadd",): self._groupadd, ("gpasswd",): self._gpasswd, ("usermod",): self._usermod,
            ("mkdir",): self._mkdir, ("dpkg-query",): "sudo installed\n",
        })  # fmt: skip
        host.init.on_run = self._job
        api = HubApi(self.people, self.groups)
        host.web.answer = lambda method, url, body: api(method, url, body) if host.init.state(HUB_UNIT).is_active else Answer(0)
        self.write(CONFIG)

    def write(self, text: str) -> None:
        self.layout.config_file.write_text(text)

    def begin(self, *texts: str) -> None:
        """Settle as each of these says. Only for a machine that nobody did anything to: it becomes a copy of the first such."""
        texts, others = texts or (CONFIG,), (self.people, self.groups, self._next)
        if texts in _begun:
            _begun[texts].put_into(self.host, self.owners, others)
            return
        for text in texts:
            self.write(text)
            self.settle()
        _begun[texts] = Begun.of(self.host, self.owners, others, self.host.folder.with_name(f"begun-{len(_begun)}"))

    def make(self, *, act: bool = True) -> Pass:
        """One pass."""
        self.events.clear()
        return reconcile(self.host, act=act, tell=self.events.append)

    def settle(self) -> Pass:
        """Passes until nothing changes; fails when that takes more than four."""
        for _ in range(4):
            whole = self.make()
            if not whole.outcomes:
                return whole
        raise AssertionError([outcome for outcome in whole.outcomes if outcome.result is not Result.RIGHT])

    def results(self, whole: Pass) -> dict[str, Result]:
        return {outcome.id: outcome.result for outcome in whole.outcomes}

    def finish(self, job: str) -> None:
        """A slow job ends well."""
        program = self.host.init.started[f"hubd-job-{job}.service"]
        self.slow = False
        self._job(program)

    def _job(self, program: Program) -> None:
        if not program.name.startswith("hubd-job-") or self.slow:
            return
        spec = json.loads(Path(program.argv[-1]).read_text())
        if spec["do"] == "clean":
            self.cleaned(Path(spec["cache"]))
            result_path(self.layout, spec["job"]).write_text(json.dumps({"state": "done"}))
            self.host.init.units.pop(program.name)
            return
        if spec["do"] == "solve":
            self.solved(spec)
            self.host.init.units.pop(program.name, None)
            return
        programs = Path(spec["prefix"]) / "bin"
        programs.mkdir(exist_ok=True)
        for name in ("python", "R", "jupyterhub-singleuser"):
            (programs / name).touch(mode=0o755)
        told = {key: spec[key] for key in ("digest", "number", "manager") if key in spec}
        (Path(spec["prefix"]) / MARK).write_text(json.dumps(told))
        result_path(self.layout, spec["job"]).write_text(json.dumps({"state": "done"}))
        self.host.init.units.pop(program.name)

    def _useradd(self, argv: tuple[str, ...]) -> None:
        name, system = argv[-1], "--system" in argv
        uid = self._next[system]
        self._next[system] += 1
        home = Path(argv[argv.index("--home-dir") + 1]) if system else Path(argv[argv.index("--base-dir") + 1]) / name
        if not system:
            home.mkdir(mode=0o700)
        self.host.accounts.add(name, uid, home=home, comment=MADE_BY_HUBD)
        self.host.accounts.groups.setdefault(name, frozenset())

    def _owned(self, path: Path, found: files.Found | None) -> files.Found | None:
        """Homes belong to their accounts, which needs root on a real machine."""
        person = self.host.accounts.get(path.name) if path.parent == self.layout.homes else None
        return replace(found, uid=person.uid) if found and person else found

    def _groupadd(self, argv: tuple[str, ...]) -> None:
        self.host.accounts.groups[argv[-1]] = frozenset()

    def _gpasswd(self, argv: tuple[str, ...]) -> None:
        self.host.accounts.groups[argv[-1]] = frozenset(filter(None, argv[2].split(",")))

    def _usermod(self, argv: tuple[str, ...]) -> None:
        old = self.host.accounts.people[argv[-1]]
        closed = argv[argv.index("--expiredate") + 1] == "1"
        self.host.accounts.add(old.name, old.uid, home=old.home, comment=old.comment, closed=closed)

    def _mkdir(self, argv: tuple[str, ...]) -> None:
        Path(argv[-1]).mkdir(mode=0o700, parents=True)
