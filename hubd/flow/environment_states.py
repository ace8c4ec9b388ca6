"""How an environment is, in one word and one sentence, from what was seen of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hubd.errors import HubdError
from hubd.flow.values import Gap
from hubd.resources.generation import Generation, SeenOld
from hubd.tools.job_limits import USUAL, JobLimits
from hubd.words import thing


@dataclass(frozen=True, slots=True)
class Offered:
    """A kernel of an environment as people see it. audience: who does, in plain words."""

    title: str
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One environment on the machine.

    declared: whether config.yaml has it; None where that could not be read. digest: of what it asks for.
    held: the generation that somebody went back to; 0 for none. current: the one that is switched on; 0 for none. wish: the one
    that config.yaml's own wish would switch on; 0 while it is not built.
    finished: the newest first. gap: of its build. lacks: what its build waits for and that failed, by id and cause.
    waits: what else it waits for, in words.
    limits: what its build may use. pending: what a pass would do besides the build, in words.
    old: those that nobody needs; None where that cannot be told. keep: how many before the one in use stay.
    passed_over: whether it is frozen and something else is asked for by now.
    touched: the gap of what somebody changed by hand. programs: how many still run from one that is not declared.
    """

    name: str
    declared: bool | None
    manager: str = ""
    digest: str = ""
    held: int = 0
    current: int = 0
    wish: int = 0
    finished: tuple[Generation, ...] = ()
    kernels: tuple[Offered, ...] = ()
    gap: Gap | None = None
    lacks: tuple[tuple[str, HubdError], ...] = ()
    waits: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    limits: JobLimits = USUAL
    old: SeenOld | None = None
    keep: int = 0
    passed_over: bool = False
    touched: Gap | None = None
    programs: int = 0

    @property
    def on(self) -> Generation | None:
        """The generation that is switched on, where it is whole."""
        return next((each for each in self.finished if each.number == self.current), None)


def told(seen: Observed) -> dict[str, Any]:
    """One environment as JSON values.

    state: right, rolled back, building, failed, refused, changed by hand, waiting, removed (no longer declared), or in place
    where nobody can tell more.
    """
    state, say = _state(seen)
    on = seen.on
    return {
        "name": seen.name,
        "declared": seen.declared,
        "state": state,
        "say": say,
        "manager": (on.manager if on else "") or seen.manager,
        "generation": seen.current or None,
        "built": on.built if on else None,
        "kernels": [{"title": each.title, "audience": each.audience} for each in seen.kernels],
        "older": sum(each.number < seen.current for each in seen.finished),
    }


def goes(seen: Observed, generation: Generation) -> str:
    """What takes a generation away: the next pass, the end of its use, or the next build; empty where it stays for now."""
    if seen.old is None or generation.number == seen.current:
        return ""
    if generation.path.name in seen.old.surplus:
        return "use" if generation.path.name in seen.old.used else "pass"
    return "build" if generation in seen.finished[seen.keep :] else ""


def trouble_of(seen: Observed) -> HubdError | None:
    """Why it is not as config.yaml asks: its build's failure, that of what the build needs, or what somebody did by hand."""
    if seen.gap is None:
        return seen.touched.error if seen.touched and not seen.pending else None
    if seen.gap.error is not None:
        return seen.gap.error
    if not seen.lacks:
        return None
    identity, cause = seen.lacks[0]
    why = f"{cause.what}: {cause.why}" if cause.why else cause.what
    return HubdError(f"{seen.name} cannot be built without {thing(identity)}", why=why, fix=cause.fix, retry=cause.retry)


def _state(seen: Observed) -> tuple[str, str]:
    if seen.declared is None:
        return ("in place", "") if seen.current else ("waiting", "no generation is switched on")
    if not seen.declared:
        return "removed", _leaving(seen.programs)
    if seen.gap is not None and seen.gap.progress is not None and seen.gap.progress.job:
        return "building", seen.gap.progress.say
    trouble = trouble_of(seen)
    if trouble is not None:
        return _words_of_trouble(seen), trouble.what
    waits = (*(step.say for step in (seen.gap.steps if seen.gap else ())), *seen.pending)
    if waits:
        return "waiting", waits[0]
    if seen.held and seen.held == seen.current:
        return "rolled back", f"to generation {seen.held}, instead of what config.yaml asks for"
    return "right", ""


def _words_of_trouble(seen: Observed) -> str:
    gap = seen.gap or seen.touched
    progress = gap.progress if gap else None
    return progress.say if progress else "failed"


def _leaving(programs: int) -> str:
    if not programs:
        return "config.yaml does not have it any more"
    use = "1 program still uses" if programs == 1 else f"{programs} programs still use"
    return f"config.yaml does not have it any more; {use} it"
