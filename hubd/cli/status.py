"""`hubd status`: how the hub is, with cause and cure."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import click

from hubd.cli.client import daemon_answers, how_to_start, messages, talk
from hubd.errors import ExitCode
from hubd.layout import Layout
from hubd.show import event_line, status_lines


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--watch", is_flag=True, help="Stay and show what happens, until interrupted.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, watch: bool) -> None:
    """Show how the hub is. Exits with 0 when all is right, 1 when something needs attention, 3 when the file is invalid."""
    layout: Layout = ctx.obj.layout
    found = _status(layout)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in status_lines(found):
            click.echo(line)
    if watch:
        _watch(layout)
    codes = {"invalid": ExitCode.CONFIG_INVALID, "trouble": ExitCode.FAILED, "unknown": ExitCode.FAILED}
    ctx.exit(codes.get(found["state"], ExitCode.DONE))


def _status(layout: Layout) -> dict[str, Any]:
    if daemon_answers(layout):
        return talk(layout, {"do": "status"})[1]
    from hubd.config.problems import ConfigInvalid
    from hubd.flow import record
    from hubd.flow.source import config_of, plugins_of, read_text
    from hubd.flow.status import no_end
    from hubd.flow.status import status as state_of
    from hubd.host.locks import holder

    problems: tuple[str, ...] = ()
    try:
        text = read_text(layout)
        config_of(text, plugins_of(text, layout), layout)
    except ConfigInvalid as error:
        problems = tuple(error.lines())
    seen, now = holder(layout.lock), time.time()
    unended = seen is not None and not seen.holds and not problems
    found = state_of(
        record.read(layout), config_problems=problems, daemon=None, now=now,
        failure=no_end(pid=seen.pid, what=seen.what, since=seen.since, now=now) if seen and unended else None,
        under_way=(seen.what or "another process makes it") if seen and seen.holds else "",
        change_waits=_is_newer(layout, record.read(layout).last.get("started", 0)),
    )  # fmt: skip
    return {**found, "start_hubd": how_to_start()}


def _is_newer(layout: Layout, looked_at: float) -> bool:
    """Whether config.yaml or a drop-in was written after the last pass began, as far as this account may see."""
    with contextlib.suppress(OSError):
        written = [layout.config_file, *layout.config_d.glob("*.py")]
        return any(path.stat().st_mtime > looked_at for path in written)
    return False


def _watch(layout: Layout) -> None:
    if not daemon_answers(layout):
        raise click.ClickException(f"nothing to watch: hubd is not running. Start it: {how_to_start()}")
    for message in messages(layout, {"do": "follow"}):
        if "event" in message:
            if line := event_line(message["event"]):
                click.echo(line)
        else:
            for line in status_lines(_status(layout)):
                click.echo(line)
