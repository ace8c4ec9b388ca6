"""uv: the exact words of each command, conda's way of writing for PyPI, and what its errors mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hubd.tools import uv

CASES = Path(__file__).with_name("cases")
UV, PREFIX = Path("/opt/hub/hub/bin/uv"), Path("/opt/hub/envs/a/1")


def test_commands() -> None:
    assert uv.make(UV, PREFIX, "3.12") == (
        "/opt/hub/hub/bin/uv",
        "venv",
        "--allow-existing",
        "--no-project",
        "--python",
        "3.12",
        "/opt/hub/envs/a/1",
    )
    assert uv.make(UV, PREFIX, "")[5] == "/usr/bin/python3"
    assert uv.install(UV, PREFIX, ["numpy", "-evil"]) == (
        "/opt/hub/hub/bin/uv",
        "pip",
        "install",
        "--python",
        "/opt/hub/envs/a/1/bin/python",
        "--compile-bytecode",
        "--",
        "numpy",
        "-evil",
    )
    assert uv.install_locked(UV, PREFIX, Path("/x/list.txt")) == (
        "/opt/hub/hub/bin/uv",
        "pip",
        "install",
        "--python",
        "/opt/hub/envs/a/1/bin/python",
        "--compile-bytecode",
        "--no-deps",
        "--require-hashes",
        "--requirement",
        "/x/list.txt",
    )


@pytest.mark.parametrize(("written", "meant"), json.loads((CASES / "uv_requirements.json").read_text()))
def test_requirement(written: str, meant: str) -> None:
    assert uv.requirement(written) == meant


PYTHONS = [
    (("numpy",), "", ("numpy",)),
    (("python=3.12", "numpy"), "3.12", ("numpy",)),
    (("numpy", "python"), "", ("numpy",)),
    (("python==3.12.1",), "3.12.1", ()),
    (("python = 3.12.*",), "3.12", ()),
    (("python-dateutil", "pythonnet=3"), "", ("python-dateutil", "pythonnet==3.*")),
    ((), "", ()),
]


@pytest.mark.parametrize(("packages", "python", "others"), PYTHONS)
def test_which_python(packages: tuple[str, ...], python: str, others: tuple[str, ...]) -> None:
    assert uv.split_python(packages) == (python, others)


PYTHON_RANGES = [
    ("python>=3.11", ">=3.11"),
    ("python >=3.11,<3.13", ">=3.11,<3.13"),
    ("python~=3.12", "~=3.12"),
    ("conda-forge::python=3.12", "3.12"),
]


@pytest.mark.parametrize(("package", "python"), PYTHON_RANGES)
def test_a_range_of_pythons_is_no_package_of_that_name(package: str, python: str) -> None:
    assert uv.split_python([package, "numpy"]) == (python, ("numpy",))


@pytest.mark.parametrize("case", json.loads((CASES / "uv_failures.json").read_text()), ids=lambda case: case["case"])
def test_failure(case: dict[str, Any]) -> None:
    error = uv.failure(case["text"], code=137)
    assert (error.what, error.why, error.retry) == (case["what"], case["why"], case["retry"])
