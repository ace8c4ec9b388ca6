"""Records of packages: what is the same in several environments is kept once, and never trusted when cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import FakeCommands

from hubd.host import files
from hubd.host.web import Web
from hubd.jobs.records import KEPT, forget_unshared, share_records
from hubd.jobs.work import Work

RECORD = {"name": "a", "paths_data": {"paths": [{"_path": "bin/a", "sha256": "é"}]}, "order": [2, 1]}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    (tmp_path / "cache").mkdir()
    return Work({"cache": str(tmp_path / "cache")}, FakeCommands(), Web(), print)  # type: ignore[arg-type]


def environment(work: Work, name: str, **records: object) -> Path:
    prefix = work.path("cache").parent / name
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta/history").write_text("==> now <==")
    for package, record in records.items():
        (prefix / f"conda-meta/{package}.json").write_text(json.dumps(record, indent=2))
    share_records(work, prefix)
    return prefix / "conda-meta"


def kept(work: Work) -> list[Path]:
    return list((work.path("cache") / KEPT).iterdir())


def test_equal_records_are_one_file_and_others_are_not(work: Work) -> None:
    one = environment(work, "one", a=RECORD, b={"name": "b", "in": "one"})
    two = environment(work, "two", a=RECORD, b={"name": "b", "in": "two"})
    assert (two / "a.json").samefile(one / "a.json")
    assert not (two / "b.json").samefile(one / "b.json")
    assert json.loads((two / "a.json").read_text()) == RECORD
    assert list(json.loads((two / "a.json").read_text())) == list(RECORD), "in the order in which it was written"
    assert (two / "a.json").stat().st_size < len(json.dumps(RECORD, indent=2))


def test_what_is_cut_off_is_not_taken(work: Work) -> None:
    environment(work, "one", a=RECORD)
    (store,) = kept(work)
    store.chmod(0o644)
    store.write_text("{")
    assert json.loads((environment(work, "two", a=RECORD) / "a.json").read_text()) == RECORD


def test_where_nothing_can_be_shared_the_record_stays(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: Path, path: Path) -> bool:
        path.unlink()
        return False

    monkeypatch.setattr(files, "share", refuses)
    assert json.loads((environment(work, "one", a=RECORD) / "a.json").read_text()) == RECORD


def test_without_condas_records_nothing_is_left_in_the_cache(work: Work) -> None:
    share_records(work, work.path("cache").parent / "none")
    assert list(work.path("cache").iterdir()) == []


def test_records_of_packages_that_are_gone_are_forgotten(work: Work) -> None:
    environment(work, "one", a=RECORD)
    files.clear(environment(work, "gone", b=RECORD | {"name": "b"}).parent)
    forget_unshared(work.path("cache"))
    assert len(kept(work)) == 1
