"""Problems of config.yaml that no option shows by itself. Looks at what was written, which may be wrong in other places."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hubd.config.names import is_address
from hubd.config.problems import did_you_mean
from hubd.config.section import Finding, names, written_as
from hubd.config.units import parse_cores, parse_duration, parse_size
from hubd.layout import ADMINS, EVERYONE

REQUIREMENT = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9][A-Za-z0-9._-]*)")
# JupyterLab alone takes more, and so does any build; somebody forgot a letter.
LEAST_MEMORY = 128 * 1024**2
# With less a server is not up before its start is given up; 1e-9 would be given to systemd as 1 %.
LEAST_CPU = 0.05
# In seconds. A number alone means seconds, which is hardly ever meant; what is beyond a week ends nothing that hangs.
LEAST_TIME, MOST_TIME = 5, 7 * 86400
SPECS = ("packages", "pip", "channels")
KERNEL_PACKAGES = {"python": ("ipykernel",), "R": ("r-irkernel",)}


def too_little(written: Mapping[str, Any], purpose: str) -> Iterator[Finding]:
    """Less `memory` or `cpu` than anything can work with. purpose: what it is too little for."""
    memory, cpu = written.get("memory"), written.get("cpu")
    with contextlib.suppress(ValueError):  # what is no size at all is told by its type
        if memory is not None and parse_size(memory) < LEAST_MEMORY:
            yield ("memory",), f"`{memory}` is too little for {purpose}", "write at least 128M, such as 1G"
    with contextlib.suppress(ValueError):
        if cpu is not None and parse_cores(cpu) < LEAST_CPU:
            yield ("cpu",), f"`{cpu}` is too little for {purpose}", f"write at least {LEAST_CPU}, such as 0.5"


def odd_time(written: Mapping[str, Any]) -> Iterator[Finding]:
    """A `time` in which nothing can be built, or that is no limit at all."""
    time = written.get("time")
    with contextlib.suppress(ValueError):
        seconds = LEAST_TIME if time is None else parse_duration(time)
        if seconds < LEAST_TIME:
            yield ("time",), f"`{time}` is too short for a build", "write at least 5 s, such as 2 h"
        elif seconds > MOST_TIME:
            yield ("time",), f"`{time}` is longer than any build takes", "write at most 7 d, such as 2 h"


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


# Why uv builds no R, after "uv cannot install".
NO_R = "R, as PyPI has none"


def missing_kernel(written: Mapping[str, Any]) -> Iterator[Finding]:
    """Without its kernel package an environment builds and then never starts a notebook."""
    if written_as(list, written, "packages") is None:
        return
    packages = [package for key in ("packages", "pip") for _, package in names(written, key)]
    language = written_as(str, written, "kernel", "language") or "python"
    if needed := lacking_kernel(packages, language):
        yield ("packages",), *needed


def lacking_kernel(packages: Iterable[str], language: str) -> tuple[str, str] | None:
    """What to say, and what to write, where the kernel's own package is not among these."""
    listed = {found[1].lower() for package in packages if (found := REQUIREMENT.match(package))}
    for needed in KERNEL_PACKAGES.get(language, ()):
        if needed not in listed:
            return f"{needed} is not among the packages, and the {language} kernel needs it", f"add `- {needed}`"
    return None


def no_r_by_uv(written: Mapping[str, Any]) -> Iterator[Finding]:
    """uv installs from PyPI, which has no R."""
    if written_as(str, written, "manager") == "uv" and written_as(str, written, "kernel", "language") == "R":
        yield ("manager",), f"uv cannot install {NO_R}", "write `conda`, or `rattler`, which needs no conda"


def unclear_source(written: Mapping[str, Any]) -> Iterator[Finding]:
    """An environment is told in one way only; what comes from an address has a checksum."""
    given = [key for key in ("lock", "file") if written_as(str, written, key)]
    excluded = {"lock": ("file", *SPECS), "file": ("packages",), "publish": ("lock", "file", *SPECS)}
    for other in excluded["publish"] if written.get("publish") else ():
        if written.get(other):
            yield (other,), f"`{other}` can't be used together with `publish`", "keep one of the two"
    for key in given:
        for other in excluded[key]:
            if written.get(other):
                yield (other,), f"`{other}` can't be used together with `{key}`", "keep one of the two"
        if is_address(written[key]) and not written.get("sha256") and not written.get("git"):
            yield (key,), "an address needs the checksum of what is behind it", "add `sha256:`, as sha256sum tells it"
    if written.get("sha256") and not given and not written.get("git"):
        yield ("sha256",), "there is neither a `lock` nor a `file` that it could be of", "remove it"


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
