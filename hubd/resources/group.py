"""A system group and exactly who is in it."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import HubdError
from hubd.host import Host
from hubd.resources.base import Resource, Step
from hubd.tools import accounts
from hubd.words import named


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Resource):
    """A system group that is there."""

    kind = "group"
    lane = "accounts"

    group: str

    @property
    def name(self) -> str:
        return self.group

    def observe(self, host: Host) -> bool:
        return host.accounts.members(self.group) is not None

    def steps(self, seen: bool) -> tuple[Step, ...]:
        argv = accounts.add_group(self.group)
        return () if seen else (Step(f"make the group {self.group}", lambda host: _run(host, argv)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members(Resource):
    """Exactly these members, no more and no fewer: a name taken off the list loses what the group gave."""

    kind = "members"
    lane = "accounts"

    group: str
    members: frozenset[str]
    gives: str = ""

    @property
    def name(self) -> str:
        return self.group

    def observe(self, host: Host) -> frozenset[str] | None:
        return host.accounts.members(self.group)

    def steps(self, seen: frozenset[str] | None) -> tuple[Step, ...]:
        if seen == self.members:
            return ()
        gained, lost = sorted(self.members - (seen or frozenset())), sorted((seen or frozenset()) - self.members)
        gives = f" ({self.gives})" if self.gives else ""
        parts = [f"add {named(gained)} to" if gained else "", f"take {named(lost)} out of" if lost else ""]
        say = f"{' and '.join(filter(None, parts)) or 'set the members of'} the group {self.group}{gives}"
        return (Step(say, self._set),)

    def _set(self, host: Host) -> None:
        """Those who have an account, so that one name that can have none keeps nobody's rights as they were."""
        without = sorted(name for name in self.members if host.accounts.get(name) is None)
        there = self.members.difference(without)
        if there != host.accounts.members(self.group):
            _run(host, accounts.set_members(self.group, sorted(there)))
        if without:
            fix = "What keeps it from having one is told beside this."
            raise HubdError(f"{named(without)} cannot be in the group {self.group}", why="there is no such account", fix=fix)


def _run(host: Host, argv: tuple[str, ...]) -> None:
    try:
        host.commands.run(argv)
    finally:
        host.accounts.forget()
