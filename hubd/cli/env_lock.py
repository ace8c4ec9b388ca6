"""`hubd env diff`, `lock` and `export`: what generations consist of, compared and written down. For everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hubd.cli.env_names import complete_environment, complete_generation
from hubd.layout import Layout
from hubd.words import named

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

    FROM and TO are numbers of generations, as `hubd env show` has them. Without TO, the one that is switched on is meant;
    without FROM, the one that was built before it, whichever was in use in between.
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
    """Where a package is from, if there are several places and the manager does not tell."""
    return " (PyPI)" if each["source"] == "PyPI" and found["channels"] and not found["managers"] else ""


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--to", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True),
              help="Where to write it; `-` for the terminal. By default environments/NAME.lock in the hub's folder.")  # fmt: skip
@click.option("--generation", type=NUMBER, shell_complete=complete_generation,
              help="Of which generation; by default of the one that is switched on.")  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that holds something else.")
@click.option("--json", "as_json", is_flag=True, help="Tell where it is as JSON.")
@click.pass_context
def lock(ctx: click.Context, name: str, *, to: str | None, generation: int | None, force: bool, as_json: bool) -> None:
    """Write down exactly what the environment NAME consists of, with checksums, to build it again here or elsewhere."""
    from hubd.flow.saved_locks import generation_of
    from hubd.flow.written_lock import built_from, how_to_use, put_lock, usual_place
    from hubd.resources.saved_lock import saved_lock
    from hubd.tools.lock import lock_text

    layout: Layout = ctx.obj.layout
    if to == "-" and as_json:
        raise click.UsageError("--to - and --json exclude each other.")
    found = generation_of(layout, name, generation or 0)
    content = saved_lock(found)
    if to == "-":
        click.echo(lock_text(content), nl=False)
        return
    done = put_lock(layout, Path(to).absolute() if to else usual_place(layout, name), content, force=force)
    use = how_to_use(layout, name, done.path, content)
    others = [each for each in built_from(layout, done.path) if each != name] if done.changed else []
    told = {"name": name, "generation": found.number, "path": str(done.path), "changed": done.changed, "use": use}
    told["others"] = others
    for line in (json.dumps(told, indent=1),) if as_json else lock_lines(told):
        click.echo(line)


def lock_lines(told: Told) -> Iterator[str]:
    """Where the lock is, and how to build from it."""
    if told["changed"]:
        yield f"{told['path']}: the lock of {told['name']}, generation {told['generation']}"
    else:
        yield f"{told['path']} is the lock of {told['name']}, generation {told['generation']}, already."
    if told["others"]:
        yield f"config.yaml builds {named(told['others'])} from it, too, and does so anew now: `hubd plan` shows how."
    if told["use"]:
        yield f"To build {told['name']} from it: {told['use']}"
    else:
        yield f"config.yaml builds {told['name']} from it."


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--generation", type=NUMBER, shell_complete=complete_generation,
              help="Of which generation; by default of the one that is switched on.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same content as JSON.")
@click.pass_context
def export(ctx: click.Context, name: str, *, generation: int | None, as_json: bool) -> None:
    """Print an environment.yml of the environment NAME, with exact versions: for conda elsewhere, or for `file:`."""
    from hubd.flow.saved_locks import generation_of
    from hubd.resources.saved_lock import saved_lock
    from hubd.tools.environment_yml import environment_text, exported

    found = generation_of(ctx.obj.layout, name, generation or 0)
    content = saved_lock(found)
    if as_json:
        click.echo(json.dumps(exported(name, content), indent=1))
        return
    about = f"The environment {name}, generation {found.number}, as it was built on this hub."
    click.echo(environment_text(name, content, about=about), nl=False)
