"""What the command line asks of the daemon: a plan, a pass with live progress, the status. Checks who asks.

What is seldom asked for is imported when it is: the daemon rests in little memory.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from hubd.config.problems import ConfigInvalid
from hubd.daemon.passes import Ended, Passes, together
from hubd.errors import ExitCode, HubdError, Locked
from hubd.flow import record, status
from hubd.flow.reconcile import reconcile
from hubd.flow.values import Event
from hubd.host import Host
from hubd.host.locks import file_lock
from hubd.host.sockets import Message, Peer
from hubd.layout import ADMINS_GROUP
from hubd.resources.job import forget_failures
from hubd.show import plan_json
from hubd.words import plain

log = logging.getLogger("hubd")

ASKED = "asked by the command line"
# Said now and then where there is nothing else to say: whoever has left is noticed, and takes nobody's place.
ALIVE: Message = {"alive": True}

_Result = TypeVar("_Result")

Wait = Callable[[tuple[str, ...]], bool]
"""Whether to wait for the jobs with these names."""


class Control:
    """Answers the command line. wake: asks for a pass, with a reason and whether failed jobs are tried at once."""

    def __init__(self, passes: Passes, make_host: Callable[[], Host], wake: Callable[[str], None], about: dict[str, Any]) -> None:
        self._passes, self._make_host, self._wake, self._about = passes, make_host, wake, about

    def answer(self, request: Message, peer: Peer) -> Iterator[Message]:
        """Answers to one request: that it was heard, events, and one last message with `done`."""
        try:
            self._admit(peer)
            yield {"heard": True}
            verbs: dict[Any, Callable[[Message], Iterator[Message]]] = {
                "plan": self._plan, "apply": self._apply, "status": self._status, "follow": self._follow,
                "environments": self._environments, "rollback": self._rollback,
                "build": self._build, "clear": self._clear, "look": self._look,
            }  # fmt: skip
            verb = request.get("do")
            if not isinstance(verb, str) or verb not in verbs:
                told = plain(repr(verb), 60)
                raise HubdError(f"the daemon does not know the request {told}", fix="Use the `hubd` of this daemon.")
            yield from verbs[verb](request)
        except ConfigInvalid as error:
            yield _done(error.code, {"error": _words(error), "problems": list(error.lines())})
        except HubdError as error:
            yield _done(error.code, {"error": _words(error)})
        except Exception as error:
            log.exception("a request could not be answered")
            wrapped = HubdError("the request failed", why=f"{type(error).__name__}: {error}", fix="See `hubd logs hubd`.")
            yield _done(wrapped.code, {"error": _words(wrapped)})

    def _admit(self, peer: Peer) -> None:
        host = self._make_host()
        if peer.uid != 0 and peer.name not in (host.accounts.members(ADMINS_GROUP) or ()):
            why, fix = f"only root and the group {ADMINS_GROUP} may", "Use sudo, or ask whoever runs this hub."
            raise HubdError(f"{peer.name} may not ask hubd", why=why, fix=fix)

    def _plan(self, request: Message) -> Iterator[Message]:
        host = self._make_host()
        found = reconcile(host, act=False, tell=lambda event: None)
        if request.get("solve"):
            from hubd.flow import solving

            found = yield from _following(solving.solved(host, found))
        yield _done(ExitCode.DONE, plan_json(found))

    def _apply(self, request: Message) -> Iterator[Message]:
        if not request.get("lock_wait", True):
            if self._passes.going_since is not None:
                raise Locked("another pass is under way", why="the daemon makes it", fix="Follow it: hubd status --watch")
            with file_lock(self._make_host().layout.lock, wait=0, what="looking whether a pass is under way"):
                pass  # it raises Locked when another process holds the lock
        if self._passes.going_since is not None:
            yield {"event": asdict(Event("say", say="waiting for the pass that is under way"))}
        forget_failures(self._make_host())
        ended = yield from self._pass(ASKED, wait=lambda running: bool(request.get("wait") and running))
        yield _done(ended.code, dict(ended.summary))

    def _rollback(self, request: Message) -> Iterator[Message]:
        from hubd.flow import rollback

        host, name, to = self._make_host(), plain(str(request.get("name")), 100), request.get("to")
        undo, force = bool(request.get("undo")), bool(request.get("force"))
        decided = rollback.decide(host, name, to=to if isinstance(to, int) else 0, undo=undo, force=force)
        wait = bool(request.get("wait"))
        # Also where it was decided before: the pass of whoever did so may not have come so far yet.
        ended = yield from self._pass(f"rollback of {name!r}", wait=lambda running: wait and decided.job in running)
        if "error" in ended.summary:
            yield _done(ended.code, dict(ended.summary))
            return
        yield _done(*rollback.came_out(host, decided))

    def _build(self, request: Message) -> Iterator[Message]:
        from hubd.flow import rebuild

        host, wait = self._make_host(), bool(request.get("wait"))
        asked = rebuild.ask(host, plain(str(request.get("name")), 100))
        ended = yield from self._pass(f"build of {asked.name!r}", wait=lambda running: wait and asked.job in running)
        if "error" in ended.summary:
            yield _done(ended.code, dict(ended.summary))
            return
        code, told = rebuild.came_out(host, asked)
        yield _done(code, told)

    def _look(self, request: Message) -> Iterator[Message]:
        self._wake("somebody decided about a request")
        yield _done(ExitCode.DONE, {})

    def _clear(self, request: Message) -> Iterator[Message]:
        from hubd.flow import clearing

        told = yield from _following(clearing.clear(self._make_host(), act=bool(request.get("act"))))
        yield _done(*clearing.came_out(told))

    def _pass(self, reason: str, wait: Wait = lambda running: False) -> Generator[Message, None, Ended]:
        """Ask for a pass and tell what happens in it, and in those after it for as long as `wait` says so of its jobs."""
        with self._passes.listening() as hear:
            self._wake(reason)
            return (yield from self._until_done(hear, reason, wait))

    def _until_done(self, hear: Callable[[], Event | Ended | None], reason: str, wait: Wait) -> Generator[Message, None, Ended]:
        mine = False
        made: list[Ended] = []
        while True:
            message = hear()
            if message is None:
                yield ALIVE
            elif isinstance(message, Event):
                mine = mine or (message.kind == "pass" and reason in message.say)
                if mine:
                    yield {"event": asdict(message)}
            elif mine:
                made.append(message)
                if self._passes.stop.is_set() or not wait(message.running):
                    return together(made)

    def _status(self, request: Message) -> Iterator[Message]:
        host = self._make_host()
        daemon = {**self._about, "pass_since": self._passes.going_since, "doing": self._passes.current}
        told = status.status(
            record.read(host.layout), config_problems=self._passes.problems, failure=self._passes.failure, daemon=daemon,
            now=host.clock(), change_waits=self._passes.change_waits(host.layout),
        )  # fmt: skip
        yield _done(ExitCode.DONE, told)

    def _environments(self, request: Message) -> Iterator[Message]:
        from hubd.flow import environments, hand_edits

        host = self._make_host()
        if not request.get("name"):
            yield _done(ExitCode.DONE, environments.short(host))
            return
        name = plain(str(request["name"]), 100)
        if hand_edits.look_at(host, name):
            self._wake(f"there is news of the files of {name!r}")
        yield _done(ExitCode.DONE, environments.whole(host, name))

    def _follow(self, request: Message) -> Iterator[Message]:
        with self._passes.listening() as hear:
            while True:
                message = hear()
                if message is None:
                    yield ALIVE
                else:
                    yield {"event": asdict(message)} if isinstance(message, Event) else {"ended": dict(message.summary)}


def _following(work: Generator[Event | None, None, _Result]) -> Generator[Message, None, _Result]:
    """Pass on what happens in a piece of work, and give what it came to. It is closed when the one who asked has left."""
    with contextlib.closing(work):
        while True:
            try:
                event = next(work)
            except StopIteration as ended:
                result: _Result = ended.value
                return result
            yield {"event": asdict(event)} if event else ALIVE


def _done(code: ExitCode, value: dict[str, Any]) -> Message:
    return {"done": value, "code": int(code)}


def _words(error: HubdError) -> dict[str, Any]:
    return {"what": error.what, "why": error.why, "fix": error.fix, "retry": error.retry}
