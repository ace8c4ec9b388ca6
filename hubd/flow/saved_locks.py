"""What generations consist of, from the locks that lie beside them: told and compared. For everybody; changes nothing."""

from __future__ import annotations

from typing import Any

from hubd.errors import HubdError, UsageError
from hubd.flow.environments import OWN, unknown
from hubd.host import files
from hubd.layout import SERVER_LABEL, Layout
from hubd.resources.generation import Generation, Generations
from hubd.resources.saved_lock import saved_lock
from hubd.tools.lock_difference import as_values, difference, in_numbers
from hubd.words import named


def generations_of(layout: Layout, name: str) -> Generations:
    """Where the generations of an environment are, declared or not. Raises UsageError where there is no such environment."""
    if name == OWN:
        return Generations(folder=layout.versions, label=SERVER_LABEL, link=layout.server)
    there = [each for each in files.children(layout.envs) if not each.startswith(".")]
    if name not in there:
        raise unknown(name, there)
    return Generations(folder=layout.envs / name, link=layout.envs / name / "current")


def generation_of(layout: Layout, name: str, number: int = 0) -> Generation:
    """A finished generation of an environment; 0 for the one that is switched on. Raises HubdError where there is none."""
    generations = generations_of(layout, name)
    number = number or generations.switched_on()
    found = generations.read(number) if number else None
    if found is None:
        there = named([str(each.number) for each in generations.finished()], limit=20)
        if not there:
            raise HubdError(f"nothing of {name} is built yet", fix=f"Why: hubd env why {name}")
        what = f"{name} has no generation {number}" if number else f"no generation of {name} is switched on"
        raise UsageError(what, fix=f"There are: {there}.")
    return found


def compared(layout: Layout, name: str, before: int = 0, after: int = 0) -> dict[str, Any]:
    """What is different in one generation from another, as JSON values. Raises HubdError.

    before: 0 for the newest one that is older than `after`. after: 0 for the one that is switched on.
    """
    new = generation_of(layout, name, after)
    others = [each.number for each in generations_of(layout, name).finished() if each.number != new.number]
    number = before or next((each for each in others if each < new.number), 0)
    if not number:
        newer = f"With generation {others[-1]}, which is newer: hubd env diff {name} {others[-1]} {new.number}" if others else ""
        fix = newer or f"Those that there are: hubd env show {name}"
        raise HubdError(f"{name} has no generation before {new.number} to compare it with", fix=fix)
    old = generation_of(layout, name, number)
    locks = saved_lock(old), saved_lock(new)
    found = difference(*locks)
    return {
        "name": name,
        "from": old.number,
        "to": new.number,
        "short": in_numbers(found),
        **as_values(found),
        "channels": any(each.conda for each in locks),
    }
