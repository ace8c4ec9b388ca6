"""The job that asks a manager what it would install. It installs nothing, and leaves nothing but its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hubd.host import files
from hubd.jobs.asked import asked
from hubd.jobs.environment import cache_alone
from hubd.jobs.with_conda import solve_with_conda
from hubd.jobs.with_rattler import solve_with_rattler
from hubd.jobs.with_uv import solve_with_uv
from hubd.jobs.work import Work
from hubd.tools.solved import NAME, Solved, solved_text

# What each manager does: tell what it would install, with an empty folder to work in, or raise HubdError with the cause.
MANAGERS: Mapping[str, Callable[[Work, Path], Solved]] = {
    "conda": solve_with_conda,
    "rattler": solve_with_rattler,
    "uv": solve_with_uv,
}


def solve(work: Work) -> None:
    """Write down what the build that the specification tells of would install. Raises HubdError with the manager's reason."""
    report = work.path("result").parent
    folder = report / "work"
    work = asked(work)
    lock = work.lock
    if lock:
        found = Solved(lock=lock)
    else:
        # What it fetches to find out (indexes, for uv packages that tell nothing of themselves) goes into the cache.
        with cache_alone(work):
            folder.mkdir()
            try:
                found = MANAGERS[work.spec["manager"]](work, folder)
            finally:
                files.clear(folder)
    files.write_atomic(report / NAME, solved_text(found).encode(), mode=0o644)
