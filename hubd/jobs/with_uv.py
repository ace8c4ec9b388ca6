"""Fills an environment with uv, from PyPI or from a hash-locked list."""

from __future__ import annotations

from pathlib import Path

from hubd.host import files
from hubd.jobs import pypi
from hubd.jobs.work import Work
from hubd.tools import conda, uv
from hubd.tools.lock import Lock


def install_with_uv(work: Work, prefix: Path) -> Lock:
    """Install the packages or the locked list of the specification and tell which they were. Raises HubdError with the cause."""
    lock = work.lock
    python, packages = uv.split_python(work.spec["packages"])
    packages += tuple(work.spec["pip"])
    work.phase("making the environment")
    pypi.run_uv(work, uv.make(work.path("uv"), prefix, lock.python if lock else python))
    if lock:
        pins = lock.pip
    elif work.spec["requirements"]:
        pins = uv.pinned((files.read(work.path("requirements")) or b"").decode())
    else:
        work.phase(f"solving {len(packages)} packages with uv")
        pins = pypi.solve(work, prefix, packages) if packages else ()
    work.phase(f"installing {len(pins)} packages with uv")
    pypi.install(work, prefix, pins)
    python = uv.version_of((files.read(prefix / "pyvenv.cfg") or b"").decode())
    return Lock(manager="uv", platform=conda.platform(), python=python, pip=pins)
