"""Records of packages: what is the same in several environments is kept once, and never trusted when cut off."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fakes import FakeCommands

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.web import Web
from hubd.jobs.records import KEPT, check_against, forget_unshared, share_records
from hubd.jobs.work import Work
from hubd.tools.lock import CondaPackage, Lock

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
    assert (two / "a.json").stat().st_mode & 0o777 == 0o444, "it is that of others, too"


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
    path = environment(work, "one", a=RECORD) / "a.json"
    assert (json.loads(path.read_text()), path.stat().st_mode & 0o777) == (RECORD, 0o444)


CHANNEL = "https://x.example/c/noarch"
GOOD, BAD = hashlib.sha256(b"good").hexdigest(), "b" * 64


def locked(*names: str, sha256: str = GOOD) -> Lock:
    conda = tuple(CondaPackage(name, "1", "0", f"{CHANNEL}/{name}-1-0.conda", sha256) for name in names)
    return Lock(manager="conda", platform="linux-64", conda=conda)


def consisting_of(work: Work, *names: str, sha256: str = "") -> Path:
    usual = {"version": "1", "build": "0", "sha256": sha256}
    records = {name: {**usual, "name": name, "url": f"{CHANNEL}/{name}-1-0.conda"} for name in names}
    return environment(work, "one", **records).parent


MANY = ("a", "b", "c", "d", "e")
OTHERS = [
    # of the lock, of the environment, why
    (("a", "b"), ("a",), f"without {CHANNEL}/b-1-0.conda"),
    (("a",), ("a", "b"), f"with {CHANNEL}/b-1-0.conda"),
    (("a", "b"), ("a", "c"), f"without {CHANNEL}/b-1-0.conda; with {CHANNEL}/c-1-0.conda"),
    (MANY, (), f"without {', '.join(f'{CHANNEL}/{name}-1-0.conda' for name in 'abc')} and 2 more"),
]


@pytest.mark.parametrize(("asked", "found", "why"), OTHERS)
def test_an_environment_of_other_packages_is_not_what_its_lock_says(
    work: Work, asked: tuple[str, ...], found: tuple[str, ...], why: str
) -> None:
    with pytest.raises(HubdError) as caught:
        check_against(locked(*asked), consisting_of(work, *found), work.path("cache"))
    assert (caught.value.what, caught.value.why, caught.value.retry) == ("the environment is not what its lock says", why, True)


CHECKSUMS = [
    # of the lock, of the record, in the archive that the cache has, the one that is refused
    (GOOD, GOOD, b"good", ""), (GOOD, "", None, ""), (GOOD, "", b"good", ""), ("", BAD, b"bad", ""),
    (GOOD, BAD, None, BAD), (GOOD, BAD, b"good", BAD), (GOOD, GOOD, b"bad", hashlib.sha256(b"bad").hexdigest()),
    (GOOD, "", b"bad", hashlib.sha256(b"bad").hexdigest()),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "told", "archive", "refused"), CHECKSUMS)
def test_a_download_is_the_file_that_the_lock_names(
    work: Work, asked: str, told: str, archive: bytes | None, refused: str
) -> None:
    if archive is not None:
        (work.path("cache") / "a-1-0.conda").write_bytes(archive)
    prefix = consisting_of(work, "a", sha256=told)
    if not refused:
        check_against(locked("a", sha256=asked), prefix, work.path("cache"))
        return
    with pytest.raises(HubdError) as caught:
        check_against(locked("a", sha256=asked), prefix, work.path("cache"))
    assert (caught.value.what, caught.value.retry) == ("a download is not the file it should be", False)
    assert caught.value.why == f"the SHA-256 of {CHANNEL}/a-1-0.conda is {refused}, and the lock says {GOOD}"


def test_without_condas_records_nothing_is_left_in_the_cache(work: Work) -> None:
    share_records(work, work.path("cache").parent / "none")
    assert list(work.path("cache").iterdir()) == []


def test_records_of_packages_that_are_gone_are_forgotten(work: Work) -> None:
    environment(work, "one", a=RECORD)
    files.clear(environment(work, "gone", b=RECORD | {"name": "b"}).parent)
    forget_unshared(work.path("cache"))
    assert len(kept(work)) == 1
