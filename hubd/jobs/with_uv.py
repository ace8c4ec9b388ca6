"""Fills an environment with uv, from PyPI or from a hash-locked list; or tells with what it would be filled."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs import pypi
from hubd.jobs.work import Work
from hubd.tools import conda, uv
from hubd.tools.lock import Lock
from hubd.tools.solved import Solved
from hubd.words import counted


def install_with_uv(work: Work, prefix: Path) -> Lock:
    """Install the packages or the locked list of the specification and tell which they were. Raises HubdError with the cause."""
    lock = work.lock
    python, packages = _asked(work)
    work.phase("making the environment")
    pypi.run_uv(work, uv.make(work.path("uv"), prefix, lock.python if lock else python))
    pins = lock.pip if lock else _solve(work, prefix, packages)
    work.phase(f"installing {counted(len(pins), 'package')} with uv")
    pypi.install(work, prefix, pins)
    return _lock(prefix, pins)


def solve_with_uv(work: Work, folder: Path) -> Solved:
    """What `install_with_uv` would install. folder: an empty environment is made in it. Raises HubdError with the cause."""
    python, packages = _asked(work)
    prefix = folder / "environment"
    work.phase("finding its Python")
    work = _make_empty(work, folder, prefix, python)
    pins = _solve(work, prefix, packages)
    return Solved(lock=_lock(prefix, pins), downloads=pypi.downloads(work, prefix, pins))


def _asked(work: Work) -> tuple[str, tuple[str, ...]]:
    python, packages = uv.split_python(work.spec["packages"])
    return python, (*packages, *work.spec["pip"])


def _solve(work: Work, prefix: Path, packages: tuple[str, ...]) -> tuple[str, ...]:
    if work.spec["requirements"]:
        return uv.pinned((files.read(work.path("requirements")) or b"").decode())
    work.phase(f"solving {counted(len(packages), 'package')} with uv")
    return pypi.solve(work, prefix, packages) if packages else ()


def _make_empty(work: Work, folder: Path, prefix: Path, python: str) -> Work:
    """Make it with a Python that is there, or else with one that is fetched into `folder`; gives the work that finds that one.

    Which packages fit depends on the Python itself, and those of the builds are not a plan's to add to.
    """
    prefix.mkdir()
    with contextlib.suppress(HubdError):
        pypi.run_uv(work, uv.make(work.path("uv"), prefix, python, fetch=False))
        return work
    own = replace(work, spec={**work.spec, "pythons": str(folder / "pythons")})
    pypi.run_uv(own, uv.make(own.path("uv"), prefix, python))
    return own


def _lock(prefix: Path, pins: tuple[str, ...]) -> Lock:
    python = uv.version_of((files.read(prefix / "pyvenv.cfg") or b"").decode())
    return Lock(manager="uv", platform=conda.platform(), python=python, pip=pins)
