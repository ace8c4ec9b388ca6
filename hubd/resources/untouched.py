"""Sees when somebody changed a generation by hand: it then is no longer what its lock says and its proof has shown."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step
from hubd.resources.generation import Generations
from hubd.words import ago


@dataclass(frozen=True, slots=True)
class SeenUntouched:
    """number: of the generation that is switched on. folder: one that was changed since its build; when: as it reads."""

    number: int = 0
    folder: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched(Resource):
    """The generation that is switched on is as its build left it; a look at a handful of folders, at each pass.

    programs: without one of them it is built anew in any case, and there is nothing to tell.
    """

    kind = "untouched"

    environment: str
    generations: Generations
    programs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.environment

    def observe(self, host: Host) -> SeenUntouched:
        current = self.generations.current()
        if current is None or current.lost(self.programs):
            return SeenUntouched()
        for folder, sealed in current.sealed.items():
            changed = files.changed_at(current.path / folder)
            if changed != sealed:
                when = "is gone" if changed is None else f"was changed {ago(host.clock() - changed / 1e9)}"
                return SeenUntouched(current.number, folder, when)
        return SeenUntouched(current.number)

    def steps(self, seen: SeenUntouched) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: SeenUntouched) -> Progress | None:
        if not seen.folder:
            return None
        return Progress("changed by hand", HubdError(
            f"{self.environment} was changed by hand",
            why=f"{seen.folder} of its generation {seen.number} {seen.when}, after the build",
            fix=f"To build it anew: hubd env build {self.environment}",
        ))  # fmt: skip
