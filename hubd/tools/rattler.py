"""rattler: the order that its child process is given, the lines it answers with, and its errors in a sentence. Runs nothing.

rattler solves and installs the packages of conda's channels by itself; it is a library, so that a process of our own drives it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hubd.errors import HubdError, last_line
from hubd.tools.conda import no_such_channel, platform
from hubd.tools.lock import CondaPackage, Lock
from hubd.tools.solved import Solved
from hubd.words import named

Argv = tuple[str, ...]

# A name means a channel of this server, as with conda.
CHANNEL_SERVER = "https://conda.anaconda.org"

_NOT_FOUND = re.compile(r"Cannot solve the request because of: No candidates were found for (?P<spec>.+?)\.?")
_TREE_SIGNS = re.compile("[│├└─]+")
# Of a single file it may mean that the channel changed a moment ago.
_NO_CHANNEL = re.compile(r"could not find subdir|\((?:401|404|410)\b[^()]*\) for url \([^()]*/repodata")
_NETWORK = ("error sending request", "HTTP status", "dns error", "error decoding response", "timed out")

_URL = re.compile(r"for url \(([^()\s]+)\)")
# It unpacks while a file comes, and so meets the end of one that is cut off before it has a checksum to compare.
_CUT_OFF = ("Invalid checksum", "the stream may have been truncated")


def drive(python: Path) -> Argv:
    """Start the child process; the order goes to its standard input."""
    return (str(python), "-m", "hubd.jobs.rattler_child")


def order(
    prefix: Path, cache: Path, *, specs: Iterable[str] = (), channels: Iterable[str] = (),
    packages: Iterable[CondaPackage] = (), only_solve: bool = False,
) -> bytes:  # fmt: skip
    """What the child is to do: solve `specs` in `channels` and install that, or install exactly `packages`.

    only_solve: it tells what it would install, and installs nothing.
    """
    said = {
        "prefix": str(prefix),
        "cache": str(cache),
        "specs": list(specs),
        "channels": [channel_address(channel) for channel in channels],
        "packages": [[package.url, package.sha256] for package in packages],
    }
    return json.dumps({**said, "only_solve": True} if only_solve else said).encode()


def channel_address(channel: str) -> str:
    """The address of a channel that is given by name or by address."""
    return channel if "://" in channel or channel.startswith("/") else f"{CHANNEL_SERVER}/{channel}"


def answer(line: str) -> dict[str, Any]:
    """What one line of the child's says; nothing where it is only talk."""
    try:
        said = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def installed(lines: Sequence[str]) -> tuple[CondaPackage, ...] | None:
    """The packages that the child installed, by its last word; None where it did not come to that."""
    said = _last_word(lines, "installed")
    return tuple(CondaPackage(*package) for package in said["installed"]) if said else None


def solved(lines: Sequence[str]) -> Solved | None:
    """What the child would install, by its last word; None where it did not come to that."""
    said = _last_word(lines, "solved")
    if not said:
        return None
    found = tuple(CondaPackage(*package) for package in said["solved"])
    lock = Lock(manager="rattler", platform=platform(), conda=found)
    return Solved(lock=lock, downloads=said["downloads"], size=said["size"])


def _last_word(lines: Sequence[str], key: str) -> dict[str, Any]:
    return next((found for line in reversed(lines) if key in (found := answer(line))), {})


def failure(out: str, err: str, *, code: int) -> HubdError:
    """The child's error as one sentence: which package, which channel, which pin."""
    said = next((found for line in reversed(out.splitlines()) if "failed" in (found := answer(line))), {})
    kind, text = str(said.get("failed", "")), str(said.get("text", ""))
    if not said:
        return HubdError("rattler could not build the environment", why=last_line(err) or f"it exited with {code}", retry=True)
    versions = [str(version) for version in said.get("versions", ())]
    return _of_network(kind, text) or _of_packages(kind, text, versions) or _of_disk(text)


def _of_network(kind: str, text: str) -> HubdError | None:
    if _NO_CHANNEL.search(text):
        return no_such_channel(_ends(text))
    if kind == "GatewayError" or any(word in text for word in _NETWORK):
        fix = "Check the channel's address and the network; hubd tries again by itself."
        # Where the network itself is gone, the address is in between.
        url, why = _URL.search(text), _ends(text)
        why = f"{url[1]}: {why}" if url and url[1] not in why else why
        return HubdError("a channel cannot be reached", why=why, fix=fix, retry=True)
    return None


def _of_packages(kind: str, text: str, versions: Sequence[str]) -> HubdError | None:
    missing = _NOT_FOUND.fullmatch(text.strip())
    if missing:
        fix = "Correct the name or the version, or add the channel that has it."
        there = f", while there are, the newest first: {named(versions)}" if versions else ""
        return HubdError("a package is not in the channels", why=f"{missing['spec'].removesuffix(' *')}{there}", fix=fix)
    if kind == "SolverError":
        why = _short(text.removeprefix("Cannot solve the request because of: "))
        return HubdError("the packages do not fit together", why=why, fix="Loosen one of the versions named.")
    if kind.startswith("Invalid"):
        fix = "Write it as conda does: name, name=1.2 or name>=1.2."
        return HubdError("a package is not written as conda writes it", why=_short(text), fix=fix)
    if kind == "PostLink":
        fix = "Leave it out, or ask for another version of it."
        return HubdError("a package's own script failed", why=f"the post-link script of {text}", fix=fix)
    return None


def _of_disk(text: str) -> HubdError:
    if "No space left on device" in text or "Disk quota exceeded" in text:
        fix = "Free some space where the environments and the cache are; hubd tries again by itself."
        return HubdError("the disk is full", why=_ends(text), fix=fix, retry=True)
    if "hash mismatch" in text:
        return HubdError("a download is not the file it should be", why=_ends(text), fix="Do not use it before you know why.")
    if any(words in text for words in _CUT_OFF):
        return HubdError("a download is not the file it should be", why=_ends(text), retry=True)
    return HubdError("rattler could not build the environment", why=_ends(text), retry=True)


def _ends(text: str) -> str:
    """The first and the last cause: what failed, and because of what."""
    causes = [line.removeprefix("Caused by: ").strip() for line in text.splitlines() if line.strip()]
    return _short(": ".join(dict.fromkeys([*causes[:1], *causes[-1:]])))


def _short(text: str) -> str:
    return " ".join(_TREE_SIGNS.sub(" ", text).split())[:600]
