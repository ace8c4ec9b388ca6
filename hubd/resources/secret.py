"""A random secret in a file of its own: made once, never shown, never changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step, in_the_way

DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Resource):
    """A file of 64 hexadecimal digits that only `owner` can read.

    known: whether the facts of this pass tell of it already. What needs one that was made just now is held until the next
    pass, which follows at once: so a program is started, or started anew, with a digest that holds for what it reads.
    """

    kind = "secret"

    path: Path
    owner: str = "root"
    meaning: str = "secret"
    known: bool = True

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> files.Found | None:
        return files.look(self.path)

    def steps(self, seen: files.Found | None) -> tuple[Step, ...]:
        if seen and seen.kind == "directory":
            return ()
        if seen is None or seen.kind != "file" or seen.size < DIGITS:
            return (Step(f"make the {self.meaning} {self.path}", self._make),)
        if (seen.mode, seen.owner) != (0o600, self.owner):
            return (Step(f"close {self.path} to other accounts", self._close),)
        return ()

    def progress(self, seen: files.Found | None) -> Progress | None:
        if seen and seen.kind == "directory":
            return in_the_way(self.path, wanted="file", seen=seen.kind)
        return None if self.known else Progress("was made just now; what reads it follows")

    def _make(self, host: Host) -> None:
        files.write_atomic(self.path, f"{secrets.token_hex(DIGITS // 2)}\n".encode(), mode=0o600, owner=self.owner)

    def _close(self, host: Host) -> None:
        files.set_access(self.path, mode=0o600, owner=self.owner)
