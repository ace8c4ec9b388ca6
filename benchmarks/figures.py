"""What was measured, beside its aim and what it is compared with, and how that reads on a terminal. Measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDEST = 62
LEAST_FOR_RATIO = 0.005


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once or several times.

    values: in `unit`, in the order they were taken. aim: the most that the median may be; None where there is no aim.
    peers: what the median is to be seen beside, measured in the same run and unit, by name.
    note: what else a reader must know to judge it.
    """

    name: str
    unit: str
    values: Sequence[float]
    aim: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is within the aim; None where there is no aim."""
        return None if self.aim is None else self.median <= self.aim

    def as_json(self) -> dict[str, Any]:
        ratios = {name: round(ratio, 2) for name, ratio in self._ratios().items()}
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "values": list(self.values),
            "aim": self.aim,
            "met": self.met,
            "peers": dict(self.peers),
            "ratios": ratios,
            "note": self.note,
        }

    def row(self) -> tuple[str, ...]:
        """The cells of its line in the table."""
        aim = "" if self.aim is None else f"≤ {_number(self.aim)}"
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        spread = f"{_number(min(self.values))}–{_number(max(self.values))}" if len(self.values) > 1 else ""
        return (self.name, f"{_number(self.median)} {self.unit}", spread, str(len(self.values)), aim, verdict, self._beside())

    def _ratios(self) -> dict[str, float]:
        return {name: self.median / value for name, value in self.peers.items() if value > LEAST_FOR_RATIO}

    def _beside(self) -> str:
        ratios = self._ratios()
        said = [f"{ratios[name]:.1f} × {name} ({_number(self.peers[name])})" for name in ratios]
        said += [f"{name}: {_number(value)}" for name, value in self.peers.items() if name not in ratios]
        return "; ".join([*said, *filter(None, [self.note])])


def table(figures: Iterable[Figure]) -> str:
    """The figures as lines of text."""
    head = ("figure", "median", "lowest–highest", "n", "aim", "met", "beside")
    rows = [head, *(figure.row() for figure in figures)]
    widths = [min(WIDEST, max(len(row[at]) for row in rows)) for at in range(len(head) - 1)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
    return "  ".join((*cells, row[-1])).rstrip()


def _number(value: float) -> str:
    """Three digits that count, and no more than whole numbers where these are enough."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
