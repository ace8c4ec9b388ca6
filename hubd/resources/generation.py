"""The generations of an environment: immutable builds side by side, what their marks say, and which one is switched on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.base import Resource, Step
from hubd.resources.job import job_unit
from hubd.words import plain

# Written by the build, last of all; without it a folder is only something that is not there yet.
MARK = ".hubd-generation.json"
# Builds run other people's code, so what a mark says is read with bounds.
LONGEST_MARK = 256 * 1024
MOST_FOLDERS = 50
MOST_PACKAGES = 5000

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished build.

    digest: of what was asked for. manager: what built it. built: when, in seconds since the epoch.
    activation: the variables that programs of this environment need. sealed: folders below `path`, and when each was changed
    last at the end of the build, in nanoseconds. packages: what was asked for, as it was written; None where nobody noted it.
    size: bytes on the disk.
    """

    number: int
    path: Path
    digest: str = ""
    manager: str = ""
    built: float = 0.0
    activation: Mapping[str, str] = field(default_factory=dict)
    sealed: Mapping[str, int] = field(default_factory=dict)
    packages: tuple[str, ...] | None = None
    size: int = 0

    def lost(self, programs: tuple[str, ...]) -> str:
        """The first of these programs that is not there any more; empty when all are."""
        return next((f"bin/{name}" for name in programs if not files.is_program(self.path / "bin" / name)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What makes a generation the right one.

    digest: of what is asked for. held: the number of an older one that was chosen instead; 0 for none. after: those up to
    this number do not count, as somebody asked for a new build. frozen: whether any will do where there is none of these.
    programs: what must be in its `bin`.
    """

    digest: str
    held: int = 0
    after: int = 0
    frozen: bool = False
    programs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """Where the generations of one environment are.

    folder: holds them. label: what their names begin with, before the number. link: points to the one that is switched on.
    """

    folder: Path
    label: str = ""
    link: Path

    def path(self, number: int) -> Path:
        """The final path of a generation: prefixes do not move."""
        return self.folder / f"{self.label}{number}"

    def finished(self) -> tuple[Generation, ...]:
        """Those that came to their end, the newest first."""
        numbers = sorted(filter(None, map(self._number, files.children(self.folder))), reverse=True)
        return tuple(found for number in numbers if (found := self.read(number)))

    def right(self, asked: Asked) -> tuple[Generation, ...]:
        """Those that were built for what is asked for, the best first; something of them may be lost since."""

        def counts(each: Generation) -> bool:
            return each.number == asked.held or (each.digest == asked.digest and each.number > asked.after)

        finished = self.finished()
        found = [each for each in finished if counts(each)]
        if asked.frozen and not found:
            current = self.switched_on()
            found = sorted(finished, key=lambda each: each.number != current)
        return tuple(sorted(found, key=lambda each: each.number != asked.held))

    def chosen(self, asked: Asked) -> int:
        """The number of the one that is to be switched on; 0 while there is none."""
        return next((each.number for each in self.right(asked) if not each.lost(asked.programs)), 0)

    def read(self, number: int) -> Generation | None:
        """What the mark of a generation says; None where it has none that can be read."""
        path = self.path(number)
        try:
            said: Any = json.loads(files.read(path / MARK, follow=False, most=LONGEST_MARK) or b"null")
        except (ValueError, RecursionError, HubdError):
            return None
        if not isinstance(said, dict):
            return None
        texts = {key: said[key] for key in ("digest", "manager") if isinstance(said.get(key), str)}
        built = said.get("built")
        when = float(built) if isinstance(built, int | float) and 0 <= built < 10**12 else 0.0
        variables, folders = _variables(said.get("activation")), _folders(said.get("sealed"))
        size = said.get("size")
        bytes_ = size if isinstance(size, int) and 0 <= size < 10**15 else 0
        return Generation(number, path, **texts, built=when, activation=variables, sealed=folders,
                          packages=_packages(said.get("packages")), size=bytes_)  # fmt: skip

    def switched_on(self) -> int:
        """The number of the one that is switched on, whether it is still there or not; 0 for none."""
        found = files.look(self.link, names=False)
        target = os.path.normpath(self.link.parent / found.target) if found and found.target else ""
        return self._number(Path(target).name) if target and Path(target).parent == self.folder else 0

    def current(self) -> Generation | None:
        """The one that is switched on, as its mark tells it."""
        number = self.switched_on()
        return self.read(number) if number else None

    def next(self) -> int:
        """The number of the next build: no finished one has it, and none that was switched on and is gone."""
        return 1 + max((self.switched_on(), *(each.number for each in self.finished())))

    def switch(self, number: int) -> None:
        """Switch a generation on, by one rename."""
        files.link(self.link, os.path.relpath(self.path(number), self.link.parent))

    def others(self) -> tuple[str, ...]:
        """The names of everything of these that is in the folder, but for the link and what is hidden.

        What a removal that was killed left is among them, though hidden.
        """
        label, names = self.label, files.children(self.folder)
        return tuple(
            name for name in names
            if (name.startswith(label) and name[0] != "." and self.folder / name != self.link) or files.is_left(name, label)
        )  # fmt: skip

    def _number(self, name: str) -> int:
        rest = name.removeprefix(self.label)
        return int(rest) if name.startswith(self.label) and re.fullmatch(r"[1-9][0-9]{0,8}", rest) else 0


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        name: text for name, text in value.items() if _VARIABLE.fullmatch(name) and isinstance(text, str) and "\0" not in text
    }


def _packages(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > MOST_PACKAGES or not all(isinstance(each, str) for each in value):
        return None
    return tuple(plain(each, 200) for each in value)


def _folders(value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or len(value) > MOST_FOLDERS:
        return {}
    inside = {name: when for name, when in value.items() if isinstance(when, int) and not name.startswith("/")}
    return {name: when for name, when in inside.items() if ".." not in Path(name).parts and "\0" not in name}


@dataclass(frozen=True, slots=True)
class SeenOld:
    """surplus: names of what nobody needs. used: of those, what a process still runs from."""

    surplus: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OldGenerations(Resource):
    """Old generations are cleared: all but the newest `keep` besides the one that is switched on, and never one in use.

    job: the job that builds them; while it runs, what is not finished is left alone. asked: what is asked for stays, too, where
    an older one is switched on instead.
    """

    kind = "old-generations"

    generations: Generations
    job: str
    asked: Asked | None = None
    keep: int = 2

    @property
    def name(self) -> str:
        return f"{self.generations.folder}/{self.generations.label}"

    def observe(self, host: Host) -> SeenOld:
        names, finished = self.generations.others(), self.generations.finished()
        current = self.generations.switched_on()
        past = [each.path.name for each in finished if each.number != current]
        asked = self.generations.chosen(replace(self.asked, held=0)) if self.asked else 0
        kept = {self.generations.path(number).name for number in (current, asked)} | set(past[: self.keep])
        surplus = [name for name in names if name not in kept]
        if surplus and host.init.state(job_unit(self.job)).is_going:
            surplus = [name for name in surplus if name in past]
        used = tuple(name for name in surplus if host.processes_using(self.generations.folder / name))
        return SeenOld(tuple(surplus), used)

    def steps(self, seen: SeenOld) -> tuple[Step, ...]:
        paths = (self.generations.folder / name for name in seen.surplus if name not in seen.used)
        return tuple(Step(f"remove the old generation {path}", remover(path)) for path in paths)


def remover(path: Path) -> Callable[[Host], None]:
    """What removes a folder and all that is in it, or what somebody put in its place."""
    return lambda host: files.clear(path)
