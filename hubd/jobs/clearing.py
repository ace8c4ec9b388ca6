"""Clearing away what an interrupted job left behind."""

from __future__ import annotations

from pathlib import Path

from hubd.host import files


def clear(path: Path) -> None:
    """Remove whatever lies at `path`; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        files.remove_tree(path)
    else:
        files.remove(path)
