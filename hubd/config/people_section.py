"""The options of config.yaml for people: who they are, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from hubd.config.checks import unknown_members
from hubd.config.names import Accounts, GroupName
from hubd.config.section import Finding, Section, twice
from hubd.config.units import Size
from hubd.layout import ADMINS


class OwnLimits(Section):
    """How much the environments may be that one person makes."""

    number: int = Field(default=5, ge=1, le=1000, description="How many each person may have.", examples=[5])
    size: Size = Field(default=20 * 1024**3, description="What all of them may take on the disk.", examples=["20G"])


class Group(Section):
    """A group of people."""

    members: Accounts = Field(default=(), description="The people in this group, by name.", examples=[["ada", "bea"]])
    environments: Literal["offered", "own"] = Field(
        default="offered",
        description="What its members work with: what is offered to them, or environments of their own as well.",
        examples=["own"],
    )
    own_limits: OwnLimits = Field(
        default=OwnLimits(),
        description="How much each member's own environments may be.",
        examples=[{"number": 5, "size": "20G"}],
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "members")


class People(Section):
    """Who may use the hub, and as what."""

    admins: Accounts = Field(default=(), description="People who look after the hub: hub admins with sudo.", examples=[["ada"]])
    users: Accounts = Field(default=(), description="People who may sign in and work.", examples=[["bea", "cid"]])
    groups: dict[GroupName, Group] = Field(
        default={},
        description="Groups of people by name, each with its members.",
        examples=[{"course": {"members": ["ada", "bea"]}}],
    )

    @property
    def everybody(self) -> tuple[str, ...]:
        """Admins and users, each once, in the order of the file."""
        return tuple(dict.fromkeys((*self.admins, *self.users)))

    @property
    def audiences(self) -> dict[str, tuple[str, ...]]:
        """Who is in each audience but that of everyone."""
        return {ADMINS: self.admins, **{name: group.members for name, group in self.groups.items()}}

    @property
    def own_environments(self) -> dict[str, OwnLimits]:
        """Who may have environments of their own, and how much of them: the most that any of a person's groups gives."""
        found = dict.fromkeys(self.admins, OwnLimits())
        for group in self.groups.values():
            for name in group.members if group.environments == "own" else ():
                more, known = group.own_limits, found.get(name, group.own_limits)
                found[name] = OwnLimits(number=max(more.number, known.number), size=max(more.size, known.size))
        return found

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "admins")
        yield from twice(written, "users")
        yield from unknown_members(written)
