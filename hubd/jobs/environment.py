"""The job that builds one generation of an environment: clear, install, prove with a cell, mark."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hubd.errors import HubdError, last_line
from hubd.host import files
from hubd.jobs.work import Work
from hubd.tools import conda, uv

SMOKE = Path(__file__).with_name("smoke_kernel.py")


def build(work: Work) -> None:
    """Build the generation that the specification names. Raises HubdError with the manager's reason."""
    prefix = work.path("prefix")
    for name in files.children(prefix):
        files.clear(prefix / name)
    # One manager at a time in one cache: two cold conda runs side by side were seen to poison it.
    work.phase("waiting for another build")
    with (work.path("cache") / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        {"conda": _with_conda, "uv": _with_uv}[work.spec["manager"]](work, prefix)
    # uv leaves a lock file behind that everybody may write.
    for leftover in (".lock", *work.spec["drop"]):
        files.clear(prefix / leftover)
    if work.spec["smoke"]:
        _prove(work, prefix)
    files.write_atomic(prefix / work.spec["mark"], f"{work.spec['digest']}\n".encode(), mode=0o644)


def _with_conda(work: Work, prefix: Path) -> None:
    packages = work.spec["packages"]
    work.phase(f"solving and installing {len(packages)} packages with conda")
    argv = conda.create(work.path("conda"), prefix, packages, work.spec["channels"])
    cache = work.path("cache")
    result = work.run(argv, HOME=str(cache), CONDA_PKGS_DIRS=str(cache / "conda-pkgs"))
    # The exit code alone is not to be trusted: conda's own mark and a record for each package asked for are.
    if result.code != 0 or not (prefix / "conda-meta/history").exists():
        raise conda.failure(result.out + result.err, code=result.code)


def _with_uv(work: Work, prefix: Path) -> None:
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


def _prove(work: Work, prefix: Path) -> None:
    """A generation counts only when its kernel ran a cell."""
    work.phase("starting its kernel and running a cell")
    language = str(work.spec["smoke"])
    path = f"{prefix / 'bin'}:{os.defpath}"
    python = prefix / "bin/python" if language == "python" else work.path("uv").with_name("python")
    argv = (str(python), "-I", str(SMOKE), str(prefix), language)
    result = work.commands.run(argv, check=False, timeout=180, environment={"PATH": path, "HOME": str(work.path("cache"))})
    if result.code != 0:
        raise HubdError(
            "its kernel does not run a cell",
            why=last_line(result.err or result.out),
            fix="Add the kernel's package (ipykernel for Python), or read the log for what it says at its start.",
        )
