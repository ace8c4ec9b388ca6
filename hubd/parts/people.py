"""People: accounts with private homes, who is an admin, and who the hub knows."""

from __future__ import annotations

from collections.abc import Iterable

from hubd.hooks import Wanted, hookimpl
from hubd.layout import ADMINS_GROUP, USERS_GROUP
from hubd.parts.hub import ANSWERS, api_url
from hubd.resources.account import HomeFolder, Person
from hubd.resources.base import Resource
from hubd.resources.group import Members
from hubd.resources.hub_people import HubPeople

NOTEBOOKS = "notebooks"


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    people, layout = wanted.config.people, wanted.layout
    for name in people.everybody:
        yield Person(account=name, homes=layout.homes, touches=name)
        yield HomeFolder(account=name, folder=NOTEBOOKS, needs=(f"person:{name}",), touches=name)
    accounts = tuple(f"person:{name}" for name in people.everybody)
    yield Members(
        group=USERS_GROUP, members=frozenset(people.everybody), gives="a server on this hub",
        needs=(f"group:{USERS_GROUP}",), follows=accounts,
    )  # fmt: skip
    yield Members(
        group=ADMINS_GROUP, members=frozenset(people.admins), gives="sudo and hubd's commands",
        needs=(f"group:{ADMINS_GROUP}",), follows=accounts,
    )  # fmt: skip
    yield HubPeople(
        api=api_url(wanted),
        token=layout.hub_state / "service-token",
        users={name: name in people.admins for name in people.everybody},
        groups={name: frozenset(group.members) for name, group in people.groups.items()},
        needs=(ANSWERS,), follows=(f"members:{USERS_GROUP}",),
    )
