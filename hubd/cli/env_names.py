"""The names of environments for the command line: completion, and asking the daemon or looking oneself."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hubd.cli.client import daemon_answers, talk
from hubd.errors import ExitCode, HubdError
from hubd.layout import Layout
from hubd.show import summary_lines

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_environment(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The environments whose names start with what is typed: those of config.yaml and those that are in place."""
    from click.shell_completion import CompletionItem

    from hubd.cli.logs import declared
    from hubd.host import files

    layout: Layout = ctx.obj.layout
    names = set(declared(layout).environments)
    with contextlib.suppress(OSError):  # completion has nobody to tell
        names |= {name for name in files.children(layout.envs) if not name.startswith(".")}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def complete_generation(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The finished generations of the environment that is named already, the newest first."""
    from click.shell_completion import CompletionItem

    from hubd.flow.saved_locks import generations_of

    # After an option that lacks its value yet, click leaves what was typed before where it is.
    name = ctx.params.get("name") or next(iter(ctx.args), "")
    try:
        found = generations_of(ctx.obj.layout, str(name)).finished()
    except (HubdError, OSError):  # completion has nobody to tell
        return []
    numbers = (str(each.number) for each in found)
    return [CompletionItem(number) for number in numbers if number.startswith(incomplete)]


def environments(layout: Layout, name: str = "") -> dict[str, Any]:
    """What the daemon tells of all environments, or of one.

    Whoever may not ask it, and everybody where none runs, sees what this account can read.
    """
    try:
        asked = daemon_answers(layout)
    except HubdError:
        asked = False
    if asked:
        return answered(*talk(layout, {"do": "environments", "name": name}))
    from hubd.flow.environments import short, whole
    from hubd.flow.hand_edits import look_at
    from hubd.host import local_host

    if name:
        with contextlib.suppress(HubdError, OSError):  # the rest can be told all the same
            look_at(local_host(layout), name)
    return whole(local_host(layout), name) if name else short(local_host(layout))


def state_words(found: Mapping[str, Any]) -> str:
    """How an environment is, after its name: what the state and its sentence have in common is said once."""
    state, say = str(found["state"]), str(found["say"]).removeprefix(f"{found['name']} was ")
    return say if say == state or say.startswith(f"{state}: ") else f"{state}, {say}" if say else state


def answered(code: ExitCode, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, unless it is an error: that is said, and the command ends with its code."""
    if "error" in answer:
        for line in summary_lines(answer):
            click.echo(line, err=True)
        raise click.exceptions.Exit(code)
    return answer
