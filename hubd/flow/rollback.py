"""Going back to an older generation: the decision is recorded, and the next pass switches as for any other wish."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hubd.errors import ExitCode, HubdError
from hubd.flow.environment_states import told, trouble_of
from hubd.flow.environments import changed, chosen_environment, observed
from hubd.flow.hand_edits import edits_of
from hubd.flow.rollback_choice import Before, Choice, choice
from hubd.host import Host
from hubd.host.locks import file_lock
from hubd.resources import choices
from hubd.resources.environment import Environment
from hubd.resources.job import forget_failures

# Seconds to wait for a pass that is under way.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Decided:
    """What somebody decided about an environment. before: the generation that was switched on.

    job: the build that forward leads to, as what config.yaml asks for is not there; empty where there is something to switch to.
    """

    name: str
    before: int
    choice: Choice
    job: str = ""


def decide(host: Host, name: str, *, to: int = 0, undo: bool = False, force: bool = False) -> Decided:
    """Record which generation is to be switched on; a pass does it. Raises HubdError, and then nothing was recorded.

    force: also one that somebody changed by hand.

    What is frozen stays at what is on, so that there going forward again is a switch, which no pass may come between.
    """
    alone = undo and chosen_environment(host, name).frozen
    pass_lock = file_lock(host.layout.lock, wait=PATIENCE, what=f"going forward again with {name}")
    with pass_lock if alone else contextlib.nullcontext(), choices.deciding(host.layout):
        environment = chosen_environment(host, name)
        decided = choices.read(host.layout, choices.ROLLBACKS)
        left = _left(environment, decided.get(name, {}))
        before = _before(environment, left)
        chosen = choice(before, to=to, undo=undo)
        if not chosen.unchanged:
            if not force:
                _check_untouched(host, environment, chosen.generation or chosen.forward)
            decided.pop(name, None)
            if chosen.generation:
                decided[name] = {"generation": chosen.generation, "instead_of": environment.digest, "left": left}
            if chosen.forward:
                environment.generations.switch(chosen.forward)
            choices.write(host.layout, choices.ROLLBACKS, decided)
    builds = undo and not (chosen.unchanged or chosen.forward or before.asked)
    if builds:  # it may have failed before; whoever wants to go forward wants it tried now
        forget_failures(host, only=environment.job)
    return Decided(name, before.current, chosen, job=environment.job if builds else "")


def _check_untouched(host: Host, environment: Environment, number: int) -> None:
    """See that an older generation is as its build left it: passes look only at those that are switched on."""
    generation = environment.generations.read(number) if number else None
    why = edits_of(host, generation) if generation else ""
    if why:
        name = environment.environment
        fix = f"Another one: --to NUMBER (hubd env show {name})   This one all the same: --force"
        raise HubdError(f"generation {number} of {name} was changed by hand", why=why, fix=fix)


def _left(environment: Environment, entry: Mapping[str, Any]) -> int:
    """The generation that was on before somebody went back, or is."""
    noted = entry.get("left") if environment.held else 0
    return noted if isinstance(noted, int) and noted > 0 else environment.generations.switched_on()


def _before(environment: Environment, left: int) -> Before:
    generations, programs = environment.generations, environment.asked.programs
    lost = {each.number: each.lost(programs) for each in generations.finished()}
    return Before(
        name=environment.environment,
        current=generations.switched_on(),
        held=environment.held,
        asked=generations.chosen(replace(environment.asked, held=0)),
        left=left if environment.frozen else 0,
        whole=tuple(number for number, what in lost.items() if not what),
        broken={number: what for number, what in lost.items() if what},
    )


def came_out(host: Host, decided: Decided) -> tuple[ExitCode, dict[str, Any]]:
    """How it came out after the passes, as JSON values; FAILED where the build that leads forward failed.

    Raises HubdError where the wrong generation is still switched on.
    """
    seen = observed(host, decided.name)
    now = told(seen)
    failure = trouble_of(seen) if decided.job else None
    trouble = {"what": failure.what, "why": failure.why, "fix": failure.fix} if failure else None
    meant = decided.choice.generation
    if now["state"] == "waiting" or (meant and seen.current != meant):
        raise HubdError(
            f"{decided.name} is still at generation {seen.current}", why=now["say"], fix="See `hubd status`.", retry=True
        )
    left = host.layout.envs / decided.name / str(decided.before)
    programs = host.processes_using(left) if decided.before and decided.before != seen.current else 0
    difference = changed(host.layout, decided.name, decided.before, seen.current)
    more = {"programs": programs, "difference": difference, "unchanged": decided.choice.unchanged, "trouble": trouble}
    return ExitCode.FAILED if trouble else ExitCode.DONE, {**now, "before": decided.before, **more}
