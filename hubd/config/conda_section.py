"""The options of config.yaml for conda itself: where it comes from, and its channels."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from hubd.config.names import AbsolutePath, Channels, Checksum, Url
from hubd.config.section import Finding, Section, twice, written_as
from hubd.layout import UNSEEN_BY_BUILDS

INSTALLER = "https://repo.anaconda.com/miniconda/Miniconda3-py313_26.1.1-1-Linux-{}.sh"


class InstallerUrls(Section):
    """Where Miniconda's installer comes from, for each kind of processor."""

    x86_64: Url = Field(
        default=INSTALLER.format("x86_64"),
        description="For Intel and AMD.",
        examples=["https://mirror.example.org/miniconda.sh"],
    )
    aarch64: Url = Field(
        default=INSTALLER.format("aarch64"),
        description="For ARM.",
        examples=["https://mirror.example.org/miniconda-arm.sh"],
    )


class InstallerChecksums(Section):
    """What the installer's SHA-256 must be, for each kind of processor."""

    x86_64: Checksum = Field(
        default="f6dfb5b59614fd7b2956b240b2575a9d58203ec7f7a99f85128158a0fdc5c1d7",
        description="For Intel and AMD.",
        examples=["f6dfb5b59614fd7b2956b240b2575a9d58203ec7f7a99f85128158a0fdc5c1d7"],
    )
    aarch64: Checksum = Field(
        default="07c82b5aec04d5f0f3e4b246835b6bc85e104821cbcb0a059c7ea80f028503f4",
        description="For ARM.",
        examples=["07c82b5aec04d5f0f3e4b246835b6bc85e104821cbcb0a059c7ea80f028503f4"],
    )


class Conda(Section):
    """The conda that builds environments."""

    path: AbsolutePath | None = Field(
        default=None,
        description="A conda, mamba or micromamba that is already on this machine: its prefix, or the program itself; "
        "null to install Miniconda.",
        examples=["/opt/miniconda3", "/opt/bin/micromamba"],
    )
    url: InstallerUrls = Field(
        default=InstallerUrls(),
        description="Address of the installer.",
        examples=[{"x86_64": "https://mirror.example.org/miniconda.sh"}],
    )
    sha256: InstallerChecksums = Field(
        default=InstallerChecksums(),
        description="Checksum of the installer; it must change with the address.",
        examples=[{}],
    )
    channels: Channels = Field(
        default=("conda-forge",),
        description="Channels that packages come from, best first.",
        examples=[["conda-forge"]],
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "channels")
        path = Path(posixpath.normpath(written_as(str, written, "path") or "/"))
        if hidden := next((each for each in UNSEEN_BY_BUILDS if each in (path, *path.parents)), None):
            fix = f"put it where everybody may run it, such as /opt/{path.name}, or remove the line: hubd installs Miniconda then"
            yield ("path",), f"`{path}` is below {hidden}, of which builds see nothing", fix
