"""How much of the disk folders take: hard links count once, and apart where they have a name elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hubd.host.disk_use import DiskUse, disk_use, free_space


def taken(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_what_is_also_elsewhere_is_counted_apart(tmp_path: Path) -> None:
    one, two, cache = tmp_path / "one", tmp_path / "two", tmp_path / "cache"
    for folder in (one, one / "lib", two, cache):
        folder.mkdir()
    for path in (one / "own", one / "cached", one / "lib/both"):
        path.write_bytes(b"x" * 9000)
    os.link(one / "own", one / "lib/again")
    os.link(one / "cached", cache / "cached")
    os.link(one / "lib/both", two / "both")
    (one / "link").symlink_to(cache)
    own = taken(one / "own", one / "lib", one / "link")
    assert disk_use([one]) == DiskUse(own, taken(one / "cached", one / "lib/both"))
    # Together, what only the two share is theirs.
    assert disk_use([one, two]) == DiskUse(own + taken(one / "lib/both"), taken(one / "cached"))


def test_what_is_gone_or_closed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk_use([tmp_path / "gone"]) == DiskUse()
    scan = os.scandir

    def closed(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(path)
        return scan(path)

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "scandir", closed)
    assert disk_use([tmp_path]).unread == 1


def test_free_space_is_that_where_a_folder_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or SimpleNamespace(f_bavail=5, f_frsize=4096))
    assert free_space(tmp_path / "not/yet") == 5 * 4096
    assert asked == [tmp_path]

    def fail(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "statvfs", fail)
    assert free_space(tmp_path) is None
