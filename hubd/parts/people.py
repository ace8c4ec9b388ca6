"""People: accounts with private homes, who is an admin, and who the hub knows."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hubd.hooks import Wanted, hookimpl
from hubd.layout import ADMINS_GROUP, USERS_GROUP
from hubd.parts.environments import uses_conda
from hubd.parts.hub import ANSWERS, api_url
from hubd.resources.account import HomeFolder, Person
from hubd.resources.base import Resource
from hubd.resources.group import Members
from hubd.resources.home_file import HomeFile
from hubd.resources.hub_people import HubPeople

NOTEBOOKS = "notebooks"
# In a server variables say the same; this is for whoever comes by ssh, too. Without channels conda asks for terms. conda writes
# into the first folder of packages, and downloads nothing that is in the other.
CONDARC = """\
# Made by hubd where nothing was: it is yours to change. Environments in these folders are kernels of yours.
envs_dirs: [~/envs]
pkgs_dirs: [~/.conda/pkgs, {packages}]
channels: {channels}
"""


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
    yield from _condarcs(wanted)


def _condarcs(wanted: Wanted) -> Iterable[Resource]:
    """Settings of conda for those who may make environments of their own, where there is a conda for them."""
    channels, packages = list(wanted.config.conda.channels), str(wanted.layout.packages)
    text = CONDARC.format(channels=json.dumps(channels), packages=json.dumps(packages))
    for name in wanted.config.people.own_environments if uses_conda(wanted) else ():
        yield HomeFile(
            account=name, file=".condarc", text=text, meaning="where conda puts environments",
            needs=(f"person:{name}",), touches=name,
        )  # fmt: skip
