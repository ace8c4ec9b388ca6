"""A symbolic link that is switched by one rename."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Memo, Progress, Resource, Step, in_the_way


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Resource):
    """A link at `path` to `target`."""

    kind = "link"

    path: Path
    target: str

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> files.Found | None:
        return files.look(self.path)

    def steps(self, seen: files.Found | None) -> tuple[Step, ...]:
        if seen and (seen.kind == "directory" or seen.target == self.target):
            return ()
        return (Step(f"switch {self.path} to {self.target}", lambda host: files.link(self.path, self.target)),)

    def progress(self, seen: files.Found | None) -> Progress | None:
        return in_the_way(self.path, wanted="link", seen=seen.kind) if seen and seen.kind == "directory" else None

    def memo(self) -> Memo | None:
        return {"path": str(self.path)}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        return NoLink(path=Path(memo["path"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoLink(Resource):
    """A link that is no longer wanted."""

    kind = "no-link"

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> bool:
        found = files.look(self.path)
        return found is not None and found.kind == "link"

    def steps(self, seen: bool) -> tuple[Step, ...]:
        return (Step(f"remove the link {self.path}", lambda host: files.remove(self.path)),) if seen else ()
