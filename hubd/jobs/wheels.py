"""What packages from PyPI brought, by their own records: which files, and whose are missing or other ones now.

uv believes its cache: a file that was cut off there, or edited in an environment that shares it, goes into each environment that
is built later.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hubd.host import files

_SHA256 = "sha256="


def brought(prefix: Path, without: Collection[str] = ()) -> set[str]:
    """The files, from `prefix` on, that packages from PyPI brought. without: files whose records do not count."""
    return {path for _, path, _ in _recorded(prefix, without)}


def damaged(prefix: Path, without: Collection[str] = ()) -> list[str]:
    """The packages of which a file is missing or another one than any record says; two that bring the same file are no damage."""
    names, asked = defaultdict(set), defaultdict(set)
    for name, path, digest in _recorded(prefix, without):
        if digest.startswith(_SHA256):
            names[path].add(name)
            asked[path].add(digest.removeprefix(_SHA256))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda path: _digest(prefix / path), asked)
        wrong = [path for path, digest in zip(asked, found, strict=True) if digest not in asked[path]]
    return sorted({name for path in wrong for name in names[path]})


def _recorded(prefix: Path, without: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Package, file and checksum of each line of all records."""
    for record in sorted(prefix.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        if str(record.relative_to(prefix)) in without:
            continue
        packages, name = record.parent.parent.relative_to(prefix), record.parent.name.partition("-")[0]
        text = (files.read(record) or b"").decode(errors="replace")
        with contextlib.suppress(csv.Error):
            for row in csv.reader(text.splitlines()):
                if row:
                    yield name, os.path.normpath(packages / row[0]), row[1] if len(row) > 1 else ""


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return base64.urlsafe_b64encode(hashlib.file_digest(file, "sha256").digest()).rstrip(b"=").decode()
    except OSError:
        return ""
