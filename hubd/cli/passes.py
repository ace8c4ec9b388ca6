"""`hubd plan` and `hubd apply`: asked of the daemon; made here, under the same lock, only where no daemon runs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hubd.cli.client import daemon_answers, talk
from hubd.errors import ExitCode
from hubd.layout import Layout
from hubd.show import event_line, plan_lines, summary_lines, troubles_of

if TYPE_CHECKING:
    from hubd.daemon.passes import Ended
    from hubd.flow.values import Event, Pass
    from hubd.host import Host

_Result = TypeVar("_Result")


@click.command()
@click.option("--solve", is_flag=True, help="Ask what each build would install, and tell which versions change.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--detailed-exitcode", is_flag=True,
              help="Exit with 4 when there is something to do, with 1 when all that is left needs attention.")  # fmt: skip
@click.pass_context
def plan(ctx: click.Context, *, solve: bool, as_json: bool, detailed_exitcode: bool) -> None:
    """Show what would change, in plain words, and whom it touches. Changes nothing.

    With --solve conda, rattler or uv is asked what each build would install, and installs nothing. That takes a while, which no
    pass waits for. Where one of them cannot solve it, or what is asked for is refused, the exit code is 1.
    """
    found = _plan(ctx.obj.layout, solve=solve, hear=(lambda event: None) if as_json else Progress(err=True).hear)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in plan_lines(found):
            click.echo(line)
        if not solve and any(map(_has_open_versions, found["changes"])):
            click.echo("Versions: hubd plan --solve")
    if solve and any(map(_is_unsolvable, (*found["changes"], *found["waiting"]))):
        ctx.exit(ExitCode.FAILED)
    if detailed_exitcode and (found["changes"] or troubles_of(found)):
        ctx.exit(ExitCode.CHANGES if found["changes"] else ExitCode.FAILED)


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
    """Prints what happens as it happens; a job's phase once, not each second. err: on standard error."""

    def __init__(self, *, err: bool = False) -> None:
        self._last: dict[str, str] = {}
        self._err = err

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event."""
        line = event_line(event)
        if line and self._last.get(event["id"]) != line:
            self._last[event["id"]] = line
            with contextlib.suppress(OSError):  # nobody reads it: no reason to leave the pass half done
                click.echo(line, err=self._err)


def _is_unsolvable(gap: Mapping[str, Any]) -> bool:
    """Whether it is an environment that cannot be solved, or that is refused before anybody is asked."""
    return bool(gap["error"]) and gap["id"].startswith("environment:")


def _has_open_versions(change: Mapping[str, Any]) -> bool:
    """Whether a change is a build of which nothing tells yet how it differs from the present one."""
    forecast = change.get("forecast") or {}
    return "locked" in forecast and not forecast["locked"]


def _plan(layout: Layout, *, solve: bool = False, hear: Callable[[Mapping[str, Any]], None] | None = None) -> dict[str, Any]:
    if daemon_answers(layout):
        code, found = talk(layout, {"do": "plan", "solve": solve}, hear)
        if "error" in found:
            for line in summary_lines(found):
                click.echo(line, err=True)
            raise click.exceptions.Exit(code)
        return found
    from hubd.flow.reconcile import reconcile
    from hubd.host import local_host
    from hubd.show import plan_json

    host = local_host(layout)
    made = reconcile(host, act=False, tell=lambda event: None)
    return plan_json(_solved_here(host, made, hear or (lambda event: None)) if solve else made)


def _solved_here(host: Host, made: Pass, hear: Callable[[Mapping[str, Any]], None]) -> Pass:
    from hubd.cli.logs import ended_by_signals
    from hubd.flow.solving import solved

    with ended_by_signals():
        return follow_here(solved(host, made), hear)


def follow_here(work: Generator[Event | None, None, _Result], hear: Callable[[Mapping[str, Any]], None]) -> _Result:
    """Do a piece of work in this process, telling what happens, and give what it came to. An interruption closes it."""
    with contextlib.closing(work):
        while True:
            try:
                event = next(work)
            except StopIteration as ended:
                result: _Result = ended.value
                return result
            if event:
                hear(asdict(event))


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
            raise click.exceptions.Exit(ExitCode.FAILED)
