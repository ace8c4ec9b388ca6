"""What a saved lock names, read with tolerance for showing and comparing; building from one reads it strictly elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hubd.errors import HubdError
from hubd.tools.lock import CondaPackage, conda_package
from hubd.words import plain

MOST_PACKAGES = 10_000

_ITEM = re.compile(r"\s+- (?P<text>\S.*)")
_KEY = re.compile(r"(?P<key>[a-z]+):(?: (?P<value>\S.*))?")
_PIP = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*(?P<version>[^\s;]+)|@\s*(?P<address>\S+))?")


@dataclass(frozen=True, slots=True)
class LockLines:
    """conda: the packages of channels. pip: version or address by name."""

    manager: str = ""
    platform: str = ""
    python: str = ""
    conda: tuple[CondaPackage, ...] = ()
    pip: Mapping[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each package, by name; what pip installed comes after what conda did."""
        return {each.name: each.version for each in self.conda} | dict(self.pip)


def read_lock(text: str) -> LockLines:
    """What a lock names; what cannot be understood is left out, for a build may have written anything."""
    values: dict[str, str] = {}
    items: dict[str, list[str]] = {"conda": [], "pip": []}
    key = ""
    for line in text.splitlines():
        if (match := _ITEM.fullmatch(line)) and key in items and len(items[key]) < MOST_PACKAGES:
            items[key].append(_unquoted(match["text"]))
        elif match := _KEY.fullmatch(line):
            key = match["key"]
            values[key] = plain(_unquoted(match["value"] or ""), 60)
    pip = (_PIP.match(line) for line in items["pip"])
    return LockLines(
        manager=values.get("manager", ""),
        platform=values.get("platform", ""),
        python=values.get("python", ""),
        conda=tuple(found for line in items["conda"] if (found := _package(line))),
        pip={plain(each["name"], 100): plain(each["version"] or each["address"] or "", 200) for each in pip if each},
    )


def _package(line: str) -> CondaPackage | None:
    try:
        found = conda_package(line)
    except HubdError:
        return None
    return found if found.line.isprintable() else None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1].replace("''", "'") if len(text) > 1 and text[0] == text[-1] == "'" else text
