"""mamba: the exact words of each command, and what its JSON and its log said went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hubd.tools import mamba
from hubd.tools.lock import CondaPackage, Lock

CASES = json.loads(Path(__file__).with_name("cases").joinpath("mamba_failures.json").read_text())
PROGRAM = Path("/opt/bin/micromamba")


@pytest.mark.parametrize(("name", "drives"), [("conda", False), ("mamba", True), ("micromamba", True), ("micromamba-2.1", True)])
def test_which_programs_are_of_this_kind(name: str, drives: bool) -> None:
    assert mamba.drives(Path("/opt/bin") / name) is drives


def test_commands() -> None:
    start = ("/opt/bin/micromamba", "install", "--json", "--yes", "--log-level", "info")
    made = mamba.create(PROGRAM, Path("/e/1"), ["python=3.12", "ipykernel"], ["a", "b"])
    chosen = ("--override-channels", "--channel", "a", "--channel", "b")
    assert made == (*start, *chosen, "--prefix", "/e/1", "python=3.12", "ipykernel")
    assert mamba.create_locked(PROGRAM, Path("/e/1"), Path("/c/x.txt")) == (*start, "--prefix", "/e/1", "--file", "/c/x.txt")


def test_a_checksum_of_a_lock_is_written_as_mamba_reads_it() -> None:
    package = CondaPackage("a", "1", "0", "https://x.example/c/noarch/a-1-0.conda", "a" * 64)
    text = mamba.explicit_list(Lock(manager="conda", platform="linux-64", conda=(package,)))
    assert text == f"@EXPLICIT\n{package.url}#{'a' * 64}\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_failure(case: dict[str, Any]) -> None:
    error = mamba.failure(f"{case['out']}\n{case['err']}", code=137)
    assert (error.what, error.why, error.retry) == (case["what"], case["why"], case["retry"])


def test_what_says_much_is_cut_and_what_is_no_answer_is_passed_over() -> None:
    error = mamba.failure(f"[[1], 2]\nerror    libmamba {'long ' * 1000}\n", code=1)
    assert (error.what, error.why[:9], len(error.why)) == (mamba.UNCLEAR, "long long", 600)


def test_a_success_that_left_packages_out_is_told_with_the_cause_where_there_is_one() -> None:
    said = json.dumps({"success": True})
    error = mamba.incomplete(["numpy"], said)
    assert (error.what, error.retry) == ("mamba left the environment incomplete", True)
    assert "numpy" in error.why
    error = mamba.incomplete(["numpy"], f"{said}\nerror    libmamba Download error (28) Timeout was reached [https://x]\n")
    assert error.what == "a channel cannot be reached"


VERSIONS = [
    ("2.0.5\n", 0, None),
    ("2.10.0.rc2\n", 0, None),
    ("mamba 2.1.1\n", 0, None),
    ("1.5.8\n", 0, "/opt/bin/micromamba is too old: 1.5.8"),
    ("0.27.0\n", 0, "/opt/bin/micromamba is too old: 0.27.0"),
    ("Segmentation fault 2.1\n", 139, "/opt/bin/micromamba does not run"),
    ("", 1, "/opt/bin/micromamba does not run"),
    ("hello\n", 0, "/opt/bin/micromamba does not run"),
]


@pytest.mark.parametrize(("said", "code", "what"), VERSIONS)
def test_one_that_cannot_be_driven_is_told_before_anything_is_done(said: str, code: int, what: str | None) -> None:
    error = mamba.too_old(PROGRAM, said, code=code)
    assert (error.what if error else None) == what
    assert error is None or (error.why and not error.retry and "conda.path" in error.fix)


def test_why_it_does_not_run_is_what_it_said() -> None:
    found = [mamba.too_old(PROGRAM, said, code=127) for said in ("", "GLIBC_2.38 not found\n")]
    assert [error.why for error in found if error] == ["asked for its version it exited with 127", "GLIBC_2.38 not found"]


LINES = [
    ("info     libmamba Download finished, tarball available at '/c/pkgs/numpy-2.3-0.conda'", ("numpy-2.3-0.conda", True)),
    ("info     libmamba Searching index cache file for repo 'https://x/noarch/repodata.json'", ("", False)),
    ("debug    libsolv  x", ("", False)),
    ("warning  libmamba Retrying in 2 seconds", None),
    ("error    libmamba Download finished, tarball available at '/c'", None),
    ("critical libmamba x", None),
    ('    "success": true,', None),
    ("", None),
]


@pytest.mark.parametrize(("line", "told"), LINES)
def test_what_comes_is_told_apart_from_talk_and_from_what_belongs_into_the_log(line: str, told: object) -> None:
    assert mamba.fetched(line) == told
