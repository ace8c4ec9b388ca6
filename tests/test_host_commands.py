"""Running programs: real ones, small and quick, that change nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from hubd.errors import CommandFailed, HubdError
from hubd.host.commands import PATH, Commands, Leash, clean_environment, network_environment
from hubd.host.processes import _started

pytestmark = pytest.mark.real_programs
SH = "/bin/sh"


def run(script: str, **options: object) -> tuple[int, str, str]:
    result = Commands().run((SH, "-c", script), **{"check": False, "timeout": 5, **options})  # type: ignore[arg-type]
    return result.code, result.out, result.err


def test_both_outputs_and_the_code() -> None:
    assert run("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_words_are_words_and_no_shell_reads_them() -> None:
    assert Commands().run(("/bin/echo", "$HOME; *", "a b")).out == "$HOME; * a b\n"


def test_bytes_that_are_no_text_do_not_hurt() -> None:
    assert run("printf '\\377x'")[1] == "\ufffdx"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_says_the_last_line(streamed: bool) -> None:
    with pytest.raises(CommandFailed) as caught:
        run("echo fine; echo first >&2; echo the reason >&2; exit 2", check=True, line=(lambda line: None) if streamed else None)
    assert caught.value.why == "the reason"
    assert caught.value.exit_code == 2
    assert "exited with 2" in caught.value.what
    with pytest.raises(CommandFailed) as caught:
        run("echo only out; exit 2", check=True)
    assert caught.value.why == "only out"


@pytest.mark.parametrize("streamed", [False, True])
def test_input(streamed: bool) -> None:
    assert run("cat", stdin=b"hello", line=(lambda line: None) if streamed else None)[1] == "hello"


def test_nothing_can_be_asked_for() -> None:
    assert run('read answer; echo "got $answer"')[1] == "got \n"


def test_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "SECRET"):
        monkeypatch.setenv(name, "/x")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror")
    names = {line.partition("=")[0] for line in run("env", environment={"MINE": "1"})[1].splitlines()}
    assert {"PATH", "HOME", "LANG", "MINE", "HTTPS_PROXY", "PIP_INDEX_URL"} <= names
    assert not names & {"LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "SECRET"}
    assert clean_environment({})["PATH"] == PATH


def test_how_to_reach_the_network() -> None:
    given = {
        "http_proxy": "a",
        "NO_PROXY": "b",
        "UV_INDEX": "c",
        "CONDA_X": "d",
        "SSL_CERT_FILE": "e",
        "HOME": "f",
        "LD_PRELOAD": "g",
        "PIPER": "h",
    }
    assert network_environment(given).keys() == {"http_proxy", "NO_PROXY", "UV_INDEX", "CONDA_X", "SSL_CERT_FILE"}


def test_the_folder() -> None:
    assert run("pwd")[1] == "/\n"
    assert run("pwd", directory=Path("/usr"))[1] == "/usr\n"


@pytest.mark.parametrize("streamed", [False, True])
def test_the_time_limit_ends_the_whole_group(tmp_path: Path, streamed: bool) -> None:
    child, began = tmp_path / "child", time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        run(f"sleep 60 & echo $! > {child}; echo going; sleep 9", timeout=0.3, line=(lambda line: None) if streamed else None)
    assert time.monotonic() - began < 3
    assert (caught.value.exit_code, caught.value.retry) == (None, True)
    assert "did not end in time" in caught.value.what
    while _started(int(child.read_text())):
        assert time.monotonic() - began < 5
        time.sleep(0.01)


def test_lines_as_they_come() -> None:
    heard: list[str] = []
    assert run("echo one; echo two >&2; printf three", line=heard.append) == (0, "one\nthree", "two\n")
    assert sorted(heard) == ["one", "three", "two"]


@pytest.mark.parametrize("argv", [("/no/such/program",), ("no-such-program",), ("/etc/passwd",), ("/",)])
def test_a_program_that_is_not_there_is_an_error_in_words(argv: tuple[str, ...]) -> None:
    with pytest.raises(HubdError) as caught:
        Commands().run(argv)
    assert argv[0] in caught.value.what


def test_a_program_that_is_not_there_for_another_account_either() -> None:
    with pytest.raises(HubdError):
        Commands().run(("/bin/true",), user="no-such-account")


def test_more_than_a_pipe_holds() -> None:
    assert len(run("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2")[1]) == 300_000
    assert len(run("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2", line=lambda line: None)[2]) == 300_000


@pytest.mark.parametrize("streamed", [False, True])
def test_a_program_that_does_not_read_its_input(streamed: bool) -> None:
    assert run("exec 0<&-; exit 4", stdin=b"x" * 200_000, line=(lambda line: None) if streamed else None)[0] == 4


def test_it_is_a_group_of_its_own() -> None:
    assert int(run("ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat")[1]) != os.getsid(0)


def test_one_on_a_leash_is_ended_by_another_thread_with_all_that_it_started(tmp_path: Path) -> None:
    child, began, leash = tmp_path / "child", time.monotonic(), Leash()

    def heard(line: str) -> None:
        if line == "going":
            threading.Thread(target=leash.end).start()

    script = f"sleep 60 & echo $! > {child}; echo going; while sleep 0.01; do echo more; done"
    code, out, _ = run(script, timeout=30, line=heard, leash=leash)
    assert (code, out.startswith("going\n")) == (-signal.SIGUSR1, True)
    while _started(int(child.read_text())):
        assert time.monotonic() - began < 20
        time.sleep(0.01)


def test_of_an_output_without_an_end_the_end_is_kept_and_a_line_without_one_is_heard_in_parts(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.host.commands.LONGEST", 1000)
    monkeypatch.setattr("hubd.host.commands.LONGEST_LINE", 100)
    heard: list[str] = []
    _, out, _ = run("head -c 300000 /dev/zero | tr '\\0' x; echo end", line=heard.append)
    assert (len(out), out[-5:], len(heard) > 1, "".join(heard)) == (1000, "xend\n", True, 300000 * "x" + "end")


def test_outputs_that_somebody_else_holds_open_keep_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.host.commands.GRACE", 0.2)
    # Of another session, so that it outlives the group that is killed.
    script = "setsid sleep 30 & echo $! >pid; sleep 30"
    for line in (None, lambda text: None):
        began = time.monotonic()
        with pytest.raises(CommandFailed):
            Commands().run((SH, "-c", script), timeout=0.3, directory=tmp_path, line=line)
        os.kill(int((tmp_path / "pid").read_text()), 9)
        assert time.monotonic() - began < 10


def test_a_program_that_is_muted_has_nothing_to_write_into() -> None:
    result = Commands().run((SH, "-c", "echo out; echo err >&2; readlink /proc/self/fd/1 >&0; exit 3"), check=False, mute=True)
    assert (result.code, result.out, result.err) == (3, "", "")
