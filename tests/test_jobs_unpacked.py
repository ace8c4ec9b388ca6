"""Packages that builds leave for people: whole ones only, as hard links, and none that no generation consists of."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubd.errors import HubdError
from hubd.jobs import unpacked
from hubd.jobs.work import Work


@dataclass
class Place:
    """A cache of builds, the folder for people, and an environment."""

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def shared(self) -> Path:
        return self.root / "packages"

    def work(self, **change: Any) -> Work:
        spec = {"cache": str(self.cache), "share_into": str(self.shared), "environment": "geo", **change}
        return Work(spec=spec, commands=None, web=None, phase=print)  # type: ignore[arg-type]

    def unpack(self, name: str, content: str = "x") -> Path:
        """A package in the cache, and its record in the environment."""
        package = self.cache / "conda-pkgs" / name
        (package / "info/test").mkdir(parents=True, exist_ok=True)
        (package / "lib/deep/er").mkdir(parents=True)
        for record in unpacked.RECORDS:
            (package / record).write_text("{}")
        (package / "lib/deep/file").write_text(content)
        (package / "lib/link").symlink_to("deep")
        (package / "lib/lost").symlink_to("/nowhere")
        (self.root / "env/conda-meta").mkdir(parents=True, exist_ok=True)
        (self.root / "env/conda-meta" / f"{name}.json").touch()
        return package

    def build(self, **change: Any) -> None:
        unpacked.gather(self.work(**change), self.root / "env")
        unpacked.put_in_place(self.work(**change))

    def there(self) -> list[str]:
        return sorted(path.name for path in self.shared.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.shared.mkdir()
    return made


def test_people_get_each_package_whole_and_it_takes_no_room(place: Place) -> None:
    package = place.unpack("six-1-0")
    (package / "lib/deep/file").chmod(0o664)
    place.build()
    assert place.there() == ["six-1-0", "urls.txt"]
    found = place.shared / "six-1-0"
    assert {str(path.relative_to(found)) for path in found.rglob("*")} == {
        str(path.relative_to(package)) for path in package.rglob("*")
    }
    assert (found / "lib/deep/file").samefile(package / "lib/deep/file")
    assert os.readlink(found / "lib/link") == "deep", "a link as it is, and not what it points to"
    assert found.stat().st_ino != package.stat().st_ino
    assert all(not path.lstat().st_mode & 0o022 for path in (place.shared, *found.rglob("*")) if not path.is_symlink())
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in (found, *found.rglob("*/")) if path.is_dir())
    assert (found / "lib/deep/file").stat().st_mode & 0o777 == 0o644, "no program because of that"
    assert not any((place.cache / unpacked.ASIDE).iterdir())
    assert (place.shared / unpacked.MAGIC).stat().st_mode & 0o777 == 0o644, "people's conda reads it"


def test_nothing_is_there_before_it_is_put_in_place(place: Place) -> None:
    place.unpack("six-1-0")
    unpacked.gather(place.work(), place.root / "env")
    assert place.there() == []
    unpacked.forget(place.work())
    unpacked.put_in_place(place.work())
    assert place.there() == [], "a build that was not proven leaves nothing"


def test_what_a_killed_build_linked_is_not_put_in_place(place: Place) -> None:
    place.unpack("six-1-0")
    for name in ("six-1-0", "half-1-0"):
        (place.cache / unpacked.ASIDE / "geo" / name / "info").mkdir(parents=True)
    place.build()
    assert place.there() == ["six-1-0", "urls.txt"]
    assert (place.shared / "six-1-0/lib/deep/file").read_text() == "x"


def test_half_a_package_and_one_that_is_not_for_all_are_left_out(place: Place) -> None:
    (place.unpack("half-1-0") / unpacked.RECORDS[1]).unlink()
    (place.unpack("closed-1-0") / "lib/deep/file").chmod(0o600)
    os.mkfifo(place.unpack("odd-1-0") / "lib/fifo")
    place.unpack("six-1-0")
    (place.root / "env/conda-meta/elsewhere-1-0.json").touch()
    (place.root / "env/conda-meta/history").touch()
    place.build()
    assert place.there() == ["six-1-0", "urls.txt"]


def test_one_that_was_fetched_anew_comes_in_the_place_of_the_old_one(place: Place) -> None:
    package = place.unpack("six-1-0", "damaged")
    place.build()
    package.rename(place.root / "gone")
    place.unpack("six-1-0", "whole")
    place.build()
    assert (place.shared / "six-1-0/lib/deep/file").read_text() == "whole"
    inode = (place.shared / "six-1-0").stat().st_ino
    place.build()
    assert (place.shared / "six-1-0").stat().st_ino == inode, "what is there already stays"
    assert place.there() == ["six-1-0", "urls.txt"]


def test_of_two_builds_the_faster_one_puts_it_in_place(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.unpack("six-1-0")
    unpacked.gather(place.work(), place.root / "env")
    unpacked.gather(place.work(environment="other"), place.root / "env")
    rename, done = os.rename, []

    def slow(old: Any, new: Any) -> None:
        if not done:
            done.append(1)
            unpacked.put_in_place(place.work(environment="other"))
            raise FileNotFoundError  # there was nothing when this one looked
        rename(old, new)

    monkeypatch.setattr(os, "rename", slow)
    unpacked.put_in_place(place.work())
    assert place.there() == ["six-1-0", "urls.txt"]
    assert capsys.readouterr().out == "", "and the other one has nothing to complain of"


def test_a_full_disk_fails_no_build(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    place.unpack("six-1-0")

    def full(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        place.build()
    assert place.there() == []
    assert "six-1-0 is not shared with people: No space left on device" in capsys.readouterr().out
    monkeypatch.setattr(os, "rename", full)
    place.build()
    assert place.there() == ["urls.txt"]
    assert "packages are not shared with people" in capsys.readouterr().out


def refuses(*args: Any, **more: Any) -> None:
    raise HubdError("the disk is full")


def read_only(old: Path, new: Path) -> None:
    if "/packages/" in str(old):
        raise FileNotFoundError  # nothing is there yet
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(("what", "does"), [("hubd.host.files.write_atomic", refuses), ("os.rename", read_only)])
def test_what_cannot_be_put_in_place_is_noted(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, does: Any
) -> None:
    place.unpack("six-1-0")
    with monkeypatch.context() as patch:
        patch.setattr(what, does)
        place.build()
    assert "six-1-0" not in place.there()
    assert "packages are not shared with people: " in capsys.readouterr().out
    assert not any((place.cache / unpacked.ASIDE).iterdir())


def test_what_cannot_be_cleared_away_now_fails_no_build(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.unpack("six-1-0")
    unpacked.gather(place.work(), place.root / "env")

    def busy(path: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr("hubd.host.files.clear", busy)
    unpacked.put_in_place(place.work())
    assert place.there() == ["six-1-0", "urls.txt"]


def test_what_no_generation_consists_of_goes_and_has_one_name_again(place: Place) -> None:
    old, *_ = (place.unpack(name) for name in ("old-1-0", "older-1-0", "six-1-0"))
    place.build()
    (place.cache / unpacked.ASIDE / "old-1-0/left-by-a-killed-build").mkdir(parents=True)
    unpacked.drop(place.work(unpacked=["six-1-0"]))
    assert place.there() == ["six-1-0", "urls.txt"]
    assert (old / "lib/deep/file").stat().st_nlink == 1
    assert not (place.cache / unpacked.ASIDE).exists()


def test_builds_with_another_cache_share_nothing(place: Place) -> None:
    place.unpack("six-1-0")
    place.build(share_into="")
    assert not (place.cache / unpacked.ASIDE).exists()
    unpacked.drop(place.work(share_into=""))
    assert place.there() == []
    assert not (place.cache / unpacked.ASIDE).exists()
