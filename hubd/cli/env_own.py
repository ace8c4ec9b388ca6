"""`hubd env create` and `publish`: environments that people make themselves, and how they come to be offered to others."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hubd.cli import own
from hubd.cli.client import daemon_answers, not_running, talk
from hubd.cli.env_names import answered
from hubd.cli.passes import Progress
from hubd.errors import HubdError, UsageError
from hubd.flow import published
from hubd.host import files
from hubd.layout import EVERYONE, Layout
from hubd.words import named, plain

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hubd.config.model import Config, Environment

Told = Mapping[str, Any]


@click.command()
@click.argument("name")
@click.argument("packages", nargs=-1)
@click.option("--manager", type=click.Choice(["conda", "rattler", "uv"]), help="What installs them; usually as everywhere here.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end.")
@click.pass_context
def create(ctx: click.Context, name: str, packages: tuple[str, ...], *, manager: str | None, as_json: bool) -> None:
    """Make an environment NAME of your own with these PACKAGES, in `~/envs`.

    It is a kernel of yours as soon as it is there, and nobody else's. For those whose group has `environments: own`.
    """
    asked = {"do": "create", "name": name, "packages": list(packages), "manager": manager}
    found = _ask(ctx.obj.layout, asked, quiet=as_json)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(f"{found['name']} is there: the kernel `{own.title(found['name'])}`, in {found['path']}")
        click.echo(f"In a terminal: {own.in_terminal(ctx.obj.layout, found['name'])}   Remove it: rm -rf {found['path']}")


def complete_offer(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The caller's own environments, and for root those that people ask to be offered, as OWNER/NAME."""
    from click.shell_completion import CompletionItem

    offers = own.names()
    with contextlib.suppress(HubdError, OSError):  # completion has nobody to tell
        offers += [f"{owner}/{name}" for owner, names in published.requests(ctx.obj.layout).items() for name in names]
    return [CompletionItem(each) for each in offers if each.startswith(incomplete)]


@click.command()
@click.argument("environment", shell_complete=complete_offer)
@click.option("--request", is_flag=True, help="Ask for it: for an environment of your own.")
@click.option("--withdraw", is_flag=True, help="Take back what you asked, before somebody says yes.")
@click.option("--decline", is_flag=True, help="Say no to what somebody asked.")
@click.option("--as", "name", help="Its name for others; usually the one that it has.")
@click.option("--audience", multiple=True, help="Whom to offer it to: a group; by default everyone. May be given several times.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end.")
@click.pass_context
def publish(
    ctx: click.Context,
    environment: str,
    *,
    request: bool,
    withdraw: bool,
    decline: bool,
    name: str | None,
    audience: tuple[str, ...],
    as_json: bool,
) -> None:
    """Offer an environment that somebody made to others: built again from its lock, never run from that person's files.

    Its owner asks: hubd env publish NAME --request, and may --withdraw that. Root says yes: hubd env publish OWNER/NAME
    --audience students. Root may do so without being asked. A yes without --audience is for everyone, or for those whom
    that environment is offered to already.
    """
    said = [word for word, given in (("--request", request), ("--withdraw", withdraw), ("--decline", decline)) if given]
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} exclude each other")
    if said and (name or audience):
        raise UsageError("--as and --audience are for the person who says yes")
    owner, slash, own_name = environment.partition("/")
    if request or withdraw:
        environment = _own_name(environment, "--request" if request else "--withdraw")
    elif not (slash and own_name):
        why = f"{environment!r} does not say whose environment it is"
        ask = f"hubd env publish {'NAME' if slash else plain(environment, 80)} --request"
        raise UsageError("write OWNER/NAME", why=why, fix=f"What was asked for: hubd status   Ask for your own: {ask}")
    # Told on standard error, what becomes of the config does not end up in the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        if request:
            told = _request(ctx.obj.layout, environment, quiet=as_json)
        elif withdraw:
            told = _withdraw(ctx.obj.layout, environment)
        elif decline:
            told = _decline(ctx.obj.layout, owner, own_name)
        else:
            told = _say_yes(ctx, owner, own_name, name or own_name, audience)
    if as_json:
        click.echo(json.dumps(told, indent=1))


def _own_name(environment: str, option: str) -> str:
    """NAME of NAME, or of OWNER/NAME where that is whoever asks. Raises UsageError where it is somebody else."""
    owner, slash, name = environment.partition("/")
    if not slash or owner == _me():
        return name if slash else environment
    what = "ask for that" if option == "--request" else "take that back"
    yes_or_no = f"hubd env publish {plain(environment, 80)}{'' if option == '--request' else ' --decline'}"
    fix = "" if os.geteuid() else f"{'Root need not ask' if option == '--request' else 'Say no'}: {yes_or_no}"
    raise UsageError(f"only {plain(owner, 40)} may {what}", why=f"you are {_me()}", fix=fix)


def _request(layout: Layout, environment: str, *, quiet: bool) -> Told:
    found = _ask(layout, {"do": "request", "name": environment}, quiet=quiet)
    click.echo(f"Asked, with all {found['packages']} packages as they are now. Whoever runs this hub says yes with:")
    click.echo(f"  hubd env publish {found['owner']}/{found['environment']} --audience everyone")
    click.echo(f"Offered by that name, it is what `hubd-env {environment}` means; yours is: hubd-env --own {environment}")
    click.echo(f"Take it back: hubd env publish {environment} --withdraw")
    return {**found, "state": "asked"}


def _withdraw(layout: Layout, environment: str) -> Told:
    found = _ask(layout, {"do": "withdraw", "name": environment})
    click.echo(f"Nobody is asked to offer {environment} any more. The environment itself stays as it is.")
    return {**found, "state": "withdrawn"}


def _decline(layout: Layout, owner: str, environment: str) -> Told:
    _only_root(owner, environment)
    published.decline(layout, owner, environment)
    if daemon_answers(layout):
        talk(layout, {"do": "look"})  # or status would go on telling what was asked for until the next pass
    click.echo(f"{owner}'s {environment} is not offered. The environment itself stays as it is.")
    return {"owner": owner, "environment": environment, "state": "declined"}


def _say_yes(ctx: click.Context, owner: str, environment: str, name: str, audience: tuple[str, ...]) -> Told:
    layout: Layout = ctx.obj.layout
    _only_root(owner, environment)
    is_asked = published.is_asked(layout, owner, environment)
    config = _config(layout)
    if not is_asked and owner not in config.people.everybody:
        fix = f"Put them on it first: hubd config add-item people.users {owner}"
        raise UsageError(f"{owner} is not on this hub's list of people", fix=fix)
    before = config.environments.get(name)
    if before and (before.publish is None or (before.publish.owner, before.publish.environment) != (owner, environment)):
        raise _taken(name, f"{owner}/{environment}", f"{name}-{owner}", audience)
    if not is_asked:
        _ask(layout, {"do": "request", "name": environment, "for": owner}, quiet=True)
    lock = published.asked(layout, owner, environment)
    origins = published.origins(lock)
    click.echo(f"It comes from: {', '.join(plain(each) for each in origins)}")
    entry = name if name != environment else ""
    # First what can be refused; hubd leaves a changed file alone for a moment before it acts on it.
    if options := _to_write(before, name, {"owner": owner, "environment": environment, "entry": entry}, audience):
        ctx.obj.change_config(set_to=options)
    now = _config(layout).environments.get(name)
    offered_to = list(now.audience) if now else []
    published.accept(layout, owner, environment, entry, lock=lock)
    click.echo(f"{name} will be {owner}'s {environment}: it is built again from its lock, and offered when that is proven.")
    already = " already" if before and list(before.audience) == offered_to else ""
    click.echo(f"It is for {named(offered_to)}{already}.   For others: hubd config set environments.{name}.audience GROUP")
    if name == environment:
        click.echo(f"In a terminal `hubd-env {name}` is the offered one then; {owner}'s own is: hubd-env --own {name}")
    click.echo(f"At once: hubd apply --wait   How far it is: hubd status   Take it back: hubd config unset environments.{name}")
    said = {"owner": owner, "environment": environment, "state": "accepted", "name": name, "origins": origins}
    return {**said, "audience": offered_to}


def _config(layout: Layout) -> Config:
    """What config.yaml says. Raises ConfigInvalid."""
    from hubd.flow.source import config_of, plugins_of, read_text

    text = read_text(layout)
    return config_of(text, plugins_of(text, layout), layout)


def _to_write(there: Environment | None, name: str, offered: Mapping[str, str], audience: tuple[str, ...]) -> dict[str, str]:
    """What is not in config.yaml yet, by option."""
    options = {}
    told = {key: value for key, value in offered.items() if value}
    if not there or not there.publish or there.publish.model_dump(exclude_none=True) != told:
        options[f"environments.{name}.publish"] = json.dumps(told)
    given = ",".join(audience)
    if given and given != ",".join(there.audience if there else (EVERYONE,)):
        options[f"environments.{name}.audience"] = given
    return options


def _taken(name: str, whose: str, other: str, audience: tuple[str, ...]) -> HubdError:
    words = ("hubd", "env", "publish", whose, *(word for each in audience for word in ("--audience", each)), "--as", other)
    return UsageError(f"there is an environment {name} already", fix=f"Offer it under another name: {shlex.join(words)}")


def _only_root(owner: str, environment: str) -> None:
    if os.geteuid():
        who = "ask for it" if owner == _me() else f"have {plain(owner, 40)} ask for it"
        fix = f"Use sudo, or {who}: hubd env publish {plain(environment, 80)} --request"
        raise HubdError("you may not decide about that", why="only root may", fix=fix)


def _me() -> str:
    return files.owner_name(os.geteuid())


def _ask(layout: Layout, asked: Told, *, quiet: bool = False) -> dict[str, Any]:
    hear = (lambda event: None) if quiet else Progress().hear
    if not layout.people_socket.exists():
        raise not_running()
    return answered(*talk(layout, asked, hear, door=layout.people_socket))
