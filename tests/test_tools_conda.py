"""conda: the exact words of each command, and what its JSON says went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hubd.tools import conda
from hubd.tools.lock import CondaPackage

CASES = json.loads(Path(__file__).with_name("cases").joinpath("conda_failures.json").read_text())


def test_commands() -> None:
    assert conda.create(Path("/c/bin/conda"), Path("/e/1"), ["python=3.12", "ipykernel"], ["a", "b"]) == (
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


LINK = [{"base_url": "https://x", "build_number": 0, "build_string": "py_0", "channel": "x", "dist_name": "numpy-2.4-py_0",
         "name": "numpy", "platform": "noarch", "version": "2.4"}]  # fmt: skip
FETCH = [{"name": "numpy", "fn": "numpy-2.4-py_0.conda", "url": "https://x/noarch/numpy-2.4-py_0.conda", "size": 7}]


def preview_of(**actions: Any) -> str:
    return "a warning\n" + json.dumps({"success": True, "dry_run": True, "prefix": "/e/1", "actions": actions})


def test_a_preview_asks_for_the_same_as_an_installation() -> None:
    order = conda.create(Path("/c/bin/conda"), Path("/e/1"), ["python=3.12"], ["a"])
    assert [word for word in conda.preview(order) if word != "--dry-run"] == list(order)
    assert conda.preview(order)[:3] == ("/c/bin/conda", "create", "--dry-run")


def test_what_a_preview_tells() -> None:
    found = conda.previewed(preview_of(LINK=LINK, FETCH=FETCH))
    assert found
    assert found.lock.conda == (CondaPackage("numpy", "2.4", "py_0", ""),)
    assert (found.downloads, found.size) == (1, 7)
    nothing = conda.previewed(preview_of(PREFIX="/e/1"))
    assert nothing and (nothing.lock.conda, nothing.downloads, nothing.size) == ((), 0, 0)
    unsure = conda.previewed(preview_of(LINK=LINK, FETCH=[*FETCH, {"name": "b"}]))
    assert unsure and (unsure.downloads, unsure.size) == (2, None)
    for output in ("", "Traceback", json.dumps({"success": True}), json.dumps({"actions": []})):
        assert conda.previewed(output) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_failure(case: dict[str, Any]) -> None:
    output = case["text"] if "text" in case else json.dumps(case["output"])
    error = conda.failure(output, code=137)
    assert (error.what, error.why, error.retry) == (case["what"], case["why"], case["retry"])


def test_a_long_message_is_cut() -> None:
    assert len(conda.failure(json.dumps({"message": "x" * 5000}), code=1).why) == 600


WHERE = [
    # what is there, what conda.path names, what is driven
    (["c/bin/conda", "c/bin/mamba", "c/bin/micromamba"], "c", "c/bin/conda"),
    (["c/bin/mamba", "c/bin/micromamba"], "c", "c/bin/mamba"),
    (["c/bin/micromamba"], "c", "c/bin/micromamba"),
    (["x/micromamba"], "x/micromamba", "x/micromamba"),
    (["x/micromamba-linux-64"], "x/micromamba-linux-64", "x/micromamba-linux-64"),
    (["mambaforge/bin/mamba", "conda"], "mambaforge", "mambaforge/bin/mamba"),
    (["c/bin/mamba"], "c/bin/mamba", "c/bin/mamba"),
    (["c/bin/conda"], "c/bin/conda", "c/bin/conda"),
    (["c/bin/conda", "c/bin/mamba"], "c/bin/mamba", "c/bin/conda"),
    (["c/bin/python"], "c/bin/python", None),
    (["c/bin/python", "c/bin/conda"], "c/bin/python", None),
    (["c/bin/mamba"], "c/lib", None),
    ([], "x/micromamba", None),
]


@pytest.mark.parametrize(("there", "named", "driven"), WHERE)
def test_what_a_path_of_the_config_stands_for(there: list[str], named: str, driven: str | None) -> None:
    programs = {Path("/") / each for each in there}
    assert conda.program(Path("/") / named, programs.__contains__) == (Path("/") / driven if driven else None)


NAMES = [
    ("numpy", "numpy"),
    ("NumPy>=2", "numpy"),
    ("numpy=2.1", "numpy"),
    ("numpy 2.*", "numpy"),
    ("forge::numpy[version='>=1']", "numpy"),
    ("https://x.example/forge/linux-64::numpy", "numpy"),
    ("https://x.example/forge/noarch/python-dateutil-2.9-0.conda", "python-dateutil"),
    ("file:///c/noarch/a-1-0.tar.bz2", "a"),
    ("https://x.example/noarch/a-b-1-0.conda#0123456789abcdef0123456789abcdef", "a-b"),
    ("_openmp_mutex", "_openmp_mutex"),
    ("*[md5=abc]", ""),
]


@pytest.mark.parametrize(("spec", "name"), NAMES)
def test_whom_a_spec_asks_for(spec: str, name: str) -> None:
    assert conda.asked_name(spec) == name


COVERED: list[tuple[list[str], tuple[str, ...]]] = [
    (["python=3.11", "Numpy>=2", "forge::numpy", "*[md5=abc]", "__glibc>=2.17"], ()),
    (["python", "scipy=1", "num"], ("scipy=1", "num")),
    ([], ()),
]


@pytest.mark.parametrize(("specs", "missing"), COVERED)
def test_records_cover_what_was_asked_for(specs: list[str], missing: tuple[str, ...]) -> None:
    found = [CondaPackage(name, "1", "0", "https://x") for name in ("python", "numpy")]
    assert conda.uncovered(specs, found) == missing


BAR = '{{"fetch":"numpy-2.3.1           | 8.1 MB    | ","finished":{},"maxval":1,"progress":{}}}\n\0'


def test_an_error_after_downloads_is_found_behind_them() -> None:
    said = json.dumps({"exception_name": "CondaHTTPError", "message": "HTTP 503 for url <https://example.org/x>"}, indent=2)
    error = conda.failure(BAR.format("false", 0.5) + BAR.format("true", 1) + said, code=1)
    assert (error.what, "503" in error.why) == ("a channel cannot be reached", True)
    assert conda.failure(BAR.format("true", 1), code=1).why == "conda exited with 1"


def test_what_comes_is_told_apart_from_other_lines() -> None:
    assert conda.fetched(BAR.format("false", 0.5).rstrip("\0")) == ("numpy-2.3.1", False)
    assert conda.fetched("\0" + BAR.format("true", 1)) == ("numpy-2.3.1", True)
    for line in ("", "{", '  "fetch": "x"', '{"success": true}', "Collecting {fetch}"):
        assert conda.fetched(line) is None


@pytest.mark.parametrize("output", ["{" * 200_000, '{"a":' * 200_000])
def test_what_is_made_to_keep_the_reader_busy_does_not(output: str) -> None:
    assert list(conda.objects(output)) == []
    assert conda.failure(output, code=1).what == conda.UNCLEAR
