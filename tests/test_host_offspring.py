"""What descends from a program is ended with it, wherever it put itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubd.host.processes import _started

# Leaves a process that hears no signal, in a session of its own, whose parent is gone; then ends all.
LEAVES = """
import os, signal, subprocess, sys, time
from hubd.host.offspring import end_offspring, keep_hold
keep_hold()
deaf = "import signal, time, os; [signal.signal(each, signal.SIG_IGN) for each in (1, 2, 15)]; "
deaf += "print(os.getpid(), flush=True); time.sleep(60)"
starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {deaf!r}], start_new_session=True)"
said = subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE)
pid = said.stdout.readline().decode().strip()
said.wait()
end_offspring()
print(pid, flush=True)
time.sleep(60)
"""


@pytest.mark.real_programs
def test_a_process_that_made_itself_a_session_of_its_own_is_ended_too() -> None:
    program = subprocess.Popen((sys.executable, "-c", LEAVES), stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    try:
        assert program.stdout
        left = int(program.stdout.readline())
        began = time.monotonic()
        while _started(left):
            assert time.monotonic() - began < 20
            time.sleep(0.01)
        assert program.poll() is None, "it ends others, and not itself"
    finally:
        program.kill()
        program.communicate()
