"""The process that drives rattler: its lines of JSON, and what it makes of errors. It installs nothing here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hubd.jobs import rattler_child
from hubd.jobs.rattler_child import Broken, Reporter


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
