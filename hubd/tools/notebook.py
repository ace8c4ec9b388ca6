"""The code of a notebook, as far as it decides whether an environment is good. Pure: reads text, runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubd.errors import HubdError

# What a new environment must do where nobody wrote a notebook, by language.
FIRST_CELLS = {"python": "print(6 * 7)", "R": "cat(6 * 7)"}
FIRST_ANSWER = "42"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of code. tags: as Jupyter keeps them; `raises-exception` lets a cell fail."""

    source: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notebook:
    """path: as it is written in config.yaml; empty for `first_notebook`."""

    path: str
    cells: tuple[Cell, ...] = ()


def first_notebook(language: str) -> Notebook:
    """One cell, for an environment without a notebook of its own."""
    return Notebook("", (Cell(FIRST_CELLS[language]),))


def code_of(text: str) -> tuple[Cell, ...]:
    """The cells of code that a notebook file holds. Raises HubdError where it is none.

    Text and outputs are left out: who runs it anew and saves it, or writes a sentence more, has not changed what is tried.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise HubdError("it is not a notebook", why="it is not JSON") from None
    cells = data.get("cells") if isinstance(data, Mapping) else None
    if not isinstance(cells, list) or data.get("nbformat") != 4:
        raise HubdError("it is not a notebook", why="it is not in the form of today's notebooks (nbformat 4)")
    found = tuple(_cell(cell) for cell in cells if isinstance(cell, Mapping) and cell.get("cell_type") == "code")
    if not any(cell.source.strip() for cell in found):
        raise HubdError("it has no cell of code")
    return found


def _cell(cell: Mapping[str, Any]) -> Cell:
    source, metadata = cell.get("source"), cell.get("metadata")
    lines = source if isinstance(source, list) else [source]
    tags = metadata.get("tags") if isinstance(metadata, Mapping) else None
    words = sorted(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else []
    return Cell("".join(line for line in lines if isinstance(line, str)), tuple(words))
