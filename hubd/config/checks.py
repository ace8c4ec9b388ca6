"""Problems of config.yaml that no option shows by itself. Looks at what was written, which may be wrong in other places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hubd.config.problems import did_you_mean
from hubd.config.section import Finding, names, written_as
from hubd.layout import ADMINS, EVERYONE

REQUIREMENT = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9][A-Za-z0-9._-]*)")
KERNEL_PACKAGES = {"python": ("ipykernel",), "R": ("r-irkernel",)}


def unknown_members(written: Mapping[str, Any]) -> Iterator[Finding]:
    """Members of a group that are not among the people, and groups called like a person."""
    declared = {name for _, name in (*names(written, "admins"), *names(written, "users"))}
    for group in written_as(dict, written, "groups") or {}:
        if group in declared:
            yield (
                ("groups", group),
                f"`{group}` is already the name of a person",
                "give the group another name",
            )
        for place, member in names(written, "groups", str(group), "members"):
            if member not in declared:
                fix = f"add `{member}` to people.users, or remove it here"
                yield place, f"`{member}` is not one of the people", fix


def missing_kernel(written: Mapping[str, Any]) -> Iterator[Finding]:
    """Without its kernel package an environment builds and then never starts a notebook."""
    if written_as(list, written, "packages") is None:
        return
    listed = {found[1].lower() for _, package in names(written, "packages") if (found := REQUIREMENT.match(package))}
    language = written_as(str, written, "kernel", "language") or "python"
    for needed in KERNEL_PACKAGES.get(language, ()):
        if needed not in listed:
            yield (
                ("packages",),
                f"{needed} is not among the packages, and the {language} kernel needs it",
                f"add `- {needed}`",
            )


def vague_audience(written: Mapping[str, Any]) -> Iterator[Finding]:
    """An audience with nobody in it, and one that says everyone and then some."""
    audience = written_as(list, written, "audience")
    if audience == []:
        yield ("audience",), "names nobody", f"write `{EVERYONE}`, or groups of people.groups"
    elif audience and EVERYONE in audience[:-1] + audience[1:]:
        yield ("audience",), f"`{EVERYONE}` is everybody already", f"remove `{EVERYONE}` or the others"


def unknown_audiences(written: Mapping[str, Any]) -> Iterator[Finding]:
    """Environments for groups that nobody declared."""
    known = [EVERYONE, ADMINS, *map(str, written_as(dict, written, "people", "groups") or {})]
    for environment in written_as(dict, written, "environments") or {}:
        for place, group in names(written, "environments", environment, "audience"):
            if group not in known:
                meant = did_you_mean(group, known)
                choice = f"declare it below people.groups, or write one of {', '.join(known[:20])}"
                yield place, f"`{group[:60]}` is not one of the groups", f"did you mean `{meant}`?" if meant else choice


def unknown_default(written: Mapping[str, Any]) -> Iterator[Finding]:
    """A default environment that nobody declared."""
    default = written_as(str, written, "default_environment")
    declared = list(written_as(dict, written, "environments") or {})
    if default is not None and default not in declared:
        choice = f"write one of {', '.join(map(str, declared[:20]))}" if declared else "declare it below `environments:`"
        yield ("default_environment",), f"`{default[:60]}` is not one of the environments", choice


def shared_ports(written: Mapping[str, Any], defaults: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """Two programs can't listen on one port; `defaults` says which ports are meant where none is written."""
    seen: dict[int, str] = {}
    for path, default in defaults.items():
        port = written_as(int, written, *path) or default
        if port in seen:
            yield path, f"port {port} is already taken by {seen[port]}", "give each its own port"
        seen[port] = ".".join(path)


def plugins_twice(written: Mapping[str, Any]) -> Iterator[Finding]:
    """A plugin named twice, by its name alone or with its place."""
    seen: set[str] = set()
    for at, entry in enumerate(written_as(list, written, "plugins") or []):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if isinstance(name, str) and name in seen:
            yield ("plugins", at), f"`{name}` is in this list twice", "remove one of the two"
        seen.add(name if isinstance(name, str) else "")
