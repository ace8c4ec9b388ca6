"""A random secret in a file of its own: made once, never shown, never changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step, in_the_way


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Resource):
    """A file of 64 hexadecimal digits that only `owner` can read."""

    kind = "secret"

    path: Path
    owner: str = "root"
    meaning: str = "secret"

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> files.Found | None:
        return files.look(self.path)

    def steps(self, seen: files.Found | None) -> tuple[Step, ...]:
        if seen and seen.kind == "directory":
            return ()
        if seen is None or seen.kind != "file" or seen.size < 64:
            return (Step(f"make the {self.meaning} {self.path}", self._make),)
        if (seen.mode, seen.owner) != (0o600, self.owner):
            return (Step(f"close {self.path} to other accounts", self._close),)
        return ()

    def progress(self, seen: files.Found | None) -> Progress | None:
        return in_the_way(self.path, wanted="file", seen=seen.kind) if seen and seen.kind == "directory" else None

    def _make(self, host: Host) -> None:
        files.write_atomic(self.path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600, owner=self.owner)

    def _close(self, host: Host) -> None:
        files.set_access(self.path, mode=0o600, owner=self.owner)
