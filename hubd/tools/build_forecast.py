"""What a new build of an environment will change, and what it costs, as far as that is known before it is solved. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hubd.tools.conda import asked_name
from hubd.words import about, named

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
class BuildForecast:
    """environment: its name. generation: the number of the one that is in use. asked: None where that cannot be told.

    locked: the difference in versions, where a lock says what will be built. kernels, others: programs that run from the present
    generation. disk: bytes that it takes, 0 where that is not known. free: bytes; None where nobody could tell.
    """

    environment: str
    generation: int
    asked: AskedChange | None = None
    locked: str = ""
    kernels: int = 0
    others: int = 0
    disk: int = 0
    free: int | None = None

    @property
    def says(self) -> tuple[str, ...]:
        """As sentences."""
        change = self.locked or (asked_words(self.asked) if self.asked else "")
        told = (f"{self.environment}: {change}" if change else "", self._running(), self._cost())
        return tuple(filter(None, told))

    @property
    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "environment": self.environment, "generation": self.generation,
            "asked": asdict(self.asked) if self.asked else None, "locked": self.locked or None,
            "kernels": self.kernels, "other_programs": self.others,
            "disk": {"estimate": self.disk or None, "free": self.free},
        }  # fmt: skip

    def _running(self) -> str:
        total = self.kernels + self.others
        if not total:
            return ""
        parts = [_count(self.kernels, "running kernel")] if self.kernels else []
        parts += [_count(self.others, "other program" if parts else "running program")] if self.others else []
        keep = "keeps" if total == 1 else "keep"
        until = "it stops" if total == 1 else "they stop"
        return f"{' and '.join(parts)} {keep} generation {self.generation} until {until}"

    def _cost(self) -> str:
        if not self.disk:
            return ""
        what = f"about {about(self.disk)} besides the old one"
        if self.free is None:
            return what
        return f"{what}, {'but only ' if self.free < self.disk else ''}{about(self.free)} are free"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
