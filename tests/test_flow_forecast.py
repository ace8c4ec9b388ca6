"""What a plan tells of builds on a whole machine, and what is told of their outcome once they are done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd import show
from hubd.flow.environments import whole
from hubd.flow.rebuild import ask, came_out
from hubd.flow.rollback import came_out as rolled
from hubd.flow.rollback import decide
from hubd.resources.generation import MARK
from hubd.tools.lock import SAVED, CondaPackage, Lock, lock_text

GB = 1_000_000_000
FREE = 40 * GB


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which everything is right; its builds note what was asked for, and how large they are."""
    monkeypatch.setattr("hubd.resources.environment.free_space", lambda folder: FREE)
    made = Machine(host, owners, monkeypatch)
    made.begin()
    note(made, 1, packages=["python=3.12", "ipykernel"], size=1_200_000_000)
    return made


def note(machine: Machine, number: int, **said: Any) -> None:
    mark = machine.layout.envs / f"science/{number}" / MARK
    mark.write_text(json.dumps({**json.loads(mark.read_text()), **said}))


def put_lock(machine: Machine, number: int, *packages: str) -> Path:
    path = machine.layout.envs / f"science/{number}" / SAVED
    path.write_text(text(*packages))
    return path


def text(*packages: str) -> str:
    parts = (each.split("=") for each in packages)
    found = tuple(CondaPackage(*each, f"https://x.example/c/noarch/{'-'.join(each)}.conda") for each in parts)
    return lock_text(Lock(manager="conda", platform="linux-64", conda=found))


def change(machine: Machine) -> dict[str, Any]:
    """What the plan as JSON has of the build."""
    plan = show.plan_json(machine.make(act=False))
    return next(each for each in json.loads(json.dumps(plan))["changes"] if each["id"] == "environment:science")


def test_a_plan_tells_what_is_asked_for_what_runs_and_what_it_costs(machine: Machine) -> None:
    machine.write(CONFIG.replace("ipykernel", "ipykernel, xarray") + "    pip: [dask==1]\n")
    science = machine.layout.envs / "science/1"
    machine.host.processes[science], machine.host.kernels[science] = 15, 14
    found = change(machine)
    assert found["tells"] == [
        "science: +2 packages asked for: +xarray +dask==1",
        "14 running kernels and 1 other program keep generation 1 until they stop",
        "about 1.2 GB like the present one, less the packages that both share; 40 GB are free",
    ]
    assert found["forecast"] == {
        "environment": "science", "generation": 1, "locked": None, "kernels": 14, "other_programs": 1,
        "asked": {"added": ["xarray", "dask==1"], "removed": [], "changed": []},
        "disk": {"estimate": 1_200_000_000, "free": FREE},
    }  # fmt: skip
    gaps = machine.make(act=False).plan.gaps
    switch = next(gap for gap in gaps if gap.resource.id == "switch:science")
    assert switch.steps[0].say == "switch science to what is built", "what runs is told once"
    lines = list(show.plan_lines(show.plan_json(machine.make(act=False))))
    at = next(number for number, line in enumerate(lines) if "build science" in line)
    assert lines[at + 1 : at + 3] == ["      " + words for words in found["tells"][:2]]


def test_who_applies_reads_it_too(machine: Machine) -> None:
    machine.write(CONFIG.replace("ipykernel", "ipykernel, dask"))
    machine.make()
    said = [event.say for event in machine.events if event.kind in ("step", "say")]
    at = next(number for number, words in enumerate(said) if words.startswith("build science"))
    assert said[at + 1] == "science: +1 package asked for: +dask"


def test_a_first_build_and_one_that_nobody_noted_anything_of(machine: Machine) -> None:
    machine.write(CONFIG.replace("  science:", "  geo: {packages: [ipykernel], manager: uv}\n  science:"))
    plan = show.plan_json(machine.make(act=False))
    assert next(each["forecast"] for each in plan["changes"] if each["id"] == "environment:geo") is None
    note(machine, 1, packages=None, size=0)
    machine.write(CONFIG.replace("ipykernel", "ipykernel, dask"))
    assert change(machine)["tells"] == []
    note(machine, 1, packages=["a\x1b[2J"], size=-5)
    assert change(machine)["tells"] == ["science: +3 −1 packages asked for: +python=3.12 +ipykernel +dask −a"]


def test_a_lock_tells_the_versions_before_the_build(machine: Machine) -> None:
    put_lock(machine, 1, "numpy=2.3=0", "ipykernel=6=0")
    (machine.layout.prefix / "a.lock").write_text(text("numpy=2.4=0", "ipykernel=6=0"))
    machine.write("environments: {science: {lock: a.lock, manager: conda}}\nconda: {path: /c}\n")
    assert change(machine)["tells"][0] == "science: by conda instead of uv, numpy 2.3 → 2.4", "the mark says that uv built it"
    assert change(machine)["forecast"]["locked"] == "numpy 2.3 → 2.4"
    put_lock(machine, 1).write_text("no lock")
    cost = "about 1.2 GB like the present one, less the packages that both share; 40 GB are free"
    assert change(machine)["tells"] == ["science: by conda instead of uv", cost]


def test_another_manager_is_told_beside_what_is_asked_for(machine: Machine) -> None:
    machine.write(CONFIG.replace("manager: uv", "manager: rattler").replace("ipykernel", "ipykernel, dask"))
    assert change(machine)["tells"][0] == "science: by rattler instead of uv, +1 package asked for: +dask"


def test_nothing_is_looked_at_where_nothing_is_to_be_built(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("hubd.resources.environment.free_space", fail)
    monkeypatch.setattr(FakeHost, "running_from", fail)
    monkeypatch.setattr("hubd.resources.switch.difference_between", fail)
    assert machine.make(act=False).plan.gaps == ()


def test_nothing_is_looked_at_while_it_is_built(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.slow = True
    machine.write(CONFIG.replace("ipykernel", "ipykernel, dask"))
    machine.make()
    monkeypatch.setattr(FakeHost, "running_from", lambda *_: pytest.fail("it looked"))
    machine.host.processes[machine.layout.envs / "science/1"] = 2
    changes = show.plan_json(machine.make(act=False))["changes"]
    assert [(each["id"], each["steps"]) for each in changes] == [("switch:science", ["switch science to what is built"])]


def test_the_versions_are_told_when_the_build_is_done(machine: Machine) -> None:
    put_lock(machine, 1, "numpy=2.3=0", "scipy=1=0", "zlib=1=0")
    machine.slow = True
    asked = ask(machine.host, "science")
    machine.make()
    machine.finish("env-science")
    put_lock(machine, 2, "numpy=2.4=0", "dask=1=0", "zlib=2=0")
    note(machine, 2, packages=["zlib"])
    whole_pass = machine.make()
    difference = "+dask 1 −scipy 1, zlib 1 → 2, numpy 2.3 → 2.4"
    said = {outcome.id: outcome.say for outcome in whole_pass.outcomes}["switch:science"]
    assert said == f"switch science to its generation 2: {difference}", "what was asked for comes first"
    assert came_out(machine.host, asked)[1]["difference"] == difference
    generations = whole(machine.host, "science")["generations"]
    assert [(each["before"], each["difference"]) for each in generations] == [(1, difference), (None, "")]
    decided = decide(machine.host, "science")
    machine.make()
    assert rolled(machine.host, decided)[1]["difference"] == "+scipy 1 −dask 1, numpy 2.4 → 2.3, zlib 2 → 1"
