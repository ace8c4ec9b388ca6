"""Fills an environment with conda or mamba, and with uv on top of it where packages of PyPI are asked for; or tells with what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hubd.errors import HubdError
from hubd.host import files, reach
from hubd.host.commands import Line, Result
from hubd.jobs.compiled import compile_python
from hubd.jobs.damage import cache_of
from hubd.jobs.pypi import add_pip_part
from hubd.jobs.records import check_against, installed
from hubd.jobs.work import Work
from hubd.tools import conda, mamba
from hubd.tools.conda import Argv
from hubd.tools.lock import Lock
from hubd.tools.solved import Solved
from hubd.words import counted


class _Tool(Protocol):
    """What `tools.conda` and `tools.mamba` have alike."""

    def create(self, program: Path, prefix: Path, packages: Iterable[str], channels: Iterable[str]) -> Argv: ...
    def create_locked(self, program: Path, prefix: Path, explicit: Path) -> Argv: ...
    def explicit_list(self, lock: Lock) -> str: ...
    def fetched(self, line: str) -> tuple[str, bool] | None: ...
    def incomplete(self, missing: Iterable[str], output: str) -> HubdError: ...
    def failure(self, output: str, *, code: int) -> HubdError: ...


def install_with_conda(work: Work, prefix: Path) -> Lock:
    """Install what the specification or its lock asks for and tell what that was. Raises HubdError with the cause."""
    program = program_of(work)
    tool: _Tool = conda
    if mamba.drives(program):
        tool = mamba
        _prepare(work, program, prefix)
    if work.lock:
        _rebuild(work, tool, program, prefix, work.lock)
    else:
        _solve(work, tool, program, prefix)
    # conda compiles for each environment anew.
    compile_python(work, prefix)
    found = tuple(installed(prefix))
    return Lock(manager="conda", platform=conda.platform(), conda=found, pip=add_pip_part(work, prefix))


def program_of(work: Work) -> Path:
    """The program that the specification names, or that is in the prefix that it names.

    Raises HubdError where this account may not even look.
    """
    path = work.path("conda")
    found = conda.program(path, files.is_program) or path / "bin/conda"
    if reach.is_refused(found):
        fix = "Put it where everybody may run it, such as below /opt, and correct conda.path in config.yaml."
        raise HubdError(f"{path} cannot be used", why="the account that builds may not go there", fix=fix)
    return found


def _prepare(work: Work, program: Path, prefix: Path) -> None:
    """See that this mamba can be driven, and let it find an environment. Raises HubdError where it cannot."""
    answer = _call(work, mamba.version(program))
    trouble = mamba.too_old(program, answer.out or answer.err, code=answer.code)
    if trouble:
        raise trouble
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta/history").touch()


def solve_with_conda(work: Work, folder: Path) -> Solved:
    """What `install_with_conda` would install, but for the pip part, which needs what conda installs. Raises HubdError."""
    packages, program, prefix = work.spec["packages"], program_of(work), folder / "environment"
    tool: _Tool = conda
    if mamba.drives(program):
        tool = mamba
        _prepare(work, program, prefix)
    work.phase(f"solving {counted(len(packages), 'package')} with {program.name}")
    result = _call(work, conda.preview(tool.create(program, prefix, packages, work.spec["channels"])))
    output = f"{result.out}\n{result.err}"
    found = conda.previewed(output)
    if result.code != 0 or found is None:
        raise tool.failure(output, code=result.code)
    missing = conda.uncovered(packages, found.lock.conda)
    if missing:
        raise tool.incomplete(missing, output)
    return replace(found, unsolved=tuple(work.spec["pip"]))


def _solve(work: Work, tool: _Tool, program: Path, prefix: Path) -> None:
    packages = work.spec["packages"]
    work.phase(f"solving and installing {counted(len(packages), 'package')} with {program.name}")
    result = _run(work, tool, prefix, tool.create(program, prefix, packages, work.spec["channels"]))
    missing = conda.uncovered(packages, installed(prefix))
    if missing:
        raise tool.incomplete(missing, f"{result.out}\n{result.err}")


def _rebuild(work: Work, tool: _Tool, program: Path, prefix: Path, lock: Lock) -> None:
    work.phase(f"installing {counted(len(lock.conda), 'package')} with {program.name} as locked")
    explicit = work.path("cache") / "explicit.txt"
    files.write_atomic(explicit, tool.explicit_list(lock).encode(), mode=0o644)
    _run(work, tool, prefix, tool.create_locked(program, prefix, explicit))
    check_against(lock, prefix, cache_of(work))


def _run(work: Work, tool: _Tool, prefix: Path, argv: Argv) -> Result:
    """Run the program. Raises HubdError with its reason, also where it ends well and left no environment."""
    result = _call(work, argv, _Progress(work, tool, Path(argv[0]).name))
    output = f"{result.out}\n{result.err}"
    # The exit code alone is not to be trusted: the program's own mark is, which mamba begins empty.
    if result.code != 0 or not files.read(prefix / "conda-meta/history"):
        for text in conda.message(output).splitlines():
            work.log(text)
        raise tool.failure(output, code=result.code)
    return result


def _call(work: Work, argv: Argv, line: Line | None = None) -> Result:
    # mamba's own settings count where it lies in a prefix, as conda's do, which takes this for its root in any case.
    root = Path(argv[0]).parent.parent
    root = root if (root / "conda-meta").is_dir() else work.path("cache") / "mamba"
    # It writes into the first, and takes what it finds in the others.
    caches = ",".join(filter(None, (str(cache_of(work)), work.spec.get("also_from"))))
    return work.run(
        argv, line=line, quiet=line is None,
        HOME=str(work.path("cache")), CONDA_PKGS_DIRS=caches, MAMBA_ROOT_PREFIX=str(root),
    )  # fmt: skip


class _Progress:
    """Hears the program's lines: which packages have come goes to those who follow, and to the log what is not its JSON."""

    def __init__(self, work: Work, tool: _Tool, name: str) -> None:
        self._work, self._tool, self._name, self._there = work, tool, name, set[str]()
        self._in_json = False

    def __call__(self, line: str) -> None:
        told = self._tool.fetched(line)
        if told is None:
            if not self._is_json(line.rstrip()):
                self._work.log(line)
        elif told[1] and told[0] not in self._there:
            self._there.add(told[0])
            self._work.phase(f"downloading packages with {self._name}, {len(self._there)} there")

    def _is_json(self, line: str) -> bool:
        """Whether it belongs to the answer, which is hundreds of lines that say nothing to a person."""
        inside, self._in_json = self._in_json, line == "{" or (self._in_json and line != "}")
        return inside or self._in_json or (line.startswith("{") and line.endswith("}"))
