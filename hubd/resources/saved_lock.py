"""The lock that lies beside a generation's mark: exactly what it consists of, read with bounds. Changes nothing."""

from __future__ import annotations

from dataclasses import replace

from hubd.errors import HubdError
from hubd.host import files
from hubd.resources.generation import Generation
from hubd.tools.conda import asked_name
from hubd.tools.lock import LONGEST_LOCK, SAVED, Lock, parse_lock
from hubd.tools.lock_difference import difference, in_short


def saved_lock(generation: Generation) -> Lock:
    """The saved lock of a generation. Raises HubdError where none is there that can be used."""
    path = generation.path / SAVED
    data = files.read(path, follow=False, most=LONGEST_LOCK)
    if data is None:
        raise HubdError(f"{path} is not there", why="it was removed, or this generation is older than locks")
    text = data.decode(errors="replace")
    try:
        lock = parse_lock(text)
    except HubdError as error:
        raise HubdError(f"{path} cannot be used: {error.what}", why=error.why, fix=error.fix) from error
    if not text.replace("\n", "").isprintable():
        raise HubdError(f"{path} cannot be used", why="it holds characters that steer a terminal, or that nobody can see")
    return lock


def difference_between(before: Generation | None, after: Generation | None) -> str:
    """What is different in one generation from another, in short; empty where that cannot be told."""
    if before is None or after is None or before.number == after.number:
        return ""
    try:
        found = difference(saved_lock(before), saved_lock(after))
    except HubdError:
        return ""
    return in_short(found, first=asked_names(after))


def difference_from(before: Generation, text: str, manager: str) -> str:
    """What is different in a lock that is to be built from what a generation holds, in short; empty where that cannot be told.

    manager: what will build it; somebody else's lock may have been made by another.
    """
    try:
        return in_short(difference(saved_lock(before), replace(parse_lock(text), manager=manager)))
    except HubdError:
        return ""


def asked_names(generation: Generation) -> frozenset[str]:
    """The names of the packages that were asked for themselves, and did not come with others."""
    return frozenset(map(asked_name, generation.packages or ()))
