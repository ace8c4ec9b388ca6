"""Text of config.yaml → plain data, each value with its line and column.

Never looks at what the options mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hubd.config.nodes import Composer, Node
from hubd.config.problems import ConfigInvalid, Problem, quoted

LARGEST = 10 * 1024 * 1024
LARGEST_FOR_SLOW = 200 * 1024

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_TAB = re.compile(r"^ *(\t)", re.MULTILINE)
_FILL = "write at least one section, for example `people:` and below it `  admins: [ada]`"

# What libyaml says, and what it means to somebody who does not know YAML by heart.
_SYNTAX = (
    ("mapping values are not allowed", "has a `: ` in a place where no further value can start",
     "check the indentation of this line and the one above, or put the text into quotes"),
    ("cannot start any token", "has a character that no value can start with",
     "put the value into quotes; tabs can't indent, use spaces"),
    ("expected ',' or", "belongs to a list or mapping in brackets that is not closed", "add the closing `]` or `}`"),
    ("did not find expected key", "does not fit: it is neither the next option nor part of the one above",
     "check the indentation and the quotes of this line and the one above"),
    ("did not find expected '-'", "does not fit into the list above it", "start it with `- ` at the same indentation"),
    ("could not find expected ':'", "is not an option with a value", "write `name: value`"),
    ("unexpected ':'", "has a `:` inside of brackets", "put the text around it into quotes"),
    ("unexpected end of stream", "is a quoted text that is never closed", "add the closing quote"),
    ("undefined alias", "is an alias (`*name`) of something that is not there", "write the value out"),
    ("another document", "starts a second document", "remove the line `---`"),
)  # fmt: skip


def read(text: bytes | str, *, source: str = "") -> Node:
    """The values of a configuration file. Raises ConfigInvalid with every problem that can be seen."""
    decoded = decode(text, source=source)
    if not decoded.strip("\ufeff \t\r\n"):
        raise ConfigInvalid([Problem((), "the file is empty", _FILL, 1, 1)], source=source)
    node, problems = compose(decoded)
    if not problems and node is None:
        problems = [Problem((), "the file holds nothing but comments", _FILL, 1, 1)]
    elif not problems and node is not None and not isinstance(node.data, dict):
        what = "is empty" if node.data is None else "is not made of sections"
        problems = [Problem((), f"the file {what}", _FILL, node.line, node.column)]
    if problems or node is None:
        raise ConfigInvalid(problems, source=source)
    return node


def decode(text: bytes | str, *, source: str = "") -> str:
    """`text` as characters, a byte order mark left out. Raises ConfigInvalid where it is not plain UTF-8 text."""
    if len(text) > LARGEST:
        message = f"the file is larger than {LARGEST // 1024**2} MB"
        raise ConfigInvalid([Problem((), message, "is it the right file?")], source=source)
    problems: list[Problem] = []
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode("utf-8")
            message = f"the file is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
            problems.append(_at(before, len(before), message, "save the file as UTF-8"))
            raise ConfigInvalid(problems, source=source) from None
    for found in _first(_CONTROL.finditer(text)):
        message = f"there is a character that a text file should not have (U+{ord(found[0]):04X})"
        problems.append(_at(text, found.start(), message, "remove it; is it the right file?"))
    if problems:
        raise ConfigInvalid(problems, source=source)
    return text.removeprefix("\ufeff")


def compose(text: str, *, slowly: bool = False) -> tuple[Node | None, list[Problem]]:
    """The value that `text` holds (None where it holds none), and what is wrong with it as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    composer = Composer()
    try:
        composer.take_all(YAML(typ="safe", pure=slowly).parse(text))
    except MarkedYAMLError as error:
        # The fast parser wants quotes around `[https://…]`, as YAML 1.1 did; YAML 1.2 does not.
        if not slowly and "unexpected ':'" in str(error.problem) and len(text) <= LARGEST_FOR_SLOW:
            return compose(text, slowly=True)
        composer.problems.extend(_syntax(text, error))
    except YAMLError as error:
        composer.problems.append(Problem((), f"this is not YAML: {str(error).splitlines()[0][:200]}", "", 1, 1))
    return composer.root, composer.problems


def _syntax(text: str, error: Any) -> list[Problem]:
    """What the parser stumbled over; tabs in the indentation are named all at once."""
    tabs = list(_first(_TAB.finditer(text)))
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = str(error.problem or error.context or "")
    if tabs and "token" in said:
        return [_at(text, tab.start(1), "the line is indented with a tab", "use spaces") for tab in tabs]
    message, fix = next(((words, cure) for part, words, cure in _SYNTAX if part in said), (f"is not YAML: {said}", ""))
    shown = text.splitlines()[line - 1 : line] or [""]
    return [Problem((), f"{quoted(shown[0].strip())} {message}", fix, line, column)]


def _at(text: str, index: int, message: str, fix: str) -> Problem:
    line = text.count("\n", 0, index) + 1
    return Problem((), message, fix, line, index - (text.rfind("\n", 0, index) + 1) + 1)


def _first(found: Iterator[re.Match[str]], most: int = 10) -> Iterator[re.Match[str]]:
    for _, match in zip(range(most), found, strict=False):
        yield match
