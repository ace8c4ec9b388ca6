"""What a job reports, read with bounds: the account that builds writes it, and so perhaps what it builds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.words import plain

# A report is written by the build account, and so perhaps by the packages that it builds: only what is known here is
# taken from it, and no more than this many bytes are read.
LONGEST_REPORT = 64 * 1024
TEXTS = ("state", "digest", "phase", "line", "what", "why", "fix")
NUMBERS = ("tries", "at", "ended")
ANSWERS = ("retry",)
# In seconds since the epoch, and in tries: beyond it is nonsense.
HIGHEST = 10**12


def read_json(path: Path, *, most: int) -> dict[str, Any]:
    """An object in a file; empty for anything else."""
    try:
        data = json.loads(files.read(path, follow=False, most=most) or b"{}")
    except (ValueError, RecursionError, HubdError):
        return {}
    return data if isinstance(data, dict) else {}


def read_report(path: Path) -> dict[str, Any]:
    """What a job said last, with bounds: nothing but known fields, and nothing that steers a terminal."""
    data = read_json(path, most=LONGEST_REPORT)
    texts = {key: plain(data[key]) for key in TEXTS if isinstance(data.get(key), str)}
    answers = {key: data[key] for key in ANSWERS if isinstance(data.get(key), bool)}
    return {**texts, **answers, **{key: number(data, key) for key in NUMBERS if key in data}}


def number(values: Mapping[str, Any], key: str) -> int:
    """A number of a report; 0 for what is none."""
    value = values.get(key)
    return int(value) if isinstance(value, int | float) and 0 <= value <= HIGHEST else 0
