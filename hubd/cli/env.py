"""`hubd env …`: the environments, one command for each thing that can be asked of them."""

from __future__ import annotations

import click

from hubd.cli.env_change import build, rollback
from hubd.cli.env_look import list_environments, show, why
from hubd.cli.env_own import create, publish

env_commands = click.Group(
    "env",
    help="Look at environments, go back to an older generation, build anew, make your own.",
    commands=(build, create, list_environments, publish, rollback, show, why),
)
