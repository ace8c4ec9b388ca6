"""`hubd env rollback`: decisions about environments, made by the daemon, or here where none runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from hubd.cli.client import daemon_answers, talk
from hubd.cli.env_names import answered, complete_environment
from hubd.cli.passes import Progress, make_here
from hubd.layout import Layout

Told = Mapping[str, Any]


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--to", type=click.IntRange(1), help="The number of a generation, as `hubd env show` has it.")
@click.option("--undo", is_flag=True, help="Forward again, to what config.yaml asks for.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def rollback(ctx: click.Context, name: str, *, to: int | None, undo: bool, as_json: bool) -> None:
    """Switch the environment NAME back to the generation before, now; what runs keeps what it has.

    It stays there until config.yaml asks for something else, or until --undo.
    """
    if to and undo:
        raise click.UsageError("--to and --undo exclude each other.")
    layout: Layout = ctx.obj.layout
    hear = (lambda event: None) if as_json else Progress().hear
    if daemon_answers(layout):
        found = answered(*talk(layout, {"do": "rollback", "name": name, "to": to, "undo": undo}, hear))
    else:
        found = _rollback_here(layout, hear, name, to=to or 0, undo=undo)
    _print(found, rollback_lines(found), as_json=as_json)


def _rollback_here(layout: Layout, hear: Callable[[Told], None], name: str, *, to: int, undo: bool) -> dict[str, Any]:
    from hubd.flow.rollback import came_out, decide
    from hubd.host import local_host

    decided = decide(local_host(layout), name, to=to, undo=undo)
    if not decided.choice.unchanged:
        ended = make_here(layout, hear)
        answered(ended.code, dict(ended.summary))
    return came_out(local_host(layout), decided)


def _print(found: Told, lines: Iterator[str], *, as_json: bool) -> None:
    for line in (json.dumps(found, indent=1),) if as_json else lines:
        click.echo(line)


def rollback_lines(found: Told) -> Iterator[str]:
    """How a rollback came out."""
    if found["unchanged"]:
        yield f"{found['unchanged']}; nothing changed."
        return
    if found["before"] != found["generation"]:
        yield f"{found['name']}: generation {found['before'] or 'none'} → {found['generation']}{_kept(found)}"
    else:
        yield f"{found['name']}: generation {found['generation']} stays"
    if found["state"] == "rolled back":
        yield f"Forward again: hubd env rollback {found['name']} --undo"
    elif found["say"]:
        yield f"{found['state']}: {found['say']}"


def _kept(found: Told) -> str:
    if not found["programs"]:
        return ""
    programs = "1 program that runs keeps" if found["programs"] == 1 else f"{found['programs']} programs that run keep"
    return f"; {programs} generation {found['before']} until the end"
