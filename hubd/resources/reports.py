"""What lies among the reports of jobs and is no report of a job that there is: cleared away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.layout import Layout
from hubd.resources.base import Resource, Step
from hubd.resources.job import LANE, SOLVES, job_unit, order_path, orders, product


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports(Resource):
    """A folder for each job and nothing else. A job that does not run and whose product is gone is over; its order goes, too.

    Solves have no product: those are `LeftSolves`' to clear away.
    """

    kind = "reports"
    lane = LANE

    @property
    def name(self) -> str:
        return "jobs"

    def observe(self, host: Host) -> tuple[Path, ...]:
        layout = host.layout
        there = {job for job in orders(layout) if _has_product(layout, job)}
        jobs, names = (tuple(name for name in some if not (name.startswith(SOLVES) or files.is_left(name, SOLVES)))
                       for some in (orders(layout), files.children(layout.reports)))  # fmt: skip
        over = (order_path(layout, job) for job in jobs if not (job in there or _runs(host, job)))
        found = (layout.reports / name for name in names)
        return (*(path for path in found if not (_is_folder(path) and (path.name in there or _runs(host, path.name)))), *over)

    def steps(self, seen: tuple[Path, ...]) -> tuple[Step, ...]:
        # Without their names, which builds may have chosen.
        return (Step(f"clear away {len(seen)} reports and orders that no build needs", _clear(seen)),) if seen else ()


def _runs(host: Host, job: str) -> bool:
    return host.init.state(job_unit(job)).is_going


def _has_product(layout: Layout, job: str) -> bool:
    folder = product(layout, job)
    return folder is not None and files.look(folder, names=False) is not None


def _is_folder(path: Path) -> bool:
    found = files.look(path, names=False)
    return found is not None and found.kind == "directory"


def _clear(paths: tuple[Path, ...]) -> Callable[[Host], None]:
    def clear(host: Host) -> None:
        for path in paths:
            files.clear(path)

    return clear
