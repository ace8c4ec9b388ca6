"""`hubd env …`: the environments, one command for each thing that can be asked of them."""

from __future__ import annotations

import click

from hubd.cli.env_change import build, rollback
from hubd.cli.env_lock import diff
from hubd.cli.env_look import list_environments, show, why

env_commands = click.Group(
    "env",
    help="Look at environments, compare generations, go back to an older one, build anew.",
    commands=(build, diff, list_environments, rollback, show, why),
)
