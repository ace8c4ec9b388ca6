"""Runs one job and reports: running with its phase, then done or failed with the reason."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.commands import Commands
from hubd.host.processes import handed_on
from hubd.host.web import Web
from hubd.jobs import clean, conda, environment, own, solve
from hubd.jobs.work import Work

# Seconds between two reports of what a program prints, and characters of it.
TOLD_EVERY = 1.0
LONGEST_LINE = 200

JOBS: Mapping[str, Callable[[Work], None]] = {
    "environment": environment.build,
    "solve": solve.solve,
    "conda": conda.install,
    "clean": clean.clean,
    "own": own.make,
    "own-lock": own.write_lock,
}


def run(
    spec: Mapping[str, Any],
    *,
    commands: Commands | None = None,
    web: Web | None = None,
    end_all: Callable[[], None] = lambda: None,
) -> int:
    """Do what `spec` says; its report is the last thing written. end_all: see `Work`."""
    report = _Report(spec)
    report.phase("starting")
    work = Work(
        spec=spec, commands=commands or Commands(always=handed_on()), web=web or Web(), phase=report.phase,
        doing=lambda: report.doing, heard=report.heard, end_all=end_all,
    )  # fmt: skip
    try:
        try:
            JOBS[spec["do"]](work)
        finally:
            # What stayed would keep the unit from its end.
            end_all()
    except HubdError as error:
        print(f"failed: {error}", flush=True)
        report.write("failed", what=error.what, why=error.why, fix=error.fix, retry=error.retry, ended=time.time())
        return 1
    except Exception as error:  # noqa: BLE001  # the report is all that anybody will see of it
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        report.write("failed", what=f"the job {spec['job']} failed", why=why, retry=True, ended=time.time())
        return 1
    report.write("done", ended=time.time())
    return 0


class _Report:
    """How a job is, in the file that hubd reads. doing: what it is at."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._path = Path(spec["result"])
        self._about = {"job": spec["job"], "digest": spec["digest"], "tries": int(spec.get("tries", 0)) + 1}
        self.doing, self._line, self._told = "", "", -TOLD_EVERY

    def write(self, state: str, **more: Any) -> None:
        # Always with what it was at: of a job whose time is over systemd may be told before its last report, or after.
        entry = {"state": state, **self._about, "phase": self.doing, "line": self._line, "at": time.time(), **more}
        files.write_atomic(self._path, json.dumps(entry).encode(), mode=0o644)

    def phase(self, words: str) -> None:
        """From now on it does this."""
        self.doing, self._line = words, ""
        print(words, flush=True)
        self.write("running")

    def heard(self, line: str) -> None:
        """A program of the job printed this; not each line is worth a report."""
        self._line = line.strip()[:LONGEST_LINE] or self._line
        if time.monotonic() > self._told + TOLD_EVERY:
            self._told = time.monotonic()
            self.write("running")
