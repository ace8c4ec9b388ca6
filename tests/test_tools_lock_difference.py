"""What differs between two locks: a table, and the sentence of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hubd.tools.lock import CondaPackage, Lock
from hubd.tools.lock_difference import SHOWN, Change, Difference, Package, as_values, difference, in_numbers, in_short, packages


def lock(*conda: str, pip: tuple[str, ...] = (), python: str = "") -> Lock:
    parts = (each.split("=") for each in conda)
    found = tuple(CondaPackage(name, version, build, "https://x/noarch/x") for name, version, build in parts)
    return Lock(manager="conda", platform="linux-64", conda=found, pip=pip, python=python)


SHA = " --hash=sha256:" + "a" * 64
CASES: list[tuple[Lock, Lock, list[str], list[str], list[str], str]] = [
    (lock(), lock(), [], [], [], "the same packages"),
    (lock("numpy=2.3=0"), lock("numpy=2.4=0"), [], [], ["numpy"], "numpy 2.3 → 2.4"),
    (lock("a=1=0", "scipy=1=0"), lock("a=1=0", "dask=2=0", "xarray=3=0"), ["dask", "xarray"], ["scipy"], [],
     "+dask 2 +xarray 3 −scipy 1"),
    (lock("a=1=0"), lock("a=1=1"), [], [], ["a"], "1 of the same version built anew"),
    # conda-forge has both; for PyPI they are one.
    (lock("typing_extensions=4=0"), lock("typing_extensions=4=0", "typing-extensions=4=0"), ["typing-extensions"], [], [],
     "+typing-extensions 4"),
    (lock(pip=(f"typing_extensions==4{SHA}",)), lock(pip=(f"Typing.Extensions==5{SHA}",)), [], [], ["Typing.Extensions"],
     "Typing.Extensions 4 → 5"),
    # Indexes add files to a version that is there: other hashes are no other package.
    (lock(pip=(f"a==1{SHA}",)), lock(pip=(f"a==1{SHA}{SHA}",)), [], [], [], "the same packages"),
    (lock(pip=("x[y]==1 ; python_version >= '3'",)), lock(pip=("x==2",)), [], [], ["x"], "x 1 → 2"),
    (lock(pip=("m @ https://x/m-1.whl",)), lock(pip=("m @ https://x/m-2.whl",)), [], [], ["m"],
     "m https://x/m-1.whl → https://x/m-2.whl"),
    # From one place to another: both are told, as nothing is known of what it changes.
    (lock("six=1=0"), lock(pip=("six==1",)), ["six"], ["six"], [], "+six 1 −six 1"),
    (lock(python="3.11", pip=("a==1",)), lock(python="3.12", pip=("a==1",)), [], [], ["python"], "python 3.11 → 3.12"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "added", "removed", "changed", "short"), CASES)
def test_difference(before: Lock, after: Lock, added: list[str], removed: list[str], changed: list[str], short: str) -> None:
    found = difference(before, after)
    assert [each.name for each in found.added] == added
    assert [each.name for each in found.removed] == removed
    assert [each.after.name for each in found.changed] == changed
    assert in_short(found) == short


def test_a_long_list_of_changes_begins_with_what_was_asked_for() -> None:
    names = [f"lib{number}" for number in range(SHOWN + 2)] + ["numpy"]
    found = Difference(changed=tuple(Change(Package(name, "1"), Package(name, "2")) for name in names))
    assert in_short(found, first=("numpy",)).startswith("numpy 1 → 2, lib0 1 → 2")
    assert in_short(found).endswith("lib4 1 → 2 and 3 more")


def test_from_conda_to_uv_a_package_is_the_same_by_its_name() -> None:
    before = lock("typing_extensions=4=0", "typing-extensions=4=0", "numpy=2.3=0", "python=3.11.1=0", "zlib=1=0", "six=1=0")
    pins = ("Typing.Extensions==4", "numpy==2.4", "six==1", "dask==3")
    after = replace(lock(pip=pins, python="3.12.1"), manager="uv")
    found = difference(before, after)
    assert in_short(found) == "by uv instead of conda, +dask 3 −zlib 1, numpy 2.3 → 2.4, python 3.11.1 → 3.12.1"
    assert as_values(found)["managers"] == {"before": "conda", "after": "uv"}
    assert in_short(difference(after, before)) == (
        "by conda instead of uv, +zlib 1 −dask 3, numpy 2.4 → 2.3, python 3.12.1 → 3.11.1"
    )  # fmt: skip
    assert in_short(difference(lock("a=1=0"), replace(lock(pip=("a==1",)), manager="uv"))) == "by uv instead of conda"
    assert in_short(difference(lock("a=1=0"), replace(lock("a=1=1"), manager="rattler"))) == (
        "by rattler instead of conda, 1 of the same version built anew"
    )  # fmt: skip
    assert as_values(difference(before, before))["managers"] is None


NAMES = [
    (6, 2, "+a0 1 +a1 1 +a2 1 +a3 1 +a4 1 +a5 1 −r0 1 −r1 1"),
    (46, 1, "+46 −1: +a0 1 +a1 1 +a2 1 +a3 1 +a4 1 +a5 1 +a6 1 −r0 1 and 39 more"),
    (46, 30, "+46 −30: +a0 1 +a1 1 +a2 1 +a3 1 −r0 1 −r1 1 −r2 1 −r3 1 and 68 more"),
    (1, 30, "+1 −30: +a0 1 −r0 1 −r1 1 −r2 1 −r3 1 −r4 1 −r5 1 −r6 1 and 23 more"),
    (0, 9, "−9: −r0 1 −r1 1 −r2 1 −r3 1 −r4 1 −r5 1 −r6 1 −r7 1 and 1 more"),
]


@pytest.mark.parametrize(("added", "removed", "short"), NAMES)
def test_what_came_and_what_went_is_named_some_of_both(added: int, removed: int, short: str) -> None:
    found = Difference(
        added=tuple(Package(f"a{number}", "1") for number in range(added)),
        removed=tuple(Package(f"r{number}", "1") for number in range(removed)),
    )
    assert in_short(found) == short


def test_what_was_asked_for_is_named_first_and_a_list_has_numbers_above_it() -> None:
    found = Difference(added=(Package("a", "1"), Package("z", "2")), changed=(Change(Package("n", "1"), Package("n", "2")),))
    assert in_short(found, first=("z",)) == "+z 2 +a 1, n 1 → 2"
    assert in_numbers(found) == "+2, n 1 → 2"


def test_what_a_build_wrote_steers_no_terminal() -> None:
    found: list[Any] = list(packages(lock("a\x1b[2J=1\x07=\x1b]0;x\x07")))
    assert (found[0].name, found[0].version, found[0].build) == ("a", "1", "")
