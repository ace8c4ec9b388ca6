"""`hubd plan` and `hubd apply`: asked of the daemon; made here, under the same lock, only where no daemon runs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hubd.cli.client import daemon_answers, talk
from hubd.errors import ExitCode
from hubd.layout import Layout
from hubd.show import event_line, plan_lines, summary_lines

if TYPE_CHECKING:
    from hubd.daemon.passes import Ended


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 when there is something to do.")
@click.pass_context
def plan(ctx: click.Context, *, as_json: bool, detailed_exitcode: bool) -> None:
    """Show what would change, in plain words, and whom it touches. Changes nothing."""
    found = _plan(ctx.obj.layout)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in plan_lines(found):
            click.echo(line)
    if detailed_exitcode and found["changes"]:
        ctx.exit(ExitCode.CHANGES)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask before something is removed.")
@click.option("--wait", is_flag=True, help="Follow environment builds to their end.")
@click.option("--no-lock-wait", is_flag=True, help="Leave with exit code 6 when another pass is under way.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, at the end.")
@click.pass_context
def apply(ctx: click.Context, *, yes: bool, wait: bool, no_lock_wait: bool, as_json: bool) -> None:
    """Make the machine as config.yaml says, now. Before it takes something away it asks, where somebody sits at the terminal."""
    layout: Layout = ctx.obj.layout
    if not yes and not as_json and sys.stdin.isatty():
        _confirm_removals(_plan(layout), daemon=daemon_answers(layout))
    request = {"do": "apply", "wait": wait, "lock_wait": not no_lock_wait}
    hear = (lambda event: None) if as_json else Progress().hear
    if daemon_answers(layout):
        code, summary = talk(layout, request, hear)
    else:
        code, summary = _apply_here(layout, hear, wait=wait, lock_wait=not no_lock_wait)
    if as_json:
        click.echo(json.dumps({"code": int(code), **summary}, indent=1))
    else:
        for line in summary_lines(summary):
            click.echo(line, err=code != ExitCode.DONE)
    ctx.exit(code)


class Progress:
    """Prints what happens as it happens; a job's phase once, not each second."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event."""
        line = event_line(event)
        if line and self._last.get(event["id"]) != line:
            self._last[event["id"]] = line
            with contextlib.suppress(OSError):  # nobody reads it: no reason to leave the pass half done
                click.echo(line)


def _plan(layout: Layout) -> dict[str, Any]:
    if daemon_answers(layout):
        code, found = talk(layout, {"do": "plan"})
        if "error" in found:
            for line in summary_lines(found):
                click.echo(line, err=True)
            raise click.exceptions.Exit(code)
        return found
    from hubd.flow.reconcile import reconcile
    from hubd.host import local_host
    from hubd.show import plan_json

    return plan_json(reconcile(local_host(layout), act=False, tell=lambda event: None))


def _apply_here(
    layout: Layout, hear: Callable[[Mapping[str, Any]], None], *, wait: bool, lock_wait: bool
) -> tuple[ExitCode, dict[str, Any]]:
    """The same passes as the daemon's, in this process."""
    from hubd.host import local_host
    from hubd.resources.job import forget_failures

    forget_failures(local_host(layout))
    ended = make_here(layout, hear, lock_wait=lock_wait, wait=lambda running: wait and bool(running))
    return ended.code, dict(ended.summary)


def make_here(
    layout: Layout, hear: Callable[[Mapping[str, Any]], None], *,
    lock_wait: bool = True, wait: Callable[[tuple[str, ...]], bool] = lambda running: False,
) -> Ended:  # fmt: skip
    """Make a pass where no daemon runs, and those after it for as long as `wait` says so of its jobs."""
    from hubd.daemon.passes import Passes, together
    from hubd.flow.values import Event
    from hubd.host import local_host
    from hubd.resources.job import last_line, phases

    click.echo("hubd is not running: making the pass here.", err=True)
    passes = Passes(lambda: local_host(layout), lock_wait=3600.0 if lock_wait else 0.0)
    passes.hear = lambda told: hear(asdict(told)) if isinstance(told, Event) else None
    made = [passes.make("asked by the command line")]
    while wait(made[-1].running):
        going = phases(local_host(layout), made[-1].running)
        for name, phase in going.items():
            hear(asdict(Event("job", name, phase, line=last_line(layout, name))))
        if not going.keys() >= set(made[-1].running):
            made.append(passes.make("a job ended"))
        time.sleep(1)
    return together(made)


def _confirm_removals(found: Mapping[str, Any], *, daemon: bool) -> None:
    removals = [step for change in found["changes"] if change["removal"] for step in change["steps"]]
    if removals:
        click.echo("These are no longer in config.yaml and would be taken away (homes and data stay):")
        for step in removals:
            click.echo(f"  - {step}")
        if daemon:
            click.echo("hubd runs, and does this by itself in a moment. To keep them, put them back into config.yaml.")
        if not click.confirm("Go on?"):
            click.echo("Nothing was changed by this command." if daemon else "Nothing was changed.")
            raise click.exceptions.Exit(ExitCode.INTERRUPTED)
