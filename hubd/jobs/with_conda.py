"""Fills an environment with conda."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hubd.host import files
from hubd.jobs.compiled import compile_python
from hubd.jobs.damage import cache_of
from hubd.jobs.work import Work
from hubd.tools import conda
from hubd.tools.lock import CondaPackage, Lock


def install_with_conda(work: Work, prefix: Path) -> Lock:
    """Install the packages of the specification and tell which they were. Raises HubdError with the cause."""
    packages = work.spec["packages"]
    work.phase(f"solving and installing {len(packages)} packages with conda")
    argv = conda.create(work.path("conda"), prefix, packages, work.spec["channels"])
    result = work.run(argv, HOME=str(work.path("cache")), CONDA_PKGS_DIRS=str(cache_of(work)))
    # The exit code alone is not to be trusted: conda's own mark and a record for each package asked for are.
    if result.code != 0 or not (prefix / "conda-meta/history").exists():
        raise conda.failure(result.out + result.err, code=result.code)
    # conda compiles for each environment anew.
    compile_python(work, prefix)
    return Lock(manager="conda", platform=conda.platform(), conda=tuple(installed(prefix)))


def installed(prefix: Path) -> Iterator[CondaPackage]:
    """What the records in an environment say that it consists of."""
    for name in files.children(prefix / "conda-meta"):
        if name.endswith(".json"):
            record = json.loads(files.read(prefix / "conda-meta" / name) or b"{}")
            told = {key: str(record.get(key) or "") for key in ("name", "version", "build", "url", "sha256")}
            yield CondaPackage(**told)
