"""`hubd env gc`: what no environment needs any more is taken away, by the daemon, or here where none runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hubd.cli.client import daemon_answers, talk
from hubd.cli.env_names import answered
from hubd.cli.passes import Progress, follow_here
from hubd.errors import ExitCode
from hubd.layout import Layout
from hubd.words import about, named

Told = Mapping[str, Any]


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would go; how much of the caches, only their managers know.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end.")
@click.pass_context
def gc(ctx: click.Context, *, dry_run: bool, as_json: bool) -> None:
    """Free disk space: old generations, leftovers of killed builds, and what no generation needs in the package caches.

    What a program uses stays, and so do the generations that `keep` asks for; both are told.
    """
    layout: Layout = ctx.obj.layout
    hear = (lambda event: None) if as_json else Progress().hear
    if daemon_answers(layout):
        code, found = talk(layout, {"do": "clear", "act": not dry_run}, hear)
    else:
        code, found = _clear_here(layout, hear, act=not dry_run)
    answered(code, found)
    for line in (json.dumps(found, indent=1),) if as_json else gc_lines(found):
        click.echo(line)
    ctx.exit(code)


def _clear_here(layout: Layout, hear: Callable[[Told], None], *, act: bool) -> tuple[ExitCode, dict[str, Any]]:
    from hubd.flow.clearing import came_out, clear
    from hubd.host import local_host

    return came_out(follow_here(clear(local_host(layout), act=act), hear))


def gc_lines(found: Told) -> Iterator[str]:
    """What went or would go, what stays, and how much is free by it."""
    for each in found["removed"]:
        if found["acted"] == each["gone"]:
            yield f"{'' if found['acted'] else 'would go: '}{_what(each)}: {about(each['own'])}"
    for each in found["caches"]:
        shared = f"; {about(each['shared'])} more are files of generations, too" if each.get("shared") else ""
        if each["after"] is not None:
            yield f"{_cache(each)}: {about(each['before'])} → {about(each['after'])} of its own{shared}"
        elif not found["acted"]:
            yield f"{_cache(each)}: {about(each['before'])} of its own, of which some may go{shared}"
    if any(each["after"] for each in found["caches"]):
        yield "  what stays there is for the next build, which need not download it again: packages that generations consist of,"
        yield "  and indexes of channels and of PyPI"
    for each in found["kept"]:
        use = "1 program uses" if each["programs"] == 1 else f"{each['programs']} programs use"
        yield f"stays: {_what(each)}, as {use} it"
    for each in found.get("spare", ()):
        yield f"stays: {each['environment']}, {_numbers(each['generations'])}: {about(each['own'])}, to go back to{_by(each)}"
    yield from found["notes"]
    if found["acted"]:
        yield f"Freed {about(found['freed'])}." if found["freed"] else "There was nothing to free."
    else:
        yield f"{about(found['together'])} would be free, besides the caches. Nothing was changed: hubd env gc"


def _numbers(numbers: Sequence[int]) -> str:
    return f"generation{'' if len(numbers) == 1 else 's'} {named([str(number) for number in numbers], limit=20)}"


def _by(each: Told) -> str:
    return f" ({each['option']} says how many)" if each["option"] else ""


def _cache(each: Told) -> str:
    return f"package cache {each['path']}"


def _what(each: Told) -> str:
    path = Path(each["path"])
    return f"{each['environment']}, generation {path.name}" if each["environment"] else str(path)
