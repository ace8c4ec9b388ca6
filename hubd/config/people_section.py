"""The options of config.yaml for people: who they are, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from hubd.config.checks import unknown_members
from hubd.config.names import Accounts, GroupName
from hubd.config.section import Finding, Section, twice
from hubd.layout import ADMINS


class Group(Section):
    """A group of people."""

    members: Accounts = Field(default=(), description="The people in this group, by name.", examples=[["ada", "bea"]])

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

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "admins")
        yield from twice(written, "users")
        yield from unknown_members(written)
