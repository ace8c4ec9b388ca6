"""Cutting a value into the text of a YAML file, or out of it, at the places its nodes name. Pure text work.

Whoever calls reads the result back: where a file is written in an unusual way (anchors, an option in the middle
of a line) a cut may not say what was meant.
"""

from __future__ import annotations

from typing import Any

from hubd.config.nodes import Node
from hubd.config.path import Path, dotted
from hubd.config.shape import flow
from hubd.errors import HubdError

WIDTH = 100
BY_HAND = "change it by hand with `hubd config edit`"


def put(text: str, root: Node, path: Path, value: Any) -> str:
    """`text` with `value` at `path`, whatever was there. What `path` has of lists and their items must be there."""
    depth = next(at for at in range(len(path), -1, -1) if root.find(path[:at]) is not None)
    node = root.find(path[:depth])
    if node is None:  # pragma: no cover — the root is always there
        raise AssertionError
    for key in reversed(path[depth + 1 :]):
        value = {key: value}
    if depth == len(path):
        return _replace(text, root, path, node, value)
    if node.data is None or node.data in ({}, []):
        return _replace(text, root, path[:depth], node, {path[depth]: value})
    if not isinstance(node.data, dict):
        raise HubdError(f"{dotted(path)} cannot be written", why=f"{dotted(path[:depth])} is no section in the file", fix=BY_HAND)
    return _insert(text, root, node, str(path[depth]), value)


def remove(text: str, root: Node, path: Path) -> str:
    """`text` without what is at `path`; what is left empty is written as `{}` or `[]`."""
    node, around = root.find(path), root.find(path[:-1])
    if node is None or around is None:
        return text
    if len(around.children) == 1:
        empty: Any = [] if isinstance(around.data, list) else {}
        if len(path) == 1:
            return _without_lines(text, node) + _newline(text) * (not text.endswith("\n")) + "{}" + _newline(text)
        return _replace(text, root, path[:-1], around, empty)
    return _cut(text, around, node, [node])


def extends(there: list[Any], value: Any) -> bool:
    """Whether `value` is the list `there` with some items taken out and others put at its end."""
    if not isinstance(value, list) or not value:
        return False
    left, kept = list(value), []
    for item in there:
        if item in left:
            left.remove(item)
            kept.append(item)
    return bool(kept) and value == kept + left


def replace_items(text: str, node: Node, value: list[Any]) -> str:
    """`text` with the list `node` holding `value`: items that stay keep their lines and comments."""
    left = list(value)
    gone = []
    for child in node.children.values():
        if child.data in left:
            left.remove(child.data)
        else:
            gone.append(child)
    for item in reversed(left):
        text = _append(text, node, item)
    for child in reversed(gone):
        text = _cut(text, node, child, gone)
    return text


def block(value: Any) -> list[str]:
    """`value` in block style, one string for each line."""
    return _lines(value, 0, 2, 2) if value else [flow(value)]


def _replace(text: str, root: Node, path: Path, node: Node, value: Any) -> str:
    if not path and value:
        lines = _newline(text).join(_lines(value, 0, *_style(root)))
        return text[: node.start] + lines + text[node.end :]
    after_key = _after_key(text, node) if path else node.start
    end = _end(text, node)
    behind_key = text[after_key : _line_end(text, after_key)] if _is_block(node) else text[end : _line_end(text, end)]
    rest = text[_line_end(text, end) :]
    block = _as_block(text, root, path, node, value)
    if block is not None:  # what stands behind the key, such as a comment, stays there
        return text[:after_key] + behind_key + block + rest
    if _is_block(node):
        return f"{text[:after_key]} {_inline(value, '')}{behind_key}{rest}"
    if node.start == node.end:
        return f"{text[:after_key]} {_inline(value, '')}{text[after_key:]}"
    return text[: node.start] + _inline(value, text[node.start : node.end]) + text[end:]


def _as_block(text: str, root: Node, path: Path, node: Node, value: Any) -> str | None:
    """The lines of `value` below its key, with the line break before them; None where it belongs on the key's line."""
    if not path or not isinstance(value, dict | list) or not value or isinstance(path[-1], int) or _in_flow(root, path):
        return None
    if isinstance(value, list) and not _is_block(node) and _fits(value):
        return None
    step, dash = _style(root)
    column = node.key_column - 1
    lines = _lines(value, column + (dash if isinstance(value, list) else step), step, dash)
    newline = _newline(text)
    return "".join(newline + line for line in lines)


def _insert(text: str, root: Node, around: Node, key: str, value: Any) -> str:
    """Put `key: value` behind the last option of `around`."""
    last = next(reversed(around.children.values()))
    end = _end(text, last)
    if around.is_flow:
        return f"{text[:end]}, {flow(key)}: {flow(value)}{text[end:]}"
    step, dash = _style(root)
    column = last.key_column - 1
    line_end, newline = _line_end(text, end), _newline(text)
    added = "".join(newline + line for line in _lines({key: value}, column, step, dash))
    return text[:line_end] + added + text[line_end:]


def _append(text: str, node: Node, item: Any) -> str:
    last = next(reversed(node.children.values()))
    end = _end(text, last)
    if node.is_flow:
        return f"{text[:end]}, {flow(item)}{text[end:]}"
    line_end = _line_end(text, end)
    return f"{text[:line_end]}{_newline(text)}{' ' * (node.column - 1)}- {flow(item)}{text[line_end:]}"


def _cut(text: str, around: Node, node: Node, gone: list[Node]) -> str:
    """Take `node` out of `around`, as one of `gone`, the last of them first: so offsets before it still hold."""
    if not around.is_flow:
        return _without_lines(text, node)
    siblings = list(around.children.values())
    at = next(index for index, child in enumerate(siblings) if child is node)
    if any(all(child is not out for out in gone) for child in siblings[at + 1 :]):
        return text[: node.key_start] + text[siblings[at + 1].key_start :]
    return text[: _end(text, siblings[at - 1])] + text[_end(text, node) :]


def _without_lines(text: str, node: Node) -> str:
    start = text.rfind("\n", 0, node.key_start) + 1
    if text[start : node.key_start].strip(" -"):
        raise HubdError("the option stands in the middle of a line", fix=BY_HAND)
    end = _line_end(text, _end(text, node))
    after = text.find("\n", end) + 1
    return text[:start] + text[after:] if after else text[:start].removesuffix("\n").removesuffix("\r")


def _lines(value: Any, column: int, step: int, dash: int) -> list[str]:
    """`value` in block style, one string for each line."""
    pad = " " * column
    if isinstance(value, list):
        return [f"{pad}- {flow(item)}" for item in value]
    found = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found += [f"{pad}{flow(key)}:", *_lines(item, column + step, step, dash)]
        elif isinstance(item, list) and not _fits(item):
            found += [f"{pad}{flow(key)}:", *_lines(item, column + dash, step, dash)]
        else:
            found.append(f"{pad}{flow(key)}: {flow(item)}")
    return found


def _inline(value: Any, was: str) -> str:
    """`value` on one line, in the quotes that the value before it had."""
    if isinstance(value, str) and was.startswith("'") and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str) and was.startswith('"') and not flow(value).startswith('"'):
        return f'"{value}"'
    return flow(value)


def _style(root: Node) -> tuple[int, int]:
    """How far this file indents what is below an option, and the dashes of a list: 2 and 2 where it does not show."""
    steps: list[int] = []
    dashes: list[int] = []
    waiting = [root]
    while waiting and not (steps and dashes):
        for child in waiting.pop(0).children.values():
            if _is_block(child) and child.column >= child.key_column and not child.is_flow and child.key_line < child.line:
                (dashes if isinstance(child.data, list) else steps).append(child.column - child.key_column)
                waiting.append(child)
    step = next((found for found in steps if found), 2)
    return step, dashes[0] if dashes else step


def _is_block(node: Node) -> bool:
    return node.raw is None and not node.is_flow


def _in_flow(root: Node, path: Path) -> bool:
    """Whether brackets hold what is around `path`."""
    return any(node.is_flow for at in range(len(path)) if (node := root.find(path[:at])) is not None)


def _fits(value: list[Any]) -> bool:
    return len(flow(value)) <= WIDTH and not any(isinstance(item, dict | list) for item in value)


def _after_key(text: str, node: Node) -> int:
    """Behind the colon of the option, or behind the dash of the item."""
    return text.index(":", node.key_end) + 1 if node.key_end > node.key_start else node.start


def _end(text: str, node: Node) -> int:
    """Behind the last character of the value: a block of text counts its blank lines as its own, an edit does not."""
    return max(node.start, len(text[: node.end].rstrip()))


def _line_end(text: str, index: int) -> int:
    """Where the line of `index` ends, before its line break."""
    end = text.find("\n", index)
    if end < 0:
        return len(text)
    return end - 1 if end and text[end - 1] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
