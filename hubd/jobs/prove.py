"""Proves an environment: its kernel, started just as people start it, runs a notebook from the first cell to the last."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubd.errors import CommandFailed, HubdError, last_line
from hubd.host.commands import Leash
from hubd.jobs.work import Work
from hubd.tools.kernels import kernelspec
from hubd.tools.notebook import FIRST_ANSWER
from hubd.words import plain

# What starting Python and the kernel may take besides the notebook's own time.
BESIDES = 180


def prove(work: Work, prefix: Path, activation: Mapping[str, str], leash: Leash) -> None:
    """Raises HubdError with the first cell that fails, and how, or when the job's time is over.

    leash: ends it sooner, which is told as a kernel that runs no cell.
    """
    notebook = str(work.spec["notebook"])
    work.phase(f"running {notebook} in its kernel" if notebook else "starting its kernel and running a cell")
    kernel = json.loads(kernelspec(prefix, activation, title="proof", language=str(work.spec["smoke"])))
    # People's kernels cannot write there either; and what a package brought is being compared at this moment.
    kernel["env"]["PYTHONDONTWRITEBYTECODE"] = "1"
    spec = {
        "kernel": kernel,
        "cells": work.spec["cells"],
        "seconds": work.spec["smoke_time"],
        "answer": "" if notebook else FIRST_ANSWER,
    }
    found, said = _trial(work, spec, leash)
    if found:
        raise _failure(found, notebook, seconds=int(work.spec["smoke_time"]), said=said)


def _trial(work: Work, spec: Mapping[str, Any], leash: Leash) -> tuple[dict[str, Any], str]:
    """What was found, and the last thing that the kernel said by itself."""
    argv = (sys.executable, "-I", "-m", "hubd.jobs.kernel_trial")
    try:
        limit = min(spec["seconds"] + BESIDES, work.left)
        result = work.commands.run(argv, check=False, timeout=limit, stdin=json.dumps(spec).encode(), leash=leash)
    except CommandFailed as error:
        work.check_time()
        return {"cell": 0, "error": str(error), "late": True}, ""
    # A notebook may print what steers a terminal, and an admin follows the log in one.
    for line in result.err.splitlines():
        print(plain(line), flush=True)
    try:
        return dict(json.loads(result.out)), last_line(result.err)
    except ValueError:
        return {"cell": 0, "error": last_line(result.err or result.out) or f"it exited with {result.code}"}, ""


def _failure(found: Mapping[str, Any], notebook: str, *, seconds: int, said: str) -> HubdError:
    cell, why = int(found.get("cell") or 0), last_line(str(found.get("error", "")))
    late = bool(found.get("late"))
    if not cell or not notebook:
        packages = "ipykernel for Python, r-irkernel for R"
        fix = f"Add the kernel's package ({packages}), or read the log for what it says at its start."
        busy = late or "didn't respond in" in why
        return HubdError("its kernel does not run a cell", why=plain(why if cell else said or why), fix=fix, retry=busy)
    where = f"{notebook} in code cell {cell}"
    if late:
        return HubdError(f"its notebook comes to no end: {where}", why=f"it may take {seconds} seconds",
                         fix="Make the notebook quicker, or give it more time with smoke_time.", retry=True)  # fmt: skip
    return HubdError(f"its notebook fails: {where}", why=plain(why),
                     fix="Add the package that is missing, or correct the notebook.")  # fmt: skip
