"""Fills an environment with conda."""

from __future__ import annotations

from pathlib import Path

from hubd.jobs.work import Work
from hubd.tools import conda


def install_with_conda(work: Work, prefix: Path) -> None:
    """Install the packages of the specification. Raises HubdError with the cause."""
    packages = work.spec["packages"]
    work.phase(f"solving and installing {len(packages)} packages with conda")
    argv = conda.create(work.path("conda"), prefix, packages, work.spec["channels"])
    cache = work.path("cache")
    result = work.run(argv, HOME=str(cache), CONDA_PKGS_DIRS=str(cache / "conda-pkgs"))
    # The exit code alone is not to be trusted: conda's own mark and a record for each package asked for are.
    if result.code != 0 or not (prefix / "conda-meta/history").exists():
        raise conda.failure(result.out + result.err, code=result.code)
