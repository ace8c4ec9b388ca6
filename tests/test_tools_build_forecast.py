"""What a plan tells of a build: the words for what is asked for, for what runs, and for the disk."""

from __future__ import annotations

from typing import Any

import pytest

from hubd.tools.build_forecast import SHOWN, AskedChange, BuildForecast, asked_change, asked_words, solved_change
from hubd.tools.lock import Lock
from hubd.tools.solved import Solved

ASKED: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [
    (("ipykernel", "scipy"), ("ipykernel", "xarray", "dask"), "+2 −1 packages asked for: +xarray +dask −scipy"),
    (("ipykernel",), ("ipykernel", "numpy=2"), "+1 package asked for: +numpy=2"),
    (("ipykernel", "numpy=2.3"), ("numpy=2.4", "ipykernel"), "asked for: numpy=2.3 → numpy=2.4"),
    (("a", "numpy=2.3"), ("b", "numpy>=2.4"), "+1 −1 packages asked for: +b −a, numpy=2.3 → numpy>=2.4"),
    (("conda-forge::numpy",), ("numpy",), "asked for: conda-forge::numpy → numpy"),
    (("a", "b"), ("b", "a"), "the same packages are asked for"),
    (("a",), ("a", "mine @ https://x.example/mine-1.whl"), "+1 package asked for: +mine @ https://x.example/mine-1.whl"),
    ((), tuple(f"p{number}" for number in range(SHOWN + 2)),
     "+10 packages asked for: +p0 +p1 +p2 +p3 +p4 +p5 +p6 +p7 and 2 more"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "words"), ASKED)
def test_what_is_asked_for(before: tuple[str, ...], after: tuple[str, ...], words: str) -> None:
    assert asked_words(asked_change(before, after)) == words


CHANGE = AskedChange(added=("dask",))
SAYS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ()),
    ({"asked": CHANGE}, ("science: +1 package asked for: +dask",)),
    ({"locked": "numpy 2.3 → 2.4"}, ("science: numpy 2.3 → 2.4",)),
    ({"kernels": 14}, ("14 running kernels keep generation 7 until they stop",)),
    ({"kernels": 1}, ("1 running kernel keeps generation 7 until it stops",)),
    ({"others": 2}, ("2 running programs keep generation 7 until they stop",)),
    ({"kernels": 1, "others": 1}, ("1 running kernel and 1 other program keep generation 7 until they stop",)),
    ({"disk": 1_200_000_000, "free": 40 * 10**9},
     ("about 1.2 GB like the present one, less the packages that both share; 40 GB are free",)),
    ({"disk": 1_200_000_000, "free": 500_000_000},
     ("about 1.2 GB like the present one, less the packages that both share; only 500 MB are free",)),
    ({"disk": 1_200_000_000}, ("about 1.2 GB like the present one, less the packages that both share",)),
    ({"free": 5}, ()),
]


LOCK = Lock(manager="uv", platform="linux-64")
SHARED = "about 1.2 GB like the present one, less the packages that both share; only 9 B are free"
COSTS = [
    (Solved(lock=LOCK, downloads=0),
     ("nothing to download", "little of the disk, as its packages are there already; 9 B are free")),
    (Solved(lock=LOCK, downloads=2, size=5_000_000), ("2 packages to download, 5.0 MB", SHARED)),
    (Solved(lock=LOCK, downloads=None), (SHARED,)),
    (Solved(lock=LOCK, downloads=0, unsolved=("x",)), ("nothing to download", SHARED)),
]  # fmt: skip


@pytest.mark.parametrize(("solved", "says"), COSTS)
def test_what_it_costs_does_not_contradict_what_is_downloaded(solved: Solved, says: tuple[str, ...]) -> None:
    change = solved_change(None, solved)
    assert BuildForecast(environment="geo", generation=7, disk=1_200_000_000, free=9, solved=change).says[-len(says) :] == says


@pytest.mark.parametrize(("known", "says"), SAYS)
def test_sentences(known: dict[str, Any], says: tuple[str, ...]) -> None:
    assert BuildForecast(environment="science", generation=7, **known).says == says


def test_the_same_as_fields() -> None:
    told = BuildForecast(environment="science", generation=7, asked=CHANGE, kernels=3, others=1, disk=9, free=5).told
    assert told == {
        "environment": "science", "generation": 7, "asked": {"added": ("dask",), "removed": (), "changed": ()}, "locked": None,
        "kernels": 3, "other_programs": 1, "disk": {"estimate": 9, "free": 5},
    }  # fmt: skip
    assert BuildForecast(environment="science", generation=7).told["disk"] == {"estimate": None, "free": None}
