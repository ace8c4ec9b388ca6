"""A kernel in the launcher: kernel.json, which names the generation of its environment that is switched on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Memo, Resource, Step
from hubd.resources.file import NoFile
from hubd.resources.generation import Generations
from hubd.tools.kernels import kernelspec


@dataclass(frozen=True, slots=True)
class SeenKernel:
    """present: what kernel.json holds, None where there is none. wanted: what it should hold, None while nothing is built."""

    present: bytes | None
    wanted: bytes | None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(Resource):
    """A kernel of an environment, offered to everybody who is given the folder `kernels`.

    folder: kernel.json's, below `kernels`. title: as people see it. audience: for whom, in plain words.
    """

    kind = "kernel"

    environment: str
    generations: Generations
    folder: Path
    title: str
    language: str
    audience: str = "everybody"

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def path(self) -> Path:
        return self.folder / "kernel.json"

    def observe(self, host: Host) -> SeenKernel:
        current = self.generations.current()
        present = files.read(self.path, follow=False)
        if current is None:
            return SeenKernel(present, None)
        path, debugger = current.path, _has_debugger(current.path)
        wanted = kernelspec(path, current.activation, title=self.title, language=self.language, debugger=debugger)
        return SeenKernel(present, wanted, current.number)

    def steps(self, seen: SeenKernel) -> tuple[Step, ...]:
        if seen.wanted is not None and seen.wanted == seen.present:
            return ()
        which = f" of generation {seen.number}" if seen.number else ""
        return (Step(f"offer the kernel {self.environment}{which} to {self.audience}", self._write),)

    def _write(self, host: Host) -> None:
        wanted = self.observe(host).wanted
        if wanted is None:
            raise HubdError(f"the kernel {self.environment} cannot be offered", why="nothing is built for it yet", retry=True)
        files.make_directory(self.folder, mode=0o755)
        files.write_atomic(self.path, wanted, mode=0o644)

    def goes_on(self, host: Host) -> bool:
        """What is switched on is offered, to a new audience too, also while nothing newer can be built."""
        return self.generations.current() is not None

    def memo(self) -> Memo | None:
        return {"path": str(self.path)}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        return NoFile(path=Path(memo["path"]))


def _has_debugger(prefix: Path) -> bool:
    """Whether the kernel of an environment can stop in a cell: old ones cannot, and JupyterLab waits for them to answer."""
    pythons = (name for name in files.children(prefix / "lib") if name.startswith("python"))
    return any(files.look(prefix / "lib" / name / "site-packages/debugpy", names=False) for name in pythons)
