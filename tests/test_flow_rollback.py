"""Going back to an older generation and forward again: what is meant, what is recorded, and what passes make of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.cli.env_change import rollback_lines
from hubd.errors import ExitCode, HubdError, Locked, UsageError
from hubd.flow.environments import short
from hubd.flow.rollback import came_out, decide
from hubd.flow.rollback_choice import Before, Choice, choice
from hubd.host import manifest
from hubd.host.init import UnitState
from hubd.host.locks import file_lock
from hubd.resources import choices
from hubd.resources.choices import ROLLBACKS, EndedChoices
from hubd.resources.generation import MARK
from hubd.resources.job import result_path

NEWER = CONFIG.replace("ipykernel", "ipykernel, numpy")
NEWEST = CONFIG.replace("ipykernel", "ipykernel, numpy, xarray")


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with three generations of `science`, of which the third is what is asked for."""
    made = Machine(host, owners, monkeypatch)
    made.begin(CONFIG, NEWER, NEWEST)
    return made


def on(machine: Machine) -> int:
    """The generation that people have: by the link and by the kernel."""
    number = int((machine.layout.envs / "science/current").readlink().name)
    kernel = json.loads((machine.layout.kernels / "kernels/science/kernel.json").read_text())
    assert kernel["argv"][0] == str(machine.layout.envs / f"science/{number}/bin/python")
    return number


def rolled_back(machine: Machine) -> dict[str, Any]:
    return choices.read(machine.layout, ROLLBACKS)


THREE: dict[str, Any] = {"name": "geo", "current": 3, "asked": 3, "whole": (3, 2, 1)}
MEANT: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    # how it is, what is asked for, the generation that is meant, why nothing is to be done
    ({}, {}, 2, ""),
    ({}, {"to": 1}, 1, ""),
    ({}, {"to": 3}, 0, "is what config.yaml asks for already"),
    ({}, {"undo": True}, 0, "is not rolled back"),
    ({"current": 2, "held": 2}, {}, 2, "rolled back to generation 2 already; further back: --to 1"),
    ({"current": 1, "held": 1}, {}, 1, "rolled back to generation 1 already"),
    ({"current": 2, "held": 2}, {"to": 2}, 2, "already"),
    ({"current": 2, "held": 2}, {"to": 1}, 1, ""),
    ({"current": 2, "held": 2}, {"to": 3}, 0, ""),
    ({"current": 2, "held": 2}, {"undo": True}, 0, ""),
    # Two at once: the second comes when the first is recorded and nothing is switched yet.
    ({"current": 3, "held": 2}, {}, 2, "already"),
    # What is asked for cannot be built: one can go back, or stay where one is.
    ({"current": 2, "asked": 0, "whole": (2, 1)}, {}, 1, ""),
    ({"current": 2, "asked": 0, "whole": (2, 1)}, {"to": 2}, 2, ""),
    ({"broken": {2: "bin/python"}, "whole": (3, 1)}, {}, 1, ""),
    ({"current": 2, "asked": 3}, {}, 1, ""),
]


@pytest.mark.parametrize(("how", "asked", "number", "why"), MEANT)
def test_what_is_meant(how: dict[str, Any], asked: dict[str, Any], number: int, why: str) -> None:
    found = choice(Before(**{**THREE, **how}), **asked)
    assert found.generation == number
    assert why in found.unchanged and bool(why) == bool(found.unchanged)


UNDONE: list[tuple[dict[str, Any], Choice]] = [
    # how a frozen one is, what going forward again means
    ({"held": 1, "asked": 1, "left": 3}, Choice(0, forward=3)),
    ({"held": 1, "asked": 0, "left": 3}, Choice(0, forward=3)),
    # There is one of what config.yaml asks for.
    ({"held": 1, "asked": 2, "left": 3}, Choice(0)),
    # Nobody noted which one it was.
    ({"held": 1, "asked": 1}, Choice(0)),
    ({"asked": 1, "left": 1}, Choice(0, "geo is not rolled back")),
]


@pytest.mark.parametrize(("how", "meant"), UNDONE)
def test_where_forward_is_for_a_frozen_one(how: dict[str, Any], meant: Choice) -> None:
    assert choice(Before(**{**THREE, "current": 1, **how}), undo=True) == meant


NO_WAY: list[tuple[dict[str, Any], dict[str, Any], type[HubdError], str]] = [
    ({"whole": (3,)}, {}, HubdError, "no older generation to go back to"),
    ({"whole": (3,)}, {}, HubdError, "How many are kept is said by environments.geo.keep."),
    ({"current": 1, "whole": (1,)}, {}, HubdError, "there is only one build of it so far"),
    ({"current": 1, "whole": (1,), "broken": {2: "bin/python"}}, {}, HubdError, "generation 1 is the oldest that is whole"),
    ({"current": 2, "whole": (3, 2)}, {}, HubdError, "Generation 3 is newer, and there: hubd env rollback geo --to 3"),
    ({"current": 1}, {}, HubdError, "Generations 2, 3 are newer, and there: hubd env rollback geo --to 2"),
    ({"whole": (), "current": 0}, {}, HubdError, "nothing is built yet"),
    ({}, {"to": 7}, UsageError, "There are: 3, 2, 1."),
    ({"whole": ()}, {"to": 7}, UsageError, "There is none yet."),
    ({"broken": {2: "bin/python"}, "whole": (3, 1)}, {"to": 2}, HubdError, "its bin/python is gone"),
]


@pytest.mark.parametrize(("how", "asked", "kind", "said"), NO_WAY)
def test_there_is_no_such_way(how: dict[str, Any], asked: dict[str, Any], kind: type[HubdError], said: str) -> None:
    with pytest.raises(HubdError) as raised:
        choice(Before(**{**THREE, **how}), **asked)
    assert type(raised.value) is kind
    assert said in f"{raised.value} {raised.value.fix}"


def test_back_and_forward_again(machine: Machine) -> None:
    assert on(machine) == 3
    machine.host.processes[machine.layout.envs / "science/3"] = 14
    decided = decide(machine.host, "science")
    assert (decided.before, decided.choice) == (3, Choice(2))
    machine.make()
    assert on(machine) == 2
    _, found = came_out(machine.host, decided)
    assert (found["state"], found["generation"], found["before"], found["programs"]) == ("rolled back", 2, 3, 14)
    assert machine.settle().plan.gaps == (), "it stays there"
    forward = decide(machine.host, "science", undo=True)
    machine.make()
    assert on(machine) == 3
    assert came_out(machine.host, forward)[1]["state"] == "right"
    assert rolled_back(machine) == {}
    decide(machine.host, "science", to=1)
    machine.make()
    decide(machine.host, "science", to=3)
    assert rolled_back(machine) == {}, "that is what config.yaml asks for"


def test_status_has_the_way_forward(machine: Machine) -> None:
    decide(machine.host, "science")
    machine.make()
    notices = {each["say"]: each["fix"] for each in json.loads(machine.layout.record.read_text())["last"]["notices"]}
    said = "science is rolled back to generation 2, until config.yaml asks for something else"
    assert notices[said] == "Forward again: hubd env rollback science --undo"
    decide(machine.host, "science", undo=True)
    machine.make()
    assert "rolled back" not in str(json.loads(machine.layout.record.read_text())["last"]["notices"])


FROZEN = NEWEST.replace("science:\n", "science:\n    frozen: true\n")
# Nothing is built for it, as it is frozen.
FROZEN_AND_CHANGED = FROZEN.replace("xarray", "scipy")


@pytest.mark.parametrize("changed", ["before", "meanwhile", "never"])
@pytest.mark.parametrize("further", [False, True])
def test_a_frozen_one_goes_forward_again_whatever_config_yaml_says(machine: Machine, changed: str, further: bool) -> None:
    machine.write(FROZEN_AND_CHANGED if changed == "before" else FROZEN)
    machine.settle()
    decide(machine.host, "science")
    machine.settle()
    assert on(machine) == 2
    if changed == "meanwhile":
        machine.write(FROZEN_AND_CHANGED)
    machine.settle()
    if further:
        decide(machine.host, "science", to=1)
        machine.settle()
    found = short(machine.host)["environments"][0]
    assert (found["state"], found["generation"]) == ("rolled back", 1 if further else 2)
    notices = [each["say"] for each in json.loads(machine.layout.record.read_text())["last"]["notices"]]
    assert f"science is rolled back to generation {1 if further else 2}" in notices, "nothing but somebody ends it"
    forward = decide(machine.host, "science", undo=True)
    machine.settle()
    assert (on(machine), rolled_back(machine)) == (3, {})
    _, told = came_out(machine.host, forward)
    assert (told["state"], told["generation"], told["before"]) == ("right", 3, 1 if further else 2)
    assert "is not rolled back" in decide(machine.host, "science", undo=True).choice.unchanged


def test_one_that_is_frozen_while_it_is_rolled_back_goes_forward_to_where_it_was(machine: Machine) -> None:
    for number in (2, 1):
        decide(machine.host, "science", to=number)
        machine.settle()
    machine.write(FROZEN)
    machine.settle()
    machine.write(FROZEN_AND_CHANGED)
    machine.settle()
    assert on(machine) == 1
    decide(machine.host, "science", undo=True)
    machine.settle()
    assert on(machine) == 3


def test_a_rollback_ends_when_what_was_frozen_is_thawed_and_asked_for_otherwise(machine: Machine) -> None:
    machine.write(FROZEN)
    decide(machine.host, "science")
    machine.write(FROZEN_AND_CHANGED)
    machine.settle()
    assert on(machine) == 2
    machine.write(FROZEN_AND_CHANGED.replace("frozen: true", "frozen: false"))
    machine.settle()
    assert (on(machine), rolled_back(machine)) == (4, {})


def test_a_frozen_one_whose_way_forward_is_gone_says_so(machine: Machine) -> None:
    machine.write(FROZEN_AND_CHANGED)
    machine.settle()
    decide(machine.host, "science")
    machine.settle()
    (machine.layout.envs / "science/3/bin/python").unlink()
    with pytest.raises(HubdError, match="science cannot go forward again: generation 3 is gone") as raised:
        decide(machine.host, "science", undo=True)
    assert "hubd config unset environments.science.frozen" in raised.value.fix
    assert rolled_back(machine).keys() == {"science"}


def test_a_frozen_one_does_not_go_forward_in_the_middle_of_a_pass(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write(FROZEN_AND_CHANGED)
    machine.settle()
    decide(machine.host, "science")
    machine.settle()
    monkeypatch.setattr("hubd.flow.rollback.PATIENCE", 0)
    with file_lock(machine.layout.lock, wait=0, what="a pass"), pytest.raises(Locked):
        decide(machine.host, "science", undo=True)
    assert (on(machine), rolled_back(machine).keys()) == (2, {"science"})


def test_it_ends_for_good_when_something_else_is_asked_for(machine: Machine) -> None:
    decide(machine.host, "science", to=1)
    machine.settle()
    machine.write(NEWEST.replace("xarray", "scipy"))
    machine.settle()
    assert (on(machine), rolled_back(machine)) == (4, {})
    machine.write(NEWEST)
    machine.settle()
    assert on(machine) == 3


def test_it_outlives_a_time_in_which_what_is_asked_for_cannot_be_read(machine: Machine) -> None:
    decide(machine.host, "science", to=1)
    machine.settle()
    machine.write(NEWEST + "    smoke: away.ipynb\n")
    machine.make()
    assert on(machine) == 1
    machine.write(NEWEST)
    machine.settle()
    assert (on(machine), rolled_back(machine).keys()) == (1, {"science"})


def test_it_is_kept_while_nobody_knows_what_is_asked_for(host: FakeHost) -> None:
    host.layout.facts.mkdir(parents=True)
    kept = {"a": {"instead_of": "x"}, "b": {"instead_of": "x"}, "c": {"instead_of": "x"}, "d": {}}
    choices.write(host.layout, ROLLBACKS, kept)
    ended = EndedChoices(fact=ROLLBACKS, key="instead_of", digests=(("a", ""), ("b", "x"), ("c", "y")))
    assert ended.observe(host) == ("c", "d")
    ended.steps(ended.observe(host))[0].do(host)
    assert choices.read(host.layout, ROLLBACKS).keys() == {"a", "b"}
    assert ended.steps(ended.observe(host)) == ()


def test_what_is_asked_for_outlives_a_rollback(machine: Machine) -> None:
    # With keep: 0 only two may stay: the one that is on, and the one that forward leads to.
    decide(machine.host, "science", to=1)
    for _ in range(2):
        machine.settle()
    assert [each.name for each in sorted((machine.layout.envs / "science").iterdir())] == ["1", "2", "3", "current"]
    machine.write(NEWEST.replace("science:\n", "science:\n    keep: 0\n"))
    machine.settle()
    assert [each.name for each in sorted((machine.layout.envs / "science").iterdir())] == ["1", "3", "current"]


def test_a_generation_that_went_meanwhile_leaves_what_is_asked_for(machine: Machine) -> None:
    decided = decide(machine.host, "science")
    (machine.layout.envs / "science/2/bin/python").unlink()
    machine.make()
    assert on(machine) == 3
    with pytest.raises(HubdError, match="science is still at generation 3"):
        came_out(machine.host, decided)


def test_a_failing_build_is_gone_round(machine: Machine) -> None:
    machine.slow = True
    machine.write(NEWEST.replace("xarray", "xarray, scipy"))
    machine.make()
    decide(machine.host, "science", to=3)
    machine.make()
    assert short(machine.host)["environments"][0]["state"] == "rolled back"
    assert on(machine) == 3


def test_forward_to_what_is_not_built_yet_is_a_build_whose_end_counts(machine: Machine) -> None:
    decide(machine.host, "science")
    machine.make()
    for number in (3, 1):
        shutil.rmtree(machine.layout.envs / f"science/{number}")
    machine.slow = True
    forward = decide(machine.host, "science", undo=True)
    assert forward.job == "env-science"
    machine.make()
    code, found = came_out(machine.host, forward)
    assert (code, found["state"], found["generation"], found["trouble"]) == (ExitCode.DONE, "building", 2, None)
    assert list(rollback_lines(found)) == [
        "science: generation 2 stays until what config.yaml asks for is built",
        "building: starting. Follow it: hubd logs -f job-env-science",
    ]
    unit = "hubd-job-env-science.service"
    machine.host.init.units[unit] = UnitState(unit, active="failed")
    digest = json.loads((machine.layout.jobs / "env-science.json").read_text())["digest"]
    report = {"state": "failed", "digest": digest, "what": "no numpy", "tries": 1, "ended": machine.host.now}
    result_path(machine.layout, "env-science").write_text(json.dumps(report))
    code, found = came_out(machine.host, forward)
    assert (code, found["trouble"]["what"]) == (ExitCode.FAILED, "science is not built: no numpy")
    assert list(rollback_lines(found))[-1] == "science: generation 2 stays meanwhile. All of it: hubd env why science"
    decide(machine.host, "science", to=2)
    machine.make()
    decide(machine.host, "science", undo=True)
    assert not (machine.layout.jobs / "env-science.json").exists(), "it is tried at once, however it ended before"
    assert decide(machine.host, "science", to=2).job == "", "back is a switch"


def test_one_that_was_changed_by_hand_is_not_gone_back_to_without_force(machine: Machine) -> None:
    generation = machine.layout.envs / "science/2"
    manifest.write(generation, without=(MARK,))
    (generation / "lib.py").touch()
    for way in ({}, {"to": 2}):
        with pytest.raises(HubdError, match="generation 2 of science was changed by hand") as raised:
            decide(machine.host, "science", **way)
        assert raised.value.why.startswith("lib.py of its generation 2 was added") and "--force" in raised.value.fix
    assert rolled_back(machine) == {}
    decide(machine.host, "science", force=True)
    machine.make()
    assert on(machine) == 2


def test_a_folder_that_was_changed_by_hand_counts_where_there_is_no_list_of_files(machine: Machine) -> None:
    mark = machine.layout.envs / "science/2" / MARK
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "sealed": {"bin": 7}}))
    with pytest.raises(HubdError, match="was changed by hand"):
        decide(machine.host, "science", to=2)


UNKNOWN = [("sciense", "Did you mean science?"), ("server", "There are: science."), ("", "There are: science.")]


@pytest.mark.parametrize(("name", "said"), UNKNOWN)
def test_only_declared_environments(machine: Machine, name: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        decide(machine.host, name)
    assert said in raised.value.fix


def test_one_that_nobody_has_chosen_a_manager_for(machine: Machine) -> None:
    machine.write(CONFIG.replace("manager: uv", "manager: auto"))
    with pytest.raises(HubdError, match="nothing of science is built yet"):
        decide(machine.host, "science")


def test_nobody_decides_while_somebody_else_does(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "PATIENCE", 0.0)
    with file_lock(machine.layout.state / "choices.lock", wait=0), pytest.raises(Locked, match="somebody else decides"):
        decide(machine.host, "science")
    assert rolled_back(machine) == {}


DAMAGED = ["", "{", "[]", "7", "null", '{"science": 7}', '{"science": {"instead_of": []}}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_no_decision(machine: Machine, text: str) -> None:
    (machine.layout.facts / "rollbacks.json").write_text(text)
    machine.settle()
    assert on(machine) == 3
    decide(machine.host, "science")
    machine.settle()
    assert on(machine) == 2


def test_decisions_are_not_followed_through_a_link(host: FakeHost, tmp_path: Path) -> None:
    host.layout.facts.mkdir(parents=True)
    (tmp_path / "elsewhere").write_text('{"a": {}}')
    (host.layout.facts / "rollbacks.json").symlink_to(tmp_path / "elsewhere")
    assert choices.read(host.layout, ROLLBACKS) == {}
