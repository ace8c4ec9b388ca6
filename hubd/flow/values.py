"""The values that pass from one stop of the flow to the next. All frozen; none touches the machine."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hubd.errors import HubdError
from hubd.plugin_loader import Broken
from hubd.resources.base import Forecast, Progress, Resource, Step


class Result(enum.StrEnum):
    """How one resource came out of a pass."""

    RIGHT = "right"
    FIXED = "fixed"
    RUNNING = "running"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Desired:
    """resources: what is wanted, each before those that need it. owners: which part or plugin wants which id.

    broken: plugins that raised. silent: parts whose wishes are unknown in this pass; what they own is left alone.
    """

    resources: tuple[Resource, ...]
    owners: Mapping[str, str]
    broken: tuple[Broken, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """One resource that is not right. removal: it is there to take something away. forecast: what its steps will bring."""

    resource: Resource
    steps: tuple[Step, ...] = ()
    progress: Progress | None = None
    error: HubdError | None = None
    removal: bool = False
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Every gap, in order of need; `right` counts the resources without one."""

    gaps: tuple[Gap, ...]
    right: int = 0

    @property
    def changes(self) -> tuple[Gap, ...]:
        """The gaps that something will be done about."""
        return tuple(gap for gap in self.gaps if gap.steps)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one resource came out. say: what was done or what it waits for. job: the job that is under way for it.

    waits_for: the id of what holds it back.
    """

    id: str
    result: Result
    say: str = ""
    error: HubdError | None = None
    job: str = ""
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens in a pass, for whoever follows it. kind: pass, step, outcome, say, job.

    line: what a job's program printed last.
    """

    kind: str
    id: str = ""
    say: str = ""
    result: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What hubd owns, and how the last pass went. It never says what is true of the machine.

    owned: resource id to {kind, part, memo}. last: the newest pass, as JSON values. damaged: why it could not be read.
    """

    owned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=dict)
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class Pass:
    """A whole pass. plan: what was to be done; outcomes: how it went, empty when it was only planned."""

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    broken: tuple[Broken, ...] = ()
    facts_changed: bool = False

    def of(self, result: Result) -> tuple[Outcome, ...]:
        """The outcomes with that result."""
        return tuple(outcome for outcome in self.outcomes if outcome.result is result)
