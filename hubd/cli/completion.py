"""`hubd completion`: the lines that make a shell complete commands and option paths."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), default="bash")
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the completion script: `eval "$(hubd completion bash)"` in ~/.bashrc."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:  # the choices above are those that click knows
        raise click.ClickException(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "hubd", "_HUBD_COMPLETE").source())
