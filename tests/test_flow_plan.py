"""What was seen and what is wanted become gaps: the decision table, and order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Thing

from hubd.errors import HubdError
from hubd.flow.observe import look, observe
from hubd.flow.plan import gap_of, plan
from hubd.resources.base import Progress, Resource, Step

UNSEEN = HubdError("it cannot be seen")
FAILED = HubdError("the last try failed", retry=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Resource):
    """A resource whose steps and progress are what was seen."""

    kind = "told"

    label: str = "x"

    @property
    def name(self) -> str:
        return self.label

    def observe(self, host: Any) -> Any:
        return None

    def steps(self, seen: Any) -> tuple[Step, ...]:
        return tuple(Step(say, lambda host: None) for say in seen.get("steps", ()))

    def progress(self, seen: Any) -> Progress | None:
        return seen.get("progress")


TABLE = [
    # seen, steps, progress, error: None is no gap at all
    ({}, None, None, None),
    ({"steps": ("a", "b")}, ("a", "b"), None, None),
    ({"progress": Progress("building")}, (), "building", None),
    ({"progress": Progress("failed", FAILED)}, (), "failed", FAILED),
    # A step comes before all waiting.
    ({"steps": ("a",), "progress": Progress("failed", FAILED)}, ("a",), None, None),
    (UNSEEN, (), None, UNSEEN),
]


@pytest.mark.parametrize("removal", [False, True])
@pytest.mark.parametrize(("seen", "steps", "progress", "error"), TABLE)
def test_gap(seen: Any, steps: tuple[str, ...] | None, progress: str | None, error: HubdError | None, removal: bool) -> None:
    gap = gap_of(Told(), seen, removal=removal)
    if steps is None:
        assert gap is None
        return
    assert gap is not None
    assert tuple(step.say for step in gap.steps) == steps
    assert (gap.progress.say if gap.progress else None) == progress
    assert gap.error is error
    assert gap.removal is removal


def test_wishes_come_before_removals_and_the_right_ones_are_counted() -> None:
    a, b, c, d = (Told(label=name) for name in "abcd")
    step = {"steps": ("do",)}
    found = plan([a, b], [c, d], {"told:a": {}, "told:b": step, "told:c": step, "told:d": {}})
    assert [(gap.resource.id, gap.removal) for gap in found.gaps] == [("told:b", False), ("told:c", True)]
    assert found.right == 2


def test_only_gaps_with_steps_are_changes() -> None:
    a, b, c = (Told(label=name) for name in "abc")
    found = plan([a, b, c], [], {"told:a": {"steps": ("do",)}, "told:b": UNSEEN, "told:c": {"progress": Progress("wait")}})
    assert [gap.resource.id for gap in found.changes] == ["told:a"]


def test_planning_does_nothing(host: FakeHost) -> None:
    world: dict[str, Any] = {}
    things = [Thing(label="a", world=world)]
    plan(things, [], observe(host, things))
    assert world == {}


def test_what_cannot_be_seen_is_a_value(host: FakeHost) -> None:
    error = HubdError("no")
    assert look(host, Thing(label="a", world={}, blind=error)) is error
    seen = look(host, Thing(label="a", world={}, blind=PermissionError(13, "Permission denied")))
    assert isinstance(seen, HubdError)
    assert (seen.what, seen.why, seen.retry) == ("thing a cannot be looked at", "Permission denied", True)


def test_observing_looks_at_the_machine_afresh(host: FakeHost, tmp_path: Path) -> None:
    seen = observe(host, [Thing(label="a", world={"a": "on"}), Thing(label="b", world={})])
    assert seen == {"thing:a": "on", "thing:b": None}
    assert (host.accounts.forgotten, host.init.forgotten) == (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buggy(Thing):
    """A resource, perhaps a plugin's, with a bug."""

    kind = "buggy"

    def steps(self, seen: Any) -> tuple[Step, ...]:
        raise ZeroDivisionError("by nought")


def test_a_bug_in_one_resource_is_its_own_error(host: FakeHost) -> None:
    seen = look(host, Thing(label="a", world={}, blind=KeyError("items")))
    assert isinstance(seen, HubdError)
    assert "KeyError" in seen.why
    gap = gap_of(Buggy(label="b", world={}), None)
    assert gap is not None and gap.error is not None
    assert gap.error.why == "ZeroDivisionError: by nought"
