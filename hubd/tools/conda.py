"""conda: argv tuples and what its JSON says went wrong. Runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from platform import machine
from typing import Any

from hubd.errors import HubdError, last_line

Argv = tuple[str, ...]

# What is said of a failure that is none of the known ones.
UNCLEAR = "conda could not build the environment"


def platform() -> str:
    """conda's word for the kind of this machine."""
    return {"x86_64": "linux-64"}.get(machine(), f"linux-{machine()}")


def create(conda: Path, prefix: Path, packages: Iterable[str], channels: Iterable[str]) -> Argv:
    """Make an environment. The prefix must be empty: over an existing one conda deletes what is there."""
    chosen = [word for channel in channels for word in ("--channel", channel)]
    return (str(conda / "bin/conda"), "create", "--json", "--yes", "--override-channels", *chosen,
            "--prefix", str(prefix), *(spec for spec in packages))  # fmt: skip


def install_conda(installer: Path, prefix: Path) -> Argv:
    """Run a Miniconda installer without questions; `-u` because the prefix is there already."""
    return ("bash", str(installer), "-b", "-u", "-p", str(prefix))


def failure(output: str, *, code: int) -> HubdError:
    """conda's error as one sentence: which package, which channel, which pin."""
    said = _json_in(output)
    name, message = str(said.get("exception_name", "")), str(said.get("message") or said.get("error") or "")
    if name == "CondaMultiError" or not message:
        inner = [str(error.get("message", "")) for error in said.get("errors") or [] if isinstance(error, Mapping)]
        message = "; ".join(filter(None, inner)) or message
    # Sometimes there is no JSON at all but a traceback: its last line is what there is to tell.
    short = " ".join(message.split())[:600] or ("" if said else last_line(output)) or f"conda exited with {code}"
    if name in ("PackagesNotFoundInChannelsError", "PackagesNotFoundError", "ResolvePackageNotFound"):
        missing = ", ".join(map(str, said.get("packages") or [])) or short
        fix = "Correct the name or the version, or add the channel that has it."
        return HubdError("a package is not in the channels", why=missing, fix=fix)
    if "nsatisfiable" in name:
        return HubdError("the packages do not fit together", why=short, fix="Loosen one of the versions named.")
    if "HTTP" in name or "Channel" in name or "Connection" in name:
        fix = "Check the channel's address and the network; hubd tries again by itself."
        return HubdError("a channel cannot be reached", why=short, fix=fix, retry=True)
    return HubdError(UNCLEAR, why=short, retry=True)


def _json_in(output: str) -> dict[str, Any]:
    """The JSON object in conda's output: some failures print it among other lines or on standard error."""
    start = output.find("{")
    while start != -1:
        try:
            value, _ = json.JSONDecoder().raw_decode(output[start:])
        except ValueError:
            start = output.find("{", start + 1)
            continue
        return value if isinstance(value, dict) else {}
    return {}
