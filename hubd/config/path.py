"""Where an option is: paths into the configuration, as text and as keys."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hubd.errors import UsageError

Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_STEP = re.compile(r"""\.?(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|\[([0-9]{1,9})\]|([^."'\[\]]+))""")


def dotted(path: Iterable[str | int]) -> str:
    """`("environments", "a.b", "packages", 0)` as `environments."a.b".packages[0]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        escaped = key.replace("\\", "\\\\").replace('"', '\\"')
        text += ("." if text else "") + (key if _PLAIN.fullmatch(key) else f'"{escaped}"')
    return text


def keys(text: str) -> Path:
    """The keys that `text` names: the way back from `dotted`. Raises UsageError where it is not a path."""
    found: list[str | int] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or not _begins(text, at):
            break
        at = step.end()
        found.append(_key(step))
    if not found or at < len(text):
        example = 'write it like limits.memory, or environments."a.b".packages where a name has a dot in it'
        raise UsageError(f"`{text[:80]}` is not the path of an option", fix=example)
    return tuple(found)


def _begins(text: str, at: int) -> bool:
    """Whether a step may begin here: the first one without a dot, the others with a dot or a bracket."""
    return text[at] not in ".[" if at == 0 else text[at] in ".["


def _key(step: re.Match[str]) -> str | int:
    double, single, index, plain = step.groups()
    if index is not None:
        return int(index)
    if double is not None:
        return re.sub(r"\\(.)", r"\1", double)
    return single if single is not None else plain
