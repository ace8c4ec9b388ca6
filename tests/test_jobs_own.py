"""Environments of people's own as the job makes them: in the home, as far as there is room, and nothing is lost."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubd.errors import HubdError
from hubd.jobs import own
from hubd.jobs.run import run
from hubd.jobs.work import Work
from hubd.tools.lock import Lock

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the environment `geo`; gives the job's last report. fails: what its manager raises."""

    def once(*, fails: str = "", **change: Any) -> dict[str, Any]:
        def manager(work: Work, prefix: Path) -> Lock:
            assert own.unfinished_mark(prefix).exists()
            (prefix / "half").write_text("x" * 100_000)
            if fails:
                raise HubdError(fails)
            return Lock(manager="uv", platform="linux-64", python="3.11", pip=("six==1 --hash=sha256:" + "0" * 64,))

        monkeypatch.setattr(own, "MANAGERS", {"uv": manager})
        spec = {
            "do": "own", "job": "own-bea", "digest": "", "result": str(tmp_path / "report.json"),
            "cache": str(tmp_path / "cache"),
            "limits": {"memory": None, "cpu": None, "time": 600}, "prefix": str(tmp_path / "envs/geo"), "manager": "uv",
            "packages": ["six"], "pip": [], "lock": "", "source": None, "smoke": "python", "number": 2, "size": 1 << 30,
            **change,
        }  # fmt: skip
        run(spec)
        return dict(json.loads((tmp_path / "report.json").read_text()))

    return once


def test_one_is_made_whole_or_not_at_all(make: Make, tmp_path: Path) -> None:
    assert make(fails="no such package")["what"] == "no such package"
    assert list((tmp_path / "envs").iterdir()) == []
    assert make()["state"] == "done"
    assert sorted(path.name for path in (tmp_path / "envs").iterdir()) == ["geo"]
    assert "six==1" in (tmp_path / "envs/geo/.hubd-lock.yaml").read_text()


def test_its_owner_may_change_all_of_it(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = own.asked

    def closed(work: Work) -> Work:
        # As conda leaves what it copies from packages that are read-only.
        folder = work.path("prefix") / "lib"
        folder.mkdir()
        (folder / "mod.py").touch()
        (folder / "mod.py").chmod(0o444)
        (folder / "link").symlink_to("/nowhere")
        folder.chmod(0o555)
        return asked(work)

    monkeypatch.setattr(own, "asked", closed)
    assert make()["state"] == "done"
    modes = [stat.S_IMODE((tmp_path / "envs/geo" / name).stat().st_mode) for name in ("lib", "lib/mod.py")]
    assert modes == [0o755, 0o644]


def test_all_is_on_the_disk_before_it_counts(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[list[str]] = []
    monkeypatch.setattr("os.sync", lambda: there.append(sorted(path.name for path in (tmp_path / "envs").rglob("*"))))
    make()
    assert there == [[".geo.unfinished", ".hubd-lock.yaml", "geo", "half"]]


@pytest.mark.parametrize("killed", [True, False])
def test_what_is_there_already_is_never_removed(make: Make, tmp_path: Path, killed: bool) -> None:
    prefix = tmp_path / "envs/geo"
    prefix.mkdir(parents=True)
    (prefix / "mine").write_text("kept")
    if killed:
        own.unfinished_mark(prefix).touch()
    told = make()
    assert told["what"] == f"{prefix} is there already"
    assert bool(told["why"]) is killed
    assert (str(own.unfinished_mark(prefix)) in told["fix"]) is killed
    assert (prefix / "mine").read_text() == "kept"


def test_there_is_room_for_so_many_and_so_much(make: Make, tmp_path: Path) -> None:
    make()
    other = str(tmp_path / "envs/other")
    assert make(prefix=other, number=1)["what"] == "you may have 1 environment"
    assert "may take" in make(prefix=other, size=50_000)["what"]
    told = make(prefix=other, size=150_000)
    assert told["what"] == "your environments may take 150000" and "with other they would take" in told["why"], told
    assert sorted(path.name for path in (tmp_path / "envs").iterdir()) == ["geo"], "what was too large is not left half there"
    assert make(prefix=other)["state"] == "done"


def test_what_is_pinned_for_others_is_what_pip_installed(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    for name, installer in (("six", "pip"), ("numpy", "conda"), ("toolz", "uv")):
        folder = packages / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "INSTALLER").write_text(f"{installer}\n")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n\nText\n")
    assert list(own.pins_of(tmp_path)) == ["six==1", "toolz==1"]
    (packages / "six-1.dist-info/direct_url.json").write_text(json.dumps({"url": "file:///home/bea/six"}))
    with pytest.raises(HubdError, match="six cannot be built again for others: it comes from file:///home/bea/six"):
        list(own.pins_of(tmp_path))


@pytest.mark.parametrize(
    ("owner", "what", "fix"),
    [
        ("", "{}/nosuch is not an environment", "Make one: hubd env create NAME PACKAGE …"),
        ("bea", "bea has no environment nosuch", ""),
    ],
)
def test_one_that_is_not_there_is_told_with_those_that_are(make: Make, tmp_path: Path, owner: str, what: str, fix: str) -> None:
    envs = tmp_path / "envs"

    def told() -> tuple[str, str, str]:
        said = make(do="own-lock", prefix=str(envs / "nosuch"), lock_file=str(tmp_path / "lock"), **{"for": owner})
        return said["what"], said["why"], said["fix"]

    assert told() == (what.format(envs), "there is none", fix)
    for name in ("geo/conda-meta", "no", ".old/conda-meta"):
        (envs / name).mkdir(parents=True)
    (envs / "maps").mkdir()
    (envs / "maps/pyvenv.cfg").touch()
    assert told() == (what.format(envs), "there are geo, maps", fix)
