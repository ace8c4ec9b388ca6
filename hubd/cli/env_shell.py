"""`hubd-env NAME [COMMAND …]`: a shell or a command in an environment, with the very variables of its kernel. For everybody."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from hubd.cli import own
from hubd.cli.main import run
from hubd.errors import HubdError, NoProgram, UsageError
from hubd.host import commands, files
from hubd.jobs.shared import SENTENCE
from hubd.layout import Layout
from hubd.resources.generation import Generation, Generations
from hubd.show import error_lines
from hubd.tools.kernels import activated
from hubd.words import named

# Names that pip goes by.
_PIP = re.compile(r"pip\d?(\.\d+)?")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False})
@click.argument("name", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--own", "mine", is_flag=True, help="The environment NAME of your own, where the hub has one of that name, too.")
@click.pass_context
def env_shell(ctx: click.Context, *, name: str | None, command: tuple[str, ...], mine: bool) -> None:
    """Open a shell in the environment NAME, or run COMMAND in it; without a name, list what there is.

    Programs and variables are those that a notebook of that environment has. The exit code is that of the command, or 127
    where there is none of that name.
    """
    layout: Layout = ctx.obj.layout
    if not name:
        for each in _built(layout):
            click.echo(each)
        for each in own.names():
            click.echo(own.title(each))
        for line in own.twice(layout):
            click.echo(line, err=True)
        return
    name, mine = own.meant(name, mine=mine)
    prefix = _own(layout, name, mine=mine)
    if prefix:
        variables, scripts, add = own.variables(prefix), own.scripts(prefix), _to_add(layout, prefix)
    else:
        found = _current(layout, name)
        variables, scripts, add = activated(found.path, found.activation), (), SENTENCE.format(name)
        if command and _PIP.fullmatch(command[0]) and not (found.path / "bin" / command[0]).exists():
            raise _no_program(name, command[0], add)  # one of the machine's own would tell of something else
    environment = {**os.environ, **variables}
    if command:
        _become(name, scripts, command, environment, add=add)
    commands.become_shell(_start(name, variables, scripts), environment)


def _own(layout: Layout, name: str, *, mine: bool) -> Path | None:
    """One's own environment of that name; None where the hub's is meant. Raises UsageError where there is none."""
    if mine:
        return own.get(name)
    return None if own.is_shared(layout, name) else own.find(name)


def _become(name: str, scripts: tuple[str, ...], command: tuple[str, ...], environment: Mapping[str, str], *, add: str) -> None:
    """Go on as the command. Raises NoProgram where there is none of that name. add: how a package comes into the environment."""
    missing = _no_program(name, command[0], add)
    try:
        commands.become(own.after(scripts, command, missing="\n".join(error_lines(missing))), environment)
    except NoProgram as error:
        raise missing from error


def _no_program(name: str, program: str, add: str) -> NoProgram:
    return NoProgram(f"there is no program {program} in {name}", fix=add)


def _to_add(layout: Layout, mine: Path) -> str:
    """How a package comes into an environment of one's own."""
    if (mine / "bin/pip").exists():
        return f"Install the package that has it: {own.in_terminal(layout, mine.name)} pip install PACKAGE"
    return f"Make it anew with the package that has it: rm -rf {mine}   then: hubd env create {mine.name} PACKAGE …"


def _generations(layout: Layout, name: str) -> Generations:
    folder = layout.envs / name
    return Generations(folder=folder, link=folder / "current")


def _built(layout: Layout) -> list[str]:
    return [name for name in files.children(layout.envs) if name[0] != "." and _generations(layout, name).current()]


def _current(layout: Layout, name: str) -> Generation:
    """The generation that is switched on. Raises HubdError where there is none."""
    there = [each for each in files.children(layout.envs) if each[0] != "."]
    if name not in there:
        built = [*_built(layout), *map(own.title, own.names())]
        why = f"there are {named(built, limit=30)}" if built else "none is built yet"
        raise UsageError(f"there is no environment {name}", why=why)
    found = _generations(layout, name).current()
    if found is None:
        raise HubdError(f"the environment {name} is not there yet", why="it is still being built, or its build failed",
                        fix="Whoever runs this hub sees how far it is with `hubd status`.")  # fmt: skip
    return found


def _start(name: str, variables: Mapping[str, str], scripts: tuple[str, ...]) -> str:
    """What the shell begins with: the person's own settings, then again what these may have changed."""
    exports = [f"export {key}={shlex.quote(value)}" for key, value in variables.items()]
    exports += [f". {shlex.quote(script)}" for script in scripts]
    return "\n".join(("[ ! -r ~/.bashrc ] || . ~/.bashrc", *exports, f"PS1={shlex.quote(f'({name}) ')}$PS1", ""))


def main() -> None:
    """The program `hubd-env`."""
    sys.exit(run(command=env_shell, name="hubd-env"))
