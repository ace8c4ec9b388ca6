"""The limits of people's running servers, changed while they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hubd.host import Host
from hubd.host.init import UnitState
from hubd.resources.base import Resource, Step
from hubd.words import named

SERVERS = "hubd-user-*"


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
        off = tuple(sorted(name for name, unit in seen.units.items() if (unit.memory, unit.cpu) != self._shown()))
        if not off:
            return ()
        people = named([name.removeprefix("hubd-user-").removesuffix(".service") for name in off])
        return (Step(f"change the limits of the running servers of {people}", lambda host: self._set(host, off)),)

    def _shown(self) -> tuple[str, str]:
        """The limits as systemd shows them."""
        memory = "infinity" if self.memory is None else str(self.memory)
        return memory, "infinity" if self.cpu is None else span(round(self.cpu * 1_000_000))

    def _set(self, host: Host, units: tuple[str, ...]) -> None:
        memory = "infinity" if self.memory is None else str(self.memory)
        cpu = "" if self.cpu is None else f"{round(self.cpu * 100)}%"
        for unit in units:
            host.init.set_limits(unit, (("MemoryMax", memory), ("CPUQuota", cpu)))


def span(microseconds: int) -> str:
    """A time as systemd prints it: `2s`, `1s 500ms`, `500ms`, `1min`."""
    parts = []
    for size, unit in ((60_000_000, "min"), (1_000_000, "s"), (1_000, "ms"), (1, "us")):
        count, microseconds = divmod(microseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0"
