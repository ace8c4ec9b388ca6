"""Gaps are closed: what goes on, what is held, and what counts as fixed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from fakes import FakeHost, Thing

from hubd.errors import HubdError, Interrupted
from hubd.flow.apply import apply
from hubd.flow.observe import observe
from hubd.flow.plan import plan
from hubd.flow.values import Event, Outcome, Result
from hubd.resources.base import Resource

RIGHT, FIXED, RUNNING, FAILED, HELD = Result.RIGHT, Result.FIXED, Result.RUNNING, Result.FAILED, Result.HELD


class World:
    """Things that need each other, and one pass over them."""

    def __init__(self, host: FakeHost) -> None:
        self.host, self.state = host, {}  # type: tuple[FakeHost, dict[str, Any]]
        self.things: list[Resource] = []
        self.going: list[Resource] = []
        self.events: list[Event] = []

    def thing(self, label: str, *needs: str, **options: Any) -> Thing:
        found = Thing(label=label, world=self.state, needs=tuple(f"thing:{need}" for need in needs), **options)
        self.things.append(found)
        return found

    def apply(self, stop: threading.Event | None = None) -> dict[str, Outcome]:
        found = plan(self.things, self.going, observe(self.host, [*self.things, *self.going]))
        outcomes = apply(self.host, self.things, found, tell=self.events.append, stop=stop)
        return {outcome.id.removeprefix("thing:"): outcome for outcome in outcomes}

    def results(self, stop: threading.Event | None = None) -> dict[str, Result]:
        return {label: outcome.result for label, outcome in self.apply(stop).items()}

    @property
    def order(self) -> list[str]:
        return self.state.get("order", [])


@pytest.fixture
def world(host: FakeHost) -> World:
    return World(host)


def test_needs_come_first(world: World) -> None:
    world.thing("floor")
    world.thing("wall", "floor")
    world.thing("roof", "wall")
    assert world.results() == {"floor": FIXED, "wall": FIXED, "roof": FIXED}
    assert world.order == ["floor", "wall", "roof"]


def test_a_failure_holds_what_needs_it_and_nothing_else(world: World) -> None:
    world.thing("floor", fails=HubdError("no wood", fix="Buy some."))
    world.thing("wall", "floor")
    world.thing("roof", "wall")
    world.thing("garden")
    outcomes = world.apply()
    assert {label: outcome.result for label, outcome in outcomes.items()} == {
        "floor": FAILED, "wall": HELD, "roof": HELD, "garden": FIXED,
    }  # fmt: skip
    assert (outcomes["wall"].say, outcomes["wall"].waits_for) == ("waits for thing floor", "thing:floor")
    assert outcomes["roof"].waits_for == "thing:wall"
    assert outcomes["floor"].error is not None
    assert outcomes["floor"].error.fix == "Buy some."
    assert "wall" not in world.order


def test_what_comes_first_is_waited_for_and_holds_nothing(world: World) -> None:
    world.thing("floor", fails=HubdError("no wood"))
    world.thing("wall", act=lambda: time.sleep(0.05))
    world.thing("garden", follows=("thing:floor", "thing:wall", "thing:nobody wants it"))
    assert world.results() == {"floor": FAILED, "wall": FIXED, "garden": FIXED}
    assert world.order[-2:] == ["wall", "garden"]


def test_what_cannot_be_seen_fails_and_holds(world: World) -> None:
    world.thing("floor", blind=HubdError("too dark"))
    world.thing("wall", "floor")
    outcomes = world.apply()
    assert (outcomes["floor"].result, outcomes["floor"].say, outcomes["wall"].result) == (FAILED, "too dark", HELD)
    assert world.order == []


def test_fixed_means_that_a_second_look_finds_no_gap(world: World) -> None:
    world.thing("a", stays=True)
    world.thing("b", "a")
    outcomes = world.apply()
    assert (outcomes["a"].result, outcomes["b"].result) == (FAILED, HELD)
    error = outcomes["a"].error
    assert error is not None
    assert error.what == "thing a: it is still not right"
    assert error.why == "after turn a on there is still to do: turn a on"
    assert error.retry


def test_a_started_job_is_running_and_holds_what_needs_it(world: World) -> None:
    world.thing("build", job=True)
    world.thing("kernel", "build")
    world.thing("user")
    assert world.results() == {"build": RUNNING, "kernel": HELD, "user": FIXED}
    # Next pass: nothing is started twice.
    assert world.results() == {"build": RUNNING, "kernel": HELD}
    assert world.order.count("build") == 1


def test_a_bug_in_one_resource_does_not_end_the_pass(world: World) -> None:
    world.thing("bug", fails=ZeroDivisionError("by nought"))
    world.thing("fine")
    outcomes = world.apply()
    assert (outcomes["bug"].result, outcomes["fine"].result) == (FAILED, FIXED)
    error = outcomes["bug"].error
    assert error is not None
    assert (error.what, error.why) == ("thing bug: it failed", "ZeroDivisionError: by nought")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_bug_in_the_second_look_does_not_end_the_pass(world: World) -> None:
    wrong = Wrong(label="x", world=world.state)
    world.things.append(wrong)
    assert [outcome.result for outcome in world.apply().values()] == [FAILED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong(Thing):
    """Something whose look raises what no look should, once it was acted on."""

    kind = "wrong"

    def observe(self, host: Any) -> Any:
        if self.world.get("x"):
            raise LookupError("a bug")
        return None


def test_what_needs_a_changed_thing_is_looked_at_again(world: World) -> None:
    def breaks() -> None:
        world.state["service"] = "off"

    world.state["service"] = "on"
    world.thing("settings", act=breaks)
    world.thing("service", "settings")
    world.thing("page", "service")
    world.state["page"] = "on"
    assert world.results() == {"settings": FIXED, "service": FIXED, "page": RIGHT}


def test_nothing_else_is_looked_at_again(world: World) -> None:
    world.state.update(bystander="on")
    world.thing("bystander")
    world.thing("settings")
    assert world.results() == {"settings": FIXED}


def test_a_need_that_mends_the_gap_saves_the_step(world: World) -> None:
    world.thing("parent", act=lambda: world.state.update(child="on"))
    world.thing("child", "parent")
    assert world.results() == {"parent": FIXED, "child": RIGHT}
    assert world.order == ["parent"]


def test_one_lane_is_one_at_a_time_and_others_go_side_by_side(host: FakeHost) -> None:
    busy, most = [0], [0]
    together = threading.Barrier(2, timeout=5)

    def alone() -> None:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        threading.Event().wait(0.02)
        busy[0] -= 1

    world = World(host)
    for label in "abc":
        world.things.append(Laned(label=label, world=world.state, act=alone))
    world.thing("left", act=lambda: together.wait() and None)
    world.thing("right", act=lambda: together.wait() and None)
    assert set(world.results().values()) == {FIXED}
    assert most == [1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Laned(Thing):
    """Something that is never acted on beside another of its kind."""

    kind = "laned"
    lane = "one"


def test_a_stop_finishes_what_has_begun_and_begins_nothing(world: World) -> None:
    stop = threading.Event()
    world.thing("first", act=stop.set)
    world.thing("second", "first")
    outcomes = world.apply(stop)
    assert (outcomes["first"].result, outcomes["second"].result) == (FIXED, HELD)
    assert isinstance(outcomes["second"].error, Interrupted)
    assert world.order == ["first"]


def test_removals_come_after_everything_that_is_wanted(world: World) -> None:
    world.thing("old", wanted="off")
    old = world.things.pop()
    world.going.append(old)
    world.thing("new")
    assert world.results() == {"new": FIXED, "old": FIXED}
    assert world.order == ["new", "old"]


def test_a_failed_removal_is_an_outcome(world: World) -> None:
    world.going.append(Thing(label="old", world=world.state, wanted="off", fails=HubdError("it resists")))
    world.thing("new")
    assert world.results() == {"new": FIXED, "old": FAILED}


def test_everybody_who_follows_hears_of_each_step_and_outcome(world: World) -> None:
    world.thing("a")
    world.apply()
    assert world.events == [Event("step", "thing:a", "turn a on"), Event("outcome", "thing:a", "turn a on", Result.FIXED)]


def test_no_gap_is_no_work(world: World) -> None:
    world.state["a"] = "on"
    world.thing("a")
    assert world.results() == {}
    assert world.events == []
