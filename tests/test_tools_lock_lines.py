"""Saved locks, read with tolerance."""

from __future__ import annotations

import pytest

from hubd.tools.lock import CondaPackage, Lock, lock_text
from hubd.tools.lock_lines import LockLines, read_lock

NUMPY = CondaPackage("numpy", "2.3.1", "py312_0", "https://mirror.test/tests/linux-64/numpy-2.3.1-py312_0.conda", "a" * 64)


def test_what_a_build_saves_is_read_again() -> None:
    pip = ("rich==14.0 --hash=sha256:" + "b" * 64, "own @ https://files.test/own.whl --hash=sha256:" + "c" * 64, "it's==1")
    found = read_lock(lock_text(Lock(manager="conda", platform="linux-64", python="3.12", conda=(NUMPY,), pip=pip)))
    assert (found.manager, found.platform, found.python, found.conda) == ("conda", "linux-64", "3.12", (NUMPY,))
    assert found.versions == {"numpy": "2.3.1", "rich": "14.0", "own": "https://files.test/own.whl", "it": ""}


PIP = [
    ("jupyter_core==5.7", ("jupyter_core", "5.7")), ("uvicorn[standard] == 0.3 ; python_version<'4'", ("uvicorn", "0.3")),
    ("plain", ("plain", "")), ("numpy>=2", ("numpy", "")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "read"), PIP)
def test_requirements(line: str, read: tuple[str, str]) -> None:
    assert read_lock("pip:\n  - '" + line.replace("'", "''") + "'\n").pip == {read[0]: read[1]}


NONSENSE = ["", "\0", "- - -", "conda:\n  - 'x'\n  - ''\n", "pip: 7\n  - '!'\n", "manager\n  - x", "{" * 10_000]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_names_nothing(text: str) -> None:
    found = read_lock(text)
    assert (found.conda, dict(found.pip)) == ((), {})


def test_a_lock_steers_no_terminal_and_ends() -> None:
    text = "manager: \x1b[31mconda\npip:\n" + "".join(f"  - 'p{number}==1\x1b[2J'\n" for number in range(20_000))
    found = read_lock(text)
    assert found.manager == "conda"
    assert len(found.pip) == 10_000
    assert "".join(found.pip.values()).isprintable()
    assert read_lock("conda:\n  - 'https://a/\x1b[2J/linux-64/a-1-0.conda'\n") == LockLines()
