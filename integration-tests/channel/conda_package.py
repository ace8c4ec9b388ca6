"""One conda package: its files and metadata, and how it is written as a `.conda` archive."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from conda_package_streaming.create import conda_builder  # type: ignore[import-untyped]

# What stands for the environment's path in files that hold it; conda puts the real path in its place. As long as
# conda-build makes it, because a binary can only take a path that is not longer.
PLACEHOLDER = ("/opt/conda_placeholder_" + "placehold_" * 24)[:255]
MADE_AT = 1_767_225_600  # every file's time: the same input makes the same bytes
COMPRESSION = 3  # a channel that lives for one test run is not worth more
PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
MACHINE = os.uname().machine
PLATFORM = PLATFORMS[MACHINE]

Edit = Callable[[str, bytes], "bytes | None"]


@dataclass(frozen=True, slots=True)
class Member:
    """A file or, where `target` is set, a symbolic link. Where its bytes hold the placeholder it is a text file."""

    data: bytes = b""
    mode: int = 0o644
    target: str = ""

    @property
    def has_prefix(self) -> bool:
        return PLACEHOLDER.encode() in self.data

    def entry(self, path: str) -> dict[str, object]:
        kind = "softlink" if self.target else "hardlink"
        facts = {"_path": path, "path_type": kind, "sha256": hashlib.sha256(self.data).hexdigest()}
        prefix = {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"} if self.has_prefix else {}
        return {**facts, "size_in_bytes": len(self.data), **prefix}


@dataclass(slots=True)
class Package:
    """A package in the making. noarch: `python` for pure Python, `generic` for what has no code, None for this platform."""

    name: str
    version: str
    build: str = "0"
    number: int = 0
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: Literal["python", "generic"] | None = None
    entry_points: tuple[str, ...] = ()
    site_packages: str = ""
    files: dict[str, Member] = field(default_factory=dict)

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else PLATFORM

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    def add(self, path: str, data: bytes, *, executable: bool = False) -> None:
        self.files[path] = Member(data, 0o755 if executable else 0o644)

    def link(self, path: str, target: str) -> None:
        self.files[path] = Member(mode=0o777, target=target)

    def add_tree(self, source: Path, into: str, *, skip: tuple[str, ...] = (), edit: Edit | None = None) -> None:
        """Add a folder's files. `edit` may change a file, or drop it by giving None; absolute links are dropped."""
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            if any(fnmatch.fnmatch(name, pattern) for pattern in skip):
                continue
            if path.is_symlink():
                if not os.readlink(path).startswith("/"):
                    self.link(f"{into}/{name}", os.readlink(path))
            elif path.is_file():
                data = edit(name, path.read_bytes()) if edit else path.read_bytes()
                if data is not None:
                    self.add(f"{into}/{name}", data, executable=bool(path.stat().st_mode & 0o111))

    def write(self, channel: Path) -> Path:
        """Write the package into a channel's folder for its platform."""
        folder = channel / self.subdir
        folder.mkdir(parents=True, exist_ok=True)
        with conda_builder(self.stem, folder, compression_level=COMPRESSION) as archive:
            for name, text in sorted(self._info().items()):
                _put(archive, f"info/{name}", Member(text.encode()))
            for name, member in sorted(self.files.items()):
                _put(archive, name, member)
        return folder / f"{self.stem}.conda"

    def _info(self) -> dict[str, str]:
        paths = [member.entry(name) for name, member in sorted(self.files.items())]
        info = {
            "index.json": json.dumps(self._index()),
            "paths.json": json.dumps({"paths": paths, "paths_version": 1}),
            "files": "".join(f"{name}\n" for name in sorted(self.files)),
            "about.json": json.dumps({"summary": "made for tests"}),
        }
        prefixed = [f'{PLACEHOLDER} text "{name}"\n' for name, member in sorted(self.files.items()) if member.has_prefix]
        if prefixed:
            info["has_prefix"] = "".join(prefixed)
        if self.noarch == "python":
            noarch = {"type": "python", "entry_points": list(self.entry_points)}
            info["link.json"] = json.dumps({"noarch": noarch, "package_metadata_version": 1})
        return info

    def _index(self) -> dict[str, object]:
        index: dict[str, object] = {
            "name": self.name, "version": self.version, "build": self.build, "build_number": self.number,
            "depends": list(self.depends), "constrains": list(self.constrains), "license": "", "subdir": self.subdir,
            "arch": None if self.noarch else MACHINE, "platform": None if self.noarch else "linux",
            "timestamp": MADE_AT * 1000,
        }  # fmt: skip
        if self.noarch:
            index["noarch"] = self.noarch
        if self.site_packages:
            index["python_site_packages_path"] = self.site_packages
        return index


def _put(archive: tarfile.TarFile, name: str, member: Member) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.mode = MADE_AT, member.mode
    if member.target:
        entry.type, entry.linkname = tarfile.SYMTYPE, member.target
        archive.addfile(entry)
        return
    entry.size = len(member.data)
    archive.addfile(entry, io.BytesIO(member.data))
