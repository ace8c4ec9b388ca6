"""What is told of environments: how each is, its generations, and the whole story of a failure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.errors import HubdError, UsageError
from hubd.flow.environment_states import Observed, told
from hubd.flow.environments import short, whole
from hubd.flow.rebuild import ask
from hubd.flow.values import Gap
from hubd.host.init import UnitState
from hubd.resources.base import Progress, Step
from hubd.resources.environment import Environment
from hubd.resources.generation import MARK, Generation, Generations
from hubd.resources.job import FIRST_RETRY, RARE_RETRY, RARELY, result_path
from hubd.tools.lock import SAVED, Lock, lock_text


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(host, owners, monkeypatch)
    made.begin()
    return made


PLACE = Generations(folder=Path("/e/science"), link=Path("/e/science/current"))
RESOURCE = Environment(environment="science", generations=PLACE, manager="uv")
BROKEN = HubdError("no numpy", why="of its pin", fix="Loosen it.")
BY_HAND = HubdError("science was changed by hand", fix="hubd env build science")
TOUCHED = Gap(RESOURCE, progress=Progress("changed by hand", BY_HAND), error=BY_HAND)
STEP = Step("build it", lambda host: None)
STATES: list[tuple[dict[str, Any], str, str]] = [
    ({"current": 2}, "right", ""),
    ({"current": 1, "held": 1}, "rolled back", "to generation 1"),
    ({"current": 2, "held": 1, "pending": ("switch science",)}, "waiting", "switch science"),
    ({"gap": Gap(RESOURCE, progress=Progress("building: solving", job="env-science"))}, "building", "solving"),
    ({"gap": Gap(RESOURCE, progress=Progress("failed", BROKEN), error=BROKEN)}, "failed", "no numpy"),
    ({"gap": Gap(RESOURCE, progress=Progress("refused", BROKEN), error=BROKEN)}, "refused", "no numpy"),
    ({"touched": TOUCHED}, "changed by hand", "by hand"),
    ({"touched": TOUCHED, "pending": ("switch science",)}, "waiting", "switch science"),
    ({"touched": TOUCHED, "gap": Gap(RESOURCE, steps=(STEP,))}, "waiting", "build it"),
    ({"gap": Gap(RESOURCE, steps=(STEP,)), "pending": ("switch",)}, "waiting", "build it"),
    ({"gap": Gap(RESOURCE, steps=(STEP,)), "lacks": (("conda:/c", BROKEN),)}, "failed", "cannot be built without conda in /c"),
    ({"lacks": (("conda:/c", BROKEN),)}, "right", ""),
    ({"declared": False, "programs": 1}, "removed", "1 program still uses it"),
    ({"declared": False, "programs": 2}, "removed", "2 programs still use it"),
    ({"declared": False}, "removed", "does not have it any more"),
    ({"declared": None, "current": 1}, "in place", ""),
    ({"declared": None}, "waiting", "no generation is switched on"),
]


@pytest.mark.parametrize(("seen", "state", "say"), STATES)
def test_states(seen: dict[str, Any], state: str, say: str) -> None:
    found = told(Observed(**{"name": "science", "declared": True, **seen}))
    assert found["state"] == state
    assert say in found["say"] and bool(say) == bool(found["say"])


def test_what_is_told_of_the_generation_that_is_switched_on() -> None:
    finished = tuple(Generation(number, PLACE.path(number), "d", "conda", float(number)) for number in (3, 2, 1))
    found = told(Observed(name="science", declared=True, manager="uv", current=2, finished=finished))
    assert (found["generation"], found["built"], found["manager"], found["older"]) == (2, 2.0, "conda", 1)
    gone = told(Observed(name="science", declared=True, manager="uv", current=9, finished=finished))
    assert (gone["generation"], gone["built"], gone["manager"]) == (9, None, "uv")


def test_all_environments_in_short(machine: Machine) -> None:
    found = short(machine.host)
    assert found["notes"] == []
    assert [each["name"] for each in found["environments"]] == ["science"]
    science = found["environments"][0]
    assert (science["state"], science["generation"], science["manager"]) == ("right", 1, "uv")
    assert science["kernels"] == [{"title": "science", "audience": "everybody"}]


def test_one_that_nobody_has_chosen_a_manager_for(machine: Machine) -> None:
    machine.write(CONFIG.replace("manager: uv", "manager: auto"))
    found = short(machine.host)["environments"][0]
    assert (found["state"], found["manager"]) == ("waiting", "auto")
    assert "conda" in found["say"]


def test_one_that_is_not_declared_any_more(machine: Machine) -> None:
    machine.write(CONFIG.replace("science", "other"))
    machine.host.processes[machine.layout.envs / "science"] = 2
    found = {each["name"]: each["state"] for each in short(machine.host)["environments"]}
    assert found == {"other": "waiting", "science": "removed"}


def test_a_file_that_cannot_be_read_hides_nothing_that_is_in_place(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(machine.layout.envs / "science", machine.layout.envs / ".science.1f.hubd-gone", symlinks=True)
    (machine.layout.envs / "empty").mkdir()
    (machine.layout.envs / "file").touch()
    machine.write("limits: {memry: 1G}\n")
    found = short(machine.host)
    assert [(each["name"], each["state"]) for each in found["environments"]] == [("science", "in place")]
    assert "Only what is in place is shown" in found["notes"][0]

    def closed(layout: object, config: object) -> dict[str, Any]:
        raise PermissionError(13, "no", "/facts")

    machine.write(CONFIG)
    monkeypatch.setattr("hubd.flow.facts.read", closed)
    for_admins = "Only what is in place is shown: how builds fare is told to root and the group hubd-admins only."
    assert short(machine.host)["notes"] == [for_admins]

    def no_file(path: object, **options: object) -> bytes:
        raise HubdError("no") from PermissionError(13, "Permission denied")

    monkeypatch.setattr("hubd.flow.source.files.read", no_file)
    assert short(machine.host)["notes"] == [for_admins], "nothing is said to be a problem of the file"


def test_one_environment_with_its_generations(machine: Machine) -> None:
    generations = Generations(folder=machine.layout.envs / "science", link=machine.layout.envs / "science/current")
    lock = lock_text(Lock(manager="uv", platform="linux-64", python="3.12", pip=(f"numpy==2.3 --hash=sha256:{'a' * 64}",)))
    (generations.path(1) / SAVED).write_text(lock)
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    (generations.path(2) / SAVED).symlink_to(generations.path(1) / SAVED)
    machine.host.processes[generations.path(1)] = 3
    new, old = whole(machine.host, "science")["generations"]
    assert (new["number"], new["on"], new["asked"], new["programs"]) == (2, True, True, 0)
    assert (old["number"], old["on"], old["asked"], old["programs"]) == (1, False, False, 3)
    assert old["lock"] == {"platform": "linux-64", "python": "3.12", "conda": 0, "pip": 1}
    assert new["lock"]["pip"] == 0, "a lock that is a link is not followed"
    (generations.path(1) / SAVED).write_text("conda:\n  - '\x1b[2J'\n")
    told = whole(machine.host, "science")["generations"][1]["lock"]
    assert told == {"platform": "", "python": "", "conda": 0, "pip": 0}, "of a lock that a build made up nothing is shown"


def test_one_that_was_changed_by_hand_says_so_until_it_is_built_anew(machine: Machine) -> None:
    generation = machine.layout.envs / "science/1"
    mark = json.loads((generation / MARK).read_text())
    (generation / MARK).write_text(json.dumps({**mark, "sealed": {"bin": 7}}))
    found = whole(machine.host, "science")
    assert (found["state"], found["say"]) == ("changed by hand", "science was changed by hand")
    assert found["trouble"]["fix"].endswith("hubd env build science")
    assert (found["trouble"]["ended"], found["trouble"]["log"]) == (0, [])
    ask(machine.host, "science")
    machine.settle()
    assert whole(machine.host, "science")["state"] == "right"


def test_one_whose_notebook_is_gone_is_refused(machine: Machine) -> None:
    machine.write(CONFIG + "    smoke: away.ipynb\n")
    machine.make()
    found = whole(machine.host, "science")
    assert (found["state"], found["say"], found["generation"]) == ("refused", "away.ipynb cannot be read", 1)
    assert found["trouble"]["why"] == "there is no such file"


NOT_THERE = [("sciense", "Did you mean science? There are: science."), ("x", "There are: science.")]


@pytest.mark.parametrize(("name", "said"), NOT_THERE)
def test_an_environment_that_is_not_there(machine: Machine, name: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        whole(machine.host, name)
    assert raised.value.fix == said


def test_the_whole_story_of_a_failure(machine: Machine) -> None:
    host = machine.host
    assert whole(host, "science")["trouble"] is None
    machine.slow = True
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpyy"))
    machine.make()
    assert whole(host, "science")["state"] == "building"
    unit = "hubd-job-env-science.service"
    host.init.units[unit] = UnitState(unit, active="failed")
    host.init.logs[unit] = ("solving", "no numpyy")
    order = machine.layout.jobs / "env-science.json"
    spec = json.loads(order.read_text())
    order.write_text(json.dumps({**spec, "tries": 1, "at": host.now - 100}))
    report = {"state": "failed", "digest": spec["digest"], "what": "no numpyy", "why": "nobody has it", "fix": "Mend the name.",
              "tries": 2, "ended": host.now - 60}  # fmt: skip
    result_path(machine.layout, "env-science").write_text(json.dumps(report))
    found = whole(host, "science")
    assert (found["state"], found["say"], found["generation"]) == ("failed", "science is not built: no numpyy", 1)
    assert found["trouble"] == {
        "what": "science is not built: no numpyy", "why": "nobody has it", "fix": "Mend the name.", "retry": True, "tries": 2,
        "ended": host.now - 60,
        "next_try": host.now - 60 + 2 * FIRST_RETRY, "log": ["solving", "no numpyy"],
    }  # fmt: skip
    result_path(machine.layout, "env-science").write_text(json.dumps({**report, "retry": False}))
    told = whole(host, "science")["trouble"]
    assert (told["retry"], told["next_try"]) == (False, host.now - 60 + RARE_RETRY)
    assert told["fix"] == f"Mend the name. {RARELY}"


def test_a_build_that_waits_for_something_that_failed(machine: Machine) -> None:
    machine.write(CONFIG.replace("manager: uv", "manager: conda") + "conda: {path: /nowhere}\n")
    found = whole(machine.host, "science")
    assert found["state"] == "failed"
    assert found["say"] == "science cannot be built without the conda in /nowhere"
    why = "conda.path names it, and neither conda, mamba nor micromamba is there"
    assert found["trouble"]["why"] == f"there is no conda at /nowhere: {why}"
    assert found["trouble"]["log"] == []


def test_the_servers_own_environment_is_told_of_when_asked_for(machine: Machine) -> None:
    assert whole(machine.host, "server")["state"] == "right"


def test_another_audience_gets_the_kernel_also_while_nothing_newer_is_there(
    host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(host, owners, monkeypatch)
    machine.begin()
    kernels = machine.layout.audiences
    assert (kernels / "everyone/kernels/science/kernel.json").exists()
    machine.slow = True
    machine.write(CONFIG.replace("ipykernel]\n", "ipykernel, numpy]\n    audience: [admins]\n"))
    machine.make()
    assert not (kernels / "everyone/kernels/science/kernel.json").exists()
    assert "/science/1/" in (kernels / "admins/kernels/science/kernel.json").read_text()
    machine.finish("env-science")
    machine.settle()
    assert "/science/2/" in (kernels / "admins/kernels/science/kernel.json").read_text()
