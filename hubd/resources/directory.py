"""A folder with a mode and an owner; what is in it is nobody's business here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Progress, Resource, Step, in_the_way


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory(Resource):
    """A folder. It is never removed: somebody may have put something in it."""

    kind = "directory"

    path: Path
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> files.Found | None:
        return files.look(self.path)

    def steps(self, seen: files.Found | None) -> tuple[Step, ...]:
        if seen is None:
            return (Step(f"make the folder {self.path}", self._make),)
        if seen.kind == "directory" and (seen.mode, seen.owner, seen.group) != (self.mode, self.owner, self.group):
            return (Step(f"set owner and mode of the folder {self.path}", self._make),)
        return ()

    def progress(self, seen: files.Found | None) -> Progress | None:
        return None if seen is None or seen.kind == "directory" else in_the_way(self.path, wanted="folder", seen=seen.kind)

    def _make(self, host: Host) -> None:
        files.make_directory(self.path, mode=self.mode, owner=self.owner, group=self.group)
