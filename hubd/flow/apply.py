"""Closes the gaps: independent ones side by side, each looked at again afterwards; a failure holds what needs it."""

from __future__ import annotations

import graphlib
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hubd.errors import HubdError, Interrupted
from hubd.flow.observe import look
from hubd.flow.plan import gap_of
from hubd.flow.values import Event, Gap, Outcome, Plan, Result
from hubd.host import Host
from hubd.resources.base import Resource
from hubd.words import thing

WORKERS = 4

Tell = Callable[[Event], None]


@dataclass(slots=True)
class _Work:
    """What is going on in one apply. acted: ids that changed, so that what needs them is looked at again."""

    host: Host
    tell: Tell
    stop: threading.Event
    outcomes: dict[str, Outcome] = field(default_factory=dict)


def apply(
    host: Host, wanted: Iterable[Resource], found: Plan, *, tell: Tell, stop: threading.Event | None = None
) -> tuple[Outcome, ...]:
    """Act on every gap of the plan and say how each resource came out.

    wanted: all resources in order of need (those that are right matter to what needs them).
    stop: set by a signal; what has begun is finished, nothing new is begun.
    """
    work = _Work(host, tell, stop or threading.Event())
    gaps = {gap.resource.id: gap for gap in found.gaps}
    _run(work, _concerned(wanted, gaps), gaps)
    removals = [gap.resource for gap in found.gaps if gap.removal]
    _run(work, removals, gaps)
    return tuple(work.outcomes.values())


def _concerned(wanted: Iterable[Resource], gaps: Mapping[str, Gap]) -> list[Resource]:
    """What has a gap, and all that needs such a thing: it may be right now and not be when that has changed."""
    concerned: dict[str, Resource] = {}
    for resource in wanted:
        if resource.id in gaps or any(first in concerned for first in (*resource.needs, *resource.follows)):
            concerned[resource.id] = resource
    return list(concerned.values())


def _run(work: _Work, resources: list[Resource], gaps: Mapping[str, Gap]) -> None:
    """Each as soon as what it needs has come out; of a lane one at a time, and those behind it keep no worker waiting."""
    among = {resource.id: resource for resource in resources}
    first = {each.id: [other for other in (*each.needs, *each.follows) if other in among] for each in resources}
    order = graphlib.TopologicalSorter(first)
    order.prepare()
    busy: set[str] = set()
    behind: defaultdict[str, deque[Resource]] = defaultdict(deque)
    ready: list[Resource] = []
    ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="apply") as pool:
        while order.is_active():
            for resource in (*ready, *(among[identity] for identity in order.get_ready())):
                if resource.lane in busy:
                    behind[resource.lane].append(resource)
                    continue
                busy |= {resource.lane} - {""}
                pool.submit(_one, work, resource, gaps.get(resource.id)).add_done_callback(ended.put)
            outcome = ended.get().result()
            work.outcomes[outcome.id] = outcome
            work.tell(Event("outcome", outcome.id, outcome.say, outcome.result))
            order.done(outcome.id)
            lane = among[outcome.id].lane
            busy.discard(lane)
            ready = [behind[lane].popleft()] if behind[lane] else []


def _one(work: _Work, resource: Resource, gap: Gap | None) -> Outcome:
    """One resource, from its gap to its outcome. Nothing that it raises gets past here."""
    held = [need for need in resource.needs if _blocks(work.outcomes.get(need))]
    if held and not resource.goes_on(work.host):
        return Outcome(resource.id, Result.HELD, f"waits for {thing(held[0])}", waits_for=held[0])
    if work.stop.is_set():
        return Outcome(resource.id, Result.HELD, "the pass was stopped", Interrupted("the pass was stopped"))
    try:
        return _close(work, resource, gap)
    except HubdError as error:
        return Outcome(resource.id, Result.FAILED, error.what, error)
    except Exception as error:  # noqa: BLE001  # a bug in one resource must not end the pass
        wrapped = HubdError(f"{thing(resource.id)}: it failed", why=f"{type(error).__name__}: {error}")
        wrapped.__cause__ = error
        return Outcome(resource.id, Result.FAILED, wrapped.what, wrapped)


def _blocks(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.result in (Result.FAILED, Result.HELD, Result.RUNNING)


def _close(work: _Work, resource: Resource, gap: Gap | None) -> Outcome:
    # What it needs may have changed since the plan was made: look now.
    gap = gap_of(resource, look(work.host, resource)) if resource.needs or resource.follows or gap is None else gap
    if gap is None:
        return Outcome(resource.id, Result.RIGHT)
    for step in gap.steps:
        work.tell(Event("step", resource.id, step.say))
        for words in gap.forecast.says if gap.forecast and step is gap.steps[0] else ():
            work.tell(Event("say", resource.id, words))
        step.do(work.host)
    left = gap_of(resource, look(work.host, resource)) if gap.steps else gap
    said = "; ".join(step.say for step in gap.steps)
    if left is None:
        return Outcome(resource.id, Result.FIXED, said)
    if left.error:
        return Outcome(resource.id, Result.FAILED, left.error.what, left.error)
    if left.progress:
        return Outcome(resource.id, Result.RUNNING, left.progress.say, job=left.progress.job)
    still = left.steps[0].say
    what, why = f"{thing(resource.id)}: it is still not right", f"after {said} there is still to do: {still}"
    error = HubdError(what, why=why, retry=True)
    return Outcome(resource.id, Result.FAILED, error.what, error)
