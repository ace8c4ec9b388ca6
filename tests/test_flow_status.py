"""What is told of a pass: its state, its exit code, its trouble."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes import Thing

from hubd import resources, show
from hubd.config.model import Config
from hubd.daemon.passes import summary
from hubd.errors import ExitCode, HubdError, Interrupted
from hubd.flow.status import exit_code, last_pass, no_end, status
from hubd.flow.values import Event, Gap, Outcome, Pass, Plan, Record, Result
from hubd.hooks import Wanted
from hubd.layout import Layout
from hubd.plugin_loader import Broken, load
from hubd.resources.base import Progress, Step
from hubd.words import THINGS, thing

OK = {"ended": 100, "trouble": [], "running": []}
STATES = [
    # last, problems of the file, state
    ({}, (), "unknown"),
    ({}, ("line 1: no",), "invalid"),
    (OK, (), "right"),
    (OK, ("line 1: no",), "invalid"),
    ({**OK, "running": [{"id": "x"}]}, (), "working"),
    ({**OK, "running": [{"id": "x"}], "trouble": [{"id": "y"}]}, (), "trouble"),
    ({**OK, "held": [{"id": "x"}]}, (), "right"),
]


@pytest.mark.parametrize(("last", "problems", "state"), STATES)
def test_state(last: dict[str, Any], problems: tuple[str, ...], state: str) -> None:
    found = status(Record(last=last), config_problems=problems, daemon=None, now=160)
    assert found["state"] == state
    assert found["when"] == ("1 minute ago" if last else "never")
    assert json.loads(json.dumps(found)) == found


def test_a_change_that_waits_is_said_and_all_is_not_right_meanwhile() -> None:
    def told(last: dict[str, Any], **more: Any) -> dict[str, Any]:
        return status(Record(last=last), config_problems=(), daemon={"pid": 7}, now=160, **more)

    waiting = told(OK, change_waits=True)
    assert (waiting["state"], waiting["change_waits"], told(OK)["change_waits"]) == ("working", True, False)
    lines = list(show.status_lines(waiting))
    assert "All is right" not in lines[0]
    assert "A change of config.yaml or of a drop-in was seen" in lines[1]
    assert told({**OK, "trouble": [{"id": "y"}]}, change_waits=True)["state"] == "trouble"
    assert not any("was seen" in line for line in show.status_lines(told(OK)))


def test_a_pass_that_is_made_without_a_daemon_is_said() -> None:
    for last, state in ((OK, "working"), ({}, "working"), ({**OK, "trouble": [{"id": "y"}]}, "trouble")):
        found = status(Record(last=last), config_problems=(), daemon=None, now=160, under_way="installation")
        assert (found["state"], found["under_way"]) == (state, "installation")
    found = status(Record(last=OK), config_problems=(), daemon=None, now=160, under_way="installation")
    assert "A pass is under way: installation" in list(show.status_lines(found))


def test_the_headline_promises_nothing_that_a_pass_is_about_to_find_out() -> None:
    for since, headline in ((None, "All is right."), (100.0, "All was right.")):
        found = status(Record(last=OK), config_problems=(), daemon={"pid": 7, "pass_since": since, "doing": ""}, now=160)
        assert next(show.status_lines(found)) == f"{headline} (last looked: 1 minute ago)"
        assert found["state"] == "right", "scripts go by what the last pass found"


@pytest.mark.parametrize("last", [OK, {}])
def test_a_pass_that_came_to_no_end_is_trouble(last: dict[str, Any]) -> None:
    failure = no_end(pid=4711, what="config.yaml changed", since=100, now=160)
    found = status(Record(last=last), config_problems=(), daemon=None, now=160, failure=failure)
    assert (found["state"], [each["id"] for each in found["last_pass"]["trouble"]]) == ("trouble", ["pass"])
    assert list(show.status_lines(found))[2:] == [
        "✗ the last pass came to no end",
        "  because process 4711 began it 1 minute ago (config.yaml changed), and failed or was killed",
        "  The next pass goes on from there: hubd apply",
    ]


def test_because_is_said_once() -> None:
    for why in ("Because it rains.", "because it rains.", "it rains."):
        assert "  because it rains." in show.error_lines(HubdError("wet", why=why))
    assert "  because Becausel is a name" in show.error_lines(HubdError("wet", why="Becausel is a name"))


def test_a_clock_that_was_set_back_is_said() -> None:
    assert "set back" in status(Record(last=OK), config_problems=(), daemon=None, now=50)["when"]


def outcomes(*results: Result) -> tuple[Outcome, ...]:
    return tuple(Outcome(f"x:{number}", result) for number, result in enumerate(results))


F, X, R, H, OKAY = Result.FIXED, Result.FAILED, Result.RUNNING, Result.HELD, Result.RIGHT
CODES = [
    (Pass(Plan((), 5)), ExitCode.DONE),
    (Pass(Plan(()), outcomes(F, OKAY, R)), ExitCode.DONE),
    # Held by a job that goes on is not a failure.
    (Pass(Plan(()), outcomes(R, H)), ExitCode.DONE),
    (Pass(Plan(()), outcomes(X)), ExitCode.FAILED),
    (Pass(Plan(()), outcomes(X, H)), ExitCode.FAILED),
    (Pass(Plan(()), outcomes(X, F)), ExitCode.PARTLY_APPLIED),
    (Pass(Plan((), 3), outcomes(X)), ExitCode.PARTLY_APPLIED),
    (Pass(Plan((), 3), broken=(Broken("p", "no"),)), ExitCode.PARTLY_APPLIED),
]


@pytest.mark.parametrize(("whole", "code"), CODES)
def test_exit_code(whole: Pass, code: ExitCode) -> None:
    assert exit_code(whole) is code


def test_documented_exit_codes() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CONFIG_INVALID": 3,
        "CHANGES": 4,
        "PARTLY_APPLIED": 5,
        "LOCKED": 6,
        "NO_PROGRAM": 127,
        "INTERRUPTED": 130,
    }


def told(whole: Pass, damaged: str = "") -> dict[str, Any]:
    wanted = Wanted(Config(), Layout(), systemd=False)
    return last_pass(whole, wanted, load((), bundled=Layout().prefix), started=1, ended=2, damaged=damaged)


def test_the_last_pass_tells_trouble_with_cause_and_cure() -> None:
    error = HubdError("no disk", why="full", fix="Delete something.", retry=True)
    whole = Pass(
        Plan((), 4),
        (
            Outcome("x:1", X, "no disk", error),
            Outcome("x:2", H, "waits for x 1", waits_for="x:1"),
            Outcome("x:3", R, "building"),
            Outcome("x:4", F, "wrote it"),
        ),
        (Broken("p", "ValueError"),),
    )
    found = told(whole, damaged="record.json is damaged")
    assert found["trouble"][0] == {"id": "x:1", "what": "no disk", "why": "full", "fix": "Delete something.", "retry": True}
    assert [each["id"] for each in found["trouble"]] == ["x:1", "plugin:p", "record"]
    assert found["running"] == [{"id": "x:3", "say": "building"}]
    assert found["held"] == [{"id": "x:2", "say": "waits for x 1", "waits_for": "x:1"}]
    assert found["fixed"] == ["wrote it"]
    assert found["counts"] == {"failed": 1, "held": 1, "running": 1, "fixed": 1}
    assert any("not systemd" in notice["say"] for notice in found["notices"])
    assert json.loads(json.dumps(found)) == found


def test_a_pass_that_was_stopped_is_trouble_and_interrupted() -> None:
    held = Outcome("x:2", H, "the pass was stopped", Interrupted("the pass was stopped"))
    whole = Pass(Plan((), 4), (Outcome("x:1", F, "wrote it"), held, Outcome("x:3", H, "waits for x:2")))
    assert exit_code(whole) is ExitCode.INTERRUPTED
    (trouble,) = told(whole)["trouble"]
    assert (trouble["id"], trouble["what"]) == ("pass", "the last pass was stopped before its end")
    assert exit_code(Pass(Plan((), 4), (*whole.outcomes, Outcome("x:4", X)))) is ExitCode.PARTLY_APPLIED


def test_each_thing_is_counted_as_right_once() -> None:
    a, b, c = (Thing(label=name, world={}) for name in "abc")
    gap = Gap(a, (Step("do", lambda host: None),))
    # b and c had no gap; b was looked at again and is right, c is held now. a was mended by what it needs.
    whole = Pass(Plan((gap,), right=2), (Outcome(a.id, OKAY), Outcome(b.id, OKAY), Outcome(c.id, H, "waits")))
    assert told(whole)["right"] == 2


def plan_of(*gaps: Gap, right: int = 0) -> list[str]:
    return list(show.plan_lines(show.plan_json(Pass(Plan(gaps, right)))))


def test_a_plan_in_words() -> None:
    step = Step("write the file", lambda host: None)
    one, two = Thing(label="one", world={}, touches="everybody"), Thing(label="two", world={})
    assert plan_of(right=3) == ["Nothing to do: 3 things are right."]
    assert plan_of(Gap(one, (step,)), Gap(two, (step,), removal=True), right=3) == [
        "  * write the file",
        "      touches: everybody",
        "  - write the file",
        "2 changes, 3 things are right. Nothing was changed yet: hubd apply",
    ]
    assert plan_of(Gap(one, progress=Progress("building")))[:-1] == ["  … thing one: building"]
    assert plan_of(Gap(one, error=HubdError("no", why="dark")))[:-1] == ["  ✗ thing one: no", "    because dark"]
    error = HubdError("no", why="dark", fix="Light a lamp.")
    told = ["  ✗ thing one: no", "    because dark", "    Light a lamp."]
    assert plan_of(Gap(one, progress=Progress("dim", error), error=error))[:-1] == told
    assert plan_of(Gap(one, error=HubdError("one is dark")))[:-1] == ["  ✗ one is dark"]


STEP, DARK, GOES_ON = {"steps": (Step("do", lambda host: None),)}, {"error": HubdError("no")}, {"progress": Progress("building")}
CLOSING = [
    # the gaps, a broken plugin, the last line
    ([], False, "Nothing to do: 71 things are right."),
    ([DARK], False, "1 thing needs attention, 71 things are right."),
    ([DARK, DARK, GOES_ON], False, "2 things need attention, 1 thing is under way or waiting, 71 things are right."),
    ([GOES_ON, GOES_ON], False, "2 things are under way or waiting, 71 things are right."),
    ([], True, "1 thing needs attention, 71 things are right."),
    ([STEP, DARK], False, "1 change, 1 thing needs attention, 71 things are right. Nothing was changed yet: hubd apply"),
]


@pytest.mark.parametrize(("gaps", "broken", "line"), CLOSING)
def test_a_plan_ends_with_what_it_comes_to(gaps: list[dict[str, Any]], broken: bool, line: str) -> None:
    found = tuple(Gap(Thing(label=str(number), world={}), **gap) for number, gap in enumerate(gaps))
    *_, last = show.plan_lines(show.plan_json(Pass(Plan(found, 71), broken=(Broken("p", "no"),) if broken else ())))
    assert last == line


LEFT_OUT = "The plugin p is left out: no"
LAST_WORDS = [
    (Pass(Plan((), 3)), ["All is right; nothing was changed."]),
    (Pass(Plan((), 3), broken=(Broken("p", "no"),)), [LEFT_OUT, "All else is right; nothing was changed."]),
    (Pass(Plan((), 3), outcomes(F), (Broken("p", "no"),)), [LEFT_OUT, "1 fixed; 3 were right."]),
    (Pass(Plan((), 3), outcomes(F, R, H)), ["1 fixed, 1 under way, 1 waiting; 3 were right."]),
]


@pytest.mark.parametrize(("whole", "lines"), LAST_WORDS)
def test_the_last_words_of_a_pass_fit_its_exit_code(whole: Pass, lines: list[str]) -> None:
    assert list(show.summary_lines(summary(whole))) == lines
    assert any(line.startswith("All is right") for line in lines) <= (exit_code(whole) is ExitCode.DONE)


EVENTS = [
    (Event("step", "x", "write it"), "  → write it"),
    (Event("job", "env-a", "solving"), "  … a: solving"),
    (Event("job", "solve-a-b", "starting"), "  … a-b: starting"),
    (Event("job", "clean-environments", "starting"), "  … the package cache: starting"),
    (Event("job", "clean-server", "starting"), "  … the package cache of server: starting"),
    (Event("job", "conda", "starting"), "  … conda: starting"),
    (Event("outcome", "file:/x", "no disk", "failed"), "  ✗ the file /x: no disk"),
    (Event("outcome", "x", "wrote it", "fixed"), ""),
    (Event("say", say="hello"), "  hello"),
    (Event("pass", say="why"), ""),
]


@pytest.mark.parametrize(("event", "line"), EVENTS)
def test_events_in_words(event: Event, line: str) -> None:
    assert show.event_line({"kind": event.kind, "id": event.id, "say": event.say, "result": event.result}) == line


def test_status_in_words_names_what_to_do() -> None:
    last = {
        "ended": 0,
        "trouble": [{"what": "no disk", "why": "full", "fix": "Delete something."}],
        "running": [],
        "held": [],
        "notices": [{"say": "careful", "fix": "do this"}],
    }
    lines = list(show.status_lines(status(Record(last=last), config_problems=(), daemon=None, now=1)))
    assert lines[0] == "Something needs attention. (last looked: just now)"
    assert "systemctl start hubd" in lines[1]
    assert lines[2:] == ["✗ no disk", "  because full", "  Delete something.", "Note: careful.", "  do this"]


def test_what_waits_is_told_in_words_with_what_it_waits_for_in_the_end() -> None:
    kernel = "kernel:/opt/hub/kernels/admins/kernels/geo"
    waits = {"switch:geo": "environment:geo", kernel: "switch:geo", "untouched:geo": "switch:geo", "unit:hub": "file:/x"}
    held = [{"id": each, "say": f"waits for {cause}", "waits_for": cause} for each, cause in waits.items()]
    stopped = {"id": "group:a", "say": "the pass was stopped"}
    going = [{"id": "environment:geo", "say": "building: solving"}]
    last = {**OK, "running": going, "held": [*held, stopped]}
    lines = list(show.status_lines(status(Record(last=last), config_problems=(), daemon={"pid": 7}, now=1)))
    assert lines[1:] == [
        "… the environment geo: building: solving",
        "· the group a: the pass was stopped",
        "· the switch to the new build of geo, the kernel geo for admins, the look for changes by hand in geo "
        "wait for the environment geo",
        "· the unit hub waits for the file /x",
    ]


def test_each_kind_of_thing_has_words() -> None:
    folder = Path(resources.__file__).parent
    kinds = {kind for path in folder.glob("*.py") for kind in re.findall(r'^    kind = "(.*)"$', path.read_text(), re.MULTILINE)}
    assert len(kinds) > 30
    assert kinds <= THINGS.keys(), "its id would be told to people"
    assert thing("licence:matlab") == "licence matlab", "of a plugin"


@pytest.mark.parametrize(("count", "said"), [(1, "1 change, "), (2, "2 changes, ")])
def test_a_plan_counts_its_changes(count: int, said: str) -> None:
    change = {"id": "x", "steps": ["do"], "touches": "", "removal": False}
    *_, last = show.plan_lines({"changes": [change] * count, "waiting": [], "right": 3, "broken": []})
    assert last.startswith(said)
