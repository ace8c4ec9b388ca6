"""rattler: the order for its process, the lines it answers with, and its errors as one sentence each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hubd.tools import rattler
from hubd.tools.lock import CondaPackage

CASES = json.loads(Path(__file__).with_name("cases").joinpath("rattler_failures.json").read_text())


def test_the_order_names_what_to_solve() -> None:
    said = json.loads(rattler.order(Path("/e/1"), Path("/c"), specs=("python=3.12",), channels=("conda-forge", "http://x/y")))
    assert said == {
        "prefix": "/e/1",
        "cache": "/c",
        "specs": ["python=3.12"],
        "channels": ["https://conda.anaconda.org/conda-forge", "http://x/y"],
        "packages": [],
    }


def test_the_order_names_exactly_what_to_install() -> None:
    package = CondaPackage("a", "1", "0", "https://x/noarch/a-1-0.conda", "f" * 64)
    said = json.loads(rattler.order(Path("/e/1"), Path("/c"), packages=(package,)))
    assert said["packages"] == [["https://x/noarch/a-1-0.conda", "f" * 64]]


@pytest.mark.parametrize(("channel", "address"), [
    ("conda-forge", "https://conda.anaconda.org/conda-forge"),
    ("conda-forge/label/rc", "https://conda.anaconda.org/conda-forge/label/rc"),
    ("https://mirror.example.org/conda-forge", "https://mirror.example.org/conda-forge"),
    ("file:///srv/channel", "file:///srv/channel"),
    ("/srv/channel", "/srv/channel"),
])  # fmt: skip
def test_a_channel_by_name_and_by_address(channel: str, address: str) -> None:
    assert rattler.channel_address(channel) == address


def test_the_last_word_tells_what_is_installed() -> None:
    lines = ['{"step": "solving"}', "talk", "[1]", '{"installed": [["a", "1", "0", "https://x/a-1-0.conda", ""]]}']
    assert rattler.installed(lines) == (CondaPackage("a", "1", "0", "https://x/a-1-0.conda"),)
    assert rattler.installed(lines[:-1]) is None


SAID = {"failed": "kind", "text": "text", "versions": "versions"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_failure(case: dict[str, Any]) -> None:
    out = case.get("out") or "warning\n" + json.dumps({key: case.get(word) for key, word in SAID.items() if word in case}) + "\n"
    error = rattler.failure(out, case.get("err", ""), code=-9)
    assert (error.what, error.why, error.retry) == (case["what"], case["why"], case["retry"])


def test_a_long_reason_is_cut() -> None:
    out = json.dumps({"failed": "SolverError", "text": "x" * 5000})
    assert len(rattler.failure(out, "", code=1).why) == 600
