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
    asked = ("--break-system-packages", "--dry-run", "--requirement", "/x/asked.txt")
    python = ("--python", "/opt/hub/envs/a/1/bin/python")
    assert uv.preview(UV, PREFIX, Path("/x/asked.txt")) == (str(UV), "pip", "install", *python, *asked)
    assert uv.compile_list(UV, PREFIX, Path("/x/asked.txt"), Path("/x/out.txt"), alone=True) == (
        str(UV), "pip", "compile", "--quiet", *python, "--generate-hashes", "--no-header", "--no-annotate", "--no-deps",
        "--output-file", "/x/out.txt", "/x/asked.txt",
    )  # fmt: skip
    assert "--no-deps" not in uv.compile_list(UV, PREFIX, Path("/x/asked.txt"), Path("/x/out.txt"))
    strict = ("--break-system-packages", "--compile-bytecode", "--no-deps", "--require-hashes", "--requirement", "/x/list.txt")
    assert uv.install_locked(UV, PREFIX, Path("/x/list.txt")) == (str(UV), "pip", "install", *python, *strict)
    assert "--require-hashes" not in uv.install_locked(UV, PREFIX, Path("/x/list.txt"), hashed=False)


LIST = f"""\
# This is made by a program.
-i https://index.example.org
numpy==2.4.6 ; python_version >= "3" \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via somebody

mine @ git+https://git.example.org/mine@abc
"""


def test_a_list_is_one_line_for_each_package() -> None:
    pins = uv.pinned(LIST)
    assert pins == (
        f'numpy==2.4.6 ; python_version >= "3" --hash=sha256:{"a" * 64} --hash=sha256:{"b" * 64}',
        "mine @ git+https://git.example.org/mine@abc",
    )
    assert list(map(uv.has_hash, pins)) == [True, False]


def test_what_a_preview_tells() -> None:
    text = """Resolved 3 packages in 280ms
Would install 3 packages
 + python-dateutil==4.0.0
 - six==1.17.0
 + six==1.16.0
 + mine==6.1 (from https://x.example/mine-6.1-py3-none-any.whl)
"""
    added = ("python-dateutil==4.0.0", "six==1.16.0", "mine @ https://x.example/mine-6.1-py3-none-any.whl")
    assert uv.previewed(text) == uv.Preview(added, (("six==1.17.0", "six==1.16.0"),))
    assert uv.previewed("Would make no changes\n") == uv.Preview((), ())


@pytest.mark.parametrize(("settings", "version"), [
    ("home = /usr/bin\nversion_info = 3.11.2\n", "3.11"), ("version = 3.13.0\n", "3.13"), ("", ""), ("xversion = 1.2", ""),
])  # fmt: skip
def test_which_python_an_environment_has(settings: str, version: str) -> None:
    assert uv.version_of(settings) == version


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
