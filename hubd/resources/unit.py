"""The definition of a unit: what would be started, not whether it runs."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.host import Host
from hubd.resources.base import Memo, Resource, Step
from hubd.tools.program import Listener, Program


@dataclass(frozen=True, slots=True)
class SeenUnit:
    """present: the definition in place, None where there is none. wanted: how the wish reads on this machine."""

    present: str | None
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit(Resource):
    """A unit's definition."""

    kind = "unit"

    unit: Program | Listener

    @property
    def name(self) -> str:
        return self.unit.name

    def observe(self, host: Host) -> SeenUnit:
        return SeenUnit(host.init.definition(self.unit.name), host.init.render(self.unit))

    def steps(self, seen: SeenUnit) -> tuple[Step, ...]:
        if seen.present == seen.wanted:
            return ()
        verb = "create" if seen.present is None else "change"
        return (Step(f"{verb} the unit {self.unit.name}", lambda host: host.init.define(self.unit)),)

    def memo(self) -> Memo | None:
        return {"unit": self.unit.name}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        return NoUnit(unit=memo["unit"])


@dataclass(frozen=True, slots=True, kw_only=True)
class NoUnit(Resource):
    """A unit that is no longer wanted: stopped and taken away."""

    kind = "no-unit"

    unit: str

    @property
    def name(self) -> str:
        return self.unit

    def observe(self, host: Host) -> bool:
        return host.init.definition(self.unit) is not None

    def steps(self, seen: bool) -> tuple[Step, ...]:
        return (Step(f"stop and remove {self.unit}", lambda host: host.init.undefine(self.unit)),) if seen else ()
