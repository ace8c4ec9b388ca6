"""`hubd env diff`, `lock` and `export`: what generations consist of, compared and written down. For everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from hubd.cli.env_names import complete_environment, complete_generation
from hubd.layout import Layout

Told = Mapping[str, Any]

NUMBER = click.IntRange(1)


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.argument("before", metavar="[FROM]", type=NUMBER, required=False, shell_complete=complete_generation)
@click.argument("after", metavar="[TO]", type=NUMBER, required=False, shell_complete=complete_generation)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def diff(ctx: click.Context, name: str, *, before: int | None, after: int | None, as_json: bool) -> None:
    """Show which packages were added, removed and changed in the environment NAME.

    FROM and TO are numbers of generations, as `hubd env show` has them; without them, the one before and the one that is
    switched on.
    """
    from hubd.flow.saved_locks import compared

    layout: Layout = ctx.obj.layout
    found = compared(layout, name, before or 0, after or 0)
    for line in (json.dumps(found, indent=1),) if as_json else diff_lines(found):
        click.echo(line)


def diff_lines(found: Told) -> Iterator[str]:
    """Two generations compared, a line for each package."""
    yield f"{found['name']}: generation {found['from']} → {found['to']}: {found['short']}"
    for sign, key in (("+", "added"), ("−", "removed")):
        yield from (f"  {sign} {each['name']} {each['version']}{_from(each, found)}" for each in found[key])
    yield from (f"  * {each['name']} {_change(each)}{_from(each, found)}" for each in found["changed"])


def _change(each: Told) -> str:
    before, after = each["before"], each["after"]
    if before["version"] != after["version"]:
        return f"{before['version']} → {after['version']}"
    return f"{after['version']}, build {before['build']} → {after['build']}"


def _from(each: Told, found: Told) -> str:
    """Where a package is from, if there are several places."""
    return " (PyPI)" if each["source"] == "PyPI" and found["channels"] else ""
