"""The job that takes out of a package cache what no generation uses, by the managers' own commands. As the build account."""

from __future__ import annotations

import re
from pathlib import Path

from hubd.errors import HubdError, last_line
from hubd.jobs import compiled, pypi, records, repository, unpacked
from hubd.jobs.alone import is_free
from hubd.jobs.package_cache import clear_unused
from hubd.jobs.with_conda import program_of
from hubd.jobs.work import Work
from hubd.tools import conda, mamba, uv

# Where each manager has its part of a cache.
UV, CONDA, RATTLER = "uv", "conda-pkgs", "rattler/pkgs"
# A command line has an end.
AT_ONCE = 500

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def clean(work: Work) -> None:
    """Clean the cache that the specification names. Raises HubdError with the manager's reason, or where a build uses it."""
    cache = work.path("cache")
    with (cache / "build.lock").open("w") as lock:
        if not is_free(lock):
            raise HubdError("the package cache stays as it is", why="a build uses it at this moment", retry=True)
        compiled.forget_unshared(cache)
        records.forget_unshared(cache)
        repository.clear_left(cache)
        unpacked.drop(work)
        if (cache / UV).is_dir():
            _clean_uv(work, cache / UV)
        if (cache / CONDA).is_dir():
            _clean_conda(work, cache)
        if (cache / RATTLER).is_dir():
            work.phase("cleaning rattler's package cache")
            clear_unused(cache / RATTLER)  # it is a library, and has nothing for that


def _clean_conda(work: Work, cache: Path) -> None:
    work.phase("cleaning conda's package cache")
    program = program_of(work) if work.spec["conda"] else None
    if program is None or mamba.drives(program):
        # There is no conda any more, or a mamba: its own `clean` knows of no environment of hubd's, and would take everything.
        clear_unused(cache / CONDA)
        return
    result = work.run(conda.clean(program), HOME=str(cache), CONDA_PKGS_DIRS=str(cache / CONDA))
    if result.code != 0:
        why = last_line(result.err or result.out) or f"it exited with {result.code}"
        raise HubdError("conda could not clean its package cache", why=why, retry=True)


def _clean_uv(work: Work, cache: Path) -> None:
    work.phase("cleaning uv's cache")
    needed: list[str] | None = work.spec["needed"]
    # uv itself keeps every package that it ever fetched.
    cached = {path.name for path in cache.glob("wheels-v*/pypi/*") if _NAME.fullmatch(path.name)}
    unneeded = [] if needed is None else sorted(cached.difference(map(uv.cache_name, needed)))
    try:
        for some in range(0, len(unneeded), AT_ONCE):
            pypi.run_uv(work, uv.clean(work.path("uv"), unneeded[some : some + AT_ONCE]))
        pypi.run_uv(work, uv.prune(work.path("uv")))
    except HubdError as error:
        raise HubdError("uv could not clean its cache", why=error.why or error.what, retry=True) from error
