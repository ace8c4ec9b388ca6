"""Fills an environment with rattler: the packages of conda's channels, without conda; what only PyPI has comes on top.

Or it tells with what an environment would be filled.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from hubd.host import files
from hubd.jobs.compiled import compile_python
from hubd.jobs.pypi import add_pip_part
from hubd.jobs.records import check_against
from hubd.jobs.work import Work
from hubd.tools import conda, rattler
from hubd.tools.lock import CondaPackage, Lock
from hubd.tools.solved import Solved
from hubd.words import counted

# It is told again when this much more is done, in percent.
TOLD_EVERY = 5


def install_with_rattler(work: Work, prefix: Path) -> Lock:
    """Install what the specification or its lock asks for and tell what that was. Raises HubdError with the cause."""
    found = _rebuild(work, prefix, work.lock) if work.lock else _solve(work, prefix)
    return Lock(manager="rattler", platform=conda.platform(), conda=found, pip=add_pip_part(work, prefix))


def solve_with_rattler(work: Work, folder: Path) -> Solved:
    """What `install_with_rattler` would install, but for the pip part, which needs what comes before it. Raises HubdError."""
    specs = work.spec["packages"]
    work.phase(f"solving {counted(len(specs), 'package')} with rattler")
    order = rattler.order(folder, _cache(work), specs=specs, channels=work.spec["channels"], only_solve=True)
    result = work.run(_drive(work), stdin=order, quiet=True, HOME=str(work.path("cache")))
    found = rattler.solved(result.out.splitlines())
    if result.code != 0 or found is None:
        raise rattler.failure(result.out, result.err, code=result.code)
    return replace(found, unsolved=tuple(work.spec["pip"]))


def _drive(work: Work) -> rattler.Argv:
    return rattler.drive(work.path("uv").with_name("python"))


def _solve(work: Work, prefix: Path) -> tuple[CondaPackage, ...]:
    specs = work.spec["packages"]
    work.phase(f"solving {counted(len(specs), 'package')} with rattler")
    return _install(work, prefix, specs, rattler.order(prefix, _cache(work), specs=specs, channels=work.spec["channels"]))


def _rebuild(work: Work, prefix: Path, lock: Lock) -> tuple[CondaPackage, ...]:
    """Install exactly what the lock names; nothing is solved."""
    work.phase(f"installing {counted(len(lock.conda), 'package')} with rattler as locked")
    listed = sorted(lock.conda, key=lambda package: package.name)
    order = rattler.order(prefix, _cache(work), packages=listed)
    found = _install(work, prefix, [package.url for package in listed], order)
    check_against(lock, prefix, _cache(work) / "pkgs")
    return found


def _cache(work: Work) -> Path:
    return work.path("cache") / "rattler"


def _install(work: Work, prefix: Path, asked: list[str], order: bytes) -> tuple[CondaPackage, ...]:
    _clear_unfinished(_cache(work) / "pkgs")
    result = work.run(_drive(work), stdin=order, line=_Progress(work), HOME=str(work.path("cache")))
    packages = rattler.installed(result.out.splitlines())
    if result.code != 0 or packages is None:
        # What it began to unpack takes the room that a full disk lacks.
        _clear_unfinished(_cache(work) / "pkgs")
        raise rattler.failure(result.out, result.err, code=result.code)
    compile_python(work, prefix)
    _write_history(prefix, asked, packages)
    return packages


class _Progress:
    """Hears the child's lines: what is done goes to those who follow, talk to the log."""

    def __init__(self, work: Work) -> None:
        self._work, self._fetched, self._told = work, False, ("", 0)

    def __call__(self, line: str) -> None:
        said = rattler.answer(line)
        if not said:
            self._work.log(line)
        elif "total" in said:
            self._tell(str(said["step"]), int(said["done"]), int(said["total"]))

    def _tell(self, step: str, done: int, total: int) -> None:
        # The first packages are linked while others still come.
        self._fetched = self._fetched or (step == "downloading" and done == total)
        told = (step, 100 * done // (total * TOLD_EVERY))
        if (step == "downloading" or self._fetched) and told != self._told:
            self._told = told
            self._work.phase(f"{step} packages, {done} of {total}")


def _clear_unfinished(packages: Path) -> None:
    """Remove what killed builds left in the cache: rattler unpacks into hidden folders and renames them."""
    for name in files.children(packages):
        if name.startswith(".") and not name.endswith(".lock"):
            files.clear(packages / name)


def _write_history(prefix: Path, asked: list[str], packages: tuple[CondaPackage, ...]) -> None:
    """What conda writes about an environment that it made: without it conda does not take it for one."""
    lines = [
        f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==",
        "# cmd: hubd",
        *(f"+{package.url.rpartition('/')[0]}::{package.name}-{package.version}-{package.build}" for package in packages),
        f"# update specs: {json.dumps(asked)}",
    ]
    files.write_atomic(prefix / "conda-meta/history", ("\n".join(lines) + "\n").encode(), mode=0o644)
