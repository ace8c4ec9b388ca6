"""Looks through the files of an environment for what somebody changed by hand, and notes it as a fact that passes go by.

To look at every file of every environment in each pass would be too much: each has its turn now and then, and when somebody asks.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from hubd.host import Host, files, manifest
from hubd.resources import choices
from hubd.resources.generation import MARK, Generation, Generations
from hubd.resources.untouched import FACT, noted, seen_of

# Seconds until an environment has its turn again.
EVERY = 3600.0
# Somebody nested folders in it deeper than a path can be long.
TOO_LONG = manifest.Difference("a path", "too long to look at")


def look_at_next(host: Host) -> str:
    """Look through the environment that was not looked at for the longest time; its name where there is news, else nothing."""
    looked_at = choices.read(host.layout, FACT)
    names = (name for name in _in_place(host) if _generations(host, name).current())
    turns = sorted((_last(looked_at.get(name, {}), host.clock()), name) for name in names)
    if not turns or host.clock() - turns[0][0] < EVERY:
        return ""
    return turns[0][1] if look_at(host, turns[0][1]) else ""


def look_at(host: Host, name: str) -> bool:
    """Look through the generation of an environment that is switched on and note how it is. True where that is news.

    Through those as well in which the file that was changed is the same one, by hard links: they are changed by it, too.
    Nothing is done for a name that is none, and by an account that may note nothing.
    """
    if name not in _in_place(host) or not os.access(host.layout.facts, os.W_OK):
        return False
    news, edited = _look_at_one(host, name)
    others = _sharing(host, name, edited) if edited else ()
    return any([news, *(_look_at_one(host, other)[0] for other in others)])


def _look_at_one(host: Host, name: str) -> tuple[bool, str]:
    """Whether there is news of an environment, and the file that was changed in it, from its generation on; empty for none."""
    generations = _generations(host, name)
    current = generations.current()
    if current is None:
        return False, ""
    found = _difference(current)
    with choices.deciding(host.layout):
        if generations.current() != current:
            return False, ""  # another was switched on meanwhile, and this one may be half removed
        known_of, there = choices.read(host.layout, FACT), _in_place(host)
        about = {"generation": current.number, "built": current.built}
        entry: dict[str, Any] = {**about, "found": asdict(found) if found else None, "at": host.clock()}
        choices.write(host.layout, FACT, {key: each for key, each in known_of.items() if key in there} | {name: entry})
    before = known_of.get(name, {})
    known = before.get("found") if all(before.get(key) == value for key, value in about.items()) else None
    return bool(entry["found"] != known), found.path if found and found.what == "changed" else ""


def _sharing(host: Host, name: str, edited: str) -> tuple[str, ...]:
    """The other environments whose file at the same place is that very one."""
    own = _number(host, name, edited)
    if own is None:
        return ()
    return tuple(other for other in _in_place(host) if other != name and _number(host, other, edited) == own)


def _number(host: Host, name: str, path: str) -> tuple[int, int] | None:
    """Which file of which disk lies at a path in the generation that is switched on; None where it has no other name."""
    current = _generations(host, name).current()
    try:
        status = os.lstat(current.path / path) if current else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status and status.st_nlink > 1 else None


def edits_of(host: Host, generation: Generation) -> str:
    """What somebody changed in a generation since its build, after a look through all its files now; empty for nothing."""
    found = _difference(generation)
    about = {"generation": generation.number, "built": generation.built, "found": asdict(found) if found else None}
    return seen_of(generation, noted(about), now=host.clock()).told


def _difference(generation: Generation) -> manifest.Difference | None:
    try:
        return manifest.difference(generation.path, without=(MARK,))
    except OSError:  # it is noted like others, or no other environment would have its turn
        return TOO_LONG


def _in_place(host: Host) -> tuple[str, ...]:
    return tuple(name for name in files.children(host.layout.envs) if name[0] != "." and _generations(host, name).switched_on())


def _generations(host: Host, name: str) -> Generations:
    folder = host.layout.envs / name
    return Generations(folder=folder, link=folder / "current")


def _last(entry: Any, now: float) -> float:
    at = entry.get("at")
    return float(at) if isinstance(at, int | float) and at <= now else 0.0  # the clock was set back
