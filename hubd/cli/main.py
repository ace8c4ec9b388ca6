"""The root command: finds the others when they are called for, and turns every error into words and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubd import __version__
from hubd.errors import ExitCode, HubdError, UsageError
from hubd.layout import DEFAULT_PREFIX, Layout, layout_of
from hubd.words import because

if TYPE_CHECKING:
    from hubd.config.section import Section

# Name to module and attribute: a command's imports are paid for only when it is used.
COMMANDS = {
    "apply": ("hubd.cli.passes", "apply"),
    "completion": ("hubd.cli.completion", "completion"),
    "config": ("hubd.cli.config", "config_commands"),
    "daemon": ("hubd.cli.daemon", "daemon"),
    "env": ("hubd.cli.env", "env_commands"),
    "logs": ("hubd.cli.logs", "logs"),
    "plan": ("hubd.cli.passes", "plan"),
    "status": ("hubd.cli.status", "status"),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What every command gets as `ctx.obj`, plugins' commands too."""

    layout: Layout

    def sections(self) -> Mapping[str, type[Section]]:
        """The sections of config.yaml that the declared plugins bring."""
        from hubd.config.parse import declared_plugins
        from hubd.config.problems import ConfigInvalid
        from hubd.flow.source import plugins_of, read_text

        try:
            text = read_text(self.layout)
            if b"plugins" not in text or not declared_plugins(text):
                return {}
        except ConfigInvalid:
            return {}

        return plugins_of(text, self.layout).sections()

    def change_config(self, *, set_to: Mapping[str, str] | None = None, unset: Iterable[str] = ()) -> None:
        """Change options of the hub's own file; see `hubd.hooks.CommandContext`."""
        from hubd.cli.config_change import change_options

        change_options(self.layout, set_to or {}, tuple(unset))


class Commands(click.Group):
    """Built-in commands by name, and those of the declared plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *self._of_plugins(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, attribute = COMMANDS[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return self._of_plugins(ctx).get(cmd_name)

    def _of_plugins(self, ctx: click.Context) -> dict[str, click.Command]:
        from hubd.flow.source import plugins_of, read_text

        layout = _layout(ctx.params.get("prefix"))
        try:
            plugins = plugins_of(read_text(layout), layout)
        except HubdError:
            return {}
        commands = [command for _, found in plugins.each("hubd_commands") for command in found]
        return {command.name: command for command in commands if command.name and command.name not in COMMANDS}


class Folder(click.Path):
    """A path that is not empty: an empty one, of a variable that was never set, would be the folder one happens to be in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty; write a folder such as /opt/hub, or leave the option out.", param, ctx)
        return super().convert(value, param, ctx)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--prefix", type=Folder(path_type=Path), envvar="HUBD_PREFIX", default=DEFAULT_PREFIX, show_default=True,
              is_eager=True,  # --help lists the commands of that hub's plugins
              help="The folder the hub is installed in.")  # fmt: skip
@click.version_option(__version__, prog_name="hubd")
@click.pass_context
def root(ctx: click.Context, prefix: Path) -> None:
    """Keep this machine's JupyterHub as /opt/hub/config.yaml says.

    Exit codes: 0 done, 1 failed, 2 usage, 3 config invalid, 4 plan has changes (with --detailed-exitcode), 5 partly
    applied, 6 locked, 130 interrupted. Output that nobody reads to its end (`| head`) is no failure.
    """
    ctx.obj = Context(_layout(prefix))


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code; no traceback ever reaches a user."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None, *, command: click.Command = root, name: str = "hubd") -> int:
    """Run one command and give its exit code. command, name: of another program that is to end in the same ways."""
    try:
        code = _run(arguments, command, name)
        if code == ExitCode.DONE and sys.stdout:  # what a plugin's command printed may still wait to be written
            sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.DONE  # whoever reads it has enough
    except OSError as error:
        if os.environ.get("HUBD_DEBUG"):
            raise
        with contextlib.suppress(OSError):  # standard error may be what cannot be written
            _say_error(_refused(error))
        code = ExitCode.FAILED
    _give_up_output()
    return code


def _run(arguments: list[str] | None, command: click.Command, name: str) -> int:
    streams = sys.stdout, sys.stderr
    try:
        # A shell that completes a word gets no further than this context.
        before = Context(_layout())
        code = command.main(arguments, prog_name=name, standalone_mode=False, obj=before)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except HubdError as error:
        _say_error(error)
        return int(error.code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit:
        if sys.stdout is streams[0]:
            raise
        # When a reader has gone, click puts something else in the place of the streams and ends the process with 1.
        sys.stdout, sys.stderr = streams
        raise BrokenPipeError from None
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except OSError:
        raise
    except Exception as error:
        if os.environ.get("HUBD_DEBUG"):
            raise
        click.echo(f"✗ hubd met something it does not know: {type(error).__name__}: {error}", err=True)
        click.echo("  This is a bug; HUBD_DEBUG=1 shows where. Nothing more was changed.", err=True)
        return ExitCode.FAILED


def _layout(prefix: Path | None = None) -> Layout:
    """The paths of the hub at `prefix`, or of the usual one. Raises UsageError where nobody can tell which folder is meant."""
    meant = prefix or Path(os.environ.get("HUBD_PREFIX") or DEFAULT_PREFIX)
    try:
        return layout_of(meant)
    except FileNotFoundError:  # a relative path counts from the current folder
        why, fix = "the folder that you are in was deleted", "Go somewhere else (cd /), or write the whole path."
        raise UsageError(f"the prefix {meant} cannot be found", why=why, fix=fix) from None


def _refused(error: OSError) -> HubdError:
    """What the machine refused, in words. An error without a file is one of writing what the command printed."""
    why = error.strerror or str(error)
    if error.filename is None:
        return HubdError("the output could not be written", why=why, fix="Look at where it goes, then do it again.")
    return HubdError(f"{os.fsdecode(error.filename)} could not be used", why=why)


def _give_up_output() -> None:
    """Python must not complain at its end about what it could not print."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say_error(error: HubdError) -> None:
    click.echo(f"✗ {error.what}", err=True)
    lines = getattr(error, "lines", None)
    if lines:
        for line in lines():
            click.echo(f"  {line}", err=True)
    elif error.why:
        click.echo(f"  because {because(error.why)}", err=True)
    if error.fix:
        click.echo(f"  {error.fix}", err=True)
