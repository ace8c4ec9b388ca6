"""What a pass leaves to be told: its outcomes with cause and cure, and the notices. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hubd.errors import ExitCode, HubdError, Interrupted
from hubd.flow.desired import notices
from hubd.flow.values import Outcome, Pass, Record, Result
from hubd.hooks import Wanted
from hubd.plugin_loader import Plugins
from hubd.words import ago

FINISH = "The next pass goes on from there: hubd apply"


def last_pass(whole: Pass, wanted: Wanted, plugins: Plugins, *, started: float, ended: float, damaged: str) -> dict[str, Any]:
    """The newest pass as JSON values, for the record."""
    counts = Counter(outcome.result.value for outcome in whole.outcomes if outcome.result is not Result.RIGHT)
    trouble = [_told(outcome) for outcome in whole.outcomes if outcome.result is Result.FAILED]
    mentioned = notices(wanted, plugins)  # asking for them may show that one more plugin is broken
    broken = dict.fromkeys((*whole.broken, *plugins.broken))
    trouble += [{"id": f"plugin:{each.plugin}", "what": f"the plugin {each.plugin} is left out", "why": each.why,
                 "fix": "Mend or remove it; all other parts go on.", "retry": False} for each in broken]  # fmt: skip
    if _stopped(whole):
        trouble.append({"id": "pass", "what": "the last pass was stopped before its end", "why": "", "retry": True,
                        "fix": FINISH})  # fmt: skip
    if damaged:
        trouble.append({"id": "record", "what": damaged, "why": "", "retry": False,
                        "fix": "It was set aside and a new one begun; nothing on the machine was lost."})  # fmt: skip
    return {
        "started": started,
        "ended": ended,
        "right": _right(whole),
        "counts": dict(counts),
        "fixed": [outcome.say for outcome in whole.of(Result.FIXED)][:50],
        "running": [{"id": outcome.id, "say": outcome.say} for outcome in whole.of(Result.RUNNING)],
        "held": [{"id": each.id, "say": each.say, "waits_for": each.waits_for} for each in whole.of(Result.HELD)],
        "trouble": trouble,
        "notices": [{"say": notice.say, "fix": notice.fix} for notice in mentioned],
    }


def _told(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error or HubdError(outcome.say)
    return {"id": outcome.id, "what": error.what, "why": error.why, "fix": error.fix, "retry": error.retry}


def _right(whole: Pass) -> int:
    """How many were right in the end without a step: each once, though what needs a changed one was looked at twice."""
    gaps = {gap.resource.id for gap in whole.plan.gaps}
    mended = sum(outcome.result is Result.RIGHT and outcome.id in gaps for outcome in whole.outcomes)
    lost = sum(outcome.result is not Result.RIGHT and outcome.id not in gaps for outcome in whole.outcomes)
    return whole.plan.right + mended - lost


def _stopped(whole: Pass) -> bool:
    return any(isinstance(outcome.error, Interrupted) for outcome in whole.outcomes)


def no_end(*, pid: int, what: str, since: float, now: float) -> dict[str, Any]:
    """The trouble with a pass that failed or was killed and could not write down how it went.

    what: what asked for it. since: when it began.
    """
    why = f"process {pid} began it {ago(now - since)} ({what or 'nobody knows why'}), and failed or was killed"
    return {"what": "the last pass came to no end", "why": why, "fix": FINISH, "retry": True}


def exit_code(whole: Pass) -> ExitCode:
    """The exit code of a pass: failed when nothing could be done, partly applied when something else was."""
    bad = [*whole.of(Result.FAILED), *whole.broken]
    if not bad:
        return ExitCode.INTERRUPTED if _stopped(whole) else ExitCode.DONE
    return ExitCode.PARTLY_APPLIED if whole.of(Result.FIXED) or whole.plan.right else ExitCode.FAILED


def status(
    record: Record,
    *,
    config_problems: tuple[str, ...],
    daemon: Mapping[str, Any] | None,
    now: float,
    failure: Mapping[str, Any] | None = None,
    change_waits: bool = False,
    under_way: str = "",
) -> dict[str, Any]:
    """The state of the hub as JSON values: `state` is one of right, working, trouble, invalid, unknown.

    failure: why a pass newer than the record's came to no end.
    change_waits: the files changed, and no pass has read them yet.
    under_way: why a pass is made right now where no daemon makes it.
    """
    last = dict(record.last)
    if failure:
        last["trouble"] = [{"id": "pass", **failure}, *last.get("trouble", [])]
    if config_problems:
        state = "invalid"
    elif not last and not under_way:
        state = "unknown"
    elif last.get("trouble"):
        state = "trouble"
    else:
        state = "working" if last.get("running") or change_waits or under_way else "right"
    return {
        "state": state,
        "config_problems": list(config_problems),
        "change_waits": change_waits,
        "under_way": under_way,
        "daemon": daemon,
        "last_pass": last or None,
        "when": ago(now - last["ended"]) if "ended" in last else "never",
    }
