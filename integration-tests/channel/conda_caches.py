"""The package caches of the stand-in for conda, by conda's rules: which one is written to, and what is taken from the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import rattler

# conda makes it in each cache, and judges by it whether a folder is one and may be written to.
MAGIC = "urls.txt"
RECORDS = ("info/index.json", "info/repodata_record.json")


def is_writable(cache: Path) -> bool:
    """Whether packages may be put into it, which is made for that where there is none."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / MAGIC).open("a"):
            return True
    except OSError:
        return False


def unpacked(caches: Sequence[Path]) -> Mapping[str, Path]:
    """Where each package is that lies unpacked in a cache, by the folder's name; a folder that is a link does not count."""
    found: dict[str, Path] = {}
    for cache in caches:
        for folder in sorted(cache.iterdir()) if (cache / MAGIC).is_file() else ():
            if not folder.is_symlink() and all((folder / record).is_file() for record in RECORDS):
                url = json.loads((folder / RECORDS[1]).read_text()).get("url")
                if url:  # else it is downloaded again
                    found.setdefault(folder.name, folder)
    return found


def note_origin(folder: Path, record: rattler.RepoDataRecord) -> None:
    """Write down where a package in the cache is from, as conda does when it has unpacked one."""
    place = folder / RECORDS[1]
    if folder.is_dir() and not place.exists():
        place.write_text(json.dumps({**json.loads(record.to_json()), "fn": record.file_name}))


@contextmanager
def borrowed(lent: Mapping[str, Path], cache: Path) -> Iterator[None]:
    """Let packages of other caches be in this one meanwhile: conda links from where they are, rattler knows one folder."""
    try:
        for name, place in lent.items():
            shutil.rmtree(cache / name, ignore_errors=True)
            shutil.copytree(place, cache / name, symlinks=True)
        yield
    finally:
        for name in lent:
            shutil.rmtree(cache / name, ignore_errors=True)


def clear_cache(cache: Path, *, packages: bool, archives: bool) -> None:
    """Remove what `conda clean` removes: packages none of whose files has another name, and what they came in."""
    for path in sorted(cache.iterdir()):
        if path.name.endswith((".conda", ".tar.bz2")):
            if archives:
                path.unlink()
        elif packages and (path / "info").is_dir() and not _is_used(path):
            shutil.rmtree(path)


def _is_used(package: Path) -> bool:
    return any(file.lstat().st_nlink > 1 for file in package.rglob("*") if not file.is_dir() or file.is_symlink())
