"""Which Pythons get no mends any more. Pure: knows what its authors knew, asks nobody."""

from __future__ import annotations

import re

# Of Python 3: older ones get no mends any more. 3.10 had its last in October 2026.
OLDEST_MENDED = 11


def is_outlived(version: str) -> bool:
    """Whether this Python, as it is asked for or as it is built, is past its end of life; no where that cannot be told."""
    found = re.match(r"(?:==|~=|<=)?(\d+)(?:\.(\d+))?", version)
    return found is not None and (int(found[1]), int(found[2] or OLDEST_MENDED)) < (3, OLDEST_MENDED)
