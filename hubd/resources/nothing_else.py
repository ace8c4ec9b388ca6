"""A folder in which a program reads whatever it finds: what is neither hubd's nor the program's own is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step
from hubd.words import named


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingElse(Resource):
    """Among the files with this ending there are none but `known`. Others are told and left: somebody made them."""

    kind = "nothing-else"

    folder: Path
    ending: str
    known: frozenset[str]
    reader: str = ""

    @property
    def name(self) -> str:
        return str(self.folder)

    def observe(self, host: Host) -> tuple[str, ...]:
        return tuple(name for name in files.children(self.folder) if name.endswith(self.ending) and name not in self.known)

    def steps(self, seen: tuple[str, ...]) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: tuple[str, ...]) -> Progress | None:
        if not seen:
            return None
        what = f"there are files in {self.folder} that are not hubd's"
        why = f"{self.reader} reads {named(seen)} as well; what is wrong in there keeps it from its own"
        return Progress("told", HubdError(what, why=why, fix=files.move_away(self.folder / seen[0])))
