"""What a manager would install: as JSON, and as the words of a plan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hubd.errors import HubdError
from hubd.tools.build_forecast import BuildForecast, solved_change
from hubd.tools.lock import CondaPackage, Lock
from hubd.tools.solved import MOST, Solved, parse_solved, solved_text


def lock(*specs: str, pip: tuple[str, ...] = ()) -> Lock:
    packages = tuple(CondaPackage(*spec.split("="), "0", "") for spec in specs)
    return Lock(manager="conda", platform="linux-64", conda=packages, pip=pip)


WHOLE = Solved(lock=lock("numpy=2.4", pip=("dask==1 --hash=sha256:00",)), unsolved=("cowsay",), downloads=3, size=5_000_000)


def test_it_comes_back_as_it_was() -> None:
    assert parse_solved(solved_text(WHOLE)) == WHOLE
    bare = Solved(lock=lock())
    assert parse_solved(solved_text(bare)) == bare


def spoiled(**change: Any) -> str:
    return json.dumps({**json.loads(solved_text(WHOLE)), **change})


SPOILED = [
    "", "{", "[]", "7", "[" * 100_000, spoiled(lock=None), spoiled(lock={}), spoiled(unsolved="x"), spoiled(unsolved=[7]),
    spoiled(downloads="3"), spoiled(downloads=-1), spoiled(size=10**15), spoiled(unsolved=["x"] * (MOST + 1)),
    spoiled(lock={**json.loads(solved_text(WHOLE))["lock"], "conda": ["numpy"]}),
    spoiled(lock={**json.loads(solved_text(WHOLE))["lock"], "conda": [{"name": "numpy"}]}),
    spoiled(lock={**json.loads(solved_text(WHOLE))["lock"], "pip": [None]}),
]  # fmt: skip


@pytest.mark.parametrize("text", SPOILED, ids=lambda text: text[:40])
def test_rubbish_is_one_error(text: str) -> None:
    with pytest.raises(HubdError, match="what the solve came to cannot be read"):
        parse_solved(text)


def test_what_steers_a_terminal_is_left_out() -> None:
    found = parse_solved(spoiled(unsolved=["a\x1b[2Jb"]))
    assert found.unsolved == ("ab",)


BEFORE = lock("numpy=2.3", "scipy=1", pip=("cowsay==6.0",))
WORDS: list[tuple[Lock | None, Solved, str, str, str]] = [
    (BEFORE, Solved(lock=lock("numpy=2.4", "dask=1", "xarray=3")), "+dask 1 +xarray 3 −cowsay 6.0 −scipy 1, numpy 2.3 → 2.4",
     "", ""),
    (BEFORE, Solved(lock=lock("numpy=2.4", "scipy=1"), unsolved=("cowsay==6.1",), downloads=0),
     "numpy 2.3 → 2.4", "its pip part (cowsay==6.1) is solved only when it is built", "nothing to download"),
    (BEFORE, Solved(lock=BEFORE, downloads=1), "the same packages", "", "1 package to download"),
    (None, Solved(lock=lock("a=1", "b=2", "numpy=2.4"), downloads=3, size=5_000_000),
     "3 packages: numpy 2.4, a 1, b 2", "", "3 packages to download, 5.0 MB"),
    (None, Solved(lock=lock()), "0 packages", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("before", "solved", "versions", "rest", "downloads"), WORDS)
def test_words(before: Lock | None, solved: Solved, versions: str, rest: str, downloads: str) -> None:
    change = solved_change(before, solved, first=("numpy>=2",))
    assert (change.versions, change.rest, change.downloads) == (versions, rest, downloads)


def test_what_of_a_pip_part_is_not_known_is_not_told_as_gone() -> None:
    by_uv = Lock(manager="uv", platform="linux-64", pip=("cowsay==6.0", "numpy==2.3", "dask==1"))
    change = solved_change(by_uv, Solved(lock=lock("numpy=2.4"), unsolved=("cowsay==6.1",)))
    assert change.versions == "by conda instead of uv, −dask 1, numpy 2.3 → 2.4"


def test_a_lock_is_built_by_another_than_made_it() -> None:
    assert solved_change(BEFORE, Solved(lock=BEFORE), manager="rattler").versions == "by rattler instead of conda"


def test_a_forecast_that_was_solved() -> None:
    change = solved_change(BEFORE, Solved(lock=lock("numpy=2.4", "scipy=1"), downloads=2))
    told = BuildForecast(environment="geo", generation=7, kernels=2, solved=change)
    assert told.says == (
        "geo: −cowsay 6.0, numpy 2.3 → 2.4", "2 running kernels keep generation 7 until they stop", "2 packages to download",
    )  # fmt: skip
    assert told.told["solved"] == {
        "managers": None,
        "added": [], "removed": [{"name": "cowsay", "version": "6.0", "build": "", "source": "PyPI"}],
        "changed": [{"name": "numpy", "source": "conda", "before": {"version": "2.3", "build": "0"},
                     "after": {"version": "2.4", "build": "0"}}],
        "compared": True, "unsolved": [], "download": {"packages": 2, "bytes": None},
    }  # fmt: skip


def test_without_anything_to_compare_with_all_is_added() -> None:
    told = solved_change(None, Solved(lock=lock("numpy=2.4"))).told
    assert (told["compared"], [each["name"] for each in told["added"]]) == (False, ["numpy"])


def test_why_it_could_not_be_solved_stands_beside_what_is_asked_for() -> None:
    told = BuildForecast(environment="geo", generation=0, unsolved="which versions geo gets can be told once conda is right")
    assert told.says == ("which versions geo gets can be told once conda is right",)
    assert "solved" not in told.told
