"""The lock that lies beside a generation's mark: exactly what it consists of, read with bounds. Changes nothing."""

from __future__ import annotations

from hubd.errors import HubdError
from hubd.host import files
from hubd.resources.generation import Generation
from hubd.tools.lock import SAVED, Lock, parse_lock

# Builds run other people's code, so what they leave is read with bounds.
LONGEST_LOCK = 4 * 1024 * 1024


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
