"""The switch of an environment: a link to the generation that programs are started from, changed by one rename."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import HubdError
from hubd.host import Host
from hubd.resources.base import Resource, Step
from hubd.resources.generation import Asked, Generations
from hubd.resources.saved_lock import difference_between


@dataclass(frozen=True, slots=True)
class SeenSwitch:
    """current: the number of the generation that is switched on; 0 for none. chosen: of the one that should be.

    used: how many programs run from the one that is to be left. difference: in packages, from that one to the chosen.
    """

    current: int
    chosen: int
    used: int = 0
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch(Resource):
    """The right generation is switched on. What runs goes on with the one that it was started from."""

    kind = "switch"

    environment: str
    generations: Generations
    asked: Asked

    @property
    def name(self) -> str:
        return self.environment

    def observe(self, host: Host) -> SeenSwitch:
        current, chosen = self.generations.switched_on(), self.generations.chosen(self.asked)
        if not current or not chosen or current == chosen:  # of what is not built yet the environment tells
            return SeenSwitch(current, chosen)
        used = host.processes_using(self.generations.path(current))
        difference = difference_between(self.generations.read(current), self.generations.read(chosen))
        return SeenSwitch(current, chosen, used, difference)

    def steps(self, seen: SeenSwitch) -> tuple[Step, ...]:
        if seen.chosen and seen.chosen == seen.current:
            return ()
        which = f"its generation {seen.chosen}" if seen.chosen else "what is built"
        change = f": {seen.difference}" if seen.difference else ""
        return (Step(f"switch {self.environment} to {which}{change}{_kept(seen)}", self._switch),)

    def _switch(self, host: Host) -> None:
        chosen = self.generations.chosen(self.asked)
        if not chosen:
            raise HubdError(f"{self.environment} cannot be switched", why="nothing is built for it yet", retry=True)
        self.generations.switch(chosen)


def _kept(seen: SeenSwitch) -> str:
    if not seen.used:
        return ""
    programs = "1 program that runs keeps" if seen.used == 1 else f"{seen.used} programs that run keep"
    return f"; {programs} generation {seen.current} until the end"
