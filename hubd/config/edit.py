"""Text of config.yaml → text with one option changed: comments, order, quotes and every other line stay as they are.

Values are cut in where the parser says they stand; the result is read back and checked before anybody gets it.
Reads and writes no files.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hubd.config import shape, splice
from hubd.config.model import Config, config_model
from hubd.config.nodes import Node, resolve
from hubd.config.parse import Sections, parse_node
from hubd.config.path import Path, dotted, keys
from hubd.config.problems import ConfigInvalid, Problem, did_you_mean, listed
from hubd.config.section import Section
from hubd.config.shape import NOTHING, Shape
from hubd.config.splice import BY_HAND
from hubd.config.text import compose, decode, read
from hubd.errors import HubdError, UsageError

_AFTER = "the configuration after this change"


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did.

    text: the whole text afterwards. config: what it declares.
    before, after: the option's value as people write it, defaults filled in; equal where nothing had to change.
    """

    text: str
    config: Config
    path: str
    before: Any
    after: Any
    changed: bool


def set_value(
    text: bytes | str, path: str, given: str, sections: Sections | None = None, *, source: str = "", unread: Collection[str] = ()
) -> Edited:
    """`text` with the option at `path` set to what a person typed; its type says what the words mean.

    sections, source, unread: as for `parse`.
    Raises UsageError where there is no such option, ConfigInvalid where the result would not validate.
    """
    edit = _Edit(text, path, sections, source, unread)
    value = coerce(given, edit.shape)
    if _same(edit.written, value, edit.shape) or (edit.written is NOTHING and _same(edit.current, value, edit.shape)):
        return edit.result(edit.text)
    return edit.write(value)


def unset(
    text: bytes | str, path: str, sections: Sections | None = None, *, source: str = "", unread: Collection[str] = ()
) -> Edited:
    """`text` without the option at `path`, so that its default counts again. Raises as `set_value` does."""
    edit = _Edit(text, path, sections, source, unread)
    if edit.written is NOTHING:
        return edit.result(edit.text)
    return edit.remove()


def add_items(
    text: bytes | str,
    path: str,
    given: Sequence[str],
    sections: Sections | None = None,
    *,
    source: str = "",
    unread: Collection[str] = (),
) -> Edited:
    """`text` with items at the end of the list at `path`; those already there are left alone. Raises as `set_value` does."""
    edit = _Edit(text, path, sections, source, unread)
    value = edit.items()
    for words in given:
        item = coerce(words, edit.item)
        if not any(_same(there, item, edit.item) for there in value):
            value.append(item)
    return edit.write_items(value)


def remove_items(
    text: bytes | str,
    path: str,
    given: Sequence[str],
    sections: Sections | None = None,
    *,
    source: str = "",
    unread: Collection[str] = (),
) -> Edited:
    """`text` without some items of the list at `path`. Raises UsageError where one is not in it, else as `set_value` does."""
    edit = _Edit(text, path, sections, source, unread)
    value = edit.items()
    for words in given:
        item = coerce(words, edit.item)
        kept = [there for there in value if not _same(_name(there, edit.item), _name(item, edit.item), edit.item)]
        if len(kept) == len(value):
            meant = did_you_mean(words, [str(_name(there, edit.item)) for there in value])
            fix = f"did you mean `{meant}`?" if meant else f"see `hubd config get {path}`"
            raise UsageError(f"`{words}` is not in {path}", fix=fix)
        value = kept
    return edit.write_items(value)


def written_at(
    text: bytes | str, path: str, sections: Sections | None = None, *, source: str = "", unread: Collection[str] = ()
) -> Any:
    """The value that `text` itself says at `path`; NOTHING where that is left to a default. Raises as `set_value` does."""
    if keys(path)[0] in unread:
        node = read(text, source=source).find(keys(path))
        return NOTHING if node is None else node.data
    return _Edit(text, path, sections, source, unread).written


def value_at(config: Config, path: str) -> Any:
    """The value at `path` as people write it, defaults filled in. Raises UsageError where there is none."""
    option(type(config), keys(path))
    value: Any = shape.as_written(config)
    for at, key in enumerate(keys(path)):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise _no_such(keys(path), at, value if isinstance(value, dict) else {}, type(config)) from None
    return value


def option(model: type[Section], path: Path) -> Shape:
    """The shape of the option at `path`. Raises UsageError, with what was probably meant."""
    around: Shape = shape.of_model(model)
    for at, key in enumerate(path):
        inner = around.inner(key)
        if inner is None:
            raise _no_such(path, at, around.inside(), model)
        around = inner
    return around


def coerce(given: str, wanted: Shape) -> Any:
    """What a person means by `given` where `wanted` is wanted. What makes no sense comes back as text, for `parse` to refuse."""
    if not given.isascii() and any("\ud800" <= char <= "\udfff" for char in given):
        raise UsageError("the value is not UTF-8 text", fix="write it in the encoding of your terminal, or in the file")
    word = given.strip()
    if wanted.nullable and word.lower() in ("null", "none", "~"):
        return None
    if wanted.kind == "text":
        quotes = wanted.nullable and len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
        return word[1:-1] if quotes else given
    if wanted.kind == "list" and not word.startswith("["):
        return [coerce(item.strip(), wanted.item or Shape("any")) for item in word.split(",") if item.strip()]
    if wanted.kind == "section" and wanted.by_name and not word.startswith("{"):
        return word
    if wanted.kind in ("list", "mapping", "section", "any"):
        return _from_flow(word, wanted)
    if wanted.kind == "true or false":
        return {"yes": True, "on": True, "no": False, "off": False}.get(word.lower(), resolve(word.lower()))
    number = resolve(word)
    # `.nan` is not even equal to itself; as text it is refused in the words of its option.
    is_number = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    return number if is_number and not wanted.choices else word


def _from_flow(word: str, wanted: Shape) -> Any:
    node, problems = compose(decode(word))
    if problems or node is None:
        message = f"can't be read as YAML: {problems[0].message if problems else 'there is nothing in it'}"
        raise ConfigInvalid([Problem((), message, f"write {wanted.wanted}")], source="the value")
    return _from_node(node, wanted)


def _from_node(node: Node, wanted: Shape | None) -> Any:
    if node.raw is not None:
        # Where options are wanted a single word is none, whatever it is: `parse` refuses it.
        single = wanted is not None and (wanted.kind not in ("mapping", "section", "any") or wanted.by_name)
        return coerce(node.raw, wanted) if node.is_plain and wanted and single else node.data
    if isinstance(node.data, list):
        return [_from_node(child, wanted.inner(0) if wanted else None) for child in node.children.values()]
    return {key: _from_node(child, wanted.inner(key) if wanted else None) for key, child in node.children.items()}


def _same(one: Any, other: Any, wanted: Shape) -> bool:
    """Whether two values say the same: `1G` is `1024M`, `1` is not `true`."""
    if wanted.unit is not None and NOTHING not in (one, other) and None not in (one, other):
        try:
            return wanted.unit.parse(one) == wanted.unit.parse(other)
        except ValueError:
            return False
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def _name(item: Any, wanted: Shape) -> Any:
    return item.get(wanted.by_name, item) if wanted.by_name and isinstance(item, dict) else item


def _no_such(path: Path, at: int, known: Iterable[str], model: type[Section]) -> UsageError:
    names = list(known)
    meant = shape.meant(model, path, at, names)
    fix = f"{dotted(path[:at]) or 'the configuration'} has {listed(names[:20])}" if names else ""
    return UsageError(f"there is no option `{dotted(path)}`", fix=f"did you mean {listed(meant, last='or')}?" if meant else fix)


class _Edit:
    """One edit of one option: the text, where the option stands in it, and what it must say afterwards."""

    def __init__(self, text: bytes | str, path: str, sections: Sections | None, source: str, unread: Collection[str]) -> None:
        self.sections, self.unread = dict(sections or {}), tuple(unread)
        self.name, self.path = path, keys(path)
        self.shape = option(config_model(self.sections), self.path)
        whole = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        self.mark = "\ufeff" if whole.startswith("\ufeff") else ""
        self.text = decode(text, source=source)
        self.root = read(text, source=source)
        self._has_items()
        node = self.root.find(self.path)
        self.written: Any = NOTHING if node is None else copy.deepcopy(node.data)

    def _has_items(self) -> None:
        """Items are numbered as the file has them; one beyond its end could be put nowhere. Raises UsageError."""
        for at, key in enumerate(self.path):
            if isinstance(key, int) and self.root.find(self.path[: at + 1]) is None:
                around = dotted(self.path[:at])
                fix = f"see `hubd config get {around}`; `hubd config add-item {around} …` puts one at its end"
                raise UsageError(f"there is no item `{dotted(self.path[: at + 1])}` in the file", fix=fix)

    @property
    def item(self) -> Shape:
        return self.shape.item or Shape("any")

    @property
    def current(self) -> Any:
        """The value in force before the edit; where nothing says it, the default."""
        return self.shape.default if self.written is NOTHING else self.written

    def items(self) -> list[Any]:
        """The list as it is. Raises UsageError where the option is not a list."""
        if self.shape.kind != "list":
            raise UsageError(f"{self.name} is not a list", fix=f"use `hubd config set {self.name} …`")
        return list(self.current) if isinstance(self.current, list) else []

    def write_items(self, value: list[Any]) -> Edited:
        there = self.items()
        if value == there:
            return self.result(self.text)
        return self.write(value)

    def write(self, value: Any) -> Edited:
        """Put `value` in; of a list, only the items that differ."""
        node = self.root.find(self.path)
        if node is not None and isinstance(node.data, list) and splice.extends(node.data, value):
            text = splice.replace_items(self.text, node, value)
        else:
            text = splice.put(self.text, self.root, self.path, value)
        return self._checked(text, self._expected(value))

    def remove(self) -> Edited:
        """Take the option away, and the sections around it that would be empty then."""
        path = self.path
        model = config_model(self.sections)
        while len(path) > 1:
            around = self.root.find(path[:-1])
            outer = shape.at(model, path[:-2])
            if around is None or len(around.children) > 1 or outer is None or outer.section is None:
                break
            path = path[:-1]
        expected = copy.deepcopy(self.root.data)
        del _container(expected, path)[path[-1]]
        return self._checked(splice.remove(self.text, self.root, path), expected)

    def result(self, text: str, node: Node | None = None) -> Edited:
        try:
            config = parse_node(node or self.root, self.sections, source=_AFTER, unread=self.unread)
        except ConfigInvalid as invalid:
            invalid.fix = "nothing was changed"
            raise
        after = _value(config, self.path, self.shape)
        before = self._before() if text != self.text else after
        return Edited(self.mark + text, config, self.name, before, after, text != self.text)

    def _before(self) -> Any:
        """What was in force; where the file did not validate before, what it says."""
        if self.shape.kind in ("section", "mapping"):
            with contextlib.suppress(ConfigInvalid):
                return _value(parse_node(self.root, self.sections, unread=self.unread), self.path, self.shape)
        return None if self.current is NOTHING else self.current

    def _expected(self, value: Any) -> Any:
        expected = copy.deepcopy(self.root.data)
        container: Any = expected
        for key in self.path[:-1]:
            if isinstance(container, dict) and container.get(key) in (None, []):
                container[key] = {}
            container = container[key]
        container[self.path[-1]] = value
        return expected

    def _checked(self, text: str, expected: Any) -> Edited:
        """Never give back a text that says anything else than was asked for."""
        node: Node | None = None
        with contextlib.suppress(ConfigInvalid):
            node = read(text)
        if node is None or node.data != expected:
            why = "the lines around it are written in a way that hubd can't change safely"
            raise HubdError(f"{self.name} was not changed", why=why, fix=BY_HAND)
        return self.result(text, node)


def _value(config: Config, path: Path, wanted: Shape) -> Any:
    try:
        return value_at(config, dotted(path))
    except UsageError:
        return None if wanted.default is NOTHING else wanted.default


def _container(data: Any, path: Path) -> Any:
    for key in path[:-1]:
        data = data[key]
    return data
