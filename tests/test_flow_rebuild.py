"""A new build of the same: asked for, recorded, made once, and gone round when it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.cli.env_look import why_lines
from hubd.errors import ExitCode, HubdError, UsageError
from hubd.flow.environments import whole
from hubd.flow.hand_edits import look_at
from hubd.flow.rebuild import ask, came_out
from hubd.flow.rollback import decide
from hubd.host import manifest
from hubd.host.init import UnitState
from hubd.resources import choices
from hubd.resources.choices import REBUILDS, ROLLBACKS
from hubd.resources.generation import MARK
from hubd.resources.job import result_path

UNIT = "hubd-job-env-science.service"


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(host, owners, monkeypatch)
    made.begin()
    return made


def on(machine: Machine) -> int:
    return int((machine.layout.envs / "science/current").readlink().name)


def fail(machine: Machine, what: str = "no network") -> None:
    """The build that is under way fails."""
    machine.host.init.units[UNIT] = UnitState(UNIT, active="failed")
    spec: dict[str, Any] = json.loads((machine.layout.jobs / "env-science.json").read_text())
    report = {"state": "failed", "digest": spec["digest"], "what": what, "tries": 1, "ended": machine.host.now}
    result_path(machine.layout, "env-science").write_text(json.dumps(report))


def test_a_new_build_of_the_same_is_made_once(machine: Machine) -> None:
    machine.slow = True
    asked = ask(machine.host, "science")
    assert (asked.job, asked.before) == ("env-science", 1)
    machine.make()
    assert on(machine) == 1, "people keep what they have"
    code, told = came_out(machine.host, asked)
    assert (code, told["state"], told["generation"]) == (ExitCode.DONE, "building", 1)
    machine.finish("env-science")
    machine.make()
    assert on(machine) == 2
    code, told = came_out(machine.host, asked)
    assert (code, told["state"], told["before"], told["generation"]) == (ExitCode.DONE, "right", 1, 2)
    assert machine.settle().plan.gaps == ()


def test_who_asks_while_it_is_built_means_that_build(machine: Machine) -> None:
    machine.slow = True
    ask(machine.host, "science")
    machine.make()
    ask(machine.host, "science")
    machine.finish("env-science")
    machine.settle()
    assert on(machine) == 2


def test_one_can_go_back_behind_it_and_forward_again(machine: Machine) -> None:
    ask(machine.host, "science")
    machine.settle()
    decide(machine.host, "science")
    machine.settle()
    assert on(machine) == 1
    decide(machine.host, "science", undo=True)
    machine.settle()
    assert on(machine) == 2


def test_it_ends_a_rollback(machine: Machine) -> None:
    ask(machine.host, "science")
    machine.settle()
    decide(machine.host, "science")
    machine.settle()
    ask(machine.host, "science")
    assert choices.read(machine.layout, ROLLBACKS) == {}
    machine.slow = True
    machine.make()
    assert on(machine) == 1, "until the new one is there"
    machine.finish("env-science")
    machine.settle()
    assert on(machine) == 3


NO_NETWORK = "science is not built: no network"


def test_one_that_fails_is_told_and_gone_round(machine: Machine) -> None:
    machine.slow = True
    asked = ask(machine.host, "science")
    machine.make()
    fail(machine)
    machine.make()
    code, told = came_out(machine.host, asked)
    assert (code, told["state"], told["trouble"]["what"], told["generation"]) == (ExitCode.FAILED, "failed", NO_NETWORK, 1)
    decide(machine.host, "science", to=1)
    assert machine.settle().plan.gaps == ()
    assert on(machine) == 1


def test_an_earlier_failure_is_no_reason_to_wait(machine: Machine) -> None:
    machine.slow = True
    ask(machine.host, "science")
    machine.make()
    fail(machine)
    machine.make()
    ask(machine.host, "science")
    machine.make()
    assert machine.host.init.state(UNIT).is_going


def test_the_failures_of_others_stay(machine: Machine) -> None:
    kept = machine.layout.jobs / "env-server.json"
    kept.write_text("{}")
    ask(machine.host, "science")
    assert kept.exists()


def test_the_wish_is_forgotten_when_something_else_is_asked_for(machine: Machine) -> None:
    ask(machine.host, "science")
    machine.settle()
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    assert choices.read(machine.layout, REBUILDS) == {}
    machine.write(CONFIG)
    machine.settle()
    assert on(machine) == 2


def test_only_declared_environments(machine: Machine) -> None:
    with pytest.raises(UsageError):
        ask(machine.host, "server")
    machine.write(CONFIG.replace("manager: uv", "manager: auto"))
    with pytest.raises(HubdError, match="nothing of science is built yet"):
        ask(machine.host, "science")


TO_BUILD_IT = "To build it anew: hubd config unset environments.science.frozen && hubd env build science"


def test_the_cure_of_what_is_frozen_is_the_same_everywhere(machine: Machine) -> None:
    machine.write(CONFIG + "    frozen: true\n")
    machine.make()
    (notice,) = json.loads(machine.layout.record.read_text())["last"]["notices"]
    (machine.layout.envs / "science/1/share/data").parent.mkdir(exist_ok=True)
    (machine.layout.envs / "science/1/share/data").write_text("by hand")
    manifest.write(machine.layout.envs / "science/1", without=(MARK,))
    (machine.layout.envs / "science/1/share/data").write_text("by another hand")
    assert look_at(machine.host, "science")
    machine.make()
    (trouble,) = json.loads(machine.layout.record.read_text())["last"]["trouble"]
    planned = [gap.error.fix for gap in machine.make(act=False).plan.gaps if gap.error]
    asked = whole(machine.host, "science")["trouble"]["fix"]
    assert {notice["fix"], trouble["fix"], *planned, asked} == {TO_BUILD_IT}


def test_a_change_that_a_frozen_one_passes_over_is_told(machine: Machine) -> None:
    def told() -> tuple[list[str], list[str]]:
        machine.make()
        found = json.loads(machine.layout.record.read_text())["last"]["notices"]
        return [each["say"] for each in found if "frozen" in each["say"]], list(why_lines(whole(machine.host, "science"), 0))

    machine.write(CONFIG + "    frozen: true\n")
    frozen, right = "science is frozen: it stays as it was built", "science: right; nothing failed"
    assert told() == ([frozen], [right])
    machine.write(CONFIG.replace("ipykernel", "ipykernel, seaborn") + "    frozen: true\n")
    other = "config.yaml asks for something else by now"
    why = [right, f"  it is frozen and stays as it was built; {other}", f"  {TO_BUILD_IT}"]
    assert told() == ([f"{frozen}; {other}"], why)
    machine.write(CONFIG + "    frozen: true\n")
    assert told() == ([frozen], [right])


def test_one_that_is_frozen_is_left_alone(machine: Machine) -> None:
    machine.write(CONFIG + "    frozen: true\n")
    with pytest.raises(HubdError, match="science is frozen") as refused:
        ask(machine.host, "science")
    assert refused.value.fix == TO_BUILD_IT
    assert choices.read(machine.layout, REBUILDS) == {}
