"""`hubd env rollback` and `build`: decisions about environments, made by the daemon, or here where none runs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from hubd.cli.client import daemon_answers, talk
from hubd.cli.env_names import answered, complete_environment, complete_generation, state_words
from hubd.cli.passes import Progress, make_here
from hubd.errors import ExitCode, Interrupted
from hubd.layout import Layout
from hubd.show import error_lines

Told = Mapping[str, Any]


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--to", type=click.IntRange(1), shell_complete=complete_generation,
              help="The number of a generation, as `hubd env show` has it.")  # fmt: skip
@click.option("--undo", is_flag=True, help="Forward again, to what config.yaml asks for.")
@click.option("--force", is_flag=True, help="Also to a generation that somebody changed by hand.")
@click.option("--no-wait", is_flag=True, help="Where forward is a build: do not follow it; it goes on by itself.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def rollback(ctx: click.Context, name: str, *, to: int | None, undo: bool, force: bool, no_wait: bool, as_json: bool) -> None:
    """Switch the environment NAME back to the generation before, now; what runs keeps what it has.

    It stays there until config.yaml asks for something else, or until --undo. Where that is not built yet, --undo builds and
    follows it, and exits with 1 when it fails; people keep what they have meanwhile.
    """
    if to and undo:
        raise click.UsageError("--to and --undo exclude each other.")
    layout: Layout = ctx.obj.layout
    wait = undo and not no_wait
    with _telling_that_it_goes_on(name) if undo else contextlib.nullcontext(), _following(name, quiet=as_json) as hear:
        if daemon_answers(layout):
            asked = {"do": "rollback", "name": name, "to": to, "undo": undo, "force": force, "wait": wait}
            code, found = talk(layout, asked, hear)
        else:
            code, found = _rollback_here(layout, hear, name, wait=wait, to=to or 0, undo=undo, force=force)
    _print(answered(code, found), rollback_lines(found), as_json=as_json)
    ctx.exit(code)


def _rollback_here(
    layout: Layout, hear: Callable[[Told], None], name: str, *, wait: bool, **how: Any
) -> tuple[ExitCode, dict[str, Any]]:
    from hubd.flow.rollback import came_out, decide
    from hubd.host import local_host

    decided = decide(local_host(layout), name, **how)
    ended = make_here(layout, hear, wait=lambda running: wait and decided.job in running)
    answered(ended.code, dict(ended.summary))
    return came_out(local_host(layout), decided)


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--no-wait", is_flag=True, help="Do not follow the build; it goes on by itself.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end.")
@click.pass_context
def build(ctx: click.Context, name: str, *, no_wait: bool, as_json: bool) -> None:
    """Build the environment NAME anew, though nothing else is asked for: to take newer versions, or after a hand edit.

    It ends a rollback. The build goes on when this command is interrupted; people keep what they have until it is proven.
    """
    layout: Layout = ctx.obj.layout
    with _telling_that_it_goes_on(name), _following(name, quiet=as_json) as hear:
        if daemon_answers(layout):
            code, found = talk(layout, {"do": "build", "name": name, "wait": not no_wait}, hear)
        else:
            code, found = _build_here(layout, hear, name, wait=not no_wait)
    _print(answered(code, found), build_lines(found), as_json=as_json)
    ctx.exit(code)


def _build_here(layout: Layout, hear: Callable[[Told], None], name: str, *, wait: bool) -> tuple[ExitCode, dict[str, Any]]:
    from hubd.flow.rebuild import ask, came_out
    from hubd.host import local_host

    asked = ask(local_host(layout), name)
    ended = make_here(layout, hear, wait=lambda running: wait and asked.job in running)
    answered(ended.code, dict(ended.summary))
    return came_out(local_host(layout), asked)


@contextlib.contextmanager
def _telling_that_it_goes_on(name: str) -> Iterator[None]:
    """Whoever stops following is not to believe that this stopped the build."""
    try:
        yield
    except KeyboardInterrupt:
        fix = f"Follow it: hubd logs -f job-env-{name}   How it came out: hubd env show {name}"
        raise Interrupted(f"interrupted; a build of {name} that has begun goes on", fix=fix) from None


@contextlib.contextmanager
def _following(name: str, *, quiet: bool) -> Iterator[Callable[[Told], None]]:
    """What hears of one build: its phase and the log's last line, in place, where a person watches, else all phases."""
    lines = Progress()
    if quiet or not sys.stdout.isatty():
        yield lambda event: None if quiet or _is_of_another(event, name) else lines.hear(event)
        return
    from rich.console import Console
    from rich.text import Text

    with Console().status(Text(f"{name}: starting")) as status:

        def hear(event: Told) -> None:
            if event.get("kind") != "job":
                lines.hear(event)
            elif not _is_of_another(event, name):
                line = f"\n  {event['line']}" if event.get("line") else ""
                status.update(Text(f"{name}: {event['say']}").append(line, style="dim"))

        yield hear


def _is_of_another(event: Told, name: str) -> bool:
    return event.get("kind") == "job" and event.get("id") != f"env-{name}"


def build_lines(found: Told) -> Iterator[str]:
    """How a build that was asked for came out."""
    if found["trouble"]:
        yield from error_lines(found["trouble"])
        yield f"All of it: hubd env why {found['name']}"
    elif found["generation"] != found["before"] and found["state"] == "right":
        yield f"{found['name']}: generation {found['before'] or 'none'} → {found['generation']}{_changed(found)}"
    else:
        yield f"{found['name']}: {state_words(found)}"
        yield f"Follow it: hubd logs -f job-env-{found['name']}"


def _print(found: Told, lines: Iterable[str], *, as_json: bool) -> None:
    for line in (json.dumps(found, indent=1),) if as_json else lines:
        click.echo(line)


def rollback_lines(found: Told) -> Iterator[str]:
    """How a rollback came out."""
    if found["unchanged"]:
        yield f"{found['unchanged']}; nothing changed."
        return
    if found.get("trouble"):
        yield from error_lines(found["trouble"])
        yield f"{found['name']}: generation {found['generation']} stays meanwhile. All of it: hubd env why {found['name']}"
        return
    if found["before"] != found["generation"]:
        yield f"{found['name']}: generation {found['before'] or 'none'} → {found['generation']}{_changed(found)}{_kept(found)}"
    else:
        more = " until what config.yaml asks for is built" if found["state"] == "building" else ""
        yield f"{found['name']}: generation {found['generation']} stays{more}"
    if found["state"] == "building":
        yield f"{state_words(found)}. Follow it: hubd logs -f job-env-{found['name']}"
    elif found["state"] == "rolled back":
        yield f"Forward again: hubd env rollback {found['name']} --undo"
    elif found["say"]:
        yield f"{found['name']}: {state_words(found)}"


def _changed(found: Told) -> str:
    """What became different; a daemon that was not restarted yet does not tell it."""
    return f": {found['difference']}" if found.get("difference") else ""


def _kept(found: Told) -> str:
    if not found["programs"]:
        return ""
    programs = "1 program that runs keeps" if found["programs"] == 1 else f"{found['programs']} programs that run keep"
    return f"; {programs} generation {found['before']} until the end"
