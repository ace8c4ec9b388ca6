"""What differs between two locks, package by package. Pure text and values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hubd.tools.lock import Lock
from hubd.words import plain

# More names than this are a list, not a sentence.
SHOWN = 5
# Of what came and went, together.
NAMED = 8
LONGEST = 100

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? ?(?:==|@) ?(?P<version>[^\s;]+)")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package of a lock. source: conda, PyPI, or python for the interpreter of an environment without conda."""

    name: str
    version: str
    build: str = ""
    source: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same when its version changes. PyPI takes `-`, `_` and `.` for one; conda does not."""
        return self.source, self.anywhere if self.source == "PyPI" else self.name

    @property
    def anywhere(self) -> str:
        """Its name as PyPI compares it, by which it is found among conda's packages, too."""
        return re.sub(r"[-_.]+", "-", self.name).lower()


@dataclass(frozen=True, slots=True)
class Change:
    """A package that is in both, and not the same."""

    before: Package
    after: Package

    @property
    def rebuilt(self) -> bool:
        """Whether the version is the same and only the build is another."""
        return self.before.version == self.after.version


@dataclass(frozen=True, slots=True)
class Difference:
    """added, removed: by name. changed: packages with another version or build. managers: before and after, where they differ."""

    added: tuple[Package, ...] = ()
    removed: tuple[Package, ...] = ()
    changed: tuple[Change, ...] = ()
    managers: tuple[str, str] | None = None


def packages(lock: Lock) -> Iterator[Package]:
    """All that a lock holds; what a build may have written into it is made safe to show."""
    if lock.python:
        yield Package("python", plain(lock.python, LONGEST), source="python")
    for each in lock.conda:
        yield Package(plain(each.name, LONGEST), plain(each.version, LONGEST), plain(each.build, LONGEST), "conda")
    for pin in lock.pip:
        if found := _PIN.match(pin):
            yield Package(plain(found["name"], LONGEST), plain(found["version"], LONGEST), source="PyPI")


def difference(before: Lock, after: Lock) -> Difference:
    """What was added, removed and changed from one lock to another. Hashes alone are no difference: indexes add files.

    Between uv and the others a package is the same by its name, and changed by its version: it comes from elsewhere in any case.
    """
    managers = (before.manager, after.manager) if before.manager and after.manager else ("", "")
    across = "uv" in managers and managers[0] != managers[1]
    old, new = ({each.anywhere if across else each.key: each for each in packages(lock)} for lock in (before, after))
    both = sorted(old.keys() & new.keys(), key=lambda key: old[key])
    changes = (Change(old[key], new[key]) for key in both if old[key] != new[key])
    return Difference(
        added=tuple(sorted(new[key] for key in new.keys() - old.keys())),
        removed=tuple(sorted(old[key] for key in old.keys() - new.keys())),
        changed=tuple(each for each in changes if not (across and each.rebuilt)),
        managers=managers if managers[0] != managers[1] else None,
    )


def by_another(before: str, after: str) -> str:
    """`by uv instead of conda`; empty where it is the same one, or nobody knows what it was."""
    return f"by {after} instead of {plain(before, LONGEST)}" if before and before != after else ""


def as_values(found: Difference) -> dict[str, Any]:
    """Package by package, as JSON values."""
    return {
        "managers": dict(zip(("before", "after"), found.managers, strict=True)) if found.managers else None,
        "added": [asdict(each) for each in found.added],
        "removed": [asdict(each) for each in found.removed],
        "changed": [{"name": each.after.name, "source": each.after.source, "before": _version(each.before),
                     "after": _version(each.after)} for each in found.changed],
    }  # fmt: skip


def _version(package: Package) -> dict[str, str]:
    return {"version": package.version, "build": package.build}


def in_short(found: Difference, first: Collection[str] = ()) -> str:
    """`+dask 2.0 −scipy 1.1, numpy 2.3 → 2.4 and 3 more`; first: names that are told before all others."""
    return _sentence(_named(found, first), found, first)


def in_numbers(found: Difference) -> str:
    """`+1 −1, numpy 2.3 → 2.4 and 3 more`, for what stands above the whole list."""
    return _sentence(_counts(found), found, ())


def _sentence(new: str, found: Difference, first: Collection[str]) -> str:
    versions = sorted((each for each in found.changed if not each.rebuilt), key=lambda each: each.after.name not in first)
    told = [f"{each.after.name} {each.before.version} → {each.after.version}" for each in versions]
    rebuilt = len(found.changed) - len(versions)
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    again = f"{rebuilt} of the same version built anew" if rebuilt else ""
    by = by_another(*found.managers) if found.managers else ""
    return ", ".join(filter(None, (by, new, ", ".join(told[:SHOWN]) + more, again))) or "the same packages"


def _counts(found: Difference) -> str:
    return " ".join(f"{sign}{len(each)}" for sign, each in (("+", found.added), ("−", found.removed)) if each)


def _named(found: Difference, first: Collection[str]) -> str:
    """What came and what went, by name: all of a few, else some of both behind the counts."""
    added, removed = (sorted(each, key=lambda one: one.name not in first) for each in (found.added, found.removed))
    gone = removed[: max(NAMED - len(added), NAMED // 2)]
    shown = [*(("+", each) for each in added[: NAMED - len(gone)]), *(("−", each) for each in gone)]
    names = " ".join(f"{sign}{each.name} {each.version}" for sign, each in shown)
    left = len(added) + len(removed) - len(shown)
    return f"{_counts(found)}: {names} and {left} more" if left else names
