"""Sees when somebody changed a generation by hand: it then is no longer what its lock says and its proof has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step
from hubd.resources.generation import Generation, Generations
from hubd.words import ago, plain, to_build_anew

# What looks through all files found: {NAME: {"generation": NUMBER, "built": its time, "found": a difference or null, "at": now}}.
FACT = "hand-edits"


@dataclass(frozen=True, slots=True)
class SeenUntouched:
    """number: of the generation that is switched on. place: a file or folder that was changed since its build; when: as it
    reads. more: how many others were.
    """

    number: int = 0
    place: str = ""
    when: str = ""
    more: int = 0

    @property
    def told(self) -> str:
        """What was changed, as the cause of an error; empty where nothing was."""
        others = f", and {self.more} more" if self.more else ""
        return f"{self.place} of its generation {self.number} {self.when}, after the build{others}" if self.place else ""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a look through all files of a generation found. built: when it was made. at: of the change, in ns; 0 for unknown."""

    generation: int
    built: float
    path: str
    what: str
    at: int
    more: int


def noted(entry: Any) -> Noted | None:
    """An entry of the fact; None where nothing was found, and for what is damaged."""
    found = entry.get("found") if isinstance(entry, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    numbers = (entry.get("generation"), entry.get("built"), found.get("at"), found.get("more"))
    path, what = found.get("path"), found.get("what")
    if not isinstance(path, str) or not isinstance(what, str) or not all(isinstance(each, int | float) for each in numbers):
        return None
    number, built, at, more = map(float, numbers)
    # Builds write the names of files, and what they were.
    return Noted(int(number), built, plain(path, 200), plain(what, 20), int(at), int(more))


def seen_of(generation: Generation, found: Noted | None, *, now: float) -> SeenUntouched:
    """How a generation is: by what a look through all its files found, and by a look at a handful of its folders."""
    if found and (found.generation, found.built) == (generation.number, generation.built):
        when = f"was {found.what} {ago(now - found.at / 1e9)}" if found.at else f"was {found.what}"
        return SeenUntouched(generation.number, found.path, when, found.more)
    for folder, sealed in generation.sealed.items():
        changed = files.changed_at(generation.path / folder)
        if changed != sealed:
            when = "is gone" if changed is None else f"was changed {ago(now - changed / 1e9)}"
            return SeenUntouched(generation.number, folder, when)
    return SeenUntouched(generation.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched(Resource):
    """The generation that is switched on is as its build left it; a look at a handful of folders, at each pass.

    found: what a look through all files found last, which is not done in a pass.
    programs: without one of them it is built anew in any case, and there is nothing to tell. frozen: whether config.yaml says
    that it stays as it is.
    """

    kind = "untouched"

    environment: str
    generations: Generations
    programs: tuple[str, ...] = ()
    found: Noted | None = None
    frozen: bool = False

    @property
    def name(self) -> str:
        return self.environment

    def observe(self, host: Host) -> SeenUntouched:
        current = self.generations.current()
        if current is None or current.lost(self.programs):
            return SeenUntouched()
        return seen_of(current, self.found, now=host.clock())

    def steps(self, seen: SeenUntouched) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: SeenUntouched) -> Progress | None:
        if not seen.place:
            return None
        return Progress("changed by hand", HubdError(
            f"{self.environment} was changed by hand",
            why=seen.told,
            fix=to_build_anew(self.environment, frozen=self.frozen),
        ))  # fmt: skip
