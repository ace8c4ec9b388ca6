"""The values of a YAML text, each with its place, built from the parser's events without recursion.

The C composer of ruamel.yaml 0.19 recurses and crashes the whole process on deeply nested text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hubd.config.path import Path
from hubd.config.problems import Problem, quoted

DEEPEST = 32
MOST_ALIASED = 100_000
MOST_PROBLEMS = 200

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(slots=True)
class Node:
    """One value of the text and where it stood.

    data: the plain value: a mapping, a list, text, a number, true or false, or None.
    raw: the text of a scalar as written, without quotes; None for mappings and lists.
    is_plain: whether a scalar was written without quotes. is_flow: whether brackets hold a mapping or list together.
    line, column: where the value starts, counted from 1; key_line, key_column: where its key starts.
    start, end, key_start, key_end: the same places as offsets into the text; a value without text has start == end.
    size: how many values it holds, aliases written out.
    """

    data: Any
    line: int
    column: int
    start: int = 0
    end: int = 0
    raw: str | None = None
    is_plain: bool = False
    is_flow: bool = False
    children: dict[str | int, Node] = field(default_factory=dict)
    key_line: int = 0
    key_column: int = 0
    key_start: int = 0
    key_end: int = 0
    size: int = 1

    def find(self, path: Path) -> Node | None:
        """The value at `path`; None where the text does not say it."""
        node: Node | None = self
        for key in path:
            node = node.children.get(key) if node is not None else None
        return node

    def nearest(self, path: Path) -> tuple[Node, bool]:
        """The value at `path`, or the innermost one around it that the text has; and whether it is the very one."""
        node = self
        for key in path:
            inner = node.children.get(key)
            if inner is None:
                return node, False
            node = inner
        return node, True


class Composer:
    """Builds nodes out of YAML events, with a stack of its own."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[Node] = []
        self._path: list[str | int] = []
        self._key: Any = None
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def take_all(self, events: Iterable[Any]) -> None:
        """Use events until nothing after them is worth reading. Lets the parser's errors through."""
        for event in events:
            if not self.take(event):
                break

    def take(self, event: Any) -> bool:
        """Use one event; False when nothing after it is worth reading."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            return self._start(event, {} if kind == "MappingStartEvent" else [])
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._end(event)
        elif kind == "AliasEvent":
            return self._alias(event)
        elif kind == "DocumentStartEvent" and self.root is not None:
            self._problem(event, "a second document starts here", "remove the line `---` and keep one of the two")
            return False
        return len(self.problems) < MOST_PROBLEMS

    def _scalar(self, event: Any) -> None:
        if self._wants_key():
            self._key = event
            return
        tag = event.tag
        if tag is not None and tag != _TEXT_TAG:
            self._problem(event, f"has the tag {quoted(tag)}", "write the value without a tag")
        plain = event.implicit[0] and tag is None
        value = resolve(event.value) if plain else event.value
        self._place(Node(value, *_mark(event), *_span(event), raw=event.value, is_plain=plain), event)

    def _start(self, event: Any, data: dict[str, Any] | list[Any]) -> bool:
        if self._wants_key():
            self._problem(event, "has a list or a mapping as its name", "write a name, then `:`, then the value")
            return False
        if event.tag is not None:
            self._problem(event, f"has the tag {quoted(event.tag)}", "write the value without a tag")
        if len(self._open) >= DEEPEST:
            self._problem(event, f"is nested more than {DEEPEST} levels deep", "is it the right file?")
            return False
        node = Node(data, *_mark(event), *_span(event), is_flow=bool(event.flow_style), size=0)
        self._place(node, event)
        self._open.append(node)
        self._key = None
        return True

    def _end(self, event: Any) -> None:
        node = self._open.pop()
        last = next(reversed(node.children.values()), None)
        node.end = event.end_mark.index if node.is_flow or last is None else last.end
        node.size = 1 + sum(child.size for child in node.children.values())
        if self._path:
            self._path.pop()
        self._key = None

    def _alias(self, event: Any) -> bool:
        node = self._anchors.get(event.anchor)
        if self._wants_key() or node is None:
            self._problem(event, f"is an alias (`*{event.anchor}`) that can't be used here", "write it out")
            return False
        if not node.size:
            self._problem(event, f"is an alias (`*{event.anchor}`) inside of what it stands for", "write it out")
            return False
        self._aliased += node.size
        if self._aliased > MOST_ALIASED:
            self._problem(event, "aliases make the file too large when written out", "write the values out")
            return False
        # A node of its own, so that a problem is told where the alias stands.
        (line, column), (start, end) = _mark(event), _span(event)
        alias = replace(node, line=line, column=column, start=start, end=end)
        self._place(alias, event)
        if node.raw is None:
            self._step_out()
        return True

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].data, dict) and self._key is None

    def _place(self, node: Node, event: Any) -> None:
        """Put `node` where it belongs, and step into it."""
        if event.anchor:
            self._anchors[event.anchor] = node
        if not self._open:
            self.root = node
            return
        outer, key = self._open[-1], self._key
        name: str | int = len(outer.data) if key is None else key.value
        self._path.append(name)
        at_key = event if key is None else key
        node.key_line, node.key_column = _mark(at_key)
        node.key_start, node.key_end = _span(at_key) if key is not None else (node.start, node.start)
        self._add(outer, name, node)
        if node.raw is not None:
            self._step_out()

    def _add(self, outer: Node, name: str | int, node: Node) -> None:
        first = outer.children.get(name)
        if first is not None:
            message = f"is there twice: it is also on line {first.key_line}"
            fix = "keep one of the two, with everything that belongs below it"
            self.problems.append(Problem(tuple(self._path), message, fix, node.key_line, node.key_column))
            return
        outer.children[name] = node
        if isinstance(outer.data, list):
            outer.data.append(node.data)
        else:
            outer.data[name] = node.data

    def _step_out(self) -> None:
        if self._path:
            self._path.pop()
        self._key = None

    def _problem(self, event: Any, message: str, fix: str) -> None:
        path = (*self._path, self._key.value) if self._key is not None else tuple(self._path)
        self.problems.append(Problem(path, message, fix, *_mark(event)))


def resolve(text: str) -> Any:
    """The value of an unquoted word by the core schema of YAML 1.2: `no`, `on` and dates stay text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".I", "I").replace(".N", "N"))
    return text


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index
