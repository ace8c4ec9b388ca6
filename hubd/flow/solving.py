"""`hubd plan --solve`: the manager of each build is asked what it would install. Installs nothing, holds up no pass."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import replace

from hubd.errors import HubdError, Locked
from hubd.flow.values import Event, Gap, Pass
from hubd.flow.waiting import with_what_waits
from hubd.host import Host
from hubd.host.locks import file_lock
from hubd.resources.environment import Environment
from hubd.resources.job import last_line, phases
from hubd.resources.solving import clear_solve, result_of, solve_job, waiting_lock
from hubd.tools.conda import platform
from hubd.tools.lock import Lock, parse_lock, unfit
from hubd.tools.solved import Solved
from hubd.words import named, thing

POLL = 0.25

Told = Event | None
"""None where nothing is new: whoever asked and left is noticed by it."""


def solved(host: Host, found: Pass) -> Generator[Told, None, Pass]:
    """The plan with what its builds would install, or with why one would fail. Closed before its end it ends what it began.

    One at a time on the whole machine; those who come later wait. The builds of passes go on: a manager that solves waits for
    its turn at the package cache, as they do.
    """
    gaps = {gap.resource.id: gap for gap in found.plan.gaps}
    builds = [each for gap in found.plan.changes if isinstance(each := gap.resource, Environment)]
    known = {each.id: each.known_lock() for each in builds}
    lacks = {each.id: () if known[each.id] else _lacks(host, each, gaps) for each in builds}
    told: dict[str, Gap] = {}
    with contextlib.ExitStack() as turn:
        if not all(known[each.id] or lacks[each.id] for each in builds):
            yield from _turn(host, turn)
        for each in builds:
            if lacks[each.id]:
                why = f"which versions {each.name} gets can be told once {named([*map(thing, lacks[each.id])], 3)} is right"
                told[each.id] = replace(gaps[each.id], forecast=each.forecast_solved(host, None, unsolved=why))
            else:
                told[each.id] = yield from _with_versions(host, gaps[each.id], each, known[each.id])
    plan = replace(found.plan, gaps=tuple(told.get(gap.resource.id, _being_built(gap)) for gap in found.plan.gaps))
    return replace(found, plan=with_what_waits(host, plan))


def _being_built(gap: Gap) -> Gap:
    """Of a build that is under way it is said that nobody is asked: what it comes to was decided when it began."""
    going = gap.progress
    if not isinstance(gap.resource, Environment) or not going or not going.job:
        return gap
    return replace(gap, progress=replace(going, say=f"not solved, as it is being built ({going.say.partition(': ')[2]})"))


def _lacks(host: Host, environment: Environment, gaps: Mapping[str, Gap]) -> tuple[str, ...]:
    """What has to be made right before there is a manager to ask, or a place for its answer."""
    return tuple(need for need in (*environment.needs, f"directory:{host.layout.jobs}") if need in gaps)


def _turn(host: Host, turn: contextlib.ExitStack) -> Generator[Told, None, None]:
    """Wait until nobody else waits for solves, and keep them out until `turn` is closed."""
    told = False
    while True:
        try:
            turn.enter_context(file_lock(waiting_lock(host.layout), wait=0, what="hubd plan --solve"))
            return
        except Locked:
            yield None if told else Event("say", say="waiting for another `hubd plan --solve`")
            told = True
            host.sleep(POLL)


def _with_versions(host: Host, gap: Gap, environment: Environment, lock: str) -> Generator[Told, None, Gap]:
    try:
        found = Solved(lock=_fit(environment, lock)) if lock else (yield from _asked(host, environment))
    except HubdError as error:
        # What was seen of a job from outside begins with its name.
        what = error.what.replace(f"{solve_job(environment)} ", "the solve ", 1)
        told = HubdError(f"{environment.name} cannot be solved: {what}", why=error.why, fix=error.fix, retry=error.retry)
        return replace(gap, forecast=environment.forecast_solved(host, None), error=told)
    return replace(gap, forecast=environment.forecast_solved(host, found))


def _fit(environment: Environment, text: str) -> Lock:
    """The lock, as the build would take it. Raises HubdError as the build would."""
    lock = parse_lock(text)
    if problem := unfit(lock, environment.manager, platform()):
        raise problem
    return lock


def _asked(host: Host, environment: Environment) -> Generator[Told, None, Solved]:
    """Ask the manager. Raises HubdError with its reason."""
    job = solve_job(environment)
    yield Event("say", say=f"solving {environment.name} with {environment.manager}")
    clear_solve(host, job)  # what somebody left who was killed
    try:
        environment.solve(host, job)
        while going := phases(host, (job,)):
            yield Event("job", job, going[job], line=last_line(host.layout, job))
            host.sleep(POLL)
        return result_of(host, environment)
    finally:
        # What cannot be cleared away now is by a later pass, and hides neither the answer nor why nobody waits for it.
        with contextlib.suppress(HubdError, OSError):
            clear_solve(host, job)
