"""Changes config.yaml for the commands, option by option in one go, and says what changed."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from hubd.cli.config_file import ConfigFile

if TYPE_CHECKING:
    from hubd.config.edit import Edited
    from hubd.layout import Layout


def followed(layout: Layout) -> str:
    """What becomes of a change that was written."""
    from hubd.cli.client import daemon_answers

    if daemon_answers(layout):
        return "hubd puts it in place in a few seconds; `hubd plan` shows how, `hubd apply` does it at once."
    return "hubd is not running: `hubd plan` shows what would change, `hubd apply` puts it in place."


def change_options(layout: Layout, set_to: Mapping[str, str], unset_paths: Sequence[str]) -> None:
    """Set and unset several options of the hub's own file in one go, for plugins' commands."""
    from hubd.config import edit

    changes: list[Callable[..., Edited]] = [
        functools.partial(edit.set_value, path=path, given=value) for path, value in set_to.items()
    ]
    changes += [functools.partial(edit.unset, path=path) for path in unset_paths]
    change_file(ConfigFile(layout, layout.config_file), changes)


def change_file(file: ConfigFile, changes: Sequence[Callable[..., Edited]], *, typed: bool = False) -> None:
    """Read, change, check and write the file, with nobody else in between; then say what changed.

    typed: whether a person wrote the path, who may have made a slip.
    """
    with file.locked():
        text = before = file.read()
        sections, unread = file.sections(before)
        done = []
        for change in changes:
            edited = change(text, sections=sections, source=str(file.path), unread=unread)
            text = edited.text.encode("utf-8")
            done.append(edited)
        if any(edited.path.startswith("plugins") for edited in done):  # another plugin, other sections
            file.parse(text)
        if text != before:
            file.write(text)
    new, there = _new_environments(before, done)
    for name in new:
        click.echo(f"environments.{name}: new")
    _tell(done)
    if typed:
        _warn_about_slips(file, new, there)
    warn_about_admins(file, before, text)
    if file.is_the_hubs and any(edited.changed for edited in done):
        click.echo(followed(file.layout))


def warn_about_admins(file: ConfigFile, before: bytes, after: bytes) -> None:
    """Say it when a change took the last admin away, and what an admin without a password is.

    Both is allowed: root looks after the hub in any case.
    """
    lost, left = _admins(before), _admins(after)
    if new := [name for name in left if name not in lost]:
        click.echo(f"Who has no password yet ({', '.join(new)}) signs in with what is typed first, whoever types it.", err=True)
        click.echo("  Have it done at once, or set one before: docs/how-to/people.md, A forgotten password", err=True)
    if lost and not left:
        where = "" if file.is_the_hubs else f" --config {shlex.quote(str(file.path))}"
        click.echo("Warning: nobody can administer the hub in the browser any more.", err=True)
        click.echo(f"  Undo: hubd config{where} add-item people.admins {' '.join(lost)}", err=True)


def _admins(text: bytes) -> list[str]:
    from hubd.config.section import names
    from hubd.config.text import read

    return [name for _, name in names(read(text).data, "people", "admins")]


def _new_environments(before: bytes, done: Sequence[Edited]) -> tuple[list[str], list[str]]:
    """The environments that were made by a change of one of their options, and those that there were."""
    from hubd.config.path import keys
    from hubd.config.text import read

    section = read(before).find(("environments",))
    there = [str(name) for name in section.children] if section else []
    made = (found for edited in done if edited.changed and len(found := keys(edited.path)) > 2)
    return list(dict.fromkeys(str(name) for kind, name, *_ in made if kind == "environments" and name not in there)), there


def _warn_about_slips(file: ConfigFile, new: Sequence[str], there: Sequence[str]) -> None:
    """Say it when a new environment is called almost as another is: a slip of the hand makes one, too."""
    from hubd.config.problems import did_you_mean

    where = "" if file.is_the_hubs else f" --config {shlex.quote(str(file.path))}"
    for name in new:
        if meant := did_you_mean(name, there):
            click.echo(f"Did you mean {meant}? Take it back: hubd config{where} unset environments.{name}", err=True)


def _tell(done: Sequence[Edited]) -> None:
    for edited in done:
        if not edited.changed:
            click.echo(f"{edited.path} is already {_flow(edited.after)}; nothing changed.")
            continue
        if edited.before is None and isinstance(edited.after, dict):
            click.echo(f"{edited.path}: new, {_flow(_written(edited))}")
            continue
        if edited.after is None and isinstance(edited.before, dict):
            # Most of what it held were defaults that nobody wrote.
            click.echo(f"{edited.path}: removed")
            continue
        for path, old, new in _differences(edited.path, edited.before, edited.after):
            click.echo(f"{path}: {_flow(old)} → {_flow(new)}")


def _written(edited: Edited) -> object:
    """What the file says, without all that is left to defaults."""
    from hubd.config.path import keys
    from hubd.config.text import read

    node = read(edited.text).find(keys(edited.path))
    return node.data if node else edited.after


def _differences(path: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    """The options that differ: of a section only those below it, not the whole of it twice."""
    from hubd.config.path import dotted

    if not isinstance(before, dict) or not isinstance(after, dict):
        yield path, before, after
        return
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield from _differences(f"{path}.{dotted((key,))}", before.get(key), after.get(key))


def _flow(value: object) -> str:
    from hubd.config.shape import flow

    text = flow(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
