"""A line of text on every page of the hub: its section, its file, the hub's settings and a command. Imports hubd.api only.

The hub is told once where to find a page template that includes the file with the text. JupyterHub looks at that file for
every page, so a new text needs no restart.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, cast

import click
from pydantic import Field

from hubd.api import CommandContext, Directory, File, Line, Notice, Resource, Section, Settings, UsageError, Wanted, hookimpl

SECTION = "announcement"
TEMPLATES = Path(__file__).resolve().parent / "templates"
INCLUDED = "hubd-announcement.html"  # by this name the template asks for it
LEVELS = ("info", "warning", "danger")


class Announcement(Section):
    """A line of text that people see on the hub's pages."""

    message: Line = Field(default="", description="The text; empty for none.", examples=["The hub is away on Friday evening."])
    level: Literal["info", "warning", "danger"] = Field(
        default="info", description="How urgent it looks.", examples=["warning"]
    )


@hookimpl
def hubd_config_sections() -> Mapping[str, type[Section]]:
    return {SECTION: Announcement}


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    folder = _folder(wanted)
    # Both are for every eye, as the sign-in page is; only root writes them.
    yield Directory(path=folder, needs=(f"directory:{folder.parent}",))
    yield File(
        path=folder / INCLUDED, content=page_part(_announcement(wanted)).encode(), meaning="the announcement",
        needs=(f"directory:{folder}",), touches="everybody: on the next page of the hub that they open",
    )  # fmt: skip


@hookimpl
def hubd_hub_settings(wanted: Wanted) -> Settings:
    return {"JupyterHub": {"template_paths": [str(TEMPLATES), str(_folder(wanted))]}}


@hookimpl
def hubd_notices(wanted: Wanted) -> Iterable[Notice]:
    message = _announcement(wanted).message
    if message:
        yield Notice(f"everybody reads on the hub's pages: {message.rstrip('.')}", "To take it down: hubd announce --clear")


@hookimpl
def hubd_commands() -> Iterable[click.Command]:
    return (announce,)


@click.command()
@click.argument("text", required=False)
@click.option("--level", type=click.Choice(LEVELS), help="How urgent it looks; without it as before.")
@click.option("--clear", is_flag=True, help="Take the announcement down.")
@click.pass_context
def announce(ctx: click.Context, *, text: str | None, level: str | None, clear: bool) -> None:
    """Show TEXT on every page of the hub."""
    context = cast(CommandContext, ctx.obj)
    if clear == bool(text) or (clear and level):
        raise UsageError("say what is to be shown", fix='hubd announce "Back at noon.", or hubd announce --clear')
    if clear:
        context.change_config(unset=(SECTION,))
        return
    given = {f"{SECTION}.message": text or "", f"{SECTION}.level": level}
    context.change_config(set_to={path: value for path, value in given.items() if value is not None})


def page_part(announcement: Announcement) -> str:
    """What is put into the page; empty where there is nothing to say.

    JupyterHub reads it as a template, so a brace in the text must not be one.
    """
    if not announcement.message.strip():
        return ""
    text = html.escape(announcement.message).replace("{", "&#123;").replace("}", "&#125;")
    return f'<div class="container text-center announcement alert alert-{announcement.level}" role="status">{text}</div>\n'


def _announcement(wanted: Wanted) -> Announcement:
    return cast(Announcement, wanted.config.section(SECTION))


def _folder(wanted: Wanted) -> Path:
    return wanted.layout.state / "announcement"
