"""A port that systemd holds for a service."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host
from hubd.host.init import UnitState
from hubd.resources.base import Resource, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening(Resource):
    """A socket unit that listens at `address` (a port, or address:port)."""

    kind = "listening"

    unit: str
    address: str
    service: str

    @property
    def name(self) -> str:
        return self.unit

    def observe(self, host: Host) -> UnitState:
        return host.init.state(self.unit)

    def steps(self, seen: UnitState) -> tuple[Step, ...]:
        place = seen.listen.split(" ")[0]
        right = place == self.address or (self.address.isdigit() and place in (f"[::]:{self.address}", f"0.0.0.0:{self.address}"))
        if seen.is_active and seen.enabled and right:
            return ()
        return (Step(f"listen on {self.address}", self._listen),)

    def _listen(self, host: Host) -> None:
        # A socket cannot be restarted under its service.
        host.init.stop(self.service)
        try:
            host.init.restart(self.unit)
        except CommandFailed as error:
            holder = _holder(host, self.address)
            raise HubdError(
                f"port {self.address} cannot be listened on",
                why=f"{holder} holds it" if holder else error.why,
                fix="Stop that program, or give the hub another port: hubd config set proxy.port 8000",
                retry=True,
            ) from error


def _holder(host: Host, address: str) -> str:
    """The program that listens on the port, as `ss` tells it; empty when it cannot be told."""
    port = address.rpartition(":")[2]
    found = host.commands.run(("ss", "-Hltnp", f"sport = :{port}"), check=False).out
    _, _, users = found.partition('users:(("')
    name, _, rest = users.partition('"')
    pid = rest.partition("pid=")[2].split(",")[0]
    return f"{name} (process {pid})" if name else ""
