"""Environments that people ask to be offered to others, and those that somebody said yes to: a lock of each."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from hubd.config.names import OWN_NAME
from hubd.errors import HubdError, UsageError
from hubd.host import files
from hubd.layout import Layout
from hubd.tools.lock import LONGEST_LOCK, Lock, parse_lock
from hubd.words import named

# Of one person, at a time: each is a lock on the disk and a note for whoever reads the status.
MOST_REQUESTS = 10
# Of more channels than that the hosts are told alone, so that all can be read.
MOST_CHANNELS = 8
# Of accounts, too.
_NAME = re.compile(rf"_?{OWN_NAME}")


# Of what somebody wrote nothing else is offered to others: no file of any disk, no file behind any address.
# Of a host nothing but its name and port: what stands before an @ or a backslash may look like one.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._:-]+/[!-~]+")
_PINNED = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9._,-]*\])? ?==[A-Za-z0-9.!+_-]+"
    r"(?: ?;[^#@\x00-\x1f]*?)?(?: --hash=sha256:[0-9a-f]{64})+"
)


def requests(layout: Layout) -> dict[str, list[str]]:
    """Whose environments wait for a yes or a no, and their names."""
    found = {owner: _names(layout.requests / owner) for owner in files.children(layout.requests)}
    return {owner: names for owner, names in found.items() if names}


def _names(folder: Path) -> list[str]:
    return [name.removesuffix(".lock") for name in files.children(folder) if name.endswith(".lock") and name[0] != "."]


def is_asked(layout: Layout, owner: str, environment: str) -> bool:
    """Whether somebody waits for a yes or a no to that. Raises UsageError for what cannot be a name."""
    return files.look(_path(layout.requests, owner, environment)) is not None


def check_room(layout: Layout, owner: str, environment: str) -> None:
    """See that a person does not ask for more than somebody can look at. Raises HubdError where these are enough."""
    there = requests(layout).get(owner, [])
    if environment not in there and len(there) >= MOST_REQUESTS:
        raise HubdError(
            f"you have asked to offer {len(there)} environments already", why=f"nobody has decided about {named(there)} yet",
            fix="Ask whoever runs this hub to say yes or no. To ask again for one of these is possible.",
        )  # fmt: skip


def ask(layout: Layout, owner: str, environment: str, lock: bytes) -> None:
    """Keep a lock until somebody decides about it."""
    path = _path(layout.requests, owner, environment)
    for folder in (layout.requests, path.parent):
        files.make_directory(folder, mode=0o700)
    files.write_atomic(path, lock, mode=0o600)


def unchecked(lock: Lock) -> list[str]:
    """What of a lock has no checksum, or is no file of an index or a channel that others reach as well."""
    conda = [each.url for each in lock.conda if not each.sha256 or not _ADDRESS.fullmatch(each.url)]
    return [*conda, *(each for each in lock.pip if not _PINNED.fullmatch(each))]


def asked(layout: Layout, owner: str, environment: str) -> bytes:
    """The lock of what was asked for. Raises UsageError where nobody asked, or where it cannot be offered."""
    lock = files.read(_path(layout.requests, owner, environment), most=LONGEST_LOCK)
    if lock is None:
        raise _nobody_asked(owner, environment)
    if unchecked(parse_lock(lock.decode())):
        raise UsageError(f"{owner}'s {environment} cannot be offered", why="nobody can check what is downloaded")
    return lock


def origins(asked_lock: bytes) -> list[str]:
    """Where what was asked for comes from: channels, or the hosts of very many, and PyPI."""
    lock = parse_lock(asked_lock.decode())
    channels = sorted({each.url.rsplit("/", 2)[0] for each in lock.conda})
    if len(channels) > MOST_CHANNELS:
        channels = sorted({urlsplit(each).hostname or each for each in channels})
    return [*channels, *(["PyPI"] if lock.pip else [])]


def accept(layout: Layout, owner: str, environment: str, entry: str = "", *, lock: bytes) -> None:
    """Say yes to what was asked: from now on that is what is offered, also where it was taken back meanwhile.

    lock: what `asked` gave. entry: what it is called in config.yaml, where that is another name; each entry has a lock of its
    own.
    """
    path = _path(layout.requests, owner, environment)
    target = _path(layout.published, owner, environment, entry)
    for folder in (layout.published, target.parent):
        files.make_directory(folder, mode=0o755)
    files.write_atomic(target, lock, mode=0o644)
    files.remove(path)


def unused(layout: Layout, places: Collection[str | None]) -> list[Path]:
    """The locks of what was offered once and is in config.yaml no more. places: where the entries that are have theirs."""
    found = [layout.published / owner / f"{name}.lock" for owner in files.children(layout.published)
             for name in _names(layout.published / owner)]  # fmt: skip
    return [path for path in found if str(path.relative_to(layout.prefix)) not in places]


def decline(layout: Layout, owner: str, environment: str) -> None:
    """Say no. Raises UsageError where nobody asked."""
    if not is_asked(layout, owner, environment):
        raise _nobody_asked(owner, environment)
    files.remove(_path(layout.requests, owner, environment))


def withdraw(layout: Layout, owner: str, environment: str) -> None:
    """Forget what somebody asked, as that person says so. Raises UsageError where there is nothing to forget."""
    if not is_asked(layout, owner, environment):
        there = requests(layout).get(owner, [])
        why = f"what waits for a yes or a no is {named(there)}" if there else "nothing of yours waits for a yes or a no"
        fix = "What was said yes to is taken back by whoever runs this hub."
        raise UsageError(f"{environment} does not wait for an answer", why=why, fix=fix)
    files.remove(_path(layout.requests, owner, environment))


def _nobody_asked(owner: str, environment: str) -> HubdError:
    return UsageError(f"{owner} did not ask to offer {environment}", fix="What was asked for: hubd status")


def _path(folder: Path, owner: str, environment: str, entry: str = "") -> Path:
    for name in (owner, environment, *((entry,) if entry else ())):
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name[:40]!r} cannot be a name", fix="Write OWNER/NAME, such as bob/geo.")
    return folder / owner / f"{environment}{f'@{entry}' if entry else ''}.lock"
