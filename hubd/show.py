"""Words and JSON for the screen: plans, passes, status and errors. Decides nothing and reads nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hubd.errors import HubdError
from hubd.flow.values import Gap, Pass
from hubd.words import because, counted, named, thing, whose

# How things came out of a pass, in words.
RESULTS = {"right": "right", "fixed": "fixed", "running": "under way", "failed": "failed", "held": "waiting"}


def plan_json(found: Pass) -> dict[str, Any]:
    """A plan as JSON values."""
    return {
        "changes": [_gap(gap) for gap in found.plan.gaps if gap.steps],
        "waiting": [_gap(gap) for gap in found.plan.gaps if not gap.steps],
        "right": found.plan.right,
        "broken": [{"plugin": each.plugin, "why": each.why} for each in found.broken],
    }


def _gap(gap: Gap) -> dict[str, Any]:
    error = gap.error
    return {
        "id": gap.resource.id,
        "steps": [step.say for step in gap.steps],
        "touches": gap.resource.touches,
        "removal": gap.removal,
        "tells": list(gap.forecast.says) if gap.forecast else [],
        "forecast": dict(gap.forecast.told) if gap.forecast else None,
        "waits_for": gap.progress.say if gap.progress else "",
        "error": {"what": error.what, "why": error.why, "fix": error.fix} if error else None,
    }


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """A plan in plain words."""
    for change in plan["changes"]:
        sign = "-" if change["removal"] else "*"
        for step in change["steps"]:
            yield f"  {sign} {step}"
        yield from (f"      {words}" for words in change.get("tells", ()))
        yield from (f"      {words}" for words in (error_lines(change["error"]) if change.get("error") else ()))
        if change["touches"]:
            yield f"      touches: {change['touches']}"
    for waiting in plan["waiting"]:
        yield from _waiting_lines(waiting)
    for broken in plan["broken"]:
        yield f"  ! the plugin {broken['plugin']} is left out: {broken['why']}"
    yield _last_word(plan)


def _last_word(plan: Mapping[str, Any]) -> str:
    """What a plan comes to, in numbers: what a pass would do, what somebody has to see to, what goes on by itself."""
    changes, troubles = len(plan["changes"]), len(troubles_of(plan))
    goes_on = sum(not waiting["error"] for waiting in plan["waiting"])
    right = f"{plan['right']} {'thing is' if plan['right'] == 1 else 'things are'} right"
    if not (changes or troubles or goes_on):
        return f"Nothing to do: {right}."
    counts = [counted(changes, "change")] if changes else []
    counts += [f"{counted(troubles, 'thing')} {'needs' if troubles == 1 else 'need'} attention"] if troubles else []
    counts += [f"{counted(goes_on, 'thing')} {'is' if goes_on == 1 else 'are'} under way or waiting"] if goes_on else []
    return f"{', '.join((*counts, right))}.{' Nothing was changed yet: hubd apply' if changes else ''}"


def troubles_of(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What of a plan is not right and gets no step now: it is refused, something is in its way, or it failed and waits."""
    return [*(waiting for waiting in plan["waiting"] if waiting["error"]), *plan["broken"]]


def _waiting_lines(waiting: Mapping[str, Any]) -> Iterator[str]:
    """What nothing is done about: it goes on or waits, or somebody has to do something."""
    error, what = waiting["error"], thing(waiting["id"])
    if not error:
        yield f"  … {what}: {waiting['waits_for']}"
        return
    told = error["what"].startswith(f"{waiting['id'].partition(':')[2]} ")
    yield from (f"  {line}" for line in error_lines({**error, "what": error["what"] if told else f"{what}: {error['what']}"}))


def event_line(event: Mapping[str, Any]) -> str:
    """One line for something that happens in a pass; empty for what is not worth one."""
    kind, result = event.get("kind"), event.get("result")
    if kind == "step":
        return f"  → {event['say']}"
    if kind == "job":
        return f"  … {whose(event['id'])}: {event['say']}"
    if kind == "say":
        return f"  {event['say']}"
    if kind == "outcome" and result == "failed":
        return f"  ✗ {thing(event['id'])}: {event['say']}"
    return ""


def summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """How a pass ended: counts, and each failure with cause and cure."""
    if summary.get("error"):
        # Problems of the file are named with their lines; the error's own cause would only repeat the first.
        problems = summary.get("problems", [])
        told = {**summary["error"], "why": ""} if problems else summary["error"]
        what, *more = error_lines(told)
        yield from (what, *(f"  {problem}" for problem in problems), *more)
        return
    outcomes = summary.get("outcomes", [])
    for outcome in outcomes:
        if outcome["result"] == "failed" and outcome["error"]:
            yield from error_lines(outcome["error"])
    for broken in summary.get("broken", []):
        yield f"The plugin {broken['plugin']} is left out: {broken['why']}"
    count = {result: sum(each["result"] == result for each in outcomes) for result in RESULTS}
    told = [f"{number} {RESULTS[result]}" for result, number in count.items() if number]
    whole = "All else" if summary.get("broken") else "All"
    yield f"{', '.join(told)}; {summary.get('right', 0)} were right." if told else f"{whole} is right; nothing was changed."


def status_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """The state of the hub in plain words, worst first."""
    words = {
        "right": "All is right.", "working": "Work is under way.", "trouble": "Something needs attention.",
        "invalid": "config.yaml has problems; the hub goes on with the settings it has.", "unknown": "No pass was made yet.",
    }  # fmt: skip
    waits = status.get("daemon") is None and status.get("change_waits") and not status.get("under_way")
    waits = waits and status["state"] == "working"
    headline = "A change of config.yaml or of a drop-in waits for `hubd apply`." if waits else words[status["state"]]
    daemon = status.get("daemon")
    if status["state"] == "right" and daemon and daemon.get("pass_since"):
        headline = "All was right."  # what this pass finds nobody knows yet
    yield f"{headline} (last looked: {status['when']})"
    yield from (f"  {problem}" for problem in status["config_problems"])
    if daemon is None:
        start = status.get("start_hubd", "systemctl start hubd")
        yield f"hubd is not running: changes of config.yaml wait for `hubd apply`. Start it: {start}"
    elif daemon.get("pass_since"):
        yield f"A pass is under way: {daemon['doing'] or 'looking'}"
    if status.get("under_way"):
        yield f"A pass is under way: {status['under_way']}"
    if daemon is not None and status.get("change_waits"):
        yield "A change of config.yaml or of a drop-in was seen: it is put in place in a moment, or at once by `hubd apply`."
    last = status.get("last_pass") or {}
    for trouble in last.get("trouble", []):
        yield from error_lines(trouble)
    for running in last.get("running", []):
        yield f"… {thing(running['id'])}: {running['say']}"
    yield from _held_lines(last.get("held", []))
    for notice in last.get("notices", []):
        yield f"Note: {notice['say']}."
        if notice["fix"]:
            yield f"  {notice['fix']}"


def _held_lines(held: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What waits, by what it waits for in the end: a build that fails holds what comes after it one behind the other."""
    waits = {each["id"]: each.get("waits_for", "") for each in held}
    by_cause = defaultdict(list)
    for each in held:
        cause = each.get("waits_for", "")
        for _ in waits:  # a damaged record may go in a circle
            cause = waits.get(cause) or cause
        if cause:
            by_cause[cause].append(thing(each["id"]))
        else:
            yield f"· {thing(each['id'])}: {each['say']}"
    for cause, those in by_cause.items():
        yield f"· {named(those)} {'waits' if len(those) == 1 else 'wait'} for {thing(cause)}"


def error_lines(error: HubdError | Mapping[str, Any]) -> Iterator[str]:
    """What happened, why, and the next step."""
    told = error if isinstance(error, Mapping) else {"what": error.what, "why": error.why, "fix": error.fix}
    yield f"✗ {told['what']}"
    if told.get("why"):
        yield f"  because {because(told['why'])}"
    if told.get("fix"):
        yield f"  {told['fix']}"
