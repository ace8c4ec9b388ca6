"""A lock: exactly what a generation consists of, so that it can be built again on any machine. Pure text and values."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hubd.errors import HubdError
from hubd.words import plain

VERSION = 1
# Its name beside the mark of a generation.
SAVED = ".hubd-lock.yaml"
# Bytes. Locks are read that a build may have written.
LONGEST_LOCK = 8 * 1024 * 1024
# More problems than that help nobody: it is another file.
MOST_PROBLEMS = 10

_PACKAGE = re.compile(r"(?P<url>(?:https?|file)://\S+/(?P<file>[^/\s#]+?)(?:\.conda|\.tar\.bz2))(?:#sha256:(?P<sha256>[0-9a-f]{64}))?")
_HEAD = re.compile(r"# hubd lock (\d+):")
_ENTRY = re.compile(r"(?P<key>[a-z]+):(?: +(?P<value>\S.*))?")
_VALUES = {"manager": r"[a-z]{1,20}", "platform": r"[a-z0-9]+-[a-z0-9_]+", "python": r"\d+\.\d+(?:\.\d+)?"}
_LISTS = ("conda", "pip")
_PIN = re.compile(r"[A-Za-z0-9][^\s=@;]*(?: ?@ ?[^\s;]+| ?==[^\s;]+)(?: ?;[^#]*)?")
_HASHES = re.compile(r"(?: --hash=sha256:[0-9a-f]{64})*")


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """One package of a conda channel. sha256: of the file; empty where the channel does not tell."""

    name: str
    version: str
    build: str
    url: str
    sha256: str = ""

    @property
    def line(self) -> str:
        """As in an explicit list of conda's, with the checksum behind it."""
        return f"{self.url}#sha256:{self.sha256}" if self.sha256 else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """manager: what it was solved by; conda's and rattler's are built by either. platform: conda's word for the machine.

    python: the interpreter's version, for uv. conda: packages of channels. pip: requirements as pip writes them, one a line,
    each with its hashes.
    """

    manager: str
    platform: str
    python: str = ""
    conda: tuple[CondaPackage, ...] = ()
    pip: tuple[str, ...] = ()

    @property
    def interpreter(self) -> str:
        """The version of the Python that is in it, whichever manager put it there; empty where there is none."""
        return next((each.version for each in self.conda if each.name == "python"), self.python)


def conda_package(line: str) -> CondaPackage:
    """The package that one line of an explicit list names. Raises HubdError for what is none."""
    match = _PACKAGE.fullmatch(line.strip())
    parts = match["file"].rsplit("-", 2) if match else []
    if not match or len(parts) != 3:
        raise HubdError(f"{line.strip()[:200]!r} is not the address of a conda package")
    name, version, build = parts
    return CondaPackage(name, version, build, match["url"], match["sha256"] or "")


def lock_text(lock: Lock) -> str:
    """The lock as a file: YAML that is written one way only, so that two locks can be compared line by line."""
    lines = [
        f"# hubd lock {VERSION}: exactly what an environment consists of. `lock:` in config.yaml builds it again.",
        f"manager: {lock.manager}",
        f"platform: {lock.platform}",
        *([f"python: '{lock.python}'"] if lock.python else []),
        *_items("conda", sorted(package.line for package in lock.conda)),
        *_items("pip", sorted(lock.pip)),
    ]
    return "\n".join(lines) + "\n"


@functools.lru_cache(maxsize=64)
def parse_lock(text: str) -> Lock:
    """The lock that a file holds. Raises HubdError with everything that is wrong, each with its line."""
    head = _HEAD.match(text)
    if head and int(head[1]) > VERSION:
        raise HubdError("it is a lock of a newer hubd", fix="Upgrade hubd, or write the lock anew with this one.")
    reading = _Reading()
    for number, line in enumerate(text.splitlines(), 1):
        if problem := reading.take(line.rstrip()):
            reading.problems.append(f"line {number}: {problem}")
    told = [*reading.problems, *reading.lacks()]
    if told:
        more = f"; and {len(told) - MOST_PROBLEMS} more" if len(told) > MOST_PROBLEMS else ""
        raise HubdError(
            "it is not a lock that can be built",
            why="; ".join(told[:MOST_PROBLEMS]) + more,
            fix="Write it anew, as hubd keeps it beside each generation in `.hubd-lock.yaml`.",
        )
    values, pip = reading.values, tuple(reading.items["pip"])
    return Lock(**values, conda=tuple(map(conda_package, reading.items["conda"])), pip=pip)


@dataclass(slots=True)
class _Reading:
    """What was read so far. at: the list that items now belong to."""

    values: dict[str, str] = field(default_factory=dict)
    items: dict[str, list[str]] = field(default_factory=lambda: {key: [] for key in _LISTS})
    problems: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    at: str = ""

    def take(self, line: str) -> str:
        """Use one line; gives what is wrong with it."""
        if not line or line.startswith("#"):
            return ""
        if item := re.fullmatch(r" *- +(\S.*)", line):
            return self._item(_unquoted(item[1]))
        entry = _ENTRY.fullmatch(line)
        known = (*_VALUES, *_LISTS)
        if not entry or entry["key"] not in known:
            return f"{plain(line, 80)!r} is nothing that a lock holds: {', '.join(known)}"
        return self._entry(entry["key"], _unquoted(entry["value"] or ""))

    def _entry(self, key: str, value: str) -> str:
        twice, self.at = key in self.seen, key if key in _LISTS else ""
        self.seen.add(key)
        if twice:
            return f"`{key}` is there twice"
        if key in _LISTS:
            return f"`{key}` has no list below it but {plain(value, 80)!r}" if value else ""
        self.values[key] = value
        return "" if re.fullmatch(_VALUES[key], value) else f"{plain(value, 80)!r} is no {key}"

    def _item(self, text: str) -> str:
        if not self.at:
            return f"{plain(text, 80)!r} belongs to no list"
        self.items[self.at].append(text)
        if self.at == "pip":
            return _pin_problem(text)
        try:
            conda_package(text)
        except HubdError as error:
            return error.what
        return ""

    def lacks(self) -> Iterator[str]:
        """What a whole lock would have."""
        yield from (f"`{key}:` is missing" for key in ("manager", "platform") if key not in self.seen)
        if not any(self.items.values()):
            yield "it names no packages"


def _pin_problem(text: str) -> str:
    # Apart, so that the time it takes grows no faster than the line: people write locks, and the daemon reads them.
    pin, mark, rest = text.partition(" --hash=")
    if not _PIN.fullmatch(pin) or not _HASHES.fullmatch(mark + rest):
        return f"{plain(text, 80)!r} is not an exact version as pip writes it"
    if not mark and "@" not in text:
        return f"{plain(text, 80)!r} has no --hash=sha256:"
    return ""


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def unfit(lock: Lock, manager: str, platform: str) -> HubdError | None:
    """Why this manager cannot build that lock on this kind of machine; None where it can."""
    if lock.conda and lock.platform != platform and any(f"/{lock.platform}/" in each.url for each in lock.conda):
        fix = "Write a lock on a machine of this kind."
        return HubdError("the lock is for other machines", why=f"it is for {lock.platform}, and this is {platform}", fix=fix)
    if lock.conda and manager == "uv":
        fix = "Write `manager: conda` for this environment."
        return HubdError("uv cannot build this lock", why="it holds packages of conda channels", fix=fix)
    if not lock.conda and manager != "uv":
        fix = "Write `manager: uv` for this environment."
        return HubdError(f"{manager} cannot build this lock", why="it holds packages of PyPI alone, built by uv", fix=fix)
    return None


def _items(key: str, lines: Iterable[str]) -> list[str]:
    quoted = ["  - '" + line.replace("'", "''") + "'" for line in lines]
    return [f"{key}:", *quoted] if quoted else []
