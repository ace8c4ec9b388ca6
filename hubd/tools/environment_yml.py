"""What a lock holds, as an environment.yml with exact versions that `file:` and conda itself take. Pure text and values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hubd.tools.lock import CondaPackage, Lock

_ALIAS = "https://conda.anaconda.org/"
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.+!-]*(?:(?:::|=|==)[A-Za-z0-9_.+!-]+)*")
# Words that some reader of YAML takes for something else than a text.
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def exported(name: str, lock: Lock) -> dict[str, Any]:
    """The content of an environment.yml. Hashes do not fit into one: it asks for the same versions, not for the same files."""
    channels = tuple(channel for channel, _ in Counter(map(_channel, lock.conda)).most_common())
    dependencies: list[Any] = [f"python={lock.python}"] if lock.python else []
    dependencies += sorted(_spec(each, channels) for each in lock.conda)
    if lock.pip:
        dependencies.append({"pip": [pin.partition(" --hash=")[0].rstrip() for pin in sorted(lock.pip)]})
    # Without `nodefaults` conda itself would add channels of its own.
    return {"name": name, "channels": [*channels, "nodefaults"] if channels else [], "dependencies": dependencies}


def environment_text(name: str, lock: Lock, *, about: str) -> str:
    """An environment.yml. about: where it is from, in words."""
    content = exported(name, lock)
    lines = [f"# {about}", f"# Exact versions for {lock.platform}, without checksums; the lock has those (hubd env lock {name}).",
             f"name: {_scalar(name)}"]  # fmt: skip
    if content["channels"]:
        lines += ["channels:", *_items(content["channels"], "  ")]
    lines.append("dependencies:")
    for each in content["dependencies"]:
        lines += ["  - pip:", *_items(each["pip"], "      ")] if isinstance(each, dict) else _items([each], "  ")
    return "\n".join(lines) + "\n"


def _channel(package: CondaPackage) -> str:
    """Where a package is from, as `channels` names it."""
    address = package.url.rsplit("/", 2)[0]
    return address.removeprefix(_ALIAS)


def _spec(package: CondaPackage, channels: Iterable[str]) -> str:
    """Exactly this build. With several channels it is said which one, as the first that has the name may count alone."""
    channel = _channel(package)
    which = f"{channel}::" if len(tuple(channels)) > 1 and "://" not in channel else ""
    return f"{which}{package.name}={package.version}={package.build}"


def _items(texts: Iterable[str], indent: str) -> list[str]:
    return [f"{indent}- {_scalar(text)}" for text in texts]


def _scalar(text: str) -> str:
    return text if _BARE.fullmatch(text) and text.lower() not in _WORDS else "'" + text.replace("'", "''") + "'"
