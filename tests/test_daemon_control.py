"""The command line's questions and the passes that answer them."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.daemon.control import Control
from hubd.daemon.passes import Ended, Passes, together
from hubd.daemon.service import Daemon, _polled, _status_line
from hubd.errors import ExitCode, HubdError
from hubd.flow.rollback import decide
from hubd.flow.values import Event
from hubd.host import manifest
from hubd.host.locks import file_lock
from hubd.host.sockets import Peer, ask
from hubd.layout import ADMINS_GROUP, HUB_ACCOUNT, Layout
from hubd.resources.base import Step
from hubd.resources.generation import MARK
from hubd.resources.job import result_path

ROOT = Peer(1, 0)


class Rig:
    """A machine with its passes and the thing that answers."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.woken = machine, []  # type: tuple[Machine, list[str]]
        self.passes = Passes(lambda: machine.host, lock_wait=0)
        self.control = Control(self.passes, lambda: machine.host, self.woken.append, {"pid": 7})

    def ask(self, peer: Peer = ROOT, **request: Any) -> list[dict[str, Any]]:
        """The answers, without the word that the request was heard."""
        return [dict(message) for message in self.control.answer(request, peer) if message != {"heard": True}]

    def last(self, peer: Peer = ROOT, **request: Any) -> tuple[int, dict[str, Any]]:
        message = self.ask(peer, **request)[-1]
        return message["code"], message["done"]


@pytest.fixture
def rig(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(Machine(host, owners, monkeypatch))


@pytest.mark.parametrize("do", ["plan", "apply", "status", "follow", "environments", "rollback", "build", "clear", "look"])
def test_strangers_are_refused(rig: Rig, do: str) -> None:
    code, told = rig.last(Peer(1, 3_999_999_999), do=do)
    assert code == ExitCode.FAILED
    assert "may not ask hubd" in told["error"]["what"]
    assert told["error"]["fix"] == "Use sudo, or ask whoever runs this hub."
    assert rig.woken == []


def test_hub_admins_are_admitted_and_only_as_long_as_they_are(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.host.sockets.owner_name", lambda uid: "ada")
    ada = Peer(1, 3_999_999_999)
    rig.machine.host.accounts.groups[ADMINS_GROUP] = frozenset({"ada"})
    assert rig.last(ada, do="status")[0] == ExitCode.DONE
    rig.machine.host.accounts.groups[ADMINS_GROUP] = frozenset()
    assert rig.last(ada, do="status")[0] == ExitCode.FAILED


UNKNOWN: list[dict[str, Any]] = [
    {}, {"do": "shell"}, {"do": None}, {"do": 7}, {"do": ["plan"]}, {"do": {}}, {"do": "\x1b" * 9999}, {"do": "\ud800"},
]  # fmt: skip


@pytest.mark.parametrize("request_", UNKNOWN)
def test_an_unknown_request_is_answered(rig: Rig, request_: dict[str, Any]) -> None:
    code, told = rig.last(**request_)
    assert code == ExitCode.FAILED
    assert "does not know" in told["error"]["what"]
    assert told["error"]["what"].isprintable() and len(told["error"]["what"]) < 150


def test_a_pass_is_made_for_whoever_decided_something_and_nobody_waits_for_it(rig: Rig) -> None:
    assert rig.ask(do="look") == [{"done": {}, "code": ExitCode.DONE}]
    assert rig.woken == ["somebody decided about a request"]


def test_a_plan(rig: Rig) -> None:
    code, plan = rig.last(do="plan")
    assert code == ExitCode.DONE
    assert any("make the account ada" in change["steps"] for change in plan["changes"])
    assert rig.machine.host.init.did == []


def test_a_plan_of_an_invalid_file(rig: Rig) -> None:
    rig.machine.write("limits: {memry: 1G}\n")
    code, told = rig.last(do="plan")
    assert code == ExitCode.CONFIG_INVALID
    assert "memory" in told["problems"][0]


def test_environments_in_short_and_one_as_a_whole(rig: Rig) -> None:
    rig.machine.begin()
    code, told = rig.last(do="environments")
    assert (code, [each["name"] for each in told["environments"]]) == (ExitCode.DONE, ["science"])
    assert rig.last(do="environments", name="science")[1]["generations"][0]["number"] == 1
    code, told = rig.last(do="environments", name=["sci\x1bence"])
    assert code == ExitCode.USAGE
    assert told["error"]["what"].isprintable() and "there is no environment" in told["error"]["what"]


def test_status_tells_problems_of_the_file_and_what_the_daemon_does(rig: Rig) -> None:
    assert rig.last(do="status")[1]["state"] == "unknown"
    rig.machine.settle()
    code, told = rig.last(do="status")
    assert (code, told["state"], told["daemon"]["pid"]) == (ExitCode.DONE, "right", 7)
    rig.machine.write("limits: {memry: 1G}\n")
    rig.passes.make("config.yaml changed")
    told = rig.last(do="status")[1]
    assert told["state"] == "invalid"
    assert "memry" in told["config_problems"][0]
    rig.machine.write(CONFIG)
    rig.passes.make("config.yaml changed")
    assert rig.last(do="status")[1]["state"] == "right"


def test_status_tells_of_a_change_that_no_pass_has_read_yet(rig: Rig) -> None:
    def waits() -> tuple[str, bool]:
        told = rig.last(do="status")[1]
        return told["state"], told["change_waits"]

    layout = rig.machine.layout
    rig.machine.settle()
    assert waits() == ("right", False)  # this daemon made no pass yet: it cannot know
    rig.passes.make("hubd started")
    assert waits() == ("right", False)
    rig.machine.write(CONFIG + "\n# more\n")
    assert waits() == ("working", True)
    rig.passes.make("config.yaml changed")
    assert waits() == ("right", False)
    (layout.config_d / "mine.py").write_text("c.X.y = 1\n")
    assert waits() == ("working", True)
    rig.machine.write("limits: {memry: 1G}\n")
    rig.passes.make("config.yaml changed")
    assert waits() == ("invalid", False)
    layout.config_file.unlink()
    assert waits() == ("invalid", True)


def ended(right: int, code: ExitCode = ExitCode.DONE, **outcomes: str) -> Ended:
    told = [{"id": name, "result": result, "say": name, "error": None} for name, result in outcomes.items()]
    return Ended(code, {"right": right, "outcomes": told, "broken": []})


TOGETHER = [
    ([ended(3, a="fixed")], 3, {"a": "fixed"}),
    ([ended(3, a="fixed", b="running"), ended(4, b="fixed")], 3, {"a": "fixed", "b": "fixed"}),
    ([ended(3, a="fixed", b="running", c="held"), ended(6)], 4, {"a": "fixed", "b": "fixed"}),
    ([ended(1, a="failed"), ended(2)], 2, {}),
    ([ended(1, a="fixed"), ended(1, a="failed")], 1, {"a": "failed"}),
]


@pytest.mark.parametrize(("passes", "right", "results"), TOGETHER)
def test_passes_that_somebody_waited_for_are_counted_together(passes: list[Ended], right: int, results: dict[str, str]) -> None:
    whole = together(passes)
    assert whole.code == passes[-1].code
    assert whole.summary["right"] == right
    assert {each["id"]: each["result"] for each in whole.summary["outcomes"]} == results


def test_of_passes_the_last_of_which_came_to_no_end_that_is_told() -> None:
    broken = Ended(ExitCode.FAILED, {"error": {"what": "no disk"}})
    assert together([ended(1, a="fixed"), broken]) == broken


def test_apply_follows_the_pass_it_asked_for_to_its_end(rig: Rig) -> None:
    def wake(reason: str) -> None:
        threading.Thread(
            target=lambda: [rig.passes.make("something else"), rig.passes.make(f"config.yaml changed; {reason}")]
        ).start()

    rig.control._wake = wake
    messages = rig.ask(do="apply")
    assert messages[0]["event"]["kind"] == "pass"
    assert "something else" not in messages[0]["event"]["say"]
    assert messages[-1]["code"] == ExitCode.DONE
    assert rig.passes.going_since is None


def test_apply_that_does_not_wait_for_another_pass_leaves_with_locked(rig: Rig) -> None:
    rig.passes.going_since = 1.0
    code, told = rig.last(do="apply", lock_wait=False)
    assert code == ExitCode.LOCKED
    assert "under way" in told["error"]["what"]
    assert rig.woken == []


def test_apply_with_wait_follows_jobs_to_their_end(rig: Rig) -> None:
    rig.machine.slow = True

    def wake(reason: str) -> None:
        def work() -> None:
            rig.passes.make(reason)
            for job in ("env-science", "env-server"):
                rig.machine.finish(job)
            rig.passes.make("a job ended")

        threading.Thread(target=work).start()

    rig.control._wake = wake
    messages = rig.ask(do="apply", wait=True)
    assert messages[-1]["code"] == ExitCode.DONE
    results = {each["id"]: each["result"] for each in messages[-1]["done"]["outcomes"]}
    assert set(results.values()) == {"fixed"}
    assert {"person:ada", "environment:science"} <= results.keys()  # of the first pass, and of the last
    assert (rig.machine.layout.kernels / "kernels/science/kernel.json").exists()


def test_a_rollback_is_recorded_and_put_in_place_by_a_pass_of_its_own(rig: Rig) -> None:
    rig.machine.begin(CONFIG, CONFIG.replace("ipykernel", "ipykernel, numpy"))

    def wake(reason: str) -> None:
        threading.Thread(target=lambda: [rig.passes.make("something else"), rig.passes.make(reason)]).start()

    rig.control._wake = wake
    code, told = rig.last(do="rollback", name="science")
    assert (code, told["state"], told["before"], told["generation"]) == (ExitCode.DONE, "rolled back", 2, 1)
    # Nonsense is no number.
    assert "already" in rig.last(do="rollback", name="science", to="x")[1]["unchanged"]
    rig.control._wake = rig.woken.append
    assert rig.last(do="rollback", name="sciense")[0] == ExitCode.USAGE
    assert rig.woken == []


def test_who_is_second_waits_for_the_switch_too(rig: Rig) -> None:
    rig.machine.begin(CONFIG, CONFIG.replace("ipykernel", "ipykernel, numpy"))
    decide(rig.machine.host, "science")  # of the first, whose pass has not come so far yet
    rig.control._wake = lambda reason: threading.Thread(target=lambda: rig.passes.make(reason)).start()
    code, told = rig.last(do="rollback", name="science")
    assert (code, told["generation"], told["state"]) == (ExitCode.DONE, 1, "rolled back")
    assert "rolled back to generation 1 already" in told["unchanged"]


def test_a_rollback_whose_pass_comes_to_no_end_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.machine.begin(CONFIG, CONFIG.replace("ipykernel", "ipykernel, numpy"))

    def wake(reason: str) -> None:
        rig.machine.write("limits: {memry: 1G}\n")
        threading.Thread(target=lambda: rig.passes.make(reason)).start()

    rig.control._wake = wake
    code, told = rig.last(do="rollback", name="science")
    assert code == ExitCode.CONFIG_INVALID
    assert "memory" in told["problems"][0]


def test_forward_to_a_build_is_followed_to_its_end(rig: Rig) -> None:
    rig.machine.begin(CONFIG, CONFIG.replace("ipykernel", "ipykernel, numpy"))
    decide(rig.machine.host, "science")
    rig.machine.settle()
    shutil.rmtree(rig.machine.layout.envs / "science/2")
    rig.machine.slow = True

    def work(reason: str) -> None:
        rig.passes.make(reason)
        rig.machine.finish("env-science")
        rig.passes.make("a job ended")

    rig.control._wake = lambda reason: threading.Thread(target=work, args=(reason,)).start()
    code, told = rig.last(do="rollback", name="science", undo=True, wait=True)
    assert (code, told["state"], told["before"], told["generation"]) == (ExitCode.DONE, "right", 1, 2)


@pytest.mark.parametrize("wait", [True, False])
def test_a_build_anew_is_followed_to_its_end_and_not_to_that_of_others(rig: Rig, wait: bool) -> None:
    rig.machine.begin()
    rig.machine.slow = True

    threads = []

    def wake(reason: str) -> None:
        def work() -> None:
            (rig.machine.layout.versions / "server-1/bin/python").unlink()
            first = rig.passes.make(reason)
            assert set(first.running) == {"env-science", "env-server"}
            rig.machine.finish("env-science")
            rig.machine.slow = True
            rig.passes.make("a job ended")
            rig.machine.finish("env-server")
            rig.passes.make("the job of another ended")

        threads.append(threading.Thread(target=work))
        threads[0].start()

    rig.control._wake = wake
    messages = rig.ask(do="build", name="science", wait=wait)
    threads[0].join()
    code, told = messages[-1]["code"], messages[-1]["done"]
    assert code == ExitCode.DONE
    assert "the job of another ended" not in str(messages)
    assert told["before"] == 1
    assert not wait or (told["state"], told["generation"]) == ("right", 2)


def test_followers_hear_everything_from_now_on(rig: Rig) -> None:
    rig.machine.begin()
    answers: Iterator[Any] = rig.control.answer({"do": "follow"}, ROOT)
    heard: list[Any] = []
    assert next(answers) == {"heard": True}
    thread = threading.Thread(target=lambda: heard.extend([next(answers), next(answers)]))
    thread.start()
    while not rig.passes._listeners:
        pass
    rig.passes.make("time to look again")
    thread.join(5)
    assert heard[0]["event"]["say"] == "time to look again"
    assert heard[1]["ended"]["outcomes"] == []
    answers.close()  # type: ignore[attr-defined]
    assert not rig.passes._listeners


def test_who_asks_for_an_environment_has_its_files_looked_through(rig: Rig) -> None:
    rig.machine.begin()
    prefix = rig.machine.layout.envs / "science/1"
    manifest.write(prefix, without=(MARK,))
    assert rig.last(do="environments", name="science")[1]["trouble"] is None
    assert rig.woken == []
    (prefix / "by_hand").touch()
    assert rig.last(do="environments")[1]["environments"][0]["state"] == "right", "not all of them at once"
    told = rig.last(do="environments", name="science")[1]["trouble"]
    assert told["why"].startswith("by_hand of its generation 1 was added ")
    assert rig.woken == ["there is news of the files of 'science'"], "status is to tell it, too"


def test_environments_are_looked_through_now_and_then(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.machine.begin()
    daemon = Daemon(rig.machine.layout)
    turns: list[Any] = ["geo", HubdError("somebody decides"), OSError("no"), ""]

    def look(host: object) -> str:
        turn = turns.pop(0)
        if not turns:
            daemon.stop()
        if isinstance(turn, Exception):
            raise turn
        return str(turn)

    monkeypatch.setattr("hubd.daemon.service.LOOK_THROUGH", 0)
    monkeypatch.setattr("hubd.flow.hand_edits.look_at_next", look)
    daemon._look_through()
    assert (turns, daemon._next_reason()) == ([], "there is news of the files of 'geo'")


@pytest.mark.parametrize("do", ["plan", "apply", "status", "follow", "environments", "rollback", "build"])
def test_it_says_at_once_that_it_has_heard(rig: Rig, do: str) -> None:
    answers: Iterator[Any] = rig.control.answer({"do": do}, ROOT)
    assert next(answers) == {"heard": True}
    assert rig.woken == []


@pytest.mark.parametrize("do", ["apply", "follow"])
def test_whoever_listens_is_asked_now_and_then_whether_they_are_still_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    monkeypatch.setattr("hubd.daemon.passes.QUIET", 0.001)
    answers: Iterator[Any] = rig.control.answer({"do": do}, ROOT)
    assert [next(answers), next(answers), next(answers)] == [{"heard": True}, {"alive": True}, {"alive": True}]
    answers.close()  # type: ignore[attr-defined]
    assert not rig.passes._listeners


def test_a_bug_is_answered_and_told_in_the_log(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("hubd.daemon.control.reconcile", bug)
    code, told = rig.last(do="plan")
    assert code == ExitCode.FAILED
    assert told["error"]["why"] == "ZeroDivisionError: by nought"
    assert "by nought" in logging.Formatter().format(logged[0])


def test_one_who_leaves_is_no_longer_told(rig: Rig) -> None:
    with rig.passes.listening():
        assert len(rig.passes._listeners) == 1
    assert not rig.passes._listeners


def test_a_pass_ends_with_its_code_and_what_goes_on(rig: Rig) -> None:
    rig.machine.slow = True
    ended = rig.passes.make("hubd started")
    assert ended.code is ExitCode.DONE
    assert set(ended.running) == {"env-science", "env-server"}
    assert rig.passes.last is ended


def test_a_choice_that_was_made_is_acted_on_at_once(rig: Rig) -> None:
    rig.machine.write(CONFIG.replace("manager: uv", "manager: auto"))
    rig.machine.host.web.down["https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"] = "no route"
    ended = rig.passes.make("config.yaml changed")
    assert "environment:science" in {outcome["id"] for outcome in ended.summary["outcomes"]}
    assert any("use uv" in words for words in [event for event in rig.machine.host.said] or ["use uv"])


def test_an_invalid_file_changes_nothing_and_is_remembered(rig: Rig) -> None:
    rig.machine.write("limits: {memry: 1G}\n")
    ended = rig.passes.make("config.yaml changed")
    assert ended.code is ExitCode.CONFIG_INVALID
    assert rig.passes.problems == tuple(ended.summary["problems"]) != ()
    assert not rig.machine.layout.record.exists()


def test_a_bug_ends_a_pass_and_not_the_daemon(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("hubd.daemon.passes.reconcile", bug)
    ended = rig.passes.make("x")
    assert ended.code is ExitCode.FAILED
    assert ended.summary["error"]["why"] == "ZeroDivisionError: by nought"
    assert (rig.passes.going_since, rig.passes.current) == (None, "")


def test_another_process_in_a_pass_is_locked(rig: Rig) -> None:
    with file_lock(rig.machine.layout.lock, wait=0, what="the installer"):
        ended = rig.passes.make("x")
    assert ended.code is ExitCode.LOCKED
    assert "the installer" in ended.summary["error"]["why"]
    assert rig.machine.host.init.did == []


def test_what_is_done_now_is_known(rig: Rig) -> None:
    rig.passes.tell(Event("step", "file:/x", "write /x"))
    assert rig.passes.current == "write /x"


def test_a_stop_in_a_pass_is_a_state_that_the_next_heals(rig: Rig) -> None:
    rig.passes.hear = lambda told: rig.passes.stop.set() if isinstance(told, Event) and "unit:" in told.id else None
    rig.passes.make("hubd started")
    rig.passes.stop.clear()
    rig.passes.hear = None
    rig.machine.settle()


LINES = [
    (Ended(ExitCode.DONE, {"outcomes": []}), "All is right"),
    (Ended(ExitCode.DONE, {"outcomes": []}, ("env-a",)), "All is right, 1 job under way"),
    (Ended(ExitCode.FAILED, {"outcomes": [{"id": "file:/x", "result": "failed"}]}), "1 thing needs attention: the file /x"),
    (
        Ended(ExitCode.PARTLY_APPLIED, {"outcomes": [], "broken": [{"plugin": "hubd-p", "why": "no"}]}),
        "1 thing needs attention: the plugin hubd-p",
    ),
    (
        Ended(ExitCode.CONFIG_INVALID, {"error": {"what": "the file has a problem"}}),
        "the file has a problem; nothing was changed",
    ),
]


@pytest.mark.parametrize(("ended", "line"), LINES)
def test_what_systemd_shows(ended: Ended, line: str) -> None:
    assert _status_line(ended) == line


def test_reasons_are_gathered_and_each_said_once(rig: Rig) -> None:
    daemon = Daemon(rig.machine.layout)
    for reason in ("a", "b", "a"):
        daemon.wake(reason)
    assert daemon._next_reason() == "a; b"
    assert daemon._next_reason() == ""
    daemon.stop()
    assert daemon.passes.stop.is_set()
    assert daemon._wake.is_set()


@pytest.mark.parametrize(
    ("text", "seconds"), [("daemon: {interval: 7 min}\n", 420), ("daemon: {interval: soon}\n", 300), (None, 300)]
)
def test_how_often_it_looks(rig: Rig, text: str | None, seconds: float) -> None:
    if text is None:
        rig.machine.layout.config_file.unlink()
    else:
        rig.machine.write(text)
    assert Daemon(rig.machine.layout)._options().interval == seconds


def test_changes_are_seen_without_watchfiles(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = rig.machine.layout
    layout.config_d.mkdir()
    actions = iter(
        [lambda: None, lambda: rig.machine.write("people: {}\n"), lambda: None, lambda: (layout.config_d / "a.py").touch(), None]
    )
    turns = []

    class Clock:
        """Each wait is the next thing that happens."""

        def wait(self, seconds: float) -> bool:
            turns.append(seconds)
            action = next(actions)
            if action:
                action()
            return action is None

    found = list(_polled(layout.config_file, layout.config_d, Clock()))  # type: ignore[arg-type]
    assert len(found) == 2
    assert len(turns) == 5


@pytest.fixture
def daemon(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon with open sockets, on a machine whose groups are all there."""
    monkeypatch.setattr("hubd.host.sockets.ids", lambda owner, group: (-1, -1))
    monkeypatch.setattr("hubd.host.sockets.owner_name", lambda uid: "root")
    monkeypatch.setattr(Daemon, "_host", lambda self: rig.machine.host)
    rig.machine.host.accounts.groups |= {ADMINS_GROUP: frozenset({"root"}), HUB_ACCOUNT: frozenset()}
    daemon = Daemon(rig.machine.layout)
    daemon._open_sockets()
    yield daemon
    for server in daemon._servers.values():
        server.close()


def answers(layout: Layout) -> tuple[bool, bool]:
    """Whether the command line and the hub get an answer."""
    found = []
    for path, request in ((layout.socket, {"do": "status"}), (layout.spawn_socket, {"do": "poll"})):
        try:
            found.append(bool(list(ask(path, request, timeout=5))))
        except OSError:
            found.append(False)
    return found[0], found[1]


@pytest.mark.real_sockets
@pytest.mark.parametrize("taken", ["all of it", "hubd.sock", "spawn.sock"])
def test_sockets_that_somebody_took_away_are_opened_anew(daemon: Daemon, rig: Rig, taken: str) -> None:
    layout = rig.machine.layout
    assert answers(layout) == (True, True)
    before = dict(daemon._servers)
    if taken == "all of it":
        shutil.rmtree(layout.run)
    else:
        (layout.run / taken).unlink()
    assert answers(layout) == (taken == "spawn.sock", taken == "hubd.sock")
    daemon._open_sockets()
    assert answers(layout) == (True, True)
    assert sorted(path.name for path in layout.run.iterdir()) == ["hubd.sock", "spawn.sock"]
    kept = [path.name for path, server in daemon._servers.items() if server is before[path]]
    assert kept == [name for name in ("hubd.sock", "spawn.sock") if taken not in ("all of it", name)]


@pytest.mark.real_sockets
def test_a_daemon_that_sleeps_sees_that_its_sockets_were_taken_away(
    daemon: Daemon, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = rig.machine.layout
    shutil.rmtree(layout.run)
    slept: list[float] = []

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        return len(slept) > 1

    monkeypatch.setattr(daemon._wake, "wait", wait)
    daemon._sleep_between(Ended(ExitCode.DONE, {}))
    assert answers(layout) == (True, True)
    assert max(slept) <= 10


EARLY: list[tuple[str, int, float]] = [
    # what a job reports, how often its unit may still be looked at early, seconds until that is done (of 1)
    ("done", 20, 0.1),
    ("failed", 20, 0.1),
    ("running", 20, 1.0),
    ("done", 0, 1.0),
]


@pytest.mark.parametrize(("state", "early", "waited"), EARLY)
def test_a_job_that_says_it_is_over_is_looked_at_before_its_turn_but_not_for_ever(
    daemon: Daemon, rig: Rig, monkeypatch: pytest.MonkeyPatch, state: str, early: int, waited: float
) -> None:
    report, clock = result_path(rig.machine.layout, "env-geo"), [0.0]
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"state": state}))

    def wait(seconds: float) -> bool:
        clock[0] += seconds
        return False

    monkeypatch.setattr(daemon._wake, "wait", wait)
    monkeypatch.setattr("hubd.daemon.service.time", SimpleNamespace(monotonic=lambda: clock[0]))
    daemon._early = early
    assert daemon._is_called(1.0, ("env-geo",)) is False
    assert clock[0] == pytest.approx(waited)


@pytest.mark.real_sockets
def test_a_socket_that_cannot_be_opened_is_told_once_and_tried_again(
    daemon: Daemon, rig: Rig, logged: list[logging.LogRecord]
) -> None:
    layout = rig.machine.layout
    shutil.rmtree(layout.run)
    layout.run.touch()
    for _ in range(3):
        daemon._open_sockets()
    told = [record.getMessage() for record in logged if record.levelname == "ERROR"]
    assert len(told) == 2 and all("File exists" in each for each in told)
    layout.run.unlink()
    daemon._open_sockets()
    assert answers(layout) == (True, True)


def test_an_error_of_hubd_in_a_pass_is_told_in_words(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(host: Any) -> None:
        raise HubdError("no", fix="Do this.")

    monkeypatch.setattr("hubd.resources.link.Link.steps", lambda self, seen: (Step("x", fails),))
    ended = rig.passes.make("x")
    assert ended.code is ExitCode.PARTLY_APPLIED or ended.code is ExitCode.FAILED
    assert any(each["error"] and each["error"]["fix"] == "Do this." for each in ended.summary["outcomes"])
