"""What a damaged package cache did to an environment by conda: found by the packages' own records, and taken out of the cache.

conda believes its cache: a file that a crash, a full disk or two cold runs side by side left short goes into each environment
that is built later, with exit code 0.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs.work import Work
from hubd.tools import conda

# A package in the cache: unpacked, and as it came.
FORMS = ("", ".conda", ".tar.bz2")


def cache_of(work: Work) -> Path:
    """Where conda keeps its packages."""
    return work.path("cache") / "conda-pkgs"


def look(work: Work, prefix: Path) -> None:
    """Compare what conda put there with the records. Raises HubdError for what is missing or another file."""
    # Others compare what they take from their caches themselves.
    names = damaged(prefix) if work.spec["manager"] == "conda" else []
    if names:
        why = f"files of {', '.join(names[:5])} are missing or other ones"
        raise HubdError("the environment is not what its packages hold", why=why, retry=True)


def healed(work: Work, prefix: Path, error: HubdError) -> bool:
    """Take what is damaged out of conda's cache after a build failed; False where nothing is to be blamed on the cache."""
    if work.spec["manager"] != "conda":
        return False
    cache = cache_of(work)
    named = re.findall(re.escape(str(cache)) + r"/([^/\s'\",:]+)", error.why)
    names = {name.removesuffix(".tar.bz2").removesuffix(".conda") for name in named} | set(damaged(prefix))
    if not names and error.what == conda.UNCLEAR and work.spec["tries"] == 1:
        # It failed before, for no reason that is known: everything is fetched anew, but not again and again.
        names = set(files.children(cache))
    for name in sorted(names):
        print(f"taking {name} out of the package cache", flush=True)
        for form in FORMS:
            files.clear(cache / f"{name}{form}")
    return bool(names)


def damaged(prefix: Path) -> list[str]:
    """Packages of which a file is missing or another one than their records say, and none that a package of PyPI brought."""
    names = [name for name in files.children(prefix / "conda-meta") if name.endswith(".json")]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = dict(zip(names, threads.map(lambda name: _not_whole(prefix, name), names), strict=True))
    brought = _by_pip(prefix, names) if any(found.values()) else set()
    return [name.removesuffix(".json") for name, paths in found.items() if paths - brought]


def _not_whole(prefix: Path, name: str) -> set[str]:
    return {str(each["_path"]) for each in _entries(prefix, name) if not _is_whole(prefix, each)}


def _entries(prefix: Path, name: str) -> list[Mapping[str, Any]]:
    record = json.loads(files.read(prefix / "conda-meta" / name) or b"{}")
    return (record.get("paths_data") or {}).get("paths") or []


def _by_pip(prefix: Path, names: list[str]) -> set[str]:
    """The files that packages of PyPI brought, by their own records; those of conda packages have such records, too."""
    of_conda = {str(each["_path"]) for name in names for each in _entries(prefix, name)}
    found: set[str] = set()
    for record in prefix.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        if str(record.relative_to(prefix)) not in of_conda:
            found.update(_recorded(prefix, record))
    return found


def _recorded(prefix: Path, record: Path) -> Iterator[str]:
    packages = record.parent.parent.relative_to(prefix)
    text = (files.read(record) or b"").decode(errors="replace")
    with contextlib.suppress(csv.Error):
        for row in csv.reader(text.splitlines()):
            if row:
                yield os.path.normpath(packages / row[0])


def _is_whole(prefix: Path, entry: Mapping[str, Any]) -> bool:
    path = prefix / entry["_path"]
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
