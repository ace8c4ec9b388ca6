"""How the integration tests start programs on the host that runs them: one function, always with a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended: its words, exit code (negative: a signal), and what it printed."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        shown = self.out[-4000:] + ("\n--- stderr\n" + self.err[-4000:] if self.err else "")
        return f"`{' '.join(self.argv)}` exited with {self.code}\n{shown}"


class CommandFailed(AssertionError):
    """A program exited with another code than 0, or did not end in time."""


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    input: str | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a program to its end and give back what it printed.

    timeout: seconds; then the program and all it started in its process group is killed.
    :raises CommandFailed: it ran out of time, or exited with another code than 0 while `check` is set.
    """
    words = tuple(str(word) for word in argv)
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=dict(env) if env is not None else None,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(input, timeout=timeout)
    except BaseException as stopped:
        kill_group(process)
        out, err = process.communicate()
        if isinstance(stopped, subprocess.TimeoutExpired):
            done = Done(words, process.returncode, out, err)
            raise CommandFailed(f"no end after {timeout:g} s: {done}") from None
        raise
    done = Done(words, process.returncode, out, err)
    if check and done.code != 0:
        raise CommandFailed(str(done))
    return done


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a program that was started in a session of its own, with everything in its process group.

    The others go first and the leader gets a moment to bury its child: if it is an nsenter, a child that outlives it
    is handed to this host's PID 1, and until that buries it the machine it belongs to cannot end.
    """
    for pid in _group(process.pid) - {process.pid}:
        _kill(os.kill, pid)
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        _kill(os.killpg, process.pid)


def _group(leader: int) -> set[int]:
    """The processes of a group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader:
            found.add(int(stat.parent.name))
    return found


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        kill(number, signal.SIGKILL)
