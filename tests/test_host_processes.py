"""Units without systemd: real, harmless processes that are started, found again and ended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.errors import HubdError
from hubd.host import processes
from hubd.host.commands import Commands
from hubd.host.processes import Processes
from hubd.tools.program import Listener, Program, environment_file_text

pytestmark = pytest.mark.real_programs
NAME = "x.service"


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Processes]:
    init = Processes(tmp_path / "units")
    yield init
    for name in init.states("*"):
        init.stop(name)


def sleeper(**options: object) -> Program:
    return Program(**{"name": NAME, "description": "X", "argv": ("/bin/sleep", "60"), "settings": "one", **options})  # type: ignore[arg-type]


def until(condition: object) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_life(init: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init.state(NAME).active == "inactive"
    init.define(sleeper())
    assert (init.state(NAME).known, init.state(NAME).is_active) == (True, False)
    init.start(NAME)
    until(lambda: init.state(NAME).settings == "one")
    first = init.state(NAME)
    assert (first.active, first.enabled, first.fresh) == ("active", True, True)
    monkeypatch.setattr("hubd.host.processes.FRESH", -1.0)
    assert not init.state(NAME).fresh, "after a while it is like any other"
    init.start(NAME)
    assert init.state(NAME).pid == first.pid
    init.restart(NAME)
    assert init.state(NAME).pid != first.pid
    init.stop(NAME)
    assert init.state(NAME).active == "inactive"
    with pytest.raises(ProcessLookupError):
        os.kill(first.pid, 0)
    init.undefine(NAME)
    assert init.definition(NAME) is None


def test_of_what_was_cleared_nothing_is_left(init: Processes, tmp_path: Path) -> None:
    init.run(sleeper())
    assert os.listdir(tmp_path / "units")
    init.clear(NAME)
    assert (init.state(NAME).active, os.listdir(tmp_path / "units")) == ("inactive", [])
    init.clear(NAME)


def test_a_new_supervisor_takes_over_what_runs(init: Processes, tmp_path: Path) -> None:
    init.define(sleeper())
    init.start(NAME)
    pid = init.state(NAME).pid
    heir = Processes(tmp_path / "units")
    assert (heir.state(NAME).pid, heir.state(NAME).is_active) == (pid, True)
    heir.stop(NAME)
    assert not init.state(NAME).is_active


def test_what_died_is_seen_and_started_again(init: Processes) -> None:
    init.define(sleeper())
    init.start(NAME)
    os.kill(init.state(NAME).pid, signal.SIGKILL)
    until(lambda: init.state(NAME).active == "failed")
    init.restart(NAME)
    assert init.state(NAME).is_active


def test_another_process_with_the_same_number_is_not_taken_for_it(init: Processes, tmp_path: Path) -> None:
    init.define(sleeper())
    mark = tmp_path / f"units/{NAME}.pid"
    with subprocess.Popen(("/bin/sleep", "60"), start_new_session=True) as other:
        mark.write_text(json.dumps({"pid": other.pid, "started": "1"}))
        assert init.state(NAME).active == "failed"
        # And it is certainly not ended.
        init.stop(NAME)
        assert other.poll() is None
        assert not mark.exists()
        other.kill()


DAMAGED = [
    "", "{", "[]", "{}", "null", '{"pid": 0}', '{"pid": -7, "started": ""}', '{"pid": 1}', '{"pid": "x", "started": "y"}',
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_mark_is_no_process(init: Processes, tmp_path: Path, text: str) -> None:
    init.define(sleeper())
    (tmp_path / f"units/{NAME}.pid").write_text(text)
    assert not init.state(NAME).is_active
    init.restart(NAME)
    assert init.state(NAME).is_active


def test_all_that_it_started_is_ended_with_it(init: Processes, tmp_path: Path) -> None:
    child = tmp_path / "child"
    init.run(sleeper(argv=("/bin/sh", "-c", f"sleep 61 & echo $! > {child}; wait")))
    until(lambda: child.exists() and child.read_text().strip())
    pid = int(child.read_text())
    init.stop(NAME)
    until(lambda: not processes._started(pid))


@pytest.mark.parametrize("how", ["run", "stop"])
def test_what_a_killed_program_left_in_sessions_of_its_own_is_ended(init: Processes, tmp_path: Path, how: str) -> None:
    # A job runs each of its programs so, and is killed when memory is short.
    child = tmp_path / "child"
    init.run(sleeper(argv=("/bin/sh", "-c", f"sleep 61 & echo $! > {child}; exec sleep 62")))
    until(lambda: child.exists() and child.read_text().strip())
    leader, pid = init.state(NAME).pid, int(child.read_text())
    assert leader
    mark = str(tmp_path / "units" / NAME)
    with subprocess.Popen(("/bin/sleep", "63"), start_new_session=True, env={"HUBD_UNIT": mark}) as other:
        # The kernel shows the environment a moment after Popen has returned.
        until(lambda: other.pid in processes._marked(mark))
        os.kill(leader, signal.SIGKILL)
        until(lambda: not init.state(NAME).is_active)
        try:
            init.run(sleeper()) if how == "run" else init.stop(NAME)
            assert other.wait(5) == -signal.SIGTERM
        finally:
            other.kill()
    until(lambda: not processes._started(pid))
    assert init.state(NAME).is_active is (how == "run")


def test_those_of_another_hub_and_of_another_unit_are_left_alone(init: Processes, tmp_path: Path) -> None:
    marks = ("/elsewhere/units/x.service", f"{tmp_path}/units/y.service", f"{tmp_path}/units/x.service2")
    others = [subprocess.Popen(("/bin/sleep", "60"), env={"HUBD_UNIT": mark}) for mark in marks]
    init.run(sleeper())
    init.stop(NAME)
    ended = [other.poll() for other in others]
    for other in others:
        other.kill()
        other.wait()
    assert ended == [None] * 3


def test_what_is_left_and_does_not_listen_is_killed(
    init: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "REST_LIMIT", 0.05)
    ready = tmp_path / "ready"
    mark = {"HUBD_UNIT": f"{tmp_path}/units/{NAME}", "PATH": "/bin"}
    argv = ("/bin/sh", "-c", f"trap '' TERM; : > {ready}; while :; do sleep 1; done")
    with subprocess.Popen(argv, start_new_session=True, env=mark) as other:
        try:
            until(ready.exists)
            init.stop(NAME)
            assert other.wait(5) == -signal.SIGKILL
        finally:
            other.kill()


def test_a_program_knows_its_mark_and_hands_it_on(
    init: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init.run(sleeper(argv=("/bin/sh", "-c", "echo $HUBD_UNIT")))
    until(lambda: init.log(NAME, lines=1))
    mark = f"{tmp_path}/units/{NAME}"
    assert init.log(NAME, lines=1) == (mark,)
    assert processes.handed_on() == {}
    monkeypatch.setenv("HUBD_UNIT", mark)
    # What hubd itself runs, such as apt-get, is nobody's rest; what a job runs is.
    assert Commands().run(("/bin/sh", "-c", "echo $HUBD_UNIT")).out == "\n"
    assert Commands(always=processes.handed_on()).run(("/bin/sh", "-c", "echo $HUBD_UNIT")).out == f"{mark}\n"


def test_one_that_does_not_listen_is_killed(init: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "STOP_LIMIT", 0.1)
    ready = tmp_path / "ready"
    init.run(sleeper(argv=("/bin/sh", "-c", f"trap '' TERM; : > {ready}; while :; do sleep 1; done")))
    until(ready.exists)
    init.stop(NAME)
    assert init.state(NAME).active == "inactive"


def test_its_environment_output_and_folder(init: Processes, tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.write_text(environment_file_text([("SECRET", 'a "b" $c')]))
    script = 'echo "$SECRET|$A|$HUBD_SETTINGS|$(pwd)"; echo oops >&2'
    init.run(sleeper(argv=("/bin/sh", "-c", script), environment=(("A", "1"),), environment_file=env, directory=tmp_path))
    until(lambda: len(init.log(NAME, lines=9)) == 2)
    assert init.log(NAME, lines=9) == (f'a "b" $c|1|one|{tmp_path}', "oops")
    assert init.log(NAME, lines=1) == ("oops",)
    assert stat.S_IMODE((tmp_path / f"units/{NAME}.log").stat().st_mode) == 0o600


def test_a_missing_environment_file_is_fine(init: Processes, tmp_path: Path) -> None:
    init.run(sleeper(environment_file=tmp_path / "none"))
    assert init.state(NAME).is_active


@pytest.mark.parametrize("options", [{"argv": ("/no/such",)}, {"user": "no-such-account"}, {"directory": Path("/no/such")}])
def test_what_cannot_be_started_is_an_error_in_words(init: Processes, options: dict[str, object]) -> None:
    with pytest.raises(HubdError) as caught:
        init.run(sleeper(**options))
    assert caught.value.what == "x.service could not be started"
    assert not init.state(NAME).is_active


def test_nothing_is_started_twice(init: Processes) -> None:
    init.run(sleeper())
    with pytest.raises(HubdError, match="already running"):
        init.run(sleeper())


def test_what_is_not_defined_is_not_started(init: Processes) -> None:
    with pytest.raises(HubdError, match="not defined"):
        init.start("nothing.service")


def test_the_definition_comes_back(init: Processes) -> None:
    program = sleeper(environment=(("A", "1"),), properties=(("X", "y"),), directory=Path("/tmp"), environment_file=Path("/x"))
    init.define(program)
    assert init.definition(NAME) == init.render(program)
    assert processes._program(json.loads(init.definition(NAME) or "")) == program


def test_names_by_pattern(init: Processes) -> None:
    init.define(sleeper(name="hubd-user-ada.service"))
    init.run(sleeper(name="hubd-job-x.service"))
    assert set(init.states("hubd-*")) == {"hubd-user-ada.service", "hubd-job-x.service"}
    assert set(init.states("hubd-user-*")) == {"hubd-user-ada.service"}


def test_ports_are_held_by_systemd_only(init: Processes) -> None:
    with pytest.raises(HubdError):
        init.render(Listener(name="x.socket", description="x", service=NAME, address="80", descriptor="http"))


def test_it_says_that_nothing_is_enforced(init: Processes) -> None:
    assert not init.enforces
    init.set_limits(NAME, [("MemoryMax", "1")])
