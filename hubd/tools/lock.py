"""A lock: exactly what a generation consists of, so that it can be built again on any machine. Pure text and values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hubd.errors import HubdError

VERSION = 1

_PACKAGE = re.compile(r"(?P<url>(?:https?|file)://\S+/(?P<file>[^/\s#]+?)(?:\.conda|\.tar\.bz2))(?:#sha256:(?P<sha256>[0-9a-f]{64}))?")


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """One package of a conda channel. sha256: of the file; empty where the channel does not tell."""

    name: str
    version: str
    build: str
    url: str
    sha256: str = ""

    @property
    def line(self) -> str:
        """As in an explicit list of conda's, with the checksum behind it."""
        return f"{self.url}#sha256:{self.sha256}" if self.sha256 else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """manager: what it was solved by; conda's and rattler's are built by either. platform: conda's word for the machine.

    python: the interpreter's version, for uv. conda: packages of channels. pip: requirements as pip writes them, one a line,
    each with its hashes.
    """

    manager: str
    platform: str
    python: str = ""
    conda: tuple[CondaPackage, ...] = ()
    pip: tuple[str, ...] = ()


def conda_package(line: str) -> CondaPackage:
    """The package that one line of an explicit list names. Raises HubdError for what is none."""
    match = _PACKAGE.fullmatch(line.strip())
    parts = match["file"].rsplit("-", 2) if match else []
    if not match or len(parts) != 3:
        raise HubdError(f"{line.strip()[:200]!r} is not the address of a conda package")
    name, version, build = parts
    return CondaPackage(name, version, build, match["url"], match["sha256"] or "")


def lock_text(lock: Lock) -> str:
    """The lock as a file: YAML that is written one way only, so that two locks can be compared line by line."""
    lines = [
        f"# hubd lock {VERSION}: exactly what an environment consists of. `lock:` in config.yaml builds it again.",
        f"manager: {lock.manager}",
        f"platform: {lock.platform}",
        *([f"python: '{lock.python}'"] if lock.python else []),
        *_items("conda", sorted(package.line for package in lock.conda)),
        *_items("pip", sorted(lock.pip)),
    ]
    return "\n".join(lines) + "\n"


def _items(key: str, lines: Iterable[str]) -> list[str]:
    quoted = ["  - '" + line.replace("'", "''") + "'" for line in lines]
    return [f"{key}:", *quoted] if quoted else []
