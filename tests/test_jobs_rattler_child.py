"""The process that drives rattler: its lines of JSON, and what it makes of errors. It installs nothing here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hubd.jobs import rattler_child
from hubd.jobs.rattler_child import Broken, Reporter, platforms


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_is_fetched_and_linked_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()  # type: ignore[abstract]
    reporter.on_transaction_start(2)
    reporter.on_populate_cache_complete(0)
    reporter.on_link_complete(0)
    reporter.on_populate_cache_complete(1)
    assert lines(capsys) == [
        {"step": "downloading", "done": 1, "total": 2},
        {"step": "linking", "done": 1, "total": 2},
        {"step": "downloading", "done": 2, "total": 2},
    ]


def test_scripts_that_fail_are_remembered_by_their_packages() -> None:
    reporter = Reporter()  # type: ignore[abstract]
    for package, success in (("good", True), ("bad", False)):
        reporter.on_post_link_complete(reporter.on_post_link_start(package, f"bin/.{package}-post-link.sh"), success)
    assert reporter.failed == ["bad"]


def test_a_package_that_cannot_be_read_is_named() -> None:
    with pytest.raises(Broken, match="numpy=>=!"):
        rattler_child.match("numpy=>=!")


def told_to(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(order).encode())))
    return rattler_child.main()


def test_an_error_is_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    order = {"prefix": str(tmp_path / "1"), "cache": str(tmp_path), "specs": ["a=>=!"], "channels": [], "packages": []}
    assert told_to(order, monkeypatch) == 1
    said = lines(capsys)[-1]
    assert said["failed"] == "InvalidMatchSpecError"
    assert said["text"].startswith("a=>=!: ")


def test_an_error_of_rattlers_own_keeps_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order = {"prefix": str(tmp_path / "1"), "cache": str(tmp_path), "specs": ["a"], "channels": [], "packages": []}
    assert told_to(order, monkeypatch) == 1
    assert lines(capsys)[-1]["failed"] == "SolverError"


LACKING = [
    # what is asked for, the versions that are told
    (["one=99"], ["10.0", "9.1", "9.0", "2.0"]),
    (["two", "One>=99,<100"], ["10.0", "9.1", "9.0", "2.0"]),
    (["there-is-none=1"], []),
    (["two"], []),  # needs a version of one that there is not, which nobody asked for
]


@pytest.mark.parametrize(("specs", "versions"), LACKING)
def test_of_a_version_that_there_is_not_those_that_there_are_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], specs: list[str], versions: list[str]
) -> None:
    all_of = [("one", each, []) for each in ("1.0", "10.0", "9.0", "2.0", "9.1")] + [("two", "1.0", ["one >=99"])]
    packages = {
        f"{name}-{version}-0.tar.bz2": {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends,
                                        "subdir": "noarch", "noarch": "generic", "sha256": "0" * 64}
        for name, version, depends in all_of
    }  # fmt: skip
    for subdir, there in (("noarch", packages), (str(platforms()[0]), {})):
        (tmp_path / "channel" / subdir).mkdir(parents=True)
        data = {"info": {"subdir": subdir}, "packages": there, "packages.conda": {}}
        (tmp_path / "channel" / subdir / "repodata.json").write_text(json.dumps(data))
    order = {"prefix": str(tmp_path / "1"), "cache": str(tmp_path / "cache"), "specs": specs, "packages": [],
             "channels": [f"file://{tmp_path}/channel"]}  # fmt: skip
    assert told_to(order, monkeypatch) == 1
    said = lines(capsys)[-1]
    assert (said["failed"], said["versions"]) == ("SolverError", versions), said
