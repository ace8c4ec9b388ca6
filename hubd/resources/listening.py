"""A port that systemd holds for a service, and that nobody else has it."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host
from hubd.host.init import UnitState
from hubd.resources.base import Progress, Resource, Step


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
        if _listens(seen, self.address) and seen.enabled:
            return ()
        return (Step(f"listen on {self.address}", self._listen),)

    def _listen(self, host: Host) -> None:
        # A socket cannot be restarted under its service.
        host.init.stop(self.service)
        try:
            host.init.restart(self.unit)
        except CommandFailed as error:
            raise _taken(self.address, _holder(host, self.address), error.why) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFree(Resource):
    """A port that no other program has, looked at before anything is changed: until then the hub stays where it is.

    unit: the socket unit that is to listen there, or does.
    """

    kind = "port"

    unit: str
    address: str

    @property
    def name(self) -> str:
        return self.address

    def observe(self, host: Host) -> str:
        if _listens(host.init.state(self.unit), self.address):
            return ""
        holder = _holder(host, self.address)
        return "" if holder == _PID_1 else holder

    def steps(self, seen: str) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: str) -> Progress | None:
        return Progress("taken", _taken(self.address, seen)) if seen else None


_PID_1 = "systemd (process 1)"


def _listens(seen: UnitState, address: str) -> bool:
    place = seen.listen.split(" ")[0]
    everywhere = address.isdigit() and place in (f"[::]:{address}", f"0.0.0.0:{address}")
    return seen.is_active and (place == address or everywhere)


def _taken(address: str, holder: str, why: str = "") -> HubdError:
    return HubdError(
        f"port {address} cannot be listened on",
        why=f"{holder} holds it" if holder else why,
        fix="Stop that program, or give the hub another port: hubd config set proxy.port 8000",
        retry=True,
    )


def _holder(host: Host, address: str) -> str:
    """The program that listens on the port, as `ss` tells it: PID 1 where it holds the port for others; empty when unknown."""
    port = address.rpartition(":")[2]
    found = host.commands.run(("ss", "-Hltnp", f"sport = :{port}"), check=False).out
    if '("systemd",pid=1,' in found:
        return _PID_1
    _, _, users = found.partition('users:(("')
    name, _, rest = users.partition('"')
    pid = rest.partition("pid=")[2].split(",")[0]
    return f"{name} (process {pid})" if name else ""
