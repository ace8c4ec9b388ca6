"""`hubd config …`: look at config.yaml, change one option, or open it in an editor; never write what is not valid."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubd.cli.config_change import change_file, followed, warn_about_admins
from hubd.cli.config_file import ConfigFile

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hubd.config.edit import Edited


@click.group("config")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Another file than the hub's own.")
@click.pass_context
def config_commands(ctx: click.Context, file: Path | None) -> None:
    """Look at config.yaml and change it."""
    ctx.meta["hubd.config.file"] = file


@config_commands.command()
@click.option("--defaults", is_flag=True, help="Every option with the value in force, defaults filled in.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, without comments.")
@click.pass_context
def show(ctx: click.Context, *, defaults: bool, as_json: bool) -> None:
    """Show the configuration as it is written."""
    from hubd.config import shape, splice
    from hubd.config.text import decode, read

    file = _file(ctx)
    text = file.read()
    if not defaults and not as_json:
        click.echo(decode(text, source=str(file.path)), nl=False)
        return
    value = shape.as_written(file.parse(text)) if defaults else read(text, source=str(file.path)).data
    click.echo(_json(value) if as_json else "\n".join(splice.block(value)))


def complete_path(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The options whose path starts with what is typed; names in the file stand for NAME."""
    from click.shell_completion import CompletionItem

    from hubd.config import shape
    from hubd.config.model import config_model
    from hubd.config.text import read
    from hubd.errors import HubdError

    data: Any = {}
    model = config_model({})
    with contextlib.suppress(HubdError):  # completion has nobody to tell, and the core's options are better than none
        text = _file(ctx).read()
        data = read(text).data
        model = config_model(_file(ctx).sections(text)[0])
    options = shape.paths(model, data)
    return [CompletionItem(name, help=it.description) for name, it in options if name.startswith(incomplete)]


@config_commands.command()
@click.argument("path", shell_complete=complete_path)
@click.option("--written", is_flag=True, help="Only what the file says, without defaults.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def get(ctx: click.Context, path: str, *, written: bool, as_json: bool) -> None:
    """Print the value of the option at PATH, such as limits.memory; lists with one item on each line."""
    from hubd.config import edit
    from hubd.config.shape import NOTHING
    from hubd.errors import HubdError

    file = _file(ctx)
    text = file.read()
    if not written:
        value = edit.value_at(file.parse(text), path)
    else:
        sections, unread = file.sections(text)
        value = edit.written_at(text, path, sections, source=str(file.path), unread=unread)
        if value is NOTHING:
            raise HubdError(f"{path} is not in {file.path}", fix=f"`hubd config get {path}` shows its default")
    click.echo(_json(value) if as_json else _plain(value))


@config_commands.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a value that is refused below
@click.argument("path", shell_complete=complete_path)
@click.argument("value")
@click.pass_context
def set_option(ctx: click.Context, path: str, value: str) -> None:
    """Set the option at PATH to VALUE.

    The option's type says what VALUE means. A list takes its items with commas between them, or as [a, b];
    a whole section takes {name: value}. `none` takes a limit away.
    """
    from hubd.config import edit

    _change(ctx, lambda text, **more: edit.set_value(text, path, value, **more))


@config_commands.command()
@click.argument("path", shell_complete=complete_path)
@click.pass_context
def unset(ctx: click.Context, path: str) -> None:
    """Take the option at PATH out of the file, so that its default counts."""
    from hubd.config import edit

    _change(ctx, lambda text, **more: edit.unset(text, path, **more))


@config_commands.command("add-item")
@click.argument("path", shell_complete=complete_path)
@click.argument("items", nargs=-1, required=True)
@click.pass_context
def add_item(ctx: click.Context, path: str, items: tuple[str, ...]) -> None:
    """Put ITEMS at the end of the list at PATH; those that are in it already stay where they are."""
    from hubd.config import edit

    _change(ctx, lambda text, **more: edit.add_items(text, path, items, **more))


@config_commands.command("remove-item")
@click.argument("path", shell_complete=complete_path)
@click.argument("items", nargs=-1, required=True)
@click.pass_context
def remove_item(ctx: click.Context, path: str, items: tuple[str, ...]) -> None:
    """Take ITEMS out of the list at PATH."""
    from hubd.config import edit

    _change(ctx, lambda text, **more: edit.remove_items(text, path, items, **more))


@config_commands.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.pass_context
def validate(ctx: click.Context, file: Path | None) -> None:
    """Check FILE, or the hub's own, and name every problem with its line."""
    checked = _file(ctx) if file is None else ConfigFile(ctx.obj.layout, file)
    config = checked.parse(checked.read())
    people, environments = len(config.people.everybody), len(config.environments)
    click.echo(f"{checked.path} is valid: people: {people}, environments: {environments}.")


@config_commands.command()
@click.pass_context
def schema(ctx: click.Context) -> None:
    """Print the JSON Schema of the file, for editors."""
    from hubd.config import render
    from hubd.config.model import config_model
    from hubd.errors import HubdError

    model = config_model({})
    with contextlib.suppress(HubdError):  # a file that can't be read has no plugins
        model = config_model(_file(ctx).sections(_file(ctx).read())[0])
    click.echo(render.schema(model), nl=False)


@config_commands.command("edit")
@click.pass_context
def edit_file(ctx: click.Context) -> None:
    """Open the file in $EDITOR; what comes out is checked before it counts, and never lost."""
    from hubd.config.problems import ConfigInvalid
    from hubd.host import files

    file = _file(ctx)
    before = file.read()
    left = files.read(file.draft, follow=False)
    if left is None or not click.confirm(f"{file.draft} was left by an earlier edit. Go on with it?", default=True):
        files.write_atomic(file.draft, before, mode=0o600)
    while True:
        _open_editor(file.draft, before)
        after = files.read(file.draft, follow=False) or b""
        try:
            file.parse(after, source=file.draft)
            break
        except ConfigInvalid as invalid:
            for line in invalid.lines():
                click.echo(line, err=True)
            if not _again(file.draft):
                raise
    _take_over(file, before, after)


def _take_over(file: ConfigFile, before: bytes, after: bytes) -> None:
    """Put an edited text in the file's place, unless somebody else was faster."""
    from hubd.errors import HubdError
    from hubd.host import files

    with file.locked():
        if file.read() != before:
            why, fix = "it was changed by somebody else in the meantime", f"your text is in {file.draft}"
            raise HubdError(f"{file.path} was not written", why=why, fix=fix)
        if after != before:
            file.write(after)
    files.remove(file.draft)
    click.echo(f"{file.path} is written." if after != before else "Nothing changed.")
    warn_about_admins(file, before, after)
    if after != before and file.is_the_hubs:
        click.echo(followed(file.layout))


def _open_editor(draft: Path, before: bytes) -> None:
    """Let the person edit; where that fails, a draft is left only if something was typed into it."""
    from hubd.errors import HubdError
    from hubd.host import files

    try:
        click.edit(filename=str(draft))
    except click.ClickException as error:
        fix = "say which one with EDITOR=…, such as EDITOR=nano"
        if files.read(draft, follow=False) == before:
            files.remove(draft)
        else:
            fix += f"; your text is in {draft}"
        raise HubdError("the editor could not be used", why=error.format_message(), fix=fix) from error


def _again(draft: Path) -> bool:
    """Whether the person wants to mend the draft now; it stays on disk in any case."""
    again = False
    try:
        again = click.confirm("Edit again?", default=True, err=True)
    except click.Abort as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):  # else nobody is there to answer, which is no
            raise
    finally:
        if not again:
            click.echo(f"Nothing was changed. Your text is in {draft}; `hubd config edit` goes on with it.", err=True)
    return again


def _change(ctx: click.Context, change: Callable[..., Edited]) -> None:
    change_file(_file(ctx), [change], typed=True)


def _file(ctx: click.Context) -> ConfigFile:
    """The file that was asked for, else the hub's own."""
    path: Path | None = ctx.meta.get("hubd.config.file")
    return ConfigFile(ctx.obj.layout, path or ctx.obj.layout.config_file)


def _plain(value: object) -> str:
    """A value as a shell script likes it: text without quotes, a list with one item on each line."""
    from hubd.config import shape, splice

    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(item if isinstance(item, str) else shape.flow(item) for item in value)
    return "\n".join(splice.block(value)) if isinstance(value, dict) else shape.flow(value)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
