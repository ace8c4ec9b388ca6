"""A random secret in a file of its own: made once, never shown, never changed."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step, in_the_way

DIGITS = 64


_USABLE = re.compile(rb"(?:[0-9a-fA-F]{2}){32,}\s*")
MOST = 4096


def read_secret(path: Path) -> bytes | None:
    """What the file of a secret holds; None where that is none, but rubbish that its reader would stumble over."""
    try:
        # Its owner may put anything there: a link must not make root read some other file.
        data = files.read(path, follow=False, most=MOST) or b""
    except HubdError:
        return None
    return data if _USABLE.fullmatch(data) else None


@dataclass(frozen=True, slots=True)
class SeenSecret:
    """found: what lies there. usable: whether that is a secret."""

    found: files.Found | None
    usable: bool


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

    def observe(self, host: Host) -> SeenSecret:
        return SeenSecret(files.look(self.path), usable=read_secret(self.path) is not None)

    def steps(self, seen: SeenSecret) -> tuple[Step, ...]:
        found = seen.found
        if found and found.kind == "directory":
            return ()
        if found is None or not seen.usable:
            return (Step(f"make the {self.meaning} {self.path}", self._make),)
        if (found.mode, found.owner) != (0o600, self.owner):
            return (Step(f"close {self.path} to other accounts", self._close),)
        return ()

    def progress(self, seen: SeenSecret) -> Progress | None:
        if seen.found and seen.found.kind == "directory":
            return in_the_way(self.path, wanted="file", seen=seen.found.kind)
        return None if self.known else Progress("was made just now; what reads it follows")

    def _make(self, host: Host) -> None:
        files.write_atomic(self.path, f"{secrets.token_hex(DIGITS // 2)}\n".encode(), mode=0o600, owner=self.owner)

    def _close(self, host: Host) -> None:
        files.set_access(self.path, mode=0o600, owner=self.owner)
