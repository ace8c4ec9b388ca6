"""Packages from PyPI in an environment: first solved to exact versions with hashes, then installed with these verified."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.commands import Line, Result
from hubd.jobs.work import Work
from hubd.tools import uv
from hubd.words import counted


def add_pip_part(work: Work, prefix: Path) -> tuple[str, ...]:
    """Put the pip part of the specification or of its lock on top of conda packages, and tell what came.

    Raises HubdError with the cause.
    """
    lock, packages = work.lock, work.spec["pip"]
    count = len(lock.pip if lock else packages)
    if not count:
        return ()
    if not files.is_program(prefix / "bin/python"):
        fix = "Add `- python` to the packages."
        raise HubdError("the pip part needs a Python", why="there is none in this environment", fix=fix)
    work.phase(f"installing {counted(count, 'package')} from PyPI")
    try:
        pins = lock.pip if lock else _solve_on_top(work, prefix, packages)
        install(work, prefix, pins)
    except HubdError as error:
        what = error.what if error.what.startswith("the pip part") else f"the pip part cannot be installed: {error.what}"
        raise HubdError(what, why=error.why, fix=error.fix, retry=error.retry) from error
    return pins


def solve(work: Work, prefix: Path, packages: Iterable[str], *, alone: bool = False) -> tuple[str, ...]:
    """The exact versions, with hashes, that these packages and all they need come to. Raises HubdError with the cause.

    alone: without what they need.
    """
    asked, solved = _list(work, "asked", packages), work.path("cache") / "solved.txt"
    files.remove(solved)  # uv would stay with the versions of an earlier one
    run_uv(work, uv.compile_list(work.path("uv"), prefix, asked, solved, alone=alone))
    return uv.pinned((files.read(solved) or b"").decode())


def _solve_on_top(work: Work, prefix: Path, packages: Iterable[str]) -> tuple[str, ...]:
    """`solve` for packages that come to those that conda installed, and only what these lack.

    Raises HubdError when one that is there would be replaced: its record would tell of files that are gone.
    """
    told = run_uv(work, uv.preview(work.path("uv"), prefix, _list(work, "asked", packages)))
    found = uv.previewed(told.out + told.err)
    for old, new in found.replaced:
        raise HubdError(
            f"the pip part would replace {old}, which conda installed",
            why=f"it needs {new}",
            fix="Write that version among `packages`, or loosen the versions in `pip`.",
        )
    return solve(work, prefix, found.added, alone=True) if found.added else ()


def install(work: Work, prefix: Path, pins: Iterable[str]) -> None:
    """Install exactly these, each checked against its hash. Raises HubdError with the cause."""
    lines = tuple(pins)
    hashed = all(map(uv.has_hash, lines))
    if lines:
        order = uv.install_locked(work.path("uv"), prefix, _list(work, "solved", lines), hashed=hashed)

        def hear(line: str) -> None:
            work.log(line)
            if phase := uv.progress(line):
                work.phase(phase)

        run_uv(work, order, line=hear)


def downloads(work: Work, prefix: Path, pins: Iterable[str]) -> int | None:
    """How many of these packages would be fetched to install them; None where uv does not tell."""
    lines = tuple(pins)
    hashed = all(map(uv.has_hash, lines))
    if not lines:
        return 0
    try:
        told = run_uv(work, uv.preview_locked(work.path("uv"), prefix, _list(work, "solved", lines), hashed=hashed))
    except HubdError:  # it is not what was asked
        return None
    return uv.downloads(told.out + told.err)


def run_uv(work: Work, argv: tuple[str, ...], *, line: Line | None = None) -> Result:
    """Run uv. line: hears what it says. Raises HubdError with its reason."""
    # Hard links are faster, but a cache on another file system needs copies; uv decides and must not complain.
    cache = work.path("cache")
    result = work.run(
        argv,
        line=line,
        HOME=str(cache),
        UV_CACHE_DIR=str(cache / "uv"),
        UV_PYTHON_INSTALL_DIR=str(work.path("pythons")),
        UV_SYSTEM_CERTS="1",
        UV_NO_PROGRESS="1",
    )
    if result.code != 0:
        raise uv.failure(result.err or result.out, code=result.code)
    return result


def _list(work: Work, name: str, lines: Iterable[str]) -> Path:
    path = work.path("cache") / f"{name}.txt"
    files.write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o644)
    return path
