"""The generated reference pages: commands, bootstrap.py and hooks, each from the code itself.

`python docs/generate.py` writes them into this checkout; `pages()` gives them as text and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

CHECKOUT = Path(__file__).resolve().parent.parent
PLUGIN_FOLDERS = sorted((CHECKOUT / "plugins").glob("hubd-*"))

for _folder in (CHECKOUT, *(folder / "src" for folder in PLUGIN_FOLDERS)):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

CLI, BOOTSTRAP, HOOKS = "docs/reference/cli.md", "docs/reference/bootstrap.md", "docs/reference/hooks.md"

_NOTE = "<!-- Generated from {} by `python docs/generate.py`; do not edit. -->\n"

_CLI_HEAD = """\
# Commands

Every command is `hubd NAME …`. `hubd --help` and `hubd NAME --help` say the same as this page.

Commands that look need root or a member of the group `hubd-admins`; commands that change `config.yaml` need root (`sudo`).
The options before the name are:
"""
_CLI_PLUGINS = """\
## Commands of plugins

A plugin's commands are there while it is declared in `plugins`. Those of the plugins that come with hubd:
"""
_BOOTSTRAP_HEAD = """\
# bootstrap.py

Installs, repairs and upgrades: `sudo python3 bootstrap.py --admin ada`. What it does and in which order is told in
{doc}`/explanation/architecture`; how to use it, in {doc}`/how-to/upgrade`.

| Option | Meaning |
|---|---|
"""
_HOOKS_HEAD = """\
# Hooks and the public surface

A plugin is a Python module that implements some of these hooks, each marked with `@hookimpl`, and imports nothing of hubd but
`hubd.api`. The built-in parts use the same hooks. {doc}`/how-to/write-a-plugin` shows one from end to end.

A hook **contributes values; it never acts on the machine**. Each is called once in a pass. A plugin that raises, or that answers
with something else than is said here, is left out of that pass and named in `hubd status`; everything else goes on.
"""


def pages() -> dict[str, str]:
    """Every generated page, by its path in a checkout."""
    return {CLI: cli_page(), BOOTSTRAP: bootstrap_page(), HOOKS: hooks_page()}


# ---------------------------------------------------------------- commands


def cli_page() -> str:
    """Every command with its arguments and options."""
    from hubd.cli.env_shell import env_shell
    from hubd.cli.main import COMMANDS, root

    parts = [_NOTE.format("hubd/cli"), _CLI_HEAD, _options(root), "Exit codes: {doc}`exit-codes`.\n"]
    for name, (module, attribute) in sorted(COMMANDS.items()):
        parts += _command(getattr(importlib.import_module(module), attribute), f"hubd {name}", level=2)
    parts += _command(env_shell, "hubd-env", level=2, note="A program of its own, for everybody on the machine.\n")
    parts.append(_CLI_PLUGINS)
    for folder in PLUGIN_FOLDERS:
        for command in _commands_of(folder.name):
            parts += _command(command, f"hubd {command.name}", level=3, note=f"From the plugin `{folder.name}`.\n")
    return "\n".join(parts)


def _commands_of(plugin: str) -> list[click.Command]:
    hook = getattr(importlib.import_module(plugin.replace("-", "_")), "hubd_commands", None)
    return list(hook()) if hook else []


def _command(command: click.Command, name: str, *, level: int, note: str = "") -> Iterator[str]:
    usage = command.collect_usage_pieces(click.Context(command, info_name=name))
    if not any(isinstance(each, click.Option) for each in command.params):
        usage = usage[1:]
    yield f"{'#' * level} `{name}`\n"
    yield f"```\n{' '.join([name, *usage])}\n```\n"
    if note:
        yield note
    yield inspect.cleandoc(command.help or "") + "\n"
    yield _options(command)
    if isinstance(command, click.Group):
        for below in sorted(command.commands):
            yield from _command(command.commands[below], f"{name} {below}", level=level + 1)


def _options(command: click.Command) -> str:
    rows = []
    for each in command.params:
        if isinstance(each, click.Option):
            names = ", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
            takes = "" if each.is_flag or each.count else f" `{each.make_metavar(click.Context(command))}`"
            shown = f" Default: `{each.default}`." if each.show_default and each.default is not None else ""
            rows.append(f"| {_cell(names + takes)} | {_cell(each.help or '')}{shown} |")
    return "\n".join(["| Option | Meaning |", "|---|---|", *rows]) + "\n" if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# ---------------------------------------------------------------- bootstrap.py


def bootstrap_page() -> str:
    """The options of bootstrap.py, as its parser has them."""
    bootstrap = importlib.import_module("bootstrap")
    parser: argparse.ArgumentParser = bootstrap.option_parser()
    rows = []
    for action in parser._actions:
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        takes = f" `{action.metavar}`" if action.metavar else ""
        rows.append(f"| {_cell(names + takes)} | {_cell(action.help or '')} |")
    return f"{_NOTE.format('bootstrap.py')}\n{_BOOTSTRAP_HEAD}" + "\n".join(rows) + f"\n\n{parser.epilog}\n"


# ---------------------------------------------------------------- hooks and the public surface


def hooks_page() -> str:
    """Every hook with its signature and meaning, what it is given, and every name of hubd.api."""
    from hubd import hooks

    parts = [_NOTE.format("hubd/hooks.py and hubd/api.py"), _HOOKS_HEAD]
    specs = [value for name, value in vars(hooks).items() if name.startswith("hubd_")]
    for spec in specs:
        parts += [f"## `{spec.__name__}`\n", f"```python\n{_signature(spec)}\n```\n", _text(spec)]
    parts.append("## What hooks get and give\n")
    for given in (hooks.Wanted, hooks.Notice, hooks.CommandContext):
        parts += [f"### `{given.__name__}`\n", _fields(given), _text(given), *_methods(given)]
    parts += ["### `Settings`\n", _settings_text(hooks), "## hubd.api\n", "Everything that a plugin may import.\n", _api_table()]
    parts += ["## Resources\n", "All take keywords only, and `needs` and `touches` besides their own.\n", _shared_fields()]
    parts += [text for resource in _resources() for text in (f"### `{resource.__name__}`\n", _fields(resource), _text(resource))]
    return "\n".join(part for part in parts if part)


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    return f"def {function.__name__}{signature}".replace("'", "")


def _text(thing: Any) -> str:
    """A docstring as Markdown: its lists of arguments one a line."""
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs) + "\n"


def _paragraph(text: str) -> str:
    """A paragraph; one that starts with `name: …` is a list of what the names mean, perhaps ended by what is raised."""
    if not re.match(r"\w+(, \w+)*: ", text) or text.startswith("Raises"):
        return text
    whole, raises = re.match(r"(.*?)(\bRaises\b.*)?$", " ".join(text.split()), re.DOTALL).groups()  # type: ignore[union-attr]
    items = re.sub(r"(?:^|(?<=\. ))(\w+(?:, \w+)*): ", r"\n- `\1`: ", whole.strip()).strip()
    return "\n".join(line.rstrip() for line in items.splitlines()) + (f"\n\n{raises}" if raises else "")


def _fields(kind: type[Any]) -> str:
    name = kind.__name__
    if not dataclasses.is_dataclass(kind):
        return ""
    shared = () if name in ("Wanted", "Notice", "Resource", "Step") else ("needs", "touches")
    own = [field for field in dataclasses.fields(kind) if field.name not in shared]
    return f"```python\n{name}({', '.join(map(_field, own))})\n```\n"


def _field(field: dataclasses.Field[Any]) -> str:
    kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    if field.default is not dataclasses.MISSING:
        return f"{field.name}: {kind} = {_default(field.default)}"
    return f"{field.name}: {kind}{' = {}' if field.default_factory is not dataclasses.MISSING else ''}"


def _default(value: Any) -> str:
    return f"0o{value:o}" if isinstance(value, int) and not isinstance(value, bool) and value > 0o100 else repr(value)


def _methods(kind: Any) -> Iterator[str]:
    for name, value in vars(kind).items():
        if not name.startswith("_") and isinstance(value, property):
            yield f"- `.{name}`: {' '.join((inspect.getdoc(value) or '').split())}\n"
        elif not name.startswith("_") and inspect.isfunction(value):
            yield f"```python\n{_signature(value)}\n```\n\n{_text(value)}"


def _settings_text(hooks: Any) -> str:
    source = inspect.getsource(hooks)
    found = re.search(r'^Settings = .*\n"""(.+?)"""', source, re.MULTILINE)
    return f"{found[1] if found else ''}\n"


def _api_table() -> str:
    from hubd import api

    rows = []
    for name in api.__all__:
        value = getattr(api, name)
        text = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ") if inspect.isclass(value) else ""
        rows.append(f"| `{name}` | {_cell(text or _TYPES.get(name, ''))} |")
    return "\n".join(["| Name | Meaning |", "|---|---|", *rows]) + "\n"


_TYPES = {
    "Cores": "Type of an option: a number of processor cores, fractions allowed.",
    "Duration": "Type of an option: a time such as `5 min`, as seconds.",
    "Line": "Type of an option: a text of one line.",
    "Memo": "What the record keeps of a resource so that it can be taken away: texts by name.",
    "Settings": "Settings of JupyterHub; see above.",
    "Size": "Type of an option: an amount such as `1G`, as bytes.",
    "hookimpl": "Marks the implementation of a hook; its name must be the hook's.",
}


def _resources() -> list[Any]:
    from hubd import api

    found = [getattr(api, name) for name in api.__all__]
    return [each for each in found if inspect.isclass(each) and issubclass(each, api.Resource) and each is not api.Resource]


def _shared_fields() -> str:
    from hubd import api

    return _text(api.Resource).partition("\n\n")[2]


def main() -> None:
    """Write every page into this checkout."""
    for name, text in pages().items():
        (CHECKOUT / name).parent.mkdir(parents=True, exist_ok=True)
        (CHECKOUT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
