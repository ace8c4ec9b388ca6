"""Many resources: no worker stands in a queue, and no stale look is kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fakes import FakeHost, Thing

from hubd.flow.apply import WORKERS, apply
from hubd.flow.observe import observe
from hubd.flow.plan import plan
from hubd.flow.values import Result
from hubd.host.accounts import Account, Accounts
from hubd.resources.base import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Laned(Thing):
    """A thing of a lane."""

    kind: ClassVar[str] = "laned"
    lane: ClassVar[str] = "one"


def _apply(host: FakeHost, things: list[Resource]) -> set[Result]:
    found = plan(things, (), observe(host, things))
    return {outcome.result for outcome in apply(host, things, found, tell=lambda event: None)}


def test_those_who_wait_for_their_lane_keep_no_worker_from_other_things(host: FakeHost) -> None:
    world: dict[str, Any] = {}
    other_ran = threading.Event()
    seen: list[bool] = []
    things: list[Resource] = [
        Laned(label=f"l{number}", world=world, act=lambda: seen.append(other_ran.wait(5))) for number in range(2 * WORKERS)
    ]
    things.append(Thing(label="other", world=world, act=other_ran.set))
    assert _apply(host, things) == {Result.FIXED}
    assert seen[0], "it ran while the first of the lane was still under way"


def test_a_look_that_began_before_a_change_is_not_kept_after_it(tmp_path: Path) -> None:
    began, changed = threading.Event(), threading.Event()

    class Slow(Accounts):
        def _everybody(self) -> dict[str, Account]:
            if began.is_set():
                return {"new": Account("new", 1000, 1000, Path("/home/new"), "", closed=False)}
            began.set()
            changed.wait(0.2)  # while this look goes on, somebody makes an account and says so
            return {}

    accounts = Slow(tmp_path / "shadow")
    early = threading.Thread(target=accounts.get, args=("new",))
    early.start()
    began.wait(5)
    accounts.forget()
    changed.set()
    early.join()
    assert accounts.get("new") is not None
