"""A port that systemd holds for a service, and that nobody else has it."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host, files
from hubd.host.init import UnitState
from hubd.resources.base import Progress, Resource, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening(Resource):
    """A socket unit that listens at `address` (a port, or address:port).

    service: what it is handed to. setting: the option that says which port.
    """

    kind = "listening"

    unit: str
    address: str
    service: str
    setting: str = "proxy.port"

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
            raise _taken(self.address, _holder(host, self.address), self.setting, error.why) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFree(Resource):
    """A port that no other program has, looked at before anything is changed: until then the hub stays where it is.

    unit: the socket unit that is to listen there, or does. service, setting: as above.
    """

    kind = "port"

    unit: str
    address: str
    service: str
    setting: str = "proxy.port"

    @property
    def name(self) -> str:
        return self.address

    def observe(self, host: Host) -> str:
        if _listens(host.init.state(self.unit), self.address):
            return ""
        # Where a socket unit was taken away the service still has what it was handed; Listening stops it first.
        if host.holds(host.init.state(self.service).pid, _port(self.address)):
            return ""
        holder = _holder(host, self.address)
        return "" if holder == _PID_1 else holder

    def steps(self, seen: str) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: str) -> Progress | None:
        return Progress("taken", _taken(self.address, seen, self.setting)) if seen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPort(Resource):
    """A port on this machine's own address that nobody but one account listens on, looked at before anything is changed."""

    kind = "port"

    port: int
    account: str
    setting: str

    @property
    def name(self) -> str:
        return str(self.port)

    def observe(self, host: Host) -> str:
        owner = host.accounts.get(self.account)
        strangers = host.listeners(self.port) - ({owner.uid} if owner else set())
        if not strangers:
            return ""
        return _holder(host, str(self.port)) or f"a program of {files.owner_name(min(strangers))}"

    def steps(self, seen: str) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: str) -> Progress | None:
        return Progress("taken", _taken(str(self.port), seen, self.setting)) if seen else None


_PID_1 = "systemd (process 1)"
# A port to name in advice, for each option.
_ELSEWHERE = {"proxy.port": 8000, "proxy.api_port": 8098, "hub.port": 15002}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _meets(row: str, address: str) -> bool:
    """Whether the listener in a row of `ss` is in the way of one at an address; 127.0.0.2 is not in that of 127.0.0.1."""
    wanted, there = address.rpartition(":")[0], row.split()[3].rpartition(":")[0].partition("%")[0]
    return not wanted or there in (wanted, "0.0.0.0", "*", "[::]")  # noqa: S104  # what it says, not what is bound


def _listens(seen: UnitState, address: str) -> bool:
    place = seen.listen.split(" ")[0]
    everywhere = address.isdigit() and place in (f"[::]:{address}", f"0.0.0.0:{address}")
    return seen.is_active and (place == address or everywhere)


def _elsewhere(address: str, setting: str) -> int:
    port = _ELSEWHERE[setting]
    return port + 1 if _port(address) == port else port


def _taken(address: str, holder: str, setting: str, why: str = "") -> HubdError:
    return HubdError(
        f"port {address} cannot be listened on",
        why=f"{holder} holds it" if holder else why,
        fix=f"Stop that program, or give the hub another port: hubd config set {setting} {_elsewhere(address, setting)}",
        retry=True,
    )


def _holder(host: Host, address: str) -> str:
    """The program that listens on the port, as `ss` tells it: PID 1 where it holds the port for others; empty when unknown."""
    try:
        found = host.commands.run(("ss", "-Hltnp", f"sport = :{_port(address)}"), check=False).out
    except HubdError:  # a container without that program
        return ""
    rows = "\n".join(row for row in found.splitlines() if _meets(row, address))
    if '("systemd",pid=1,' in rows:
        return _PID_1
    _, _, users = rows.partition('users:(("')
    name, _, rest = users.partition('"')
    pid = rest.partition("pid=")[2].split(",")[0]
    return f"{name} (process {pid})" if name else ""
