"""uv: argv tuples, and how a conda-style package spec reads for PyPI. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hubd.errors import HubdError, last_line

Argv = tuple[str, ...]

SYSTEM_PYTHON = "/usr/bin/python3"

_CONDA_STYLE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+(?:\[[^\]]*\])?)\s*=\s*(?P<version>[0-9][A-Za-z0-9.]*)(?P<exact>\*?)$")


def make(uv: Path, prefix: Path, python: str) -> Argv:
    """Make an empty environment in a folder that is there already."""
    return (str(uv), "venv", "--allow-existing", "--no-project", "--python", python or SYSTEM_PYTHON, str(prefix))


def install(uv: Path, prefix: Path, packages: Iterable[str]) -> Argv:
    """Install packages into an environment."""
    return (str(uv), "pip", "install", "--python", str(prefix / "bin/python"), "--compile-bytecode", "--", *packages)


def install_locked(uv: Path, prefix: Path, requirements: Path) -> Argv:
    """Install exactly a hash-locked list: what it leaves out (config/excludes.txt) is not fetched after all."""
    return (str(uv), "pip", "install", "--python", str(prefix / "bin/python"), "--compile-bytecode",
            "--no-deps", "--require-hashes", "--requirement", str(requirements))  # fmt: skip


def split_python(packages: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The Python asked for (`python=3.12` gives `3.12`, a range stays one, none is an empty text) and all other packages."""
    python, others = "", []
    for package in packages:
        match = re.fullmatch(r"(?:.*::)?python\s*(?:=*\s*([0-9.]*)\*?|([<>~!].*))", package.strip())
        if match:
            python = match[2] or match[1].rstrip(".")
        else:
            others.append(requirement(package))
    return python, tuple(others)


def requirement(package: str) -> str:
    """A package as PyPI writes it: `numpy=2.1` becomes `numpy==2.1.*`; `channel::name` loses its channel."""
    bare = package.strip().rpartition("::")[2]
    match = _CONDA_STYLE.match(bare)
    return f"{match['name']}=={match['version'].rstrip('.')}.*" if match else bare


def failure(output: str, *, code: int) -> HubdError:
    """uv's error as one sentence."""
    text = " ".join(output.split())
    if "No solution found" in text or "not found in the package registry" in text:
        # The reader is told "because" before it.
        why = text.partition("Because ")[2][:600] or last_line(output)
        return HubdError("the packages do not fit together or one is not on the index", why=why,
                         fix="Correct the name, or loosen one of the versions named.")  # fmt: skip
    if "No interpreter found" in text or "python-build-standalone" in text:
        return HubdError("that Python version cannot be had", why=last_line(output),
                         fix="Leave `python=` out to use the system's Python, or use `manager: conda`.", retry=True)  # fmt: skip
    if "hash" in text.lower() and "mismatch" in text.lower():
        return HubdError("a download is not the file it should be", why=last_line(output))
    if any(word in text for word in ("error sending request", "dns error", "connect", "timed out", "Failed to fetch")):
        fix = "Check the network and the package index; hubd tries again by itself."
        return HubdError("the package index cannot be reached", why=last_line(output), fix=fix, retry=True)
    return HubdError("uv could not build the environment", why=last_line(output) or f"it exited with {code}", retry=True)
