"""`hubd daemon`: what the unit hubd.service runs; started by hand only where there is no systemd."""

from __future__ import annotations

import os

import click

from hubd.host.locks import file_lock
from hubd.layout import DAEMON_UNIT, Layout


@click.command()
@click.pass_context
def daemon(ctx: click.Context) -> None:
    """Keep the machine as config.yaml says, until stopped. Started by hubd.service."""
    from hubd.daemon.service import Daemon
    from hubd.host import local_host
    from hubd.host.notify import set_up_log
    from hubd.host.processes import Processes

    layout: Layout = ctx.obj.layout
    set_up_log()
    with file_lock(layout.state / "daemon.lock", wait=10, what="the daemon"):
        init = local_host(layout).init
        if isinstance(init, Processes):  # so that an upgrade finds it, whoever started it
            init.adopt(DAEMON_UNIT, os.getpid())
        Daemon(layout).run()
