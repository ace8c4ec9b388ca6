"""What a resource is: a wish, a look at the machine, and the steps that close the gap. Knows no configuration."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hubd.errors import HubdError
from hubd.host import Host, files

Memo = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One action. say: what it does, in plain words (also the plan's line). do: does it, on this host."""

    say: str
    do: Callable[[Host], object]


@dataclass(frozen=True, slots=True)
class Progress:
    """Why a resource that is not right needs no step now.

    say: the state in plain words. error: set when it failed and waits for a later try or for a person.
    job: the job that is under way for it; when that ends it is time to look again.
    """

    say: str
    error: HubdError | None = None
    job: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the steps of a resource will bring, for whoever reads a plan. says: sentences. told: the same as JSON values."""

    says: tuple[str, ...]
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(abc.ABC):
    """One thing that hubd keeps right.

    needs: ids of the resources that must be right before this one is looked at again and acted on.
    follows: ids of those that come first if they are acted on, whatever becomes of them.
    touches: whom a change of it reaches, in plain words; empty means nobody notices.
    """

    kind: ClassVar[str]
    # Resources of one lane are never acted on side by side (account programs lock each other out).
    lane: ClassVar[str] = ""
    # Its outcome is a recorded fact that other wishes wait for; until then nothing is removed.
    decides: ClassVar[bool] = False

    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    touches: str = ""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What tells this one from others of its kind."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"

    @abc.abstractmethod
    def observe(self, host: Host) -> Any:
        """How the thing is on the machine now, as a value. Changes nothing."""

    @abc.abstractmethod
    def steps(self, seen: Any) -> tuple[Step, ...]:
        """What closes the gap between the wish and what was seen; empty when there is none. Pure."""

    def progress(self, seen: Any) -> Progress | None:
        """Why there is no step although it is not right: a job under way, or a failure that waits. Pure."""
        return None

    def forecast(self, seen: Any) -> Forecast | None:
        """What its steps will bring besides what they say themselves. Asked only where there are steps. Pure."""
        return None

    def goes_on(self, host: Host) -> bool:
        """Whether it can be looked at and acted on also while something that it needs is not right."""
        return False

    def memo(self) -> Memo | None:
        """What the record keeps so that the thing can be taken away once nobody wants it; None: never taken away."""
        return None

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        """The resource that keeps a thing away, from its memo; None when there is nothing to do."""
        return None


def in_the_way(path: Path, *, wanted: str, seen: str) -> Progress:
    """Why nothing is done where another kind of thing lies at `path`: somebody may have put something into it."""
    kind = {"directory": "folder", "other": "special file"}.get(seen, seen)
    error = HubdError(f"{path} should be a {wanted}", why=f"it is a {kind}", fix=files.move_away(path))
    return Progress(f"a {kind} is in its place", error)
