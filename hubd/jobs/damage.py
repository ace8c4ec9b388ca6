"""What a damaged package cache did to an environment: found by the packages' own records, and taken out of the cache.

conda believes its cache, and so does uv: a file that a crash, a full disk or two cold runs side by side left short goes into each
environment that is built later, with exit code 0.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs import wheels
from hubd.jobs.package_cache import package_of, take_out
from hubd.jobs.pypi import run_uv
from hubd.jobs.shared import EXTERNALLY_MANAGED
from hubd.jobs.work import Work
from hubd.tools import conda, mamba, uv
from hubd.words import named

DAMAGED = "the environment is not what its packages hold"


def cache_of(work: Work) -> Path:
    """Where conda keeps its packages."""
    return work.path("cache") / "conda-pkgs"


def look(work: Work, prefix: Path) -> None:
    """Compare what conda and uv put there with the records. Raises HubdError for what is missing or another file."""
    # rattler compares what it takes from its cache itself.
    names = [*(damaged(prefix) if work.spec["manager"] == "conda" else ()), *_damaged_wheels(work, prefix)]
    if names:
        why = f"files of {', '.join(names[:5])} are missing or other ones"
        raise HubdError(DAMAGED, why=why, retry=True)


def healed(work: Work, prefix: Path, error: HubdError) -> bool:
    """Take what is damaged out of the caches after a build failed; False where nothing is to be blamed on them."""
    # Where uv itself failed, what it did not come to is missing.
    wheels_too = error.what == DAMAGED and _clean_wheels(work, _damaged_wheels(work, prefix))
    return (work.spec["manager"] == "conda" and _healed(work, prefix, error)) or wheels_too


def _damaged_wheels(work: Work, prefix: Path) -> list[str]:
    if work.spec["manager"] == "uv":
        return wheels.damaged(prefix)
    on_top = work.lock.pip if work.lock else work.spec["pip"]
    return wheels.damaged(prefix, _of_conda(prefix)) if on_top else []


def _clean_wheels(work: Work, names: list[str]) -> bool:
    if not names:
        return False
    print(f"taking {named(names)} out of uv's cache", flush=True)
    with contextlib.suppress(HubdError):  # what the build failed at is what there is to tell
        run_uv(work, uv.clean(work.path("uv"), map(uv.cache_name, names)))
        return True
    return False


def _healed(work: Work, prefix: Path, error: HubdError) -> bool:
    cache = cache_of(work)
    told = re.findall(re.escape(str(cache)) + r"/([^\s'\",:]+)", error.why)
    names = {package_of(path) for path in told} | set(damaged(prefix))
    if not names and error.what in (conda.UNCLEAR, mamba.UNCLEAR) and work.spec["tries"] == 1:
        # It failed before, for no reason that is known: everything is fetched anew, but not again and again.
        names = set(files.children(cache))
    for name in sorted(names):
        print(f"taking {name} out of the package cache", flush=True)
        take_out(cache, name)
    return bool(names)


def damaged(prefix: Path) -> list[str]:
    """Packages of which a file is missing or another one than their records say, and none that a package of PyPI brought."""
    names = _records(prefix)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = dict(zip(names, threads.map(lambda name: _not_whole(prefix, name), names), strict=True))
    brought = wheels.brought(prefix, _of_conda(prefix)) if any(found.values()) else set()
    return [name.removesuffix(".json") for name, paths in found.items() if paths - brought]


def _records(prefix: Path) -> list[str]:
    return [name for name in files.children(prefix / "conda-meta") if name.endswith(".json")]


def _of_conda(prefix: Path) -> set[str]:
    """The files of conda packages, which have records such as those of PyPI's, too."""
    return {str(each["_path"]) for name in _records(prefix) for each in _entries(prefix, name)}


def _not_whole(prefix: Path, name: str) -> set[str]:
    return {str(each["_path"]) for each in _entries(prefix, name) if not _is_whole(prefix, each)}


def _entries(prefix: Path, name: str) -> list[Mapping[str, Any]]:
    record = json.loads(files.read(prefix / "conda-meta" / name) or b"{}")
    return (record.get("paths_data") or {}).get("paths") or []


def _is_whole(prefix: Path, entry: Mapping[str, Any]) -> bool:
    path = prefix / entry["_path"]
    if path.name == EXTERNALLY_MANAGED:
        return True  # hubd puts its own there
    if entry.get("path_type") == "softlink":
        return os.path.lexists(path)
    if entry.get("path_type") != "hardlink":
        return True  # made at the installation, such as compiled Python
    if not path.is_file():
        return False
    # A file that has the environment's own path in it is not the one that came.
    expected = entry.get("sha256_in_prefix") or (None if entry.get("prefix_placeholder") else entry.get("sha256"))
    with path.open("rb") as file:
        return expected in (None, hashlib.file_digest(file, "sha256").hexdigest())
