"""`hubd logs`: what a service, a job or a person's server printed."""

from __future__ import annotations

import click

from hubd.errors import UsageError
from hubd.layout import DAEMON_UNIT, HUB_UNIT, PROXY_UNIT, Layout

SHORT = {"hubd": DAEMON_UNIT, "daemon": DAEMON_UNIT, "hub": HUB_UNIT, "jupyterhub": HUB_UNIT, "proxy": PROXY_UNIT,
         "jupyterhub-proxy": PROXY_UNIT}  # fmt: skip


@click.command()
@click.argument("whose", default="hubd")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many of the newest lines."
)
@click.option("-f", "--follow", is_flag=True, help="Stay and show new lines as they come.")
@click.pass_context
def logs(ctx: click.Context, *, whose: str, lines: int, follow: bool) -> None:
    """Show the log of WHOSE: hubd, hub, proxy, a job (job-env-NAME), or a person's server by the person's name."""
    from hubd.host import local_host

    layout: Layout = ctx.obj.layout
    init = local_host(layout).init
    unit = unit_for(whose)
    if follow:
        for line in init.follow(unit, lines=lines):
            click.echo(line)
        return
    found = init.log(unit, lines=lines)
    for line in found:
        click.echo(line)
    if not found:
        click.echo(f"{unit} has not said anything (as far as this account may read it; try sudo).", err=True)


def unit_for(whose: str) -> str:
    """The unit that a short name means. Raises UsageError for what cannot be one."""
    from hubd.errors import HubdError
    from hubd.resources.job import job_unit
    from hubd.tools.sandbox import unit_name

    if whose in SHORT:
        return SHORT[whose]
    if whose.startswith("job-"):
        return job_unit(whose.removeprefix("job-"))
    if whose.endswith((".service", ".socket")):
        return whose
    try:
        return unit_name(whose)
    except HubdError as error:
        fix = "Try hubd, hub, proxy, job-env-NAME or a person's name."
        raise UsageError(f"{whose!r} is no service, job or person", why=error.why, fix=fix) from error
