"""Sizes, durations and cores: what people may write, what it means, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.config import units
from hubd.words import duration

SIZES = [
    ("1G", 1024**3),
    ("1g", 1024**3),
    ("512 MB", 512 * 1024**2),
    ("1.5GiB", 1536 * 1024**2),
    ("2T", 2 * 1024**4),
    ("10K", 10240),
    ("100", 100),
    (4096, 4096),
    (" 1 G ", 1024**3),
]
NOT_SIZES = [
    "",
    "G",
    "1 X",
    "-1G",
    "1e3",
    "0",
    0,
    -5,
    True,
    None,
    [],
    "1G1",
    "9" * 400,
    "9999999T",
    float("nan"),
]

DURATIONS = [
    ("90 min", 5400),
    ("1h 30m", 5400),
    ("1h30m", 5400),
    ("60 s", 60),
    ("60", 60),
    (45, 45),
    ("1.5 h", 5400),
    ("2 days", 172800),
    ("1 Hour", 3600),
]
NOT_DURATIONS = [
    "",
    "min",
    "5 fortnights",
    "5 min and",
    "1 2",
    "1h 30",
    "0 s",
    0,
    -1,
    "0.5 s",
    True,
    None,
    {},
    "5 min\x00",
]

CORES = [(2, 2.0), (0.5, 0.5)]
NOT_CORES = ["2", 0, -1, True, None, float("inf"), float("nan"), 1e9]


@pytest.mark.parametrize(("written", "meant"), SIZES)
def test_a_size_is_read_in_powers_of_1024(written: object, meant: int) -> None:
    assert units.parse_size(written) == meant


@pytest.mark.parametrize(("written", "meant"), DURATIONS)
def test_a_duration_is_read_in_seconds(written: object, meant: int) -> None:
    assert units.parse_duration(written) == meant


@pytest.mark.parametrize(("written", "meant"), CORES)
def test_cores_are_a_number_above_zero(written: object, meant: float) -> None:
    assert units.parse_cores(written) == meant


@pytest.mark.parametrize(
    ("unit", "written"),
    [(units.SIZE, it) for it in NOT_SIZES]
    + [(units.DURATION, it) for it in NOT_DURATIONS]
    + [(units.CORES, it) for it in NOT_CORES],
)
def test_anything_else_is_refused(unit: units.Unit, written: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        unit.parse(written)


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=1, max_value=10**15))
def test_what_is_shown_is_read_back(number: int) -> None:
    assert units.parse_size(units.show_size(number)) == number
    assert units.parse_duration(duration(number)) == number


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        (units.show_size(1024**3), "1G"),
        (units.show_size(1536 * 1024**2), "1536M"),
        (units.show_size(1000), 1000),
        (duration(5400), "1 h 30 min"),
        (duration(86400), "1 d"),
        (units.show_cores(2.0), 2),
        (units.show_cores(0.5), 0.5),
    ],
)
def test_values_are_shown_as_people_write_them(shown: object, meant: object) -> None:
    assert (type(shown), shown) == (type(meant), meant)
