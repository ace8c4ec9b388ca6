"""apt-get and dpkg-query: the exact words, and what is installed."""

from __future__ import annotations

import pytest

from hubd.tools import apt


def test_commands() -> None:
    assert apt.query(["git", "sudo"]) == (
        "dpkg-query",
        "--show",
        "--showformat=${Package} ${db:Status-Status}\\n",
        "--",
        "git",
        "sudo",
    )
    assert apt.install(["git"]) == (
        "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "--option=DPkg::Lock::Timeout=120", "--", "git",
    )  # fmt: skip
    assert apt.update() == ("apt-get", "update", "--quiet", "--option=DPkg::Lock::Timeout=120")


TEXTS = [
    ("", set()),
    ("git installed\nsudo installed\n", {"git", "sudo"}),
    ("git not-installed\n", set()),
    ("git config-files\nsudo half-configured\n", set()),
    ("dpkg-query: no packages found matching nope\n", set()),
]


@pytest.mark.parametrize(("text", "names"), TEXTS)
def test_installed(text: str, names: set[str]) -> None:
    assert apt.installed(text) == names
