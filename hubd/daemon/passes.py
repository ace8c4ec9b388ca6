"""One pass at a time: the queue of reasons, the lock, who follows, and what is going on right now."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hubd.config.problems import ConfigInvalid
from hubd.errors import ExitCode, HubdError
from hubd.flow.reconcile import reconcile
from hubd.flow.status import exit_code
from hubd.flow.values import Event, Pass, Result
from hubd.host import Host
from hubd.host.locks import file_lock
from hubd.layout import Layout
from hubd.words import thing

log = logging.getLogger("hubd")

# Seconds without anything to tell, after which listeners get to see that.
QUIET = 10.0

Seen = tuple[tuple[str, int, int, int], ...]
"""Path, inode, size and time of change of each file."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a pass ended. running: the jobs that go on."""

    code: ExitCode
    summary: Mapping[str, Any]
    running: tuple[str, ...] = ()


def files_now(layout: Layout) -> Seen:
    """What tells the files that a pass begins with from what they were before."""
    found = []
    for path in (layout.config_file, *sorted(layout.config_d.glob("*.py"))):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


class Passes:
    """Makes passes and tells everybody who listens.

    make_host: a fresh view of the machine. lock_wait: seconds to wait for a pass of another process.
    """

    def __init__(self, make_host: Callable[[], Host], *, lock_wait: float = 3600.0) -> None:
        self._make_host, self._lock_wait = make_host, lock_wait
        self.hear: Callable[[Event | Ended], None] | None = None
        self._listeners: set[queue.SimpleQueue[Event | Ended]] = set()
        self._guard = threading.Lock()
        self.stop = threading.Event()
        self.going_since: float | None = None
        self.current = ""
        self.problems: tuple[str, ...] = ()
        # Why the newest pass came to no end; such a pass leaves no record (a full disk takes none).
        self.failure: Mapping[str, Any] | None = None
        self.last: Ended | None = None
        # The files as they were when the newest pass began to read them; None before the first one.
        self.looked_at: Seen | None = None

    def make(self, reason: str) -> Ended:
        """Make passes until one changes nothing that the next would see, and tell how all of them ended."""
        self.going_since = time.time()
        try:
            ended = self._once(reason)
        finally:
            self.going_since, self.current = None, ""
        self.last = ended
        self.tell(ended)
        return ended

    def change_waits(self, layout: Layout) -> bool:
        """Whether config.yaml or a drop-in changed since the newest pass read it."""
        return self.looked_at is not None and self.looked_at != files_now(layout)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], Event | Ended | None]]:
        """A function that waits for the next thing told, from this moment on; None when nothing is for a while."""
        inbox: queue.SimpleQueue[Event | Ended] = queue.SimpleQueue()
        with self._guard:
            self._listeners.add(inbox)
        try:
            yield functools.partial(_next, inbox)
        finally:
            with self._guard:
                self._listeners.discard(inbox)

    def tell(self, message: Event | Ended) -> None:
        """Tell all listeners; a step is also what `current` shows and a line of the log."""
        if isinstance(message, Event):
            if message.kind == "step":
                self.current = message.say
                log.info("%s", message.say, extra={"HUBD_RESOURCE": message.id})
            if message.result in (Result.FAILED.value,):
                log.error("%s: %s", thing(message.id), message.say, extra={"HUBD_RESOURCE": message.id})
        if self.hear:
            self.hear(message)
        with self._guard:
            for inbox in self._listeners:
                inbox.put(message)

    def _once(self, reason: str) -> Ended:
        host = self._make_host()
        host.say = lambda words: self.tell(Event("say", say=words))
        self.tell(Event("pass", say=reason))
        self.looked_at = files_now(host.layout)
        try:
            with file_lock(host.layout.lock, wait=self._lock_wait, what=reason, waiting=host.say):
                made = [reconcile(host, act=True, tell=self.tell, stop=self.stop)]
                if made[0].facts_changed and not self.stop.is_set():
                    made.append(reconcile(host, act=True, tell=self.tell, stop=self.stop))
        except ConfigInvalid as error:
            self.problems = tuple(error.lines())
            log.error("%s; nothing was changed. %s", error.what, "; ".join(self.problems[:5]))
            return Ended(error.code, {"error": _error(error), "problems": list(self.problems)})
        except HubdError as error:
            log.error("%s", error)
            self.failure = _error(error)
            return Ended(error.code, {"error": self.failure})
        except Exception as error:
            log.exception("the pass failed")
            wrapped = HubdError("the pass failed", why=f"{type(error).__name__}: {error}", fix="See `hubd logs hubd`.")
            self.failure = _error(wrapped)
            return Ended(ExitCode.FAILED, {"error": self.failure})
        self.problems, self.failure = (), None
        return together([_ended(whole) for whole in made])


def _ended(whole: Pass) -> Ended:
    return Ended(exit_code(whole), summary(whole), tuple(each.job for each in whole.outcomes if each.job))


def _next(inbox: queue.SimpleQueue[Event | Ended]) -> Event | Ended | None:
    try:
        return inbox.get(timeout=QUIET)
    except queue.Empty:
        return None


def summary(whole: Pass) -> dict[str, Any]:
    """A pass in a few JSON values, for the CLI."""
    outcomes = [each for each in whole.outcomes if each.result is not Result.RIGHT]
    return {
        "right": whole.plan.right,
        "outcomes": [
            {"id": each.id, "result": each.result.value, "say": each.say, "error": _error(each.error),
             "waits_for": each.waits_for} for each in outcomes
        ],
        "broken": [asdict(each) for each in whole.broken],
    }


def together(passes: Sequence[Ended]) -> Ended:
    """Several passes that somebody waited for, told as one: how each thing came out in the end.

    What was made right in any of them counts as fixed, also a build that a later pass found finished.
    """
    last = passes[-1]
    if "error" in last.summary:
        return last
    found: dict[str, Mapping[str, Any]] = {}
    for each in passes:
        told = {outcome["id"]: outcome for outcome in each.summary.get("outcomes", [])}
        left = {identity: _made_right(outcome) for identity, outcome in found.items() if identity not in told}
        found = {identity: outcome for identity, outcome in left.items() if outcome} | told
    new = len(last.summary.get("outcomes", []))
    right = max(0, int(last.summary.get("right", 0)) - (len(found) - new))
    return Ended(last.code, {**last.summary, "right": right, "outcomes": list(found.values())}, last.running)


def _made_right(outcome: Mapping[str, Any]) -> Mapping[str, Any]:
    """An outcome of which a later pass had nothing to tell: the thing is right now, and nothing is left of what only waited."""
    if outcome["result"] not in (Result.FIXED, Result.RUNNING):
        return {}
    return {**outcome, "result": Result.FIXED.value, "error": None}


def _error(error: HubdError | None) -> dict[str, Any] | None:
    return {"what": error.what, "why": error.why, "fix": error.fix, "retry": error.retry} if error else None
