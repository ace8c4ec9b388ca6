"""Compiled Python modules of conda packages: compiled once, then shared by all environments that have the package.

A quarter of what an environment takes on the disk, and most of the time of a build whose packages are in the cache already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hubd.host import files
from hubd.jobs.work import Work
from hubd.words import counted

# What is compiled for another folder than it ends up in must not have that folder's name in it, nor be compared with the
# times of files there; older compilers cannot do that.
LEAST = (3, 9)
UNBOUND = ("-f", "-s", "{prefix}", "--invalidation-mode", "unchecked-hash")
# Below the package cache, for each Python and package.
KEPT, SIZES = "compiled", "sizes.json"

# Python's own and everybody's.
_MODULE = re.compile(r"lib/python[^/]*/.*\.py")


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules of a package that come without a compiled file.

    key: names the package and its content. sources: paths in the environment, each with that of its compiled file.
    """

    key: str
    sources: Mapping[str, str]


def compile_python(work: Work, prefix: Path) -> None:
    """Put a compiled file beside each module: nobody may write into a generation later."""
    version = _python(prefix)
    if version is None:
        return
    if version < LEAST or work.spec["do"] == "own":
        # What its owner may edit has to be compared with its source, by its time, each time it is run.
        _run(work, prefix, ("-q", *map(str, sorted(prefix.glob("lib/python[0-9]*")))))
        return
    tag = f"cpython-{version[0]}{version[1]}"
    store = work.path("cache") / KEPT / tag
    missing = [each for each in _modules(prefix, tag) if not _taken(store / each.key, prefix)]
    if missing:
        work.phase(f"compiling the Python modules of {counted(len(missing), 'package')}")
        sources = [f"{prefix}/{source}" for each in missing for source in each.sources]
        options = [word.format(prefix=prefix) for word in UNBOUND]
        _run(work, prefix, ("-q", "-j", "0", *options, "-i", "-"), stdin="\n".join(sources).encode())
        for each in missing:
            _keep(store / each.key, prefix, each.sources.values())


def forget_unshared(cache: Path) -> None:
    """Remove what was compiled for packages that no environment has any more."""
    for kept in (cache / KEPT).glob("*/*"):
        if all(path.lstat().st_nlink < 2 for path in kept.rglob("*.pyc")):
            files.clear(kept)


def _python(prefix: Path) -> tuple[int, int] | None:
    """The version of the environment's Python; None where it has none."""
    names = (re.match(r"python-(\d+)\.(\d+)\.", name) for name in files.children(prefix / "conda-meta"))
    found = next(filter(None, names), None)
    return (int(found[1]), int(found[2])) if found and (prefix / "bin/python").exists() else None


def _modules(prefix: Path, tag: str) -> Iterator[Modules]:
    """The packages that have modules to compile, and whose content their records tell."""
    for name in files.children(prefix / "conda-meta"):
        if name.endswith(".json"):
            record = json.loads(files.read(prefix / "conda-meta" / name) or b"{}")
            entries = (record.get("paths_data") or {}).get("paths") or []
            paths = {str(entry["_path"]): entry for entry in entries if entry.get("path_type") == "hardlink"}
            found = {path: _compiled(path, tag) for path in sorted(paths) if _MODULE.fullmatch(path)}
            # One with the environment's own path in it is no other's, and stays as it is.
            sources = {path: compiled for path, compiled in found.items()
                       if compiled not in paths and not paths[path].get("prefix_placeholder")}  # fmt: skip
            if sources and re.fullmatch(r"[0-9a-f]{64}", str(record.get("sha256"))):
                yield Modules(f"{name.removesuffix('.json')}-{record['sha256'][:16]}", sources)


def _compiled(source: str, tag: str) -> str:
    folder, _, name = source.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def _taken(kept: Path, prefix: Path) -> bool:
    """Whether the environment now shares what was compiled earlier; not if anything of it is lost or cut off."""
    sizes = _sizes(kept)
    if sizes is None or any(_size(kept / path) != size for path, size in sizes.items()):
        return False
    return all(files.share(kept / path, prefix / path) for path in sizes)


def _sizes(kept: Path) -> Mapping[str, int] | None:
    try:
        said = json.loads(files.read(kept / SIZES) or b"null")
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _size(path: Path) -> int:
    found = files.look(path, names=False)
    return found.size if found else -1


def _keep(kept: Path, prefix: Path, paths: Iterable[str]) -> None:
    """Keep what was just compiled; what is no valid Python of this version was not, and need not be tried again."""
    files.clear(kept)
    sizes = {path: size for path in paths if (size := _size(prefix / path)) > 0}
    if all(files.share(prefix / path, kept / path) for path in sizes):
        for folder in (kept.parent.parent, kept.parent, kept):
            files.make_directory(folder, mode=0o755)
        files.write_atomic(kept / SIZES, json.dumps(sizes).encode(), mode=0o644)


def _run(work: Work, prefix: Path, words: tuple[str, ...], *, stdin: bytes = b"") -> None:
    argv = (str(prefix / "bin/python"), "-m", "compileall", *words)
    # Its exit code tells of files that are no valid Python of this version; conda lets them be as well.
    work.run(argv, stdin=stdin, quiet=True, HOME=str(work.path("cache")))
