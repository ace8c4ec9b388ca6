"""`hubd env list`, `show` and `why`: what is there, and why something is not as it is asked for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hubd.cli import own
from hubd.cli.env_names import complete_environment, environments, state_words
from hubd.errors import HubdError
from hubd.host import files
from hubd.layout import Layout
from hubd.words import PASSED_OVER, about, ago, because, day, named, plain, table, to_build_anew

Told = Mapping[str, Any]

# What is shown of a log: lines, and letters of each.
LOG_LINES = 20
LONGEST_LINE = 400
# When a generation is taken away.
GOES = {
    "pass": "goes with the next pass", "use": "goes when the programs that use it end", "build": "goes with the next build",
}  # fmt: skip
# What each build prints first.
FIRST_WORD = "starting"


@click.command("list")
@click.option("--sizes", is_flag=True, help="How much of the disk each takes; this walks through all their files.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def list_environments(ctx: click.Context, *, sizes: bool, as_json: bool) -> None:
    """Show all environments: how each is, which generation is switched on, what built it, and who sees it.

    Those that you made yourself are among them, and nobody else's. In JupyterLab it is told which of the others are for you.
    """
    layout: Layout = ctx.obj.layout
    found = {**environments(layout), "own": own.all_told()}
    found["notes"] = [*found["notes"], *own.twice(layout)]
    _mark_offered(layout, found["environments"])
    if sizes:
        folders = {layout.envs / each["name"]: each for each in found["environments"]}
        folders |= {Path(each["path"]): each for each in found["own"]}
        for folder, each in folders.items():
            each["disk"] = _disk([folder])
        found["disk"] = _disk(folders)
    _print(found, list_lines(found), as_json=as_json)


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--own", "mine", is_flag=True, help="Yours, where the hub has one of that name, too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, *, mine: bool, as_json: bool) -> None:
    """Show the environment NAME: its generations, what runs from them, and how much of the disk each takes."""
    layout: Layout = ctx.obj.layout
    name, mine = own.meant(name, mine=mine)
    if found := _own(layout, name, mine=mine):
        found["disk"] = _disk([Path(found["path"])])
        _print(found, own_lines(found, own.in_terminal(layout, name)), as_json=as_json)
        return
    found = environments(layout, name)
    found["notes"] = [*found["notes"], *own.twice(layout, name)]
    for each in found["generations"]:
        each["disk"] = _disk([Path(each["path"])])
    _print(found, show_lines(found), as_json=as_json)


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.option("--earlier", is_flag=True, help="The log of the tries before, too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all of that.")
@click.pass_context
def why(ctx: click.Context, name: str, *, earlier: bool, as_json: bool) -> None:
    """Tell why the environment NAME is not as config.yaml asks: what failed, why, the cure, and the end of the build's log."""
    name, mine = own.meant(name, mine=False)
    if found := _own(ctx.obj.layout, name, mine=mine):
        shell, again = own.in_terminal(ctx.obj.layout, name), f"hubd env create {name} PACKAGE …"
        fix = f"A shell in it: {shell}   Make it anew: rm -rf {found['path']}   then: {again}"
        _print(found, (f"{name} is an environment of your own: hubd notes nothing of it", f"  {fix}"), as_json=as_json)
        return
    found = environments(ctx.obj.layout, name)
    _print(found, why_lines(found, time.time(), earlier=earlier), as_json=as_json)


def _mark_offered(layout: Layout, found: Iterable[dict[str, Any]]) -> None:
    """Tell what the caller is offered where config.yaml cannot be read: in a person's server it is known, and not over SSH."""
    folders = [Path(each) for each in os.environ.get("JUPYTER_PATH", "").split(":") if Path(each).parent == layout.audiences]
    for each in found if folders else ():
        if each["declared"] is None:
            titles = filter(None, (_title(folder / "kernels" / each["name"]) for folder in folders))
            each["kernels"] = [{"title": title, "audience": "me"} for title in titles]
            each["offered"] = bool(each["kernels"])


def _title(kernel: Path) -> str:
    """What a kernel is called; empty where there is none."""
    try:
        return plain(str(json.loads(files.read(kernel / "kernel.json") or b"{}").get("display_name", "")))
    except (HubdError, OSError, ValueError, AttributeError):
        return ""


def _own(layout: Layout, name: str, *, mine: bool) -> dict[str, Any]:
    """An environment of the caller's own; empty where the hub's is meant. Raises UsageError where there is none of `mine`."""
    prefix = own.get(name) if mine else own.find(name)
    if not prefix or (not mine and name in {each["name"] for each in environments(layout)["environments"]}):
        return {}
    return {**own.told(prefix), "own": True, "notes": []}


def _print(found: Told, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for line in lines:
        click.echo(line)
    for note in found["notes"]:
        click.echo(note, err=True)


def _disk(folders: Iterable[Path]) -> dict[str, int]:
    from hubd.host.disk_use import disk_use

    found = disk_use(folders)
    return {"own": found.own, "shared": found.shared, "unread": found.unread}


def list_lines(found: Told) -> Iterator[str]:
    """All environments, a line each."""
    rows = [("NAME", "STATE", "GENERATION", "BUILT", "BY", "KERNEL", "FOR", "OWN", "SHARED")]
    for each in found["environments"]:
        kernels = each["kernels"]
        rows.append((
            each["name"], each["state"], str(each["generation"] or ""), day(each["built"] or 0), each["manager"],
            ", ".join(dict.fromkeys(kernel["title"] for kernel in kernels)),
            ", ".join(dict.fromkeys(kernel["audience"] for kernel in kernels)) or ("" if each.get("offered", True) else "not me"),
            *_sizes(each.get("disk")),
        ))  # fmt: skip
    for each in found.get("own", ()):
        built, kernel = day(each["built"] or 0), _own_kernel(each)
        rows.append((each["name"], "my own", "", built, each["manager"], kernel, "me alone", *_sizes(each.get("disk"))))
    if len(rows) == 1:
        yield "There is no environment."
        return
    yield from table(rows if "disk" in found else [row[:7] for row in rows])
    for each in found["environments"]:
        words = state_words(each)
        if words != each["state"]:  # the table has it
            yield each["say"] if each["say"].startswith(f"{each['name']} ") else f"{each['name']}: {each['say']}"
    if "disk" in found:
        own, shared = _sizes(found["disk"])
        yield f"All together {own}, and {shared} that are also in the package cache."


def show_lines(found: Told) -> Iterator[str]:
    """One environment with its generations."""
    yield f"{found['name']}: {state_words(found)}"
    trouble = found.get("trouble") or {}
    if trouble.get("why"):
        yield f"  because {because(trouble['why'])}"
    yield from (f"  kernel {each['title']}, for {each['audience']}" for each in found["kernels"])
    past = next((each["outlived"] for each in found["generations"] if each["on"]), "")
    if past:
        yield f"  its Python {past} is past its end of life"
    rows = [("GENERATION", "BUILT", "BY", "PACKAGES", "PROGRAMS", "OWN", "SHARED", "")]
    for each in found["generations"]:
        packages = each["lock"]["conda"] + each["lock"]["pip"]
        rows.append((
            str(each["number"]), day(each["built"]), each["manager"], str(packages or ""), str(each["programs"] or ""),
            *_sizes(each["disk"]), _remarks(each),
        ))  # fmt: skip
    if len(rows) == 1:
        yield "  nothing is built yet"
        return
    yield from (f"  {line}" for line in table(rows))
    for each in found["generations"]:
        if each.get("difference"):
            yield f"  generation {each['before']} → {each['number']}: {each['difference']}"
    yield "  OWN is free when a generation goes; SHARED has a name in the package cache or in another generation, too."


def own_lines(found: Told, in_terminal: str) -> Iterator[str]:
    """One that its person made. in_terminal: the command that opens a shell in it."""
    by = f" by {found['manager']}" if found["manager"] else ""
    yield f"{found['name']}: my own, made {day(found['built'] or 0)}{by}"
    kernel = _own_kernel(found)
    yield f"  kernel {kernel}, for me alone" if kernel else "  it has no kernel: ipykernel is not among its packages"
    own_size, shared = _sizes(found["disk"])
    packages = "1 package" if found["packages"] == 1 else f"{found['packages']} packages"
    yield f"  {packages}, {own_size} of its own and {shared} shared, in {found['path']}"
    yield f"  In a terminal: {in_terminal}   Remove it: rm -rf {found['path']}"


def _own_kernel(each: Told) -> str:
    return own.title(each["name"]) if each["kernel"] else ""


def why_lines(found: Told, now: float, *, earlier: bool = False) -> Iterator[str]:
    """A failure: cause and cure, the next try, and the end of the newest try's log, or of all that there is."""
    trouble = found["trouble"]
    if not trouble:
        # A daemon that was not restarted yet does not tell what it waits for.
        waits = found.get("waits_for")
        yield f"{found['name']}: {state_words(found)}; {f'it waits for {named(waits)}' if waits else 'nothing failed'}"
        if found.get("passed_over"):
            yield f"  it is frozen and stays as it was built; {PASSED_OVER}"
            yield f"  {to_build_anew(found['name'], frozen=True)}"
        return
    yield f"✗ {trouble['what']}"
    if trouble["why"]:
        yield f"  because {because(trouble['why'])}"
    if trouble["fix"]:
        yield f"  {trouble['fix']}"
    if trouble["ended"]:
        tried = "1 try" if trouble["tries"] == 1 else f"{trouble['tries']} tries"
        yield f"  {tried}, the last {ago(now - trouble['ended'])}; {_again(trouble, now)}"
    yield f"  {_meanwhile(found)}"
    if trouble["log"]:
        lines = trouble["log"] if earlier else _newest_try(trouble["log"])
        yield f"  The end of its log (all of it: hubd logs job-env-{found['name']}):"
        yield from (f"    {plain(line, LONGEST_LINE)}" for line in lines)


def _newest_try(log: Sequence[str]) -> Sequence[str]:
    """The last lines of a log that holds those of earlier tries, too."""
    begins = max((at for at, line in enumerate(log) if line == FIRST_WORD), default=-1)
    return log[begins + 1 :][-LOG_LINES:] or log[-LOG_LINES:]


def _sizes(disk: Told | None) -> tuple[str, str]:
    if not disk:
        return "", ""
    least = "at least " if disk["unread"] else ""
    return least + about(disk["own"]), least + about(disk["shared"])


def _remarks(generation: Told) -> str:
    """Which one it is. A daemon that was not restarted yet tells neither which of several of the same is wanted nor what goes."""
    same = "as config.yaml asks" if generation.get("wanted", True) else "an earlier build of the same"
    remarks = (
        "switched on" if generation["on"] else "", same if generation["asked"] else "", GOES.get(str(generation.get("goes")), ""),
    )  # fmt: skip
    return ", ".join(filter(None, remarks))


def _again(trouble: Told, now: float) -> str:
    minutes = max(1, round((trouble["next_try"] - now) / 60))
    when = f"in {minutes} minutes" if minutes <= 120 else f"in {round(minutes / 60)} hours"
    when = when if trouble["next_try"] > now else "at the next pass"
    # A daemon that was not restarted yet does not tell whether it may help. The cure has said the rest.
    if not trouble.get("retry", True):
        return f"the same again would hardly help, and is tried {when}"
    return f"tried again {'by itself ' if trouble['next_try'] > now else ''}{when}, or at once by `hubd apply`"


def _meanwhile(found: Told) -> str:
    if not found["generation"]:
        return "People have no kernel of it yet."
    return f"People have generation {found['generation']} meanwhile."
