"""conda: the exact words of each command, and what its JSON says went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hubd.tools import conda

CASES = json.loads(Path(__file__).with_name("cases").joinpath("conda_failures.json").read_text())


def test_commands() -> None:
    assert conda.create(Path("/c"), Path("/e/1"), ["python=3.12", "ipykernel"], ["a", "b"]) == (
        "/c/bin/conda",
        "create",
        "--json",
        "--yes",
        "--override-channels",
        "--channel",
        "a",
        "--channel",
        "b",
        "--prefix",
        "/e/1",
        "python=3.12",
        "ipykernel",
    )
    assert conda.install_conda(Path("/x/m.sh"), Path("/c")) == ("bash", "/x/m.sh", "-b", "-u", "-p", "/c")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_failure(case: dict[str, Any]) -> None:
    output = case["text"] if "text" in case else json.dumps(case["output"])
    error = conda.failure(output, code=137)
    assert (error.what, error.why, error.retry) == (case["what"], case["why"], case["retry"])


def test_a_long_message_is_cut() -> None:
    assert len(conda.failure(json.dumps({"message": "x" * 5000}), code=1).why) == 600
