"""The command line: exit codes, words on the right stream, and never a traceback."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from fakes import FakeHost, FakeInit, Owners
from machine import Machine

from hubd.cli import client
from hubd.cli.logs import Declared, unit_of
from hubd.cli.main import COMMANDS, _layout, run
from hubd.config.problems import ConfigInvalid, Problem
from hubd.daemon.passes import Passes
from hubd.errors import ExitCode, HubdError, Interrupted, Locked, UsageError
from hubd.host.init import UnitState
from hubd.host.locks import file_lock
from hubd.host.sockets import Server
from hubd.layout import Layout


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a daemon, on which the command line makes the passes itself."""
    monkeypatch.setattr("hubd.host.local_host", lambda layout, **options: host)
    # `hubd.cli.main` names the function too.
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: host.layout)
    for module in ("passes", "status"):
        monkeypatch.setattr(f"hubd.cli.{module}.daemon_answers", lambda layout: False)
    return Machine(host, owners, monkeypatch)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hubd.cli.passes._plan", fails)


ERRORS: list[tuple[BaseException, int, str]] = [
    (HubdError("it broke", why="old age", fix="Buy a new one."), 1, "✗ it broke\n  because old age\n  Buy a new one.\n"),
    (UsageError("no such thing"), 2, "✗ no such thing\n"),
    (ConfigInvalid([Problem(("limits", "memry"), "is unknown", "write memory", 3, 1)]), 3, "line 3"),
    (Locked("another pass is under way"), 6, "another pass"),
    (Interrupted("stopped"), 130, "stopped"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (click.Abort(), 130, "interrupted"),
    (click.UsageError("what?"), 2, "what?"),
    (ZeroDivisionError("by nought"), 1, "ZeroDivisionError: by nought"),
    (RecursionError("deep"), 1, "RecursionError"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "✗ the output could not be written\n  because No space left"),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "/a"), 1, "✗ /a could not be used\n  because Is a directory\n"),
]


@pytest.mark.parametrize(
    ("error", "code", "said"), ERRORS, ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else ""
)
def test_every_error_is_a_code_and_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    raising(monkeypatch, error)
    assert run(["plan"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert err or not said


def test_a_traceback_only_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError())
    monkeypatch.setenv("HUBD_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["plan"])


USAGE = [
    ["nonsense"],
    ["plan", "--nonsense"],
    ["plan", "extra"],
    ["logs", "-n", "0"],
    ["--prefix"],
    ["apply", "--wait=1"],
    ["logs", "Not A Name"],
]


@pytest.mark.parametrize("words", USAGE)
def test_usage(machine: Machine, words: list[str]) -> None:
    assert run(words) == ExitCode.USAGE


@pytest.mark.parametrize("words", [["--prefix", "", "plan"], ["--prefix", "", "--help"]])
def test_an_empty_prefix_is_not_the_folder_one_is_in(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == ExitCode.USAGE
    assert "'--prefix': it is empty" in capsys.readouterr().err


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBD_PREFIX", "")
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "DEFAULT_PREFIX", tmp_path)
    assert _layout().prefix == tmp_path


def test_in_a_deleted_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    (tmp_path / "config.yaml").write_text("{}")
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert run(["--prefix", "hub", "config", "validate"]) == ExitCode.USAGE
    assert "the folder that you are in was deleted" in capsys.readouterr().err
    assert run(["--prefix", str(tmp_path), "config", "validate"]) == ExitCode.DONE


@pytest.mark.parametrize("words", [["config", "validate"], ["--help"]])
def test_a_pipe_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["--prefix", str(tmp_path), *words]) == ExitCode.DONE
        assert sys.stdout is stdout


def test_a_full_disk_takes_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    with open("/dev/full", "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["--prefix", str(tmp_path), "config", "validate"]) == ExitCode.FAILED
    assert capsys.readouterr().err.startswith("✗ the output could not be written\n  because No space left on device")


FULL = [
    (("config", "validate"), "out", 1),
    (("config", "validate"), "err", 0),
    (("config", "validate"), "out err", 1),
    (("--help",), "out err", 1),
    (("status",), "out err", 1),
    (("config", "get", "nothing"), "out", 2),
    (("config", "get", "nothing"), "err", 1),
    (("config", "get", "nothing"), "out err", 1),
]


@pytest.mark.real_programs
@pytest.mark.parametrize(("words", "full", "code"), FULL)
def test_a_process_whose_output_cannot_be_written(tmp_path: Path, words: tuple[str, ...], full: str, code: int) -> None:
    """The whole process: Python itself may have the last word, and it is 120."""
    (tmp_path / "config.yaml").write_text("{}")
    argv = (sys.executable, "-m", "hubd.cli", "--prefix", str(tmp_path), *words)
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as nowhere:
        out, err = (nowhere if name in full.split() else subprocess.DEVNULL for name in ("out", "err"))
        assert subprocess.run(argv, stdout=out, stderr=err, env=usual, check=False).returncode == code


def test_nobody_reads_of_a_pass_that_fails_in_part(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.host.commands.answers["gpasswd",] = 3
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["apply", "--yes"]) == ExitCode.PARTLY_APPLIED
        stdout.flush()  # as Python does at its end


def test_a_command_of_a_plugin_that_just_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def say() -> None:
        print("hello")

    monkeypatch.setitem(COMMANDS, "say", ("of_a_plugin", "say"))
    monkeypatch.setitem(sys.modules, "of_a_plugin", SimpleNamespace(say=say))  # type: ignore[arg-type]
    with open("/dev/full", "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["--prefix", str(tmp_path), "say"]) == ExitCode.FAILED


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help(machine: Machine, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == ExitCode.DONE
    assert capsys.readouterr().out


def test_help_without_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--prefix", str(tmp_path), "--help"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert {name for name in COMMANDS if name in said} == COMMANDS.keys()


def test_a_plan_and_its_exit_code(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan"]) == ExitCode.DONE
    assert "make the account ada" in capsys.readouterr().out
    assert run(["plan", "--detailed-exitcode"]) == ExitCode.CHANGES
    machine.settle()
    capsys.readouterr()
    assert run(["plan", "--detailed-exitcode"]) == ExitCode.DONE
    assert "Nothing to do" in capsys.readouterr().out
    assert run(["plan", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["changes"] == []


IN_THE_WAY = {"id": "file:/x", "steps": [], "touches": "", "removal": False, "waits_for": "",
              "error": {"what": "no", "why": "", "fix": ""}}  # fmt: skip
GOES_ON = {**IN_THE_WAY, "id": "environment:geo", "waits_for": "building", "error": None}
CHANGE = {**GOES_ON, "steps": ["write it"]}
GAPS = [
    # changes, what gets no step, broken plugins, exit code
    ([], [], [], ExitCode.DONE),
    ([], [GOES_ON], [], ExitCode.DONE),
    ([], [IN_THE_WAY, GOES_ON], [], ExitCode.FAILED),
    ([], [], [{"plugin": "p", "why": "no"}], ExitCode.FAILED),
    ([CHANGE], [IN_THE_WAY], [], ExitCode.CHANGES),
]


@pytest.mark.parametrize(("changes", "waiting", "broken", "code"), GAPS)
def test_a_gap_that_cannot_be_closed_is_not_exit_code_0(
    monkeypatch: pytest.MonkeyPatch, changes: list[Any], waiting: list[Any], broken: list[Any], code: int
) -> None:
    found = {"changes": changes, "waiting": waiting, "broken": broken, "right": 3}
    monkeypatch.setattr("hubd.cli.passes._plan", lambda layout, **how: found)
    assert run(["plan"]) == ExitCode.DONE
    for more in ((), ("--json",)):
        assert run(["plan", "--detailed-exitcode", *more]) == code


@pytest.mark.parametrize("words", [["plan"], ["plan", "--json"], ["apply", "--yes"], ["status"]])
def test_an_invalid_file(machine: Machine, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    machine.write("limits: {memry: 1G}\n")
    assert run(words) == ExitCode.CONFIG_INVALID
    told = "".join(capsys.readouterr())
    assert "line 1" in told
    assert "memory" in told
    assert machine.host.init.did == []


def test_apply_without_a_daemon(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["apply", "--yes"]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert "hubd is not running" in err
    assert "→ make the account ada" in out
    assert run(["apply", "--yes", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["code"] == 0


def test_apply_that_fails_in_part(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.host.commands.answers["gpasswd",] = 3
    assert run(["apply", "--yes"]) == ExitCode.PARTLY_APPLIED
    err = capsys.readouterr().err
    assert "because it went wrong" in err


def test_apply_beside_another_pass(machine: Machine) -> None:
    with file_lock(machine.layout.lock, wait=0, what="the installer"):
        assert run(["apply", "--yes", "--no-lock-wait"]) == ExitCode.LOCKED


def test_status_tells_of_a_pass_that_came_to_no_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise SystemExit(9)

    machine.settle()
    assert run(["apply", "--yes"]) == ExitCode.DONE
    assert run(["status"]) == ExitCode.DONE
    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr("hubd.flow.reconcile.record.write", killed)
        Passes(lambda: machine.host).make("time to look again")
    capsys.readouterr()
    assert run(["status"]) == ExitCode.FAILED
    said = capsys.readouterr().out
    assert said.startswith("Something needs attention.")
    assert f"process {os.getpid()} began it just now (time to look again)" in said
    assert run(["apply", "--yes"]) == ExitCode.DONE
    assert run(["status"]) == ExitCode.DONE


def test_status_beside_another_pass(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.begin()
    with file_lock(machine.layout.lock, wait=0, what="installation"):
        assert run(["status"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert said.startswith("Work is under way.")
    assert "A pass is under way: installation\n" in said


def test_status_of_a_file_that_is_invalid_says_that_alone(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.write("limits: {memry: 1G}\n")
    assert run(["apply", "--yes"]) == ExitCode.CONFIG_INVALID
    capsys.readouterr()
    assert run(["status"]) == ExitCode.CONFIG_INVALID
    assert "no end" not in capsys.readouterr().out


def test_apply_waits_for_jobs(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    machine.slow = True
    jobs = iter(["env-server", "env-science"])

    def sleep(seconds: float) -> None:
        for job in jobs:
            machine.finish(job)

    monkeypatch.setattr("hubd.cli.passes.time.sleep", sleep)
    assert run(["apply", "--yes", "--wait"]) == ExitCode.DONE
    assert (machine.layout.kernels / "kernels/science/kernel.json").exists()
    out = capsys.readouterr().out
    last = out.splitlines()[-1]
    assert int(last.partition(" fixed; ")[0]) > out.count("→ make the account") > 0
    assert "running" not in last


def test_apply_is_not_left_half_done_when_nobody_reads(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["apply", "--yes"]) == ExitCode.DONE
    assert machine.make(act=False).plan.gaps == ()


@pytest.mark.parametrize(("answer", "code"), [("n\n", ExitCode.FAILED), ("y\n", ExitCode.DONE), ("", ExitCode.INTERRUPTED)])
def test_a_person_is_asked_before_something_is_taken_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    import io

    machine.settle()
    machine.write("people: {admins: [ada], users: [cid]}\n")
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["apply"]) == code
    assert machine.host.accounts.people["bea"].closed is (code == ExitCode.DONE)


@pytest.mark.parametrize("daemon", [True, False])
def test_who_says_no_is_told_that_the_daemon_does_it_anyway(capsys: pytest.CaptureFixture[str], *, daemon: bool) -> None:
    from hubd.cli.passes import _confirm_removals

    with pytest.raises((click.Abort, OSError)):
        _confirm_removals({"changes": [{"removal": True, "steps": ["close the account bea"]}]}, daemon=daemon)
    assert ("put them back into config.yaml" in capsys.readouterr().out) is daemon


STATES = [("right", 0), ("working", 0), ("trouble", 1), ("unknown", 1), ("invalid", 3)]


@pytest.mark.parametrize(("state", "code"), STATES)
def test_the_exit_code_of_status(machine: Machine, monkeypatch: pytest.MonkeyPatch, state: str, code: int) -> None:
    told = {"state": state, "when": "never", "config_problems": [], "daemon": None, "last_pass": None}
    monkeypatch.setattr("hubd.cli.status._status", lambda layout: told)
    assert run(["status"]) == code
    assert run(["status", "--json"]) == code


def test_nothing_to_watch(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.begin()
    assert run(["status", "--watch"]) != ExitCode.DONE
    assert "hubd is not running" in capsys.readouterr().err


UNITS = [
    ("hubd", "hubd.service"),
    ("hub", "jupyterhub.service"),
    ("proxy", "jupyterhub-proxy.service"),
    ("ada", "hubd-user-ada.service"),
    ("person:ada", "hubd-user-ada.service"),
    ("cid", "hubd-user-cid.service"),
    ("job-env-science", "hubd-job-env-science.service"),
    ("job-science", "hubd-job-env-science.service"),
    ("env-science", "hubd-job-env-science.service"),
    ("science", "hubd-job-env-science.service"),
    ("environment:science", "hubd-job-env-science.service"),
    ("environment:server", "hubd-job-env-server.service"),
    ("job-env-server", "hubd-job-env-server.service"),
    ("job-conda", "hubd-job-conda.service"),
    ("service:jupyterhub.service", "jupyterhub.service"),
    # A person and an environment of one name.
    ("bea", "hubd-user-bea.service"),
    ("env-bea", "hubd-job-env-bea.service"),
    ("environment:bea", "hubd-job-env-bea.service"),
    # Not declared: a person who was taken off and has said something, a unit and a server that the machine knows.
    ("eve", "hubd-user-eve.service"),
    ("x.service", "x.service"),
    ("hubd-user-ada:lab.service", "hubd-user-ada:lab.service"),
]
KNOWN = Declared(("ada", "bea", "cid"), ("science", "bea"))


def says(*names: str) -> FakeInit:
    """Units of which one has said something and the others are loaded."""
    init = FakeInit()
    init.logs[names[0]] = ("a line",)
    init.units.update({name: UnitState(name, True) for name in names[1:]})
    return init


@pytest.mark.parametrize(("whose", "unit"), UNITS)
def test_whose_log(whose: str, unit: str) -> None:
    assert unit_of(whose, KNOWN, says("hubd-user-eve.service", "x.service", "hubd-user-ada:lab.service")) == unit


NOBODYS = ["nonsense", "job-env-geo", "environment:geo", "y.service", "job-x", "Not A Name", "person:fay", ""]


@pytest.mark.parametrize("whose", NOBODYS)
def test_nobodys_log_is_an_error_that_says_what_there_is(whose: str) -> None:
    with pytest.raises(UsageError) as caught:
        unit_of(whose, KNOWN, says("hubd-user-eve.service"))
    assert "hubd, hub, proxy; environments: science, bea; people: ada, bea, cid." in caught.value.fix
    assert "Did you mean science?" in refused_log("scence").fix


def refused_log(whose: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        unit_of(whose, KNOWN, FakeInit())
    return caught.value


def test_who_may_not_read_the_file_may_still_ask_for_a_log(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "nonsense"]) == ExitCode.USAGE
    machine.write("limits: {memry: 1G}\npeople: {users: [eve]}\n")
    assert run(["logs", "nonsense"]) == ExitCode.USAGE
    assert "people: eve." in capsys.readouterr().err
    machine.layout.config_file.unlink()
    assert run(["logs", "nonsense"]) == ExitCode.DONE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_is_followed(machine: Machine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    closed = []

    def follow(name: str, *, lines: int) -> Generator[str, None, None]:
        try:
            yield "a line"
            signal.raise_signal(number)
            yield "never"
        finally:
            closed.append(name)

    def not_ended(*_: object) -> None:
        raise AssertionError("the process would have ended here, and journalctl would not")

    monkeypatch.setattr(machine.host.init, "follow", follow)
    before = signal.signal(number, not_ended)
    try:
        assert run(["logs", "hub", "--follow"]) == ExitCode.INTERRUPTED
    finally:
        assert signal.signal(number, before) is not_ended
    assert closed == ["jupyterhub.service"]


def test_a_reader_that_leaves_ends_what_is_followed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def follow(name: str, *, lines: int) -> Generator[str, None, None]:
        try:
            while True:
                yield "a line"
        finally:
            closed.append(name)

    coming = follow("jupyterhub.service", lines=1)
    monkeypatch.setattr(machine.host.init, "follow", lambda name, lines: coming)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(["logs", "hub", "-f"]) == ExitCode.DONE
    assert closed == ["jupyterhub.service"]


def test_logs(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.host.init.logs["jupyterhub.service"] = ("one", "two", "three")
    assert run(["logs", "hub", "-n", "2"]) == ExitCode.DONE
    assert capsys.readouterr().out == "two\nthree\n"
    assert run(["logs", "proxy"]) == ExitCode.DONE
    assert "has not said anything" in capsys.readouterr().err


Answers = Callable[[Any, Any], Iterator[Any]]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[Answers], Any]]:
    servers: list[Server] = []

    def start(answers: Answers) -> Any:
        layout = Layout(tmp_path, run=tmp_path / "run")
        servers.append(Server(layout.socket, answers, mode=0o600, group=""))
        servers[-1].start()
        return layout

    yield start
    for server in servers:
        server.close()


@pytest.mark.real_sockets
def test_talking_with_a_daemon(daemon: Callable[[Answers], Any]) -> None:
    def answers(request: Any, peer: Any) -> Iterator[Any]:
        yield {"event": {"kind": "say", "say": "hello"}}
        yield {"done": {"asked": request["do"]}, "code": 5}
        yield {"never": "read"}

    layout, heard = daemon(answers), []  # type: tuple[Any, list[Any]]
    assert client.daemon_answers(layout)
    assert client.talk(layout, {"do": "x"}, heard.append) == (ExitCode.PARTLY_APPLIED, {"asked": "x"})
    assert heard == [{"kind": "say", "say": "hello"}]


@pytest.mark.real_sockets
def test_a_daemon_that_is_stuck_is_told(daemon: Callable[[Answers], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.02)
    end = threading.Event()

    def stuck(request: Any, peer: Any) -> Iterator[Any]:
        if request["do"] == "status":
            yield {"heard": True}
        end.wait(5)
        yield {"done": {}, "code": 0}

    layout = daemon(stuck)
    for do in ("plan", "status"):
        with pytest.raises(HubdError, match="hubd does not answer") as caught:
            client.talk(layout, {"do": do})
        assert (caught.value.retry, "systemctl restart hubd" in caught.value.fix) == (True, True)
    end.set()


@pytest.mark.parametrize(("do", "later"), [("plan", None), ("apply", None), ("follow", None), ("status", client.PATIENCE)])
def test_a_pass_may_be_silent_for_long_once_it_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, do: str, later: float | None
) -> None:
    limits: list[Any] = []

    def ask(path: Path, request: Any, *, first: float, timeout: float | None) -> Iterator[Any]:
        limits.append((first, timeout))
        yield from ({"heard": True}, {"alive": True}, {"done": {"asked": 1}, "code": 0})

    monkeypatch.setattr(client, "ask", ask)
    assert list(client.messages(Layout(tmp_path), {"do": do})) == [{"done": {"asked": 1}, "code": 0}]
    assert limits == [(client.PATIENCE, later)]


@pytest.mark.real_sockets
def test_a_daemon_that_is_asked_too_much_says_so(daemon: Callable[[Answers], Any]) -> None:
    layout = daemon(lambda request, peer: iter([{"ok": False, "error": "hubd is asked too much", "retry": True}]))
    with pytest.raises(HubdError, match="asked too much") as caught:
        client.talk(layout, {"do": "plan"})
    assert caught.value.retry


@pytest.mark.real_sockets
def test_a_daemon_that_takes_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path, run=tmp_path)
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waits:
        listening.bind(str(layout.socket))
        listening.listen(0)
        waits.connect(str(layout.socket))
        for ask in (client.daemon_answers, lambda layout: client.talk(layout, {"do": "plan"})):
            with pytest.raises(HubdError, match="hubd does not answer"):
                ask(layout)


def test_who_may_not_ask_is_told_whom_to_ask_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    layout = Layout(tmp_path, run=tmp_path)
    layout.socket.touch()
    monkeypatch.setattr(socket, "socket", Closed)
    with pytest.raises(HubdError, match="you may not ask hubd") as refused:
        client.daemon_answers(layout)
    assert refused.value.fix == "Use sudo, or ask whoever runs this hub."


@pytest.mark.real_sockets
def test_a_daemon_that_ends_in_the_middle(daemon: Callable[[Answers], Any]) -> None:
    layout = daemon(lambda request, peer: iter([{"event": {"kind": "say"}}]))
    with pytest.raises(HubdError, match="ended before it answered"):
        client.talk(layout, {"do": "x"})


@pytest.mark.real_sockets
def test_no_daemon(tmp_path: Path) -> None:
    layout = Layout(tmp_path, run=tmp_path)
    assert not client.daemon_answers(layout)
    layout.socket.touch()
    assert not client.daemon_answers(layout)
    with pytest.raises(HubdError, match="hubd is not running"):
        client.talk(layout, {})


@pytest.mark.real_sockets
@pytest.mark.parametrize(("uid", "groups", "starts"), [(0, [], True), (1, [970], True), (1, [100], False), (1, [], False)])
@pytest.mark.parametrize("is_left", [True, False])
def test_a_daemon_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, groups: list[int], *, starts: bool, is_left: bool
) -> None:
    admins = SimpleNamespace(gr_gid=970)
    monkeypatch.setattr("grp.getgrnam", lambda name: ({"hubd-admins": admins} if groups else {})[name])
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    layout = Layout(tmp_path, run=tmp_path)
    if is_left:
        with socket.socket(socket.AF_UNIX) as stopped:
            stopped.bind(str(layout.people_socket))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(HubdError) as caught:
        client.talk(layout, {"do": "create"}, door=layout.people_socket)
    fix = f"Start it: {client.how_to_start()}" if starts else "Ask whoever runs this hub to start it."
    assert (caught.value.what, caught.value.fix) == ("hubd is not running", fix)


def test_a_connection_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **options: object) -> Iterator[dict[str, Any]]:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        yield {}

    monkeypatch.setattr(client, "ask", broken)
    with pytest.raises(HubdError, match="connection to the daemon broke"):
        client.talk(Layout(tmp_path, run=tmp_path), {})


PLUGIN = """\
import click
from hubd.api import hookimpl

@click.command("greet")
@click.argument("whom")
@click.pass_context
def greet(ctx, whom):
    click.echo(f"hello {whom} from {ctx.obj.layout.prefix.name}")

@click.command("plan")
def plan():
    click.echo("not the real one")

@hookimpl
def hubd_commands():
    return [greet, plan]
"""


def test_a_plugin_brings_commands_and_replaces_none(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    folder = machine.layout.prefix.parent / "plugin"
    folder.mkdir()
    (folder / "brings_commands.py").write_text(PLUGIN)
    assert run(["greet", "ada"]) == ExitCode.USAGE
    machine.write(f"plugins: [{{name: brings-commands, source: {folder}}}]\n")
    assert run(["greet", "ada"]) == ExitCode.DONE
    assert capsys.readouterr().out == "hello ada from hub\n"
    assert run(["--help"]) == ExitCode.DONE
    assert "greet" in capsys.readouterr().out
    assert run(["plan"]) == ExitCode.DONE
    assert "not the real one" not in capsys.readouterr().out


def test_a_change_that_nobody_has_read_is_told_without_a_daemon(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.begin()
    for later, headline in ((-10, "All is right."), (10, "A change of config.yaml or of a drop-in waits for `hubd apply`.")):
        at = machine.host.now + later
        os.utime(machine.layout.config_file, (at, at))
        assert run(["status"]) == ExitCode.DONE
        assert capsys.readouterr().out.startswith(headline)
