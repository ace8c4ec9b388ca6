"""Fills an environment with conda, and with uv on top of it where packages of PyPI are asked for, too."""

from __future__ import annotations

from pathlib import Path

from hubd.host import files
from hubd.host.commands import Result
from hubd.jobs.compiled import compile_python
from hubd.jobs.damage import cache_of
from hubd.jobs.pypi import add_pip_part
from hubd.jobs.records import check_against, installed
from hubd.jobs.work import Work
from hubd.tools import conda
from hubd.tools.lock import Lock


def install_with_conda(work: Work, prefix: Path) -> Lock:
    """Install what the specification or its lock asks for and tell what that was. Raises HubdError with the cause."""
    if work.lock:
        _rebuild(work, prefix, work.lock)
    else:
        _solve(work, prefix)
    # conda compiles for each environment anew.
    compile_python(work, prefix)
    found = tuple(installed(prefix))
    return Lock(manager="conda", platform=conda.platform(), conda=found, pip=add_pip_part(work, prefix))


def _solve(work: Work, prefix: Path) -> None:
    packages = work.spec["packages"]
    work.phase(f"solving and installing {len(packages)} packages with conda")
    result = _run(work, prefix, conda.create(work.path("conda"), prefix, packages, work.spec["channels"]))
    missing = conda.uncovered(packages, installed(prefix))
    if missing:
        raise conda.incomplete(missing, result.out + result.err)


def _rebuild(work: Work, prefix: Path, lock: Lock) -> None:
    work.phase(f"installing {len(lock.conda)} packages with conda as locked")
    explicit = work.path("cache") / "explicit.txt"
    files.write_atomic(explicit, conda.explicit_list(lock).encode(), mode=0o644)
    _run(work, prefix, conda.create_locked(work.path("conda"), prefix, explicit))
    check_against(lock, prefix, cache_of(work))


def _run(work: Work, prefix: Path, argv: conda.Argv) -> Result:
    """Run conda. Raises HubdError with its reason, also where it ends well and left no environment."""
    # conda writes into the first, and takes what it finds in the others.
    caches = ",".join(filter(None, (str(cache_of(work)), work.spec.get("also_from"))))
    result = work.run(argv, line=_Progress(work), HOME=str(work.path("cache")), CONDA_PKGS_DIRS=caches)
    # The exit code alone is not to be trusted: conda's own mark is.
    if result.code != 0 or not (prefix / "conda-meta/history").exists():
        raise conda.failure(result.out + result.err, code=result.code)
    return result


class _Progress:
    """Hears conda's lines: which packages have come goes to those who follow, everything else to the log."""

    def __init__(self, work: Work) -> None:
        self._work, self._there = work, set[str]()

    def __call__(self, line: str) -> None:
        told = conda.fetched(line)
        if told is None:
            self._work.log(line)
        elif told[1] and told[0] not in self._there:
            self._there.add(told[0])
            self._work.phase(f"downloading packages with conda, {len(self._there)} there")
