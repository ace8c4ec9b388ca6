"""The program that proves a kernel: ended from outside it leaves no kernel behind."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from hubd.errors import CommandFailed
from hubd.host.commands import Commands, Leash, Result

pytestmark = pytest.mark.real_programs

# A kernel that says that it is there and never answers.
SILENT = """\
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_takes_its_kernel_along_when_it_is_ended(tmp_path: Path) -> None:
    there, leash, results = tmp_path / "pid", Leash(), list[Result]()
    starts = [sys.executable, "-c", SILENT, str(there), "{connection_file}"]
    kernel = {"argv": starts, "env": {}, "display_name": "x", "language": "x"}
    spec = {"kernel": kernel, "cells": [{"source": "1", "tags": []}], "seconds": 60, "answer": ""}
    argv = (sys.executable, "-m", "hubd.jobs.kernel_trial")
    proving = threading.Thread(target=lambda: results.append(Commands().run(
        argv, check=False, stdin=json.dumps(spec).encode(), leash=leash, directory=Path.cwd())))  # fmt: skip
    proving.start()
    end = time.monotonic() + 20
    while not (there.exists() and there.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    pid, began = int(there.read_text()), time.monotonic()
    assert is_running(pid)
    leash.end()
    proving.join(10)
    assert time.monotonic() - began < 4, "it was not killed, which would leave its kernel"
    assert not is_running(pid)
    assert (results[0].code, results[0].out, "Traceback" in results[0].err) == (1, "", False)


def test_what_does_not_listen_is_killed_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hubd.host.commands.GRACE", 0.2)
    leash, there = Leash(), tmp_path / "there"
    script = f"trap '' USR1; (sleep 60) & touch {there}; wait; wait; sleep 60"
    codes: list[int] = []
    argv = ("/bin/sh", "-c", script)
    going = threading.Thread(target=lambda: codes.append(Commands().run(argv, check=False, leash=leash).code))
    going.start()
    end = time.monotonic() + 10
    while not there.exists() and time.monotonic() < end:
        time.sleep(0.02)
    leash.end()
    going.join(5)
    assert codes == [-9]


def test_one_that_begins_too_late_ends_at_once() -> None:
    leash = Leash()
    leash.end()
    assert Commands().run(("/bin/sleep", "60"), check=False, leash=leash).code == -10
    with pytest.raises(CommandFailed):
        Commands().run(("/bin/sleep", "60"), leash=leash)
