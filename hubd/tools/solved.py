"""What a manager would install, by its own word, and as JSON from the job that asked it. Pure text and values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hubd.errors import HubdError
from hubd.tools.lock import CondaPackage, Lock
from hubd.words import plain

# Its name in the folder in which the job reports, and bytes that are read of it: other people's code may have written it.
NAME = "solved.json"
LONGEST = 8 * 1024 * 1024
MOST = 10_000
# Beyond it is nonsense.
HIGHEST = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """lock: what would be installed; addresses and checksums may be missing. unsolved: what is asked for besides, in versions
    that only the build itself finds out. downloads: how many packages would be fetched; None where nobody can tell.
    size: bytes of these; None where nobody can tell.
    """

    lock: Lock
    unsolved: tuple[str, ...] = ()
    downloads: int | None = None
    size: int | None = None


def solved_text(solved: Solved) -> str:
    """As JSON."""
    return json.dumps(asdict(solved))


def parse_solved(text: str) -> Solved:
    """What `solved_text` wrote. Raises HubdError for anything else."""
    try:
        said = json.loads(text)
        lock = said["lock"]
        return Solved(
            lock=Lock(
                manager=_word(lock["manager"]), platform=_word(lock["platform"]), python=_word(lock["python"]),
                conda=tuple(map(_package, _few(lock["conda"]))), pip=tuple(map(_text, _few(lock["pip"]))),
            ),
            unsolved=tuple(map(_word, _few(said["unsolved"]))),
            downloads=_number(said["downloads"]), size=_number(said["size"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HubdError("what the solve came to cannot be read", why=f"{type(error).__name__} in {NAME}", retry=True) from error


def _package(value: Any) -> CondaPackage:
    if not isinstance(value, Mapping):
        raise TypeError
    return CondaPackage(**{key: _text(value[key]) for key in ("name", "version", "build", "url", "sha256")})


def _few(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MOST:
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _word(value: Any) -> str:
    return plain(_text(value), 200)


def _number(value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and 0 <= value < HIGHEST):
        raise TypeError
    return value
