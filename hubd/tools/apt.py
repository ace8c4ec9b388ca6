"""apt-get and dpkg-query: argv tuples and a parser. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable

Argv = tuple[str, ...]


def query(packages: Iterable[str]) -> Argv:
    """Which of these packages are installed."""
    return ("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", "--", *packages)


def installed(text: str) -> frozenset[str]:
    """The installed packages in the output of `query`."""
    rows = (line.split() for line in text.splitlines())
    return frozenset(row[0] for row in rows if len(row) == 2 and row[1] == "installed")


def install(packages: Iterable[str]) -> Argv:
    """Install packages, waiting for another apt to end."""
    return ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends",
            "--option=DPkg::Lock::Timeout=120", "--", *packages)  # fmt: skip


def update() -> Argv:
    """Fetch the package lists."""
    return ("apt-get", "update", "--quiet", "--option=DPkg::Lock::Timeout=120")
