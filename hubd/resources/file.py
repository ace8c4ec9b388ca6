"""A file with a content, a mode and an owner."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Memo, Progress, Resource, Step, in_the_way


@dataclass(frozen=True, slots=True)
class SeenFile:
    """kind is empty where nothing lies; digest is of the content."""

    kind: str = ""
    digest: str = ""
    mode: int = 0
    owner: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Resource):
    """A file that hubd writes and nobody else.

    meaning: what the file is for, in plain words, for the plan. keep: the content is only written where there is no
    file yet; afterwards it belongs to whoever edits it.
    """

    kind = "file"

    path: Path
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    meaning: str = ""
    keep: bool = False

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> SeenFile:
        return _see(self.path)

    def steps(self, seen: SeenFile) -> tuple[Step, ...]:
        label = f"{self.path}{f' ({self.meaning})' if self.meaning else ''}"
        wanted = hashlib.sha256(self.content).hexdigest()
        if seen.kind == "file" and (self.keep or seen.digest == wanted):
            if (seen.mode, seen.owner, seen.group) == (self.mode, self.owner, self.group):
                return ()
            return (Step(f"set owner and mode of {label}", self._set_access),)
        if seen.kind == "directory":
            return ()
        return (Step(f"{'write' if seen.kind else 'create'} {label}", self._write),)

    def progress(self, seen: SeenFile) -> Progress | None:
        return in_the_way(self.path, wanted="file", seen=seen.kind) if seen.kind == "directory" else None

    def memo(self) -> Memo | None:
        return None if self.keep else {"path": str(self.path)}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        return NoFile(path=Path(memo["path"]))

    def _write(self, host: Host) -> None:
        files.write_atomic(self.path, self.content, mode=self.mode, owner=self.owner, group=self.group)

    def _set_access(self, host: Host) -> None:
        files.set_access(self.path, mode=self.mode, owner=self.owner, group=self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFile(Resource):
    """A file that people write and root obeys: it is root's, `group` may read it, and nobody else may change it.

    A link is left alone, and so are rights that root gave to the group.
    """

    kind = "closed-file"

    path: Path
    group: str

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> SeenFile:
        return _see(self.path)

    def steps(self, seen: SeenFile) -> tuple[Step, ...]:
        closed = seen.mode & 0o007 == 0 and (seen.owner, seen.group) == ("root", self.group)
        if seen.kind != "file" or closed:
            return ()
        say = f"close {self.path} to everybody but root and {self.group}"
        return (Step(say, lambda host: files.set_access(self.path, mode=0o640, owner="root", group=self.group)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFile(Resource):
    """A file that hubd wrote once and that is no longer wanted."""

    kind = "no-file"

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> SeenFile:
        return _see(self.path)

    def steps(self, seen: SeenFile) -> tuple[Step, ...]:
        # Whatever else lies there now is not what hubd wrote.
        if seen.kind != "file":
            return ()
        return (Step(f"remove {self.path}", lambda host: files.remove(self.path)),)


def _see(path: Path) -> SeenFile:
    found = files.look(path)
    if found is None:
        return SeenFile()
    # One that is so large that it is not read is none that hubd wrote.
    known = found.kind == "file" and found.size <= files.MAX_READ
    digest = hashlib.sha256(files.read(path, follow=False) or b"").hexdigest() if known else ""
    return SeenFile(found.kind, digest, found.mode, found.owner, found.group)
