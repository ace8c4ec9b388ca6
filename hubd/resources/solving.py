"""Solves: jobs that ask a manager what it would install, for somebody who waits for it. Nothing of one lasts longer than that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError, Locked
from hubd.host import Host, files
from hubd.host.locks import file_lock, holder
from hubd.layout import Layout
from hubd.resources.base import Resource, Step
from hubd.resources.environment import Environment
from hubd.resources.job import LANE, SOLVES, job_unit, observe_job, order_path, orders, report_folder, result_path
from hubd.resources.job_report import read_report
from hubd.tools.solved import LONGEST, NAME, Solved, parse_solved
from hubd.words import counted


def waiting_lock(layout: Layout) -> Path:
    """Whoever waits for solves holds it: one at a time on the whole machine."""
    return layout.jobs / "solves.lock"


def is_waited_for(layout: Layout) -> bool:
    """Whether somebody waits for solves at this moment."""
    found = holder(waiting_lock(layout))
    return found is not None and found.holds


def solve_job(environment: Environment) -> str:
    return f"{SOLVES}{environment.name}"


def result_of(host: Host, environment: Environment) -> Solved:
    """What a solve that is over came to. Raises HubdError with the reason where it failed, or was ended."""
    job, layout = solve_job(environment), host.layout
    if read_report(result_path(layout, job)).get("state") == "done":
        data = files.read(report_folder(layout, job) / NAME, follow=False, most=LONGEST)
        return parse_solved((data or b"").decode(errors="replace"))
    host.forget()
    failure = observe_job(host, job, complete=False, digest=environment.digest, limits=environment.limits).failure or {}
    words = {key: str(failure.get(key) or "") for key in ("why", "fix")}
    raise HubdError(str(failure.get("what") or f"{job} ended without a word"), **words, retry=failure.get("retry") is not False)


def clear_solve(host: Host, job: str) -> None:
    """End a solve if it goes on, and take away all that is left of it."""
    host.init.clear(job_unit(job))
    files.clear(report_folder(host.layout, job))
    files.remove(order_path(host.layout, job))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftSolves(Resource):
    """There is no solve that nobody waits for: whoever asked for it was killed."""

    kind = "left-solves"
    lane = LANE

    @property
    def name(self) -> str:
        return "jobs"

    def observe(self, host: Host) -> tuple[str, ...]:
        names = {*orders(host.layout), *files.children(host.layout.reports)}
        left = tuple(sorted(name for name in names if name.startswith(SOLVES) or files.is_left(name, SOLVES)))
        return () if left and is_waited_for(host.layout) else left

    def steps(self, seen: tuple[str, ...]) -> tuple[Step, ...]:
        return (Step(f"end {counted(len(seen), 'solve')} that nobody waits for", _clear(seen)),) if seen else ()


def _clear(jobs: tuple[str, ...]) -> Callable[[Host], None]:
    def clear(host: Host) -> None:
        # Where somebody began to ask in between, these are cleared away by them.
        with contextlib.suppress(Locked), file_lock(waiting_lock(host.layout), wait=0, what="clearing solves away"):
            for job in jobs:
                if files.is_left(job):  # of a removal that was killed
                    files.clear(host.layout.reports / job)
                else:
                    clear_solve(host, job)

    return clear
