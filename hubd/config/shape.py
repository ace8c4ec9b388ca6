"""What kind of value each option takes, read off the model: for messages, edits, the reference page and completion."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from hubd.config.nodes import resolve
from hubd.config.path import Path, dotted
from hubd.config.problems import did_you_mean
from hubd.config.section import ByName, Section
from hubd.config.units import Unit

NOTHING: Any = object()
"""The default of an option that has none."""

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", types.NoneType: "null"}
_BARE = re.compile(r"[A-Za-z0-9_./](?:[A-Za-z0-9_./=<>*+-]| (?! ))*(?<! )")
_OTHERWISE = re.compile(r"(?i)y|n|yes|no|on|off|[-+]?[0-9][0-9_:.-]*")
"""What older YAML readers, such as those in editors, take for something else than text."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What may be written for one option.

    kind: section, mapping, list, text, whole number, number, true or false, choice, size, duration, cores, null, or any.
    nullable: whether null is one of its values.
    section: the model of a section. by_name: the option that alone may stand for the section.
    item: what a mapping or a list holds. choices: the words of a choice. unit: what reads a size or a duration.
    description, default, examples: as the model says them; default is in the form in which people write it.
    """

    kind: str
    nullable: bool = False
    section: type[Section] | None = None
    by_name: str = ""
    item: Shape | None = None
    choices: tuple[Any, ...] = ()
    unit: Unit | None = None
    description: str = ""
    default: Any = NOTHING
    examples: tuple[Any, ...] = ()

    def inside(self) -> dict[str, Shape]:
        """The options of a section by name; nothing for other kinds."""
        return {} if self.section is None else {name: of_field(it) for name, it in self.section.model_fields.items()}

    def inner(self, key: str | int) -> Shape | None:
        """The shape of what is below `key`; None where nothing can be."""
        if self.section is not None:
            field = self.section.model_fields.get(str(key))
            return of_field(field) if field is not None else None
        return self.item if self.kind == ("list" if isinstance(key, int) else "mapping") else None

    @property
    def wanted(self) -> str:
        """What to write, in words, with an example."""
        words = {
            "section": "options",
            "mapping": "names with a value each",
            "list": "a list",
            "cores": "a number",
        }
        if self.choices:
            return f"one of {', '.join(map(flow, self.choices))}"
        if self.kind in ("true or false", "null"):
            return self.kind
        what = self.unit.word if self.unit else words.get(self.kind, f"a {self.kind}").replace("a text", "text")
        example = self.example
        if isinstance(example, dict):
            example = ", ".join(f"{flow(key)}: {flow(value)}" for key, value in example.items())
            return f"{what} such as `{example}`" if example else what
        return what if example is None else f"{what} such as `{flow(example)}`"

    @property
    def example(self) -> Any:
        """A value that may be written; None where nothing is known."""
        if self.examples:
            return self.examples[0]
        if self.unit is not None:
            return resolve(self.unit.examples[-1])
        if self.section is not None:
            return {name: it.example for name, it in list(self.inside().items())[:1]}
        if self.item is not None and self.item.example is not None:
            return [self.item.example] if self.kind == "list" else {"name": self.item.example}
        return None


def of_model(model: type[Section]) -> Shape:
    """The shape of a whole section, or of the whole file."""
    return Shape("section", section=model, description=(model.__doc__ or "").strip())


def at(model: type[Section], path: Path) -> Shape | None:
    """The shape of the option at `path`; None where there is none."""
    shape: Shape | None = of_model(model)
    for key in path:
        shape = shape.inner(key) if shape is not None else None
    return shape


def of_field(field: FieldInfo) -> Shape:
    """The shape of one option."""
    shape = _of_type(field.annotation, tuple(field.metadata))
    default = NOTHING if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    return replace(
        shape,
        description=field.description or "",
        default=default if default is NOTHING else as_written(default, shape),
        examples=tuple(field.examples or ()),
    )


def as_written(value: Any, shape: Shape | None = None) -> Any:
    """A value of the model in the form in which people write it."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if shape is not None and shape.unit is not None and isinstance(value, int | float):
        return shape.unit.show(value)
    if isinstance(value, tuple | list):
        return [as_written(item, shape.item if shape else None) for item in value]
    if isinstance(value, dict):
        return {key: as_written(item, shape.item if shape else None) for key, item in value.items()}
    return value


def walk(model: type[Section]) -> Iterator[tuple[Path, Shape]]:
    """Every option of every level, in the order of the model; what a mapping holds is below the key `NAME`."""
    yield from _walk(of_model(model), ())


def _walk(shape: Shape, path: Path) -> Iterator[tuple[Path, Shape]]:
    for name, inner in shape.inside().items():
        yield (*path, name), inner
        below = inner.item if inner.kind == "mapping" else inner
        if below is not None:
            yield from _walk(below, (*path, name, "NAME") if inner.kind == "mapping" else (*path, name))


def meant(model: type[Section], path: Path, place: int, known: Iterable[str]) -> list[str]:
    """What `path`, of which `path[place]` is not one of the `known` names, probably means: whole paths, ready to be typed."""
    word = str(path[place])
    guess = did_you_mean(word, known)
    if not guess:
        elsewhere = [there for there, _ in walk(model) if place == len(path) - 1 and there[-1] == word]
        return [dotted(path[:2] + there[2:] if there[:2] == (path[0], "NAME") else there) for there in elsewhere[:3]]
    whole = (*path[:place], guess, *path[place + 1 :])
    return [dotted(whole if at(model, whole) is not None else whole[: place + 1])]


def paths(model: type[Section], written: Any) -> list[tuple[str, Shape]]:
    """The paths that may be typed for each option; for the names that people choose, those in `written`."""
    found = []
    for path, shape in walk(model):
        if "NAME" not in path:
            found.append((dotted(path), shape))
            continue
        at_name = path.index("NAME")
        around = written
        for key in path[:at_name]:
            around = around.get(key, {}) if isinstance(around, dict) else {}
        names = around if isinstance(around, dict) else {}
        found += [(dotted((*path[:at_name], name, *path[at_name + 1 :])), shape) for name in names]
    return found


def flow(value: Any) -> str:
    """`value` as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        bare = _BARE.fullmatch(value) and not _OTHERWISE.fullmatch(value) and resolve(value) == value
        return value if bare else '"' + "".join(map(_escaped, value)) + '"'
    return json.dumps(value)


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\U{ord(char):08x}"


def _of_type(kind: Any, metadata: tuple[Any, ...]) -> Shape:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _of_type(inner[0], (*inner[1:], *metadata))
    unit = next((item for item in metadata if isinstance(item, Unit)), None)
    if unit is not None:
        return Shape(unit.word.removeprefix("a ").replace("number of ", ""), unit=unit)
    if origin in (Union, types.UnionType):
        shapes = [_of_type(item, ()) for item in inner]
        values = [shape for shape in shapes if shape.kind != "null"]
        return replace(values[0] if len(values) == 1 else Shape("any"), nullable=len(values) < len(shapes))
    if origin is Literal:
        return Shape("choice", choices=inner)
    if origin in (tuple, list):
        return Shape("list", item=_of_type(inner[0], ()))
    if origin is dict:
        return Shape("mapping", item=_of_type(inner[1], ()))
    if isinstance(kind, type) and issubclass(kind, Section):
        by_name = next((item.option for item in metadata if isinstance(item, ByName)), "")
        return Shape("section", section=kind, by_name=by_name)
    return Shape(_KINDS.get(kind, "any"))
