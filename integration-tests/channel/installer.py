"""Makes the stand-in for Miniconda's installer: one shell script that carries those for conda and micromamba in itself."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def write_installer(target: Path, wheels: Path) -> str:
    """Write the installer, with the code it needs out of a folder of wheels; gives its SHA-256.

    Runs on any Python from 3.11 on: of the compiled packages it takes only what works on all of them.
    """
    payload = io.BytesIO()
    with tarfile.open(fileobj=payload, mode="w:gz", compresslevel=1) as archive:
        for name in ("conda", "micromamba"):
            _put(archive, name, b"#!/usr/bin/python3\n" + (HERE / f"{name.removeprefix('micro')}_standin.py").read_bytes())
        for name in ("__init__.py", "conda_caches.py", "conda_transaction.py"):
            _put(archive, f"channel/{name}", (HERE / name).read_bytes())
        for wheel in _needed(wheels):
            with zipfile.ZipFile(wheel) as files:
                for name in files.namelist():
                    if not name.endswith("/") and not _one_version_only(name):
                        _put(archive, name, files.read(name))
    data = (HERE / "installer.sh").read_bytes() + payload.getvalue()
    target.write_bytes(data)
    target.chmod(0o755)
    return hashlib.sha256(data).hexdigest()


def _needed(wheels: Path) -> Iterator[Path]:
    for pattern in ("py_rattler-*.whl", "[pP]y[yY][aA][mM][lL]-*.whl", "typing_extensions-*.whl"):
        yield next(wheels.glob(pattern))


def _one_version_only(name: str) -> bool:
    """Whether a file of a wheel is code compiled for one version of Python; PyYAML does without its own."""
    return name.endswith(".so") and ".cpython-" in name


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_767_225_600
    archive.addfile(entry, io.BytesIO(data))
