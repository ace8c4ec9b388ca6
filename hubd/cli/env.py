"""`hubd env …`: the environments, one command for each thing that can be asked of them."""

from __future__ import annotations

import click

from hubd.cli.env_change import build, rollback
from hubd.cli.env_gc import gc
from hubd.cli.env_lock import diff, export, lock
from hubd.cli.env_look import list_environments, show, why
from hubd.cli.env_own import create, publish

env_commands = click.Group(
    "env",
    help="Look at environments, compare and write down generations, go back to an older one, build anew, make your own.",
    commands=(build, create, diff, export, gc, list_environments, lock, publish, rollback, show, why),
)
