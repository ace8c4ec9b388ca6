"""The limits of people's running servers, changed while they run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hubd.host import Host
from hubd.host.init import UnitState
from hubd.resources.base import Resource, Step
from hubd.tools.sandbox import Properties, limits
from hubd.words import named

SERVERS = "hubd-user-*"

_UNITS = {"h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|min|s|ms|us)")


@dataclass(frozen=True, slots=True)
class SeenServers:
    """units: the running servers by unit name. enforced: whether this machine can limit them at all."""

    units: Mapping[str, UnitState]
    enforced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits(Resource):
    """memory: bytes a server may use; cpu: cores. None is no limit."""

    kind = "server-limits"

    memory: int | None
    cpu: float | None

    @property
    def name(self) -> str:
        return "everybody"

    def observe(self, host: Host) -> SeenServers:
        running = {name: unit for name, unit in host.init.states(SERVERS).items() if unit.is_active}
        return SeenServers(running, host.init.enforces)

    def steps(self, seen: SeenServers) -> tuple[Step, ...]:
        if not seen.enforced:
            return ()
        off = tuple(sorted(name for name, unit in seen.units.items() if not self._fits(unit)))
        if not off:
            return ()
        people = named([name.removeprefix("hubd-user-").removesuffix(".service") for name in off])
        return (Step(f"change the limits of the running servers of {people}", lambda host: self._set(host, off)),)

    def _fits(self, unit: UnitState) -> bool:
        memory, quota = dict(self._properties()).values()
        wanted = int(quota.removesuffix("%") or 0) * 10_000 if self.cpu is not None else None
        return (unit.memory, microseconds(unit.cpu)) == (memory, wanted)

    def _properties(self) -> Properties:
        return limits(memory=self.memory, cpu=self.cpu)

    def _set(self, host: Host, units: tuple[str, ...]) -> None:
        for unit in units:
            host.init.set_limits(unit, self._properties())


def microseconds(text: str) -> int | None:
    """A time as systemd prints it, `2s`, `1.500000s`, `500ms`, `1min 30s`; None for `infinity` and what is no time."""
    parts = [_PART.fullmatch(part) for part in text.split()]
    if not parts:
        return None
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += float(part[1]) * _UNITS[part[2]]
    return round(total)
