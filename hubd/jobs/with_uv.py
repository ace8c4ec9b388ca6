"""Fills an environment with uv, from PyPI or from a hash-locked list."""

from __future__ import annotations

from pathlib import Path

from hubd.jobs.work import Work
from hubd.tools import conda, uv
from hubd.tools.lock import Lock


def install_with_uv(work: Work, prefix: Path) -> Lock:
    """Install the packages or the locked list of the specification and tell which they were. Raises HubdError with the cause."""
    tool, cache = work.path("uv"), work.path("cache")
    python, packages = uv.split_python(work.spec["packages"])
    # Hard links are faster, but a cache on another file system needs copies; uv decides and must not complain.
    environment = {
        "HOME": str(cache),
        "UV_CACHE_DIR": str(cache / "uv"),
        "UV_PYTHON_INSTALL_DIR": str(work.path("pythons")),
        "UV_SYSTEM_CERTS": "1",
        "UV_NO_PROGRESS": "1",
    }
    requirements = str(work.spec["requirements"])
    steps = [("making the environment", uv.make(tool, prefix, python))]
    if requirements:
        steps.append(("installing the locked packages", uv.install_locked(tool, prefix, Path(requirements))))
    if packages:
        steps.append((f"installing {len(packages)} packages with uv", uv.install(tool, prefix, packages)))
    for words, argv in steps:
        work.phase(words)
        result = work.run(argv, **environment)
        if result.code != 0:
            raise uv.failure(result.err or result.out, code=result.code)
    return Lock(manager="uv", platform=conda.platform(), python=python)
