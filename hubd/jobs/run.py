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
from hubd.jobs import clean, conda, environment, own
from hubd.jobs.work import Work

JOBS: Mapping[str, Callable[[Work], None]] = {
    "environment": environment.build,
    "conda": conda.install,
    "clean": clean.clean,
    "own": own.make,
    "own-lock": own.write_lock,
}


def run(spec: Mapping[str, Any], *, commands: Commands | None = None, web: Web | None = None) -> int:
    """Do what `spec` says; its report is the last thing written."""
    path, tries = Path(spec["result"]), int(spec.get("tries", 0)) + 1

    doing = [""]

    # Always with what it was at: of a job whose time is over systemd may be told before its last report, or after.
    def report(state: str, **more: Any) -> None:
        about = {"job": spec["job"], "digest": spec["digest"], "tries": tries, "phase": doing[-1]}
        entry = {"state": state, **about, "at": time.time(), **more}
        files.write_atomic(path, json.dumps(entry).encode(), mode=0o644)

    def phase(words: str) -> None:
        doing.append(words)
        print(words, flush=True)
        report("running")

    phase("starting")
    work = Work(
        spec=spec, commands=commands or Commands(always=handed_on()), web=web or Web(), phase=phase, doing=lambda: doing[-1],
    )  # fmt: skip
    try:
        JOBS[spec["do"]](work)
    except HubdError as error:
        print(f"failed: {error}", flush=True)
        report("failed", what=error.what, why=error.why, fix=error.fix, retry=error.retry, ended=time.time())
        return 1
    except Exception as error:  # noqa: BLE001  # the report is all that anybody will see of it
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        report("failed", what=f"the job {spec['job']} failed", why=why, retry=True, ended=time.time())
        return 1
    report("done", ended=time.time())
    return 0
