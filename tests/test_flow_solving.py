"""`hubd plan --solve`: what the managers say is in the plan, and nothing of the asking is left on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd import show
from hubd.cli.main import run
from hubd.daemon.control import Control
from hubd.daemon.passes import Passes
from hubd.errors import ExitCode, HubdError
from hubd.flow.solving import solved
from hubd.flow.values import Event, Pass
from hubd.host.init import UnitState
from hubd.host.locks import file_lock
from hubd.host.sockets import Peer
from hubd.resources.job import forget_failures, order_path, report_folder, result_path
from hubd.resources.solving import waiting_lock
from hubd.tools.lock import SAVED, CondaPackage, Lock, lock_text
from hubd.tools.solved import NAME, Solved, solved_text

JOB, UNIT = "solve-science", "hubd-job-solve-science.service"
NOT_FOUND = {"what": "a package is not in the channels", "why": "nunpy", "fix": "Correct the name.", "retry": False}


def lock(*pins: str) -> Lock:
    return Lock(manager="uv", platform="linux-64", python="3.12", pip=tuple(f"{pin} --hash=sha256:{'0' * 64}" for pin in pins))


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which everything is right and a change of the packages waits."""
    monkeypatch.setattr("hubd.resources.environment.free_space", lambda folder: 10**10)
    made = Machine(host, owners, monkeypatch)
    made.begin()
    (made.layout.envs / "science/1" / SAVED).write_text(lock_text(lock("numpy==2.3", "scipy==1.0")))
    made.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    answers(made, Solved(lock=lock("numpy==2.4", "dask==1.0", "ipykernel==7.0"), downloads=3))
    return made


def answers(machine: Machine, found: Solved | str, **report: Any) -> None:
    """What the manager says from now on."""

    def solve(spec: dict[str, Any]) -> None:
        text = found if isinstance(found, str) else solved_text(found)
        (Path(spec["result"]).parent / NAME).write_text(text)
        Path(spec["result"]).write_text(json.dumps({"state": "done", "digest": spec["digest"], **report}))

    machine.solved = solve


def fails(machine: Machine, **report: Any) -> None:
    answers(machine, "", state="failed", **{**NOT_FOUND, **report})


def solve(machine: Machine, *, most: int = 100) -> tuple[Pass, list[str]]:
    """The plan with its versions, and what was told meanwhile."""
    work, said = solved(machine.host, machine.make(act=False)), []
    for _ in range(most):
        try:
            event = next(work)
        except StopIteration as ended:
            return ended.value, said
        said += [event.say] if event else []
    work.close()
    raise AssertionError(f"it does not come to an end: {said}")


def change_of(found: Pass, name: str = "science") -> dict[str, Any]:
    return next(each for each in show.plan_json(found)["changes"] if each["id"] == f"environment:{name}")


def nothing_is_left(machine: Machine) -> bool:
    names = [*os.listdir(machine.layout.jobs), *os.listdir(machine.layout.reports)]
    return not [name for name in names if name.startswith("solve-")] and UNIT not in machine.host.init.units


def test_versions_are_told_before_the_build(machine: Machine) -> None:
    science = machine.layout.envs / "science"
    machine.host.processes[science / "1"] = machine.host.kernels[science / "1"] = 14
    before = sorted(os.listdir(science))
    found, said = solve(machine)
    change = change_of(found)
    assert change["tells"] == [
        "science: +ipykernel 7.0 +dask 1.0 −scipy 1.0, numpy 2.3 → 2.4",
        "14 running kernels keep generation 1 until they stop", "3 packages to download",
    ]  # fmt: skip
    assert change["error"] is None
    assert [each["name"] for each in change["forecast"]["solved"]["added"]] == ["dask", "ipykernel"]
    assert change["forecast"]["solved"]["download"] == {"packages": 3, "bytes": None}
    assert said == ["solving science with uv"]
    program = machine.host.init.started[UNIT]
    assert (program.user, dict(program.properties)["ProtectSystem"]) == ("hubd-build", "strict")
    assert str(science) not in dict(program.properties)["ReadWritePaths"]
    assert nothing_is_left(machine)
    assert sorted(os.listdir(science)) == before
    assert machine.make(act=False).plan.changes, "nothing was done about it"


def test_one_that_would_fail_is_told_with_its_reason(machine: Machine) -> None:
    fails(machine, retry=True)
    found, _ = solve(machine)
    change = change_of(found)
    assert [gap.error.retry for gap in found.plan.gaps if gap.error] == [True]
    assert change["error"]["what"] == "science cannot be solved: a package is not in the channels"
    lines = "\n".join(show.plan_lines(show.plan_json(found)))
    told = ("✗ science cannot be solved: a package is not in the channels", "  because nunpy", "  Correct the name.")
    assert "\n".join(f"      {line}" for line in told) in lines, lines
    assert "tries again within a day" not in lines, "nothing is tried again by itself"
    assert nothing_is_left(machine)


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000])
def test_an_answer_that_nobody_can_read(machine: Machine, text: str) -> None:
    answers(machine, text)
    assert "cannot be read" in change_of(solve(machine)[0])["error"]["what"]
    assert nothing_is_left(machine)


def test_one_that_was_ended_from_outside_says_so(machine: Machine) -> None:
    def ended(spec: dict[str, Any]) -> None:
        machine.host.init.units[UNIT] = UnitState(UNIT, True, "failed", "failed", 0, result="oom-kill")

    machine.host.init.on_run = lambda program: ended({})
    what = change_of(solve(machine)[0])["error"]["what"]
    assert what == "science cannot be solved: the solve ran out of memory", "it has no name of a job in it"
    assert ("clear", UNIT) in machine.host.init.did, "systemd forgets it, too"
    machine.host.init.on_run = lambda program: machine.host.init.units.pop(UNIT)
    assert "was killed" in change_of(solve(machine)[0])["error"]["what"]
    machine.host.init.broken[UNIT] = HubdError("systemd says no")
    assert "systemd says no" in change_of(solve(machine)[0])["error"]["what"]
    assert nothing_is_left(machine)


def test_what_it_does_is_told_while_it_goes_on_and_leaving_ends_it(machine: Machine) -> None:
    machine.slow = True
    work = solved(machine.host, machine.make(act=False))
    first = next(work)
    result_path(machine.layout, JOB).parent.mkdir(exist_ok=True)
    assert first == Event("say", say="solving science with uv")
    assert next(work) == Event("job", JOB, "starting")
    result_path(machine.layout, JOB).write_text(json.dumps({"phase": "solving 2 packages with uv", "line": "x"}))
    assert next(work) == Event("job", JOB, "solving 2 packages with uv", line="x")
    assert UNIT in machine.host.init.units
    whole = machine.make()  # a pass meanwhile: it begins the build, and leaves what is waited for alone
    assert "left-solves:jobs" not in {gap.resource.id for gap in whole.plan.gaps}
    forget_failures(machine.host)
    assert UNIT in machine.host.init.units and order_path(machine.layout, JOB).exists()
    assert "hubd-job-env-science.service" in machine.host.init.units
    work.close()
    assert nothing_is_left(machine)
    assert "hubd-job-env-science.service" in machine.host.init.units, "a build is nobody's to end"


def test_who_waits_is_not_cleared_away_when_the_solve_is_over(machine: Machine) -> None:
    machine.slow = True
    work = solved(machine.host, machine.make(act=False))
    next(work), next(work)
    program = machine.host.init.started[UNIT]
    machine.make()
    machine.slow = False
    machine._job(program)
    machine.make()
    forget_failures(machine.host)
    with pytest.raises(StopIteration) as ended:
        next(work)
    assert change_of(ended.value.value)["forecast"]["solved"]["added"]
    assert nothing_is_left(machine)


@pytest.mark.parametrize("goes", [True, False])
def test_what_a_killed_command_left_goes_in_the_next_pass(machine: Machine, goes: bool) -> None:
    machine.slow = True
    work = solved(machine.host, machine.make(act=False))
    next(work), next(work)
    # As if it had been killed: the kernel frees its lock, and nobody clears up.
    order = order_path(machine.layout, JOB).read_bytes()
    work.close()
    order_path(machine.layout, JOB).write_bytes(order)
    report_folder(machine.layout, JOB).mkdir()
    (report_folder(machine.layout, JOB) / "work").mkdir()
    (report_folder(machine.layout, "solve-other")).mkdir()
    (machine.layout.reports / ".solve-old.0123456789ab.hubd-gone").mkdir()
    if goes:
        machine.host.init.units[UNIT] = UnitState(UNIT, True, "active", "running", 7)
    found = machine.make()
    said = {outcome.id: outcome.say for outcome in found.outcomes}
    assert said["left-solves:jobs"] == "end 3 solves that nobody waits for"
    assert nothing_is_left(machine)


def test_the_next_one_takes_the_place_of_what_was_left(machine: Machine) -> None:
    report_folder(machine.layout, JOB).mkdir()
    (report_folder(machine.layout, JOB) / NAME).write_text("old")
    machine.host.init.units[UNIT] = UnitState(UNIT, True, "active", "running", 7)
    machine.host.init.did.clear()
    assert change_of(solve(machine)[0])["error"] is None
    assert nothing_is_left(machine)
    did = [what for what, unit in machine.host.init.did if unit == UNIT and what in ("clear", "run")]
    assert did == ["clear", "run", "clear"], "one that goes on is ended first"


LACKS = "  geo: {packages: [ipykernel], manager: conda}\n"


def test_nobody_is_waited_for_where_no_manager_is_asked(machine: Machine) -> None:
    (machine.layout.prefix / "a.lock").write_text(lock_text(lock("numpy==2.4")))
    machine.write("environments:\n  science: {lock: a.lock, manager: uv}\n" + LACKS)
    with file_lock(waiting_lock(machine.layout), wait=0):
        found, said = solve(machine)
    assert (said, change_of(found)["error"]) == ([], None)
    assert change_of(found, "geo")["tells"][0].startswith("which versions geo gets can be told once ")


@pytest.mark.parametrize("more", ["", LACKS])
def test_two_at_once_come_one_after_the_other(machine: Machine, more: str) -> None:
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy") + more)
    naps: list[float] = []
    with contextlib.ExitStack() as other:
        other.enter_context(file_lock(waiting_lock(machine.layout), wait=0))

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                other.close()

        machine.host.sleep = sleep
        found, said = solve(machine)
    assert said == ["waiting for another `hubd plan --solve`", "solving science with uv"]
    assert change_of(found)["forecast"]["solved"]["compared"]


def test_nothing_is_asked_where_nothing_is_to_be_built(machine: Machine) -> None:
    machine.write(CONFIG)
    machine.settle()
    machine.host.init.started.clear()
    found, said = solve(machine)
    assert (found.plan.changes, said, machine.host.init.started) == ((), [], {})


def test_one_that_is_being_built_is_not_solved_and_says_so(machine: Machine) -> None:
    machine.slow = True
    machine.make()
    result_path(machine.layout, "env-science").write_text(json.dumps({"phase": "installing 1 package with uv"}))
    found, said = solve(machine)
    lines = list(show.plan_lines(show.plan_json(found)))
    told = "  … the environment science: not solved, as it is being built (installing 1 package with uv)"
    assert (told in lines, said, UNIT in machine.host.init.started) == (True, [], False), lines


def test_what_a_manager_needs_comes_first(machine: Machine) -> None:
    machine.write(CONFIG + "  geo: {packages: [ipykernel], manager: conda}\n")
    change = change_of(solve(machine)[0], "geo")
    assert change["tells"] == ["which versions geo gets can be told once conda in /opt/hub/conda is right".replace(
        "/opt/hub", str(machine.layout.prefix))]  # fmt: skip
    assert (change["error"], "hubd-job-solve-geo.service" in machine.host.init.started) == (None, False)


def test_the_place_of_its_answer_comes_first(machine: Machine) -> None:
    machine.layout.jobs.rename(machine.layout.jobs.with_name("moved"))
    change = change_of(solve(machine)[0])
    assert change["tells"][0] == f"which versions science gets can be told once the folder {machine.layout.jobs} is right"
    assert UNIT not in machine.host.init.started


def test_a_first_build_tells_what_comes(machine: Machine) -> None:
    machine.write(CONFIG + "  geo: {packages: [ipykernel], manager: uv}\n")
    change = change_of(solve(machine)[0], "geo")
    assert change["tells"] == ["geo: 4 packages: ipykernel 7.0, python 3.12, numpy 2.4, dask 1.0", "3 packages to download"]
    assert change["forecast"]["solved"]["compared"] is False


def test_a_lock_needs_no_solving(machine: Machine) -> None:
    package = CondaPackage("numpy", "2.4", "0", "https://x.example/c/noarch/numpy-2.4-0.conda")
    text = lock_text(Lock(manager="conda", platform="linux-64", conda=(package,)))
    (machine.layout.prefix / "a.lock").write_text(text)
    machine.write("environments: {science: {lock: a.lock, manager: conda}}\nconda: {path: /c}\n")
    found, said = solve(machine)
    change = change_of(found)
    assert (said, UNIT in machine.host.init.started, change["error"]) == ([], False, None)
    told = "science: by conda instead of uv, −python 3.12 −scipy 1.0, numpy 2.3 → 2.4"
    assert change["tells"] == [told], "conda itself need not be there for that"
    assert [each["name"] for each in change["forecast"]["solved"]["changed"]] == ["numpy"]


def test_a_lock_that_its_manager_cannot_build_is_told_before_the_build(machine: Machine) -> None:
    frozen = CONFIG + "    frozen: true\n"
    machine.write(frozen)
    machine.settle()
    (machine.layout.envs / "science/1/bin/python").unlink()
    machine.write(frozen.replace("manager: uv", "manager: rattler"))
    found, said = solve(machine)
    error = change_of(found)["error"]
    assert error["what"] == "science cannot be solved: rattler cannot build this lock"
    assert (error["fix"], said) == ("Write `manager: uv` for this environment.", [])
    machine.write("environments: {science: {lock: a.lock, manager: rattler}}\n")
    (machine.layout.prefix / "a.lock").write_text(lock_text(lock("numpy==2.4")))
    told, _ = show.plan_json(solve(machine)[0])["waiting"]
    assert told["error"]["what"] == "science cannot be built from a.lock: rattler cannot build this lock"


def test_one_that_failed_and_waits_is_told_as_that(machine: Machine) -> None:
    machine.write("environments: {science: {lock: away.lock, manager: uv}}\n")
    found, _ = solve(machine)
    assert "being built" not in "\n".join(show.plan_lines(show.plan_json(found)))
    (waits,) = (gap for gap in found.plan.gaps if gap.resource.id == "environment:science")
    assert waits.progress and waits.progress.error and "being built" not in waits.progress.say


@pytest.fixture
def command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr("hubd.host.local_host", lambda layout, **options: machine.host)
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: machine.layout)
    monkeypatch.setattr("hubd.cli.passes.daemon_answers", lambda layout: False)
    yield machine


def test_the_command_where_no_daemon_runs(command: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan"]) == ExitCode.DONE
    assert capsys.readouterr().out.endswith("Nothing was changed yet: hubd apply\nVersions: hubd plan --solve\n")
    assert run(["plan", "--solve"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert "      science: +ipykernel 7.0 +dask 1.0 −scipy 1.0, numpy 2.3 → 2.4\n" in said.out and "Versions:" not in said.out
    assert said.err == "  solving science with uv\n"
    assert run(["plan", "--solve", "--json", "--detailed-exitcode"]) == ExitCode.CHANGES
    said = capsys.readouterr()
    assert json.loads(said.out)["changes"] and not said.err
    fails(command)
    assert run(["plan", "--solve", "--detailed-exitcode"]) == ExitCode.FAILED
    assert "science cannot be solved" in capsys.readouterr().out
    command.write(CONFIG)
    assert run(["plan"]) == ExitCode.DONE
    assert "Versions:" not in capsys.readouterr().out


MISSING = "environments: {geo: {file: away.yml, manager: uv}}\n"


def test_what_is_refused_counts_as_not_solved_and_nothing_after_it_as_a_change(
    command: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    command.write(MISSING)
    assert run(["plan", "--solve"]) == ExitCode.FAILED
    told = capsys.readouterr().out
    assert "  ✗ the environment geo: away.yml cannot be read\n    because there is no such file\n" in told, told
    assert "  … the switch to the new build of geo: waits for the environment geo\n" in told
    assert "  … the kernel geo for everyone: waits for the environment geo\n" in told
    assert "what is built" not in told and "offer the kernel" not in told
    assert run(["plan"]) == ExitCode.DONE, "the plan can be told"
    assert "what is built" not in capsys.readouterr().out


def test_what_comes_after_a_build_that_cannot_be_solved_waits(machine: Machine) -> None:
    fails(machine)
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy") + "    audience: [course]\n")
    found = show.plan_json(solve(machine)[0])
    assert {each["id"]: each["waits_for"] for each in found["waiting"]} == {
        "switch:science": "waits for the environment science",
    }  # fmt: skip
    assert any("offer the kernel science of generation 1 to the group course" in each["steps"] for each in found["changes"])


def test_ctrl_c_ends_the_solve(command: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    command.slow = True

    def interrupt(seconds: float) -> None:
        assert UNIT in command.host.init.units
        raise KeyboardInterrupt

    command.host.sleep = interrupt
    assert run(["plan", "--solve"]) == ExitCode.INTERRUPTED
    assert nothing_is_left(command)


@pytest.mark.parametrize("error", [HubdError("it does not end"), OSError("it does not end")])
def test_a_solve_that_does_not_end_hides_nothing(
    command: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    command.slow = True

    def interrupt(seconds: float) -> None:
        monkeypatch.setattr("hubd.flow.solving.clear_solve", fails_to_end)
        raise KeyboardInterrupt

    def fails_to_end(host: object, job: str) -> None:
        raise error

    command.host.sleep = interrupt
    assert run(["plan", "--solve"]) == ExitCode.INTERRUPTED
    assert "does not end" not in capsys.readouterr().out


def test_the_daemon_does_it_and_notices_who_left(machine: Machine) -> None:
    control = Control(Passes(lambda: machine.host, lock_wait=0), lambda: machine.host, lambda reason: None, {})
    heard, event, last = control.answer({"do": "plan", "solve": True}, Peer(1, 0))
    assert heard == {"heard": True}
    assert event["event"]["say"] == "solving science with uv"
    assert (last["code"], change_told(last["done"])["forecast"]["solved"]["compared"]) == (ExitCode.DONE, True)
    machine.slow = True
    answer = control.answer({"do": "plan", "solve": True}, Peer(1, 0))
    assert [next(answer) for _ in range(3)][-1]["event"]["kind"] == "job"  # type: ignore[index]
    assert UNIT in machine.host.init.units
    answer.close()  # type: ignore[attr-defined]
    assert nothing_is_left(machine)


def change_told(plan: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in plan["changes"] if each["id"] == "environment:science")
