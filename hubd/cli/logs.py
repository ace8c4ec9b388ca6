"""`hubd logs`: what a service, a job or a person's server printed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import click

from hubd.errors import UsageError
from hubd.host.init import Init
from hubd.layout import DAEMON_UNIT, HUB_UNIT, PROXY_UNIT, Layout

SHORT = {"hubd": DAEMON_UNIT, "daemon": DAEMON_UNIT, "hub": HUB_UNIT, "jupyterhub": HUB_UNIT, "proxy": PROXY_UNIT,
         "jupyterhub-proxy": PROXY_UNIT}  # fmt: skip
# What `hubd status` calls things by: `environment:geo`, `service:jupyterhub.service`, `person:ada`.
KINDS = ("environment", "service", "unit", "person", "server-limits", "conda")
JOBS = ("env-server", "conda")


@dataclass(frozen=True, slots=True)
class Declared:
    """Whom and what config.yaml names. whole: False where nobody can tell, as this account may not read it."""

    people: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    whole: bool = True


@click.command()
@click.argument("whose", default="hubd")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many of the newest lines."
)
@click.option("-f", "--follow", is_flag=True, help="Stay and show new lines as they come.")
@click.pass_context
def logs(ctx: click.Context, *, whose: str, lines: int, follow: bool) -> None:
    """Show the log of WHOSE: hubd, hub, proxy, an environment's build or a person's server by its name, or a job (job-env-NAME).

    Where a person and an environment have the same name, the person's server is meant, and env-NAME is the build.
    """
    from hubd.host import local_host

    layout: Layout = ctx.obj.layout
    init = local_host(layout).init
    unit = unit_of(whose, declared(layout), init)
    if follow:
        with ended_by_signals(), contextlib.closing(init.follow(unit, lines=lines)) as coming:
            for line in coming:
                click.echo(line)
        return
    found = init.log(unit, lines=lines)
    for line in found:
        click.echo(line)
    if not found:
        may_not = " (as far as this account may read it; try sudo)" if os.geteuid() else ""
        click.echo(f"{unit} has not said anything{may_not}.", err=True)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """A signal ends the command like Ctrl-C does, so that the program it reads from is ended with it."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def declared(layout: Layout) -> Declared:
    """The people and environments of config.yaml, also of one that is not valid."""
    from hubd.config.section import names, written_as
    from hubd.config.text import read
    from hubd.errors import HubdError
    from hubd.flow.source import read_text

    try:
        written = read(read_text(layout)).data
    except HubdError:
        return Declared(whole=False)
    people = [name for part in ("admins", "users") for _, name in names(written, "people", part)]
    environments = [str(name) for name in written_as(dict, written, "environments") or {}]
    return Declared(tuple(dict.fromkeys(people)), tuple(environments))


def unit_of(whose: str, known: Declared, init: Init) -> str:
    """The unit that is meant. Raises UsageError where config.yaml does not name it and the machine never heard of it."""
    unit, sure = _unit(whose, known)
    if sure or not known.whole or init.look(unit).known or init.log(unit, lines=1):
        return unit
    raise _nobody(whose, known)


def _unit(whose: str, known: Declared) -> tuple[str, bool]:
    """The unit that a name means, and whether there surely is such a thing."""
    from hubd.errors import HubdError
    from hubd.resources.job import job_unit
    from hubd.tools.sandbox import unit_name

    if whose in SHORT:
        return SHORT[whose], True
    kind, colon, name = whose.partition(":")
    if not colon or kind not in KINDS:
        kind, name = "", whose
    if name.endswith((".service", ".socket")):
        return name, name in SHORT.values()
    if name in known.people and kind != "environment":
        return unit_name(name), True
    job = "conda" if kind == "conda" else name.removeprefix("job-")
    jobs = {*JOBS, *(f"env-{each}" for each in known.environments)}
    if kind == "environment" or job in known.environments:
        job = f"env-{job.removeprefix('env-')}"
    if kind == "environment" or job in jobs or name.startswith("job-"):
        return job_unit(job), job in jobs
    try:
        return unit_name(name), False
    except HubdError:
        raise _nobody(whose, known) from None


def _nobody(whose: str, known: Declared) -> UsageError:
    from hubd.config.problems import did_you_mean
    from hubd.words import named

    meant = did_you_mean(whose, [*SHORT, *known.people, *known.environments])
    named_there = (("environments", known.environments), ("people", known.people))
    there = "".join(f"; {what}: {named(names)}" for what, names in named_there if names)
    fix = f"Ask for one of hubd, hub, proxy{there}."
    why = "it is no service, environment, job or person of this hub"
    return UsageError(f"there is no log of {whose!r}", why=why, fix=f"Did you mean {meant}? {fix}" if meant else fix)
