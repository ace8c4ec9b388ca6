"""What a new build of an environment will change, and what it costs, as far as that is known before it is solved. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from hubd.tools.conda import asked_name
from hubd.tools.lock import Lock
from hubd.tools.lock_difference import Difference, as_values, difference, in_short, packages
from hubd.tools.solved import Solved
from hubd.words import about, counted, named

SHOWN = 8


@dataclass(frozen=True, slots=True)
class AskedChange:
    """What is asked for now and was not before. changed: pairs of the same package written in another way."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()


def asked_change(before: Iterable[str], after: Iterable[str]) -> AskedChange:
    """What differs between two lists of packages as managers write them, each in the order in which it was written."""
    old, new = ({asked_name(spec) or spec: spec for spec in specs} for specs in (before, after))
    return AskedChange(
        added=tuple(spec for name, spec in new.items() if name not in old),
        removed=tuple(spec for name, spec in old.items() if name not in new),
        changed=tuple((old[name], spec) for name, spec in new.items() if name in old and old[name] != spec),
    )


def asked_words(change: AskedChange) -> str:
    """`+2 −1 packages asked for: +xarray +dask −scipy`."""
    counts = [f"{sign}{len(each)}" for sign, each in (("+", change.added), ("−", change.removed)) if each]
    each = [*(f"+{spec}" for spec in change.added), *(f"−{spec}" for spec in change.removed)]
    rewritten = named([f"{before} → {after}" for before, after in change.changed])
    if not counts:
        return f"asked for: {rewritten}" if rewritten else "the same packages are asked for"
    listed = " ".join(each[:SHOWN]) + (f" and {len(each) - SHOWN} more" if len(each) > SHOWN else "")
    packages = "package" if len(each) == 1 else "packages"
    return f"{' '.join(counts)} {packages} asked for: {listed}{f', {rewritten}' if rewritten else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedChange:
    """What the manager would install. different: from the present build; None where there is nothing to compare with.

    first: names that are told before others.
    """

    solved: Solved
    different: Difference | None = None
    first: tuple[str, ...] = ()

    @property
    def versions(self) -> str:
        """`+dask 1.0 −scipy 1.1, numpy 2.3 → 2.4`, or `87 packages: numpy 2.4, xarray 2026.1 and 85 more`."""
        if self.different is not None:
            return in_short(self.different, first=self.first)
        found = sorted(packages(self.solved.lock), key=lambda each: each.name not in self.first)
        count = counted(len(found), "package")
        return f"{count}: {named([f'{each.name} {each.version}' for each in found])}" if found else count

    @property
    def rest(self) -> str:
        """What only the build finds out."""
        unsolved = self.solved.unsolved
        return f"its pip part ({named(unsolved)}) is solved only when it is built" if unsolved else ""

    @property
    def downloads(self) -> str:
        """How much would be downloaded; empty where nobody can tell."""
        count, size = self.solved.downloads, self.solved.size
        if count is None:
            return ""
        more = f", {about(size)}" if count and size else ""
        return f"{counted(count, 'package')} to download{more}" if count else "nothing to download"

    @property
    def told(self) -> dict[str, Any]:
        """As JSON values. Without anything to compare with, all packages are added ones."""
        different = self.different if self.different is not None else difference(NOTHING, self.solved.lock)
        download = {"packages": self.solved.downloads, "bytes": self.solved.size}
        return {**as_values(different), "compared": self.different is not None, "unsolved": list(self.solved.unsolved),
                "download": download}  # fmt: skip


NOTHING = Lock(manager="", platform="")


def solved_change(before: Lock | None, solved: Solved, *, manager: str = "", first: Iterable[str] = ()) -> SolvedChange:
    """What becomes different from `before`; where the pip part is not known, among the other packages.

    manager: what builds it, where the lock was made by another.
    """
    if before is not None and solved.unsolved:
        asked = set(map(asked_name, solved.unsolved))
        left = () if before.conda else tuple(pin for pin in before.pip if asked_name(pin) not in asked)
        before = replace(before, pip=left)
    different = None if before is None else difference(before, replace(solved.lock, manager=manager or solved.lock.manager))
    return SolvedChange(solved=solved, different=different, first=tuple(map(asked_name, first)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildForecast:
    """environment: its name. generation: of the one that is in use, 0 for none. asked: None where that cannot be told.

    locked: the difference in versions, where a lock says what will be built. kernels, others: programs that run from the present
    generation. disk: bytes of the one in use, shared ones among them; 0 where that is not known. free: bytes; None where nobody
    could tell. managers: `by uv instead of conda`, empty where it stays the same.
    solved: what the manager said that it would install, where it was asked. unsolved: why it could not be asked.
    """

    environment: str
    generation: int
    asked: AskedChange | None = None
    locked: str = ""
    managers: str = ""
    kernels: int = 0
    others: int = 0
    disk: int = 0
    free: int | None = None
    solved: SolvedChange | None = None
    unsolved: str = ""

    @property
    def says(self) -> tuple[str, ...]:
        """As sentences."""
        asked = asked_words(self.asked) if self.asked else ""
        change = self.solved.versions if self.solved else self.locked or asked
        if self.managers and not change.startswith(self.managers):
            change = ", ".join(filter(None, (self.managers, change)))
        told = (f"{self.environment}: {change}" if change else "", self.unsolved, self.solved.rest if self.solved else "",
                self._running(), self.solved.downloads if self.solved else "", self._cost())  # fmt: skip
        return tuple(filter(None, told))

    @property
    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "environment": self.environment, "generation": self.generation,
            "asked": asdict(self.asked) if self.asked else None, "locked": self.locked or None,
            "kernels": self.kernels, "other_programs": self.others,
            "disk": {"estimate": self.disk or None, "free": self.free},
            **({"solved": self.solved.told} if self.solved else {}),
        }  # fmt: skip

    def _running(self) -> str:
        total = self.kernels + self.others
        if not total:
            return ""
        parts = [counted(self.kernels, "running kernel")] if self.kernels else []
        parts += [counted(self.others, "other program" if parts else "running program")] if self.others else []
        keep = "keeps" if total == 1 else "keep"
        until = "it stops" if total == 1 else "they stop"
        return f"{' and '.join(parts)} {keep} generation {self.generation} until {until}"

    def _cost(self) -> str:
        """By the whole size of the present build: files of the same packages are on the disk once."""
        if not self.disk:
            return ""
        solved = self.solved.solved if self.solved else None
        if solved and solved.downloads == 0 and not solved.unsolved:
            what, enough = "little of the disk, as its packages are there already", True
        else:
            what = f"about {about(self.disk)} like the present one, less the packages that both share"
            enough = self.free is None or self.free >= self.disk
        if self.free is None:
            return what
        return f"{what}; {'' if enough else 'only '}{about(self.free)} are free"
