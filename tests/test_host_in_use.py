"""Whether a process has a folder in use: that very one, and not another that was made in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hubd.host.host import Host


def in_use(folder: Path, pid: int | None = None) -> bool:
    return Host.is_in_use(None, folder, os.getpid() if pid is None else pid)  # type: ignore[arg-type]  # it needs nothing of a host


@pytest.mark.parametrize("how", ["works in it", "has it open"])
def test_a_folder_in_the_place_of_another_is_not_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not in_use(folder)
    monkeypatch.chdir(tmp_path)
    held = os.open(folder, os.O_PATH)
    if how == "works in it":
        monkeypatch.chdir(folder)
        os.close(held)
    assert in_use(folder)
    folder.rmdir()
    assert not in_use(folder), "it is gone"
    folder.mkdir()
    assert not in_use(folder), "it is another"
    folder.rename(tmp_path / "elsewhere")
    assert not in_use(folder)
    if how == "has it open":
        os.close(held)


def test_what_cannot_be_seen_is_taken_to_be_right(tmp_path: Path) -> None:
    assert in_use(tmp_path, pid=2**22 + 1)
