"""Text of config.yaml → Config, or every problem at once, each with its line and what to write instead. Reads no files."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from hubd.config import shape
from hubd.config.model import Config, Plugin, config_model
from hubd.config.nodes import Node
from hubd.config.path import Path
from hubd.config.problems import ConfigInvalid, Problem, did_you_mean, listed, quoted
from hubd.config.section import Section
from hubd.config.shape import Shape
from hubd.config.text import read

Sections = Mapping[str, type[Section]]

_TOO_SMALL = {"greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than")}
_TOO_LARGE = {"less_than_equal": ("le", "at most"), "less_than": ("lt", "less than")}
_ADD_PLUGIN = "if a plugin brings it, add the plugin to `plugins`"


def parse(text: bytes | str, sections: Sections | None = None, *, source: str = "", unread: Collection[str] = ()) -> Config:
    """The configuration that `text` declares. Raises ConfigInvalid with every problem.

    sections: the plugins' sections by name.
    source: what the text is, as a person knows it, for messages.
    unread: top-level names to leave alone, because the plugin that reads them can't be loaded.
    """
    return parse_node(read(text, source=source), sections, source=source, unread=unread)


def parse_node(node: Node, sections: Sections | None = None, *, source: str = "", unread: Collection[str] = ()) -> Config:
    """The configuration of a text that has been read already. Raises as `parse` does."""
    model = config_model(sections or {})
    data = {name: value for name, value in node.data.items() if name not in unread}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigInvalid(problems(error, node, model), source=source) from None


def declared_plugins(text: bytes | str, *, source: str = "") -> tuple[Plugin, ...]:
    """The plugins that `text` asks for, wrong entries left out: what must be known before the sections are.

    Raises ConfigInvalid where the text can't be read as YAML.
    """
    entries: Any = read(text, source=source).data.get("plugins")
    found = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            found.append(Plugin.model_validate({"name": entry} if isinstance(entry, str) else entry))
        except ValidationError:
            continue  # `parse` tells about it, with its line
    return tuple(found)


def unreadable(file: str | os.PathLike[str], error: Exception | None) -> ConfigInvalid:
    """A file that can't be read, as a problem of the configuration; `error` is None where there is no file."""
    cause = error if isinstance(error, OSError) else getattr(error, "__cause__", None)
    said = getattr(cause, "strerror", None) or getattr(error, "why", "") or str(error)
    message, fix = f"the file can't be read: {said.lower()}", "look at its owner and mode with `ls -l`"
    if error is None or isinstance(cause, FileNotFoundError):
        message, fix = "there is no such file", "restore it from a copy, or start from one of the presets"
    elif isinstance(cause, IsADirectoryError) or "not a file" in said:
        message, fix = "something that is not a file is in its place", "move it away and put the file there"
    elif isinstance(cause, PermissionError):
        message, fix = "the file may not be read by this account", "use sudo, or ask an admin of the hub"
    return ConfigInvalid([Problem((), message, fix)], source=os.fspath(file))


def problems(error: ValidationError, node: Node, model: type[Section]) -> list[Problem]:
    """What pydantic found, as people read it. `node` is what it looked at."""
    found = [_problem(one, node, model) for one in error.errors(include_url=False)]
    return list(dict.fromkeys(found))


def _problem(error: Any, root: Node, model: type[Section]) -> Problem:
    path: Path = tuple(key for key in error["loc"] if key != "[key]")
    node, exact = root.nearest(path)
    while not exact and node.raw is not None and root.nearest(path)[0] is root.nearest(path[:-1])[0]:
        path = path[:-1]  # one text stands for a whole section: what is below it has no place of its own
        exact = root.find(path) is node
    wanted = shape.at(model, path)
    message, fix = _words(error, node if exact else None, wanted, path, model)
    at_key = exact and (error["type"] == "extra_forbidden" or node.data is None or "[key]" in error["loc"])
    line, column = (node.key_line, node.key_column) if at_key else (node.line, node.column)
    return Problem(path, message, fix, line, column)


def _words(error: Any, node: Node | None, wanted: Shape | None, path: Path, model: type[Section]) -> tuple[str, str]:
    """What is wrong, and what to write instead."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(path, model)
    if kind == "missing":
        return "is missing", f"write {wanted.wanted}" if wanted else ""
    if node is not None and node.data is None and kind != "hubd":
        return _nothing(wanted)
    value = error["input"] if node is None or node.raw is None else node.raw
    if "[key]" in error["loc"]:
        value = path[-1]
    if kind == "hubd":
        return _refused(error["ctx"], value)
    for table, word in ((_TOO_SMALL, "small"), (_TOO_LARGE, "large")):
        if kind in table:
            bound, most = table[kind]
            return f"{quoted(value)} is too {word}", f"write {most} {error['ctx'][bound]}"
    if kind == "literal_error" and wanted is not None and isinstance(error["input"], str):
        return _no_such_choice(str(value), wanted)
    return _wrong_kind(error, node, value, wanted)


def _unknown(path: Path, model: type[Section]) -> tuple[str, str]:
    around = shape.at(model, path[:-1])
    known = around.inside() if around is not None else {}
    meant = shape.meant(model, path, len(path) - 1, known)
    fix = f"did you mean {listed(meant, last='or')}?" if meant else f"known here: {listed(known)}"
    return "is not an option", f"{fix}; {_ADD_PLUGIN}" if len(path) == 1 and not meant else fix


def _nothing(wanted: Shape | None) -> tuple[str, str]:
    if wanted is None:
        return "is empty", "write a value, or remove the line"
    message = "is empty" if wanted.kind in ("section", "mapping", "list") else "has no value"
    return message, f"write {wanted.wanted}, or remove the line for the default"


def _refused(context: Any, value: object) -> tuple[str, str]:
    what = context["what"]
    return (f"{quoted(value)} {what}" if what.startswith(("is ", "has ")) else what), context["fix"]


def _no_such_choice(value: str, wanted: Shape) -> tuple[str, str]:
    meant = did_you_mean(value, map(str, wanted.choices))
    choices = f"write one of {', '.join(map(str, wanted.choices))}"
    return f"{quoted(value)} is not a choice", f"did you mean `{meant}`? {choices}" if meant else choices


def _wrong_kind(error: Any, node: Node | None, value: object, wanted: Shape | None) -> tuple[str, str]:
    given = error["input"]
    message = f"is {_kind_of(given)}{f' ({quoted(value)})' if node is not None and node.raw is not None else ''}"
    if wanted is None or wanted.kind == "any":
        return message, f"expected: {error['msg'].lower()}"
    if wanted.kind == "text" and node is not None and node.raw is not None:
        return f"{message}, not text", f"put it in quotes: {json.dumps(node.raw[:60], ensure_ascii=False)}"
    if wanted.kind == "whole number" and isinstance(given, str) and given.isdecimal():
        return message, f"remove the quotes: {given[:20]}"
    return message, f"write {wanted.wanted}"


def _kind_of(value: object) -> str:
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return kinds.get(type(value), "nothing" if value is None else "of another kind")
