"""Plain words for lists, times and sizes, the same everywhere. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence


def named(names: Sequence[str], limit: int = 8) -> str:
    """A list of names that stays readable when it is long."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def ago(seconds: float) -> str:
    """How long something is past, in the largest unit that fits."""
    if seconds < 0:
        return "in the future (the clock was set back)"
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"
