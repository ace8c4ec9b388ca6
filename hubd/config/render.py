"""The model as pages: the commented example file, the JSON Schema and the reference page. Nothing is said twice.

`python -m hubd.config.render CHECKOUT` writes them into a checkout.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from hubd.config import shape
from hubd.config.model import Config
from hubd.config.section import Section
from hubd.config.shape import NOTHING, Shape, flow

EXAMPLE, SCHEMA, REFERENCE = "config/config.example.yaml", "config/schema.json", "docs/reference/config.md"
WIDTH = 100

_EXAMPLE_HEAD = """\
# Every option of config.yaml, with its default. Generated from hubd/config/model.py; do not edit.
#
# Nothing has to be said here that is right by default: copy only the lines you want to change, without their `#`.
# `hubd config set limits.memory 1G` writes such lines for you, `hubd config validate` checks them.
"""
_REFERENCE_HEAD = """\
<!-- Generated from hubd/config/model.py by `python -m hubd.config.render`; do not edit. -->
# config.yaml

Everything the hub is, in one file: `/opt/hub/config.yaml`. Every section and every option may be left out; its
default counts then. The file is YAML 1.2; what is misspelled or out of place is refused, with its line.

- **Sizes** are written `512M`, `1G` or `1.5 GiB`; K, M, G and T are powers of 1024.
- **Durations** are written `60 s`, `5 min` or `1 h 30 min`; a number alone counts seconds.
- **null** means none or no limit, where the type says "or null".
- **NAME** in a heading stands for a name that you choose.
"""


def pages() -> dict[str, str]:
    """Every generated page, by its path in a checkout."""
    return {EXAMPLE: example(), SCHEMA: schema(), REFERENCE: reference()}


def example(model: type[Section] = Config) -> str:
    """A configuration file that says every default, all of it commented out."""
    lines = [_EXAMPLE_HEAD]
    for name, option in shape.of_model(model).inside().items():
        lines.append(f"\n# {option.description}")
        lines += [f"#{line}" for line in _example(name, option, "")]
    return "\n".join(lines) + "\n"


def schema(model: type[Section] = Config) -> str:
    """The JSON Schema of the file, for editors."""
    generated = model.model_json_schema()
    generated.pop("title", None)
    named = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of hubd",
        **generated,
    }
    return json.dumps(named, indent=2, ensure_ascii=False) + "\n"


def reference(model: type[Section] = Config) -> str:
    """A page with a table for each section: option, type, default, meaning, example."""
    whole = shape.of_model(model)
    alone = {name: it for name, it in whole.inside().items() if not _below(it)}
    parts = [_REFERENCE_HEAD]
    for name, option in whole.inside().items():
        if name not in alone:
            parts += _sections(name, option)
    if alone:
        parts.append("## Other options\n\n" + _table(alone))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _example(name: str, option: Shape, pad: str) -> Iterator[str]:
    if option.kind == "section" and not option.by_name:
        yield f"{pad}{name}:"
        for inner, below in option.inside().items():
            yield from _comment(f"{below.description} {_hint(below)}", pad + "  ")
            yield from _example(inner, below, pad + "  ")
        return
    yield f"{pad}{name}: {'null' if option.default is NOTHING else flow(option.default)}"
    if option.kind == "mapping" and option.item is not None and option.item.section is not None:
        yield f"{pad}  # Below it, for each:"
        for line in _example("NAME", option.item, ""):
            yield f"{pad}  # {line}"


def _comment(text: str, pad: str) -> Iterator[str]:
    for line in textwrap.wrap(text.strip(), WIDTH - len(pad)):
        yield f"{pad}# {line}"


def _hint(option: Shape) -> str:
    if option.kind == "section":
        return ""
    such = f"; such as {flow(option.example)}" if option.examples and option.example != option.default else ""
    return f"({_type(option)}{such})"


def _sections(name: str, option: Shape) -> Iterator[str]:
    """The table of a section, and those of what is below it."""
    below = option.item if option.kind in ("mapping", "list") else option
    if below is None or below.section is None:
        return
    title = f"{name}.NAME" if option.kind == "mapping" else f"{name}[]" if option.kind == "list" else name
    yield f"## `{title}`\n\n{option.description or below.description}\n"
    if option.by_name or below.by_name:
        yield f"An entry may be nothing but the text of its `{option.by_name or below.by_name}`.\n"
    inside = below.inside()
    yield _table({inner: it for inner, it in inside.items() if it.kind != "section"})
    for inner, it in inside.items():
        yield from _sections(f"{title}.{inner}", it)


def _below(option: Shape) -> bool:
    return option.section is not None or (option.item is not None and option.item.section is not None)


def _table(options: dict[str, Shape]) -> str:
    if not options:
        return ""
    rows = ["| Option | Type | Default | Meaning | Example |", "|---|---|---|---|---|"]
    for name, option in options.items():
        default = "must be written" if option.default is NOTHING else _code(option.default)
        cells = (f"`{name}`", _type(option), default, option.description, _code(option.example))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _code(value: object) -> str:
    return f"`{flow(value)}`" if value is not None else "`null`"


def _type(option: Shape) -> str:
    """The type in a few words."""
    words = option.kind
    if option.choices:
        words = " or ".join(map(flow, option.choices))
    elif option.kind == "list" and option.item is not None:
        words = "list"
    elif option.kind == "mapping":
        words = "names, each with options"
    return f"{words} or null" if option.nullable else words


def main(checkout: str) -> None:
    """Write every page into `checkout`."""
    for name, text in pages().items():
        file = Path(checkout, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
