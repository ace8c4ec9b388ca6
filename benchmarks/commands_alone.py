"""How long `hubd config get` and `hubd config set` take as a person feels it: whole processes."""

from __future__ import annotations

from collections.abc import Iterable

from bench import PYTHON, Bench
from figures import Figure

ROUNDS = 15
AIM = 0.3
IMPORTS = "import click, pydantic, ruamel.yaml"


def measure(bench: Bench) -> Iterable[Figure]:
    """The daemon is there and makes a pass after each `set`; the pause lets it end before the next command."""
    commands = {
        "get": ("hubd", "config", "get", "limits.memory"),
        "set": ("hubd", "config", "set", "limits.memory", "2{round}00M"),
        "pass": (PYTHON, "-c", "pass"),
        "imports": (PYTHON, "-c", IMPORTS),
    }
    taken = bench.installed.take(commands, rounds=ROUNDS, pause=1.0)
    walls = {name: [each.wall for each in runs] for name, runs in taken.items()}
    pass_, imports = Figure("", "s", walls["pass"]).median, Figure("", "s", walls["imports"]).median
    peers = {"python -c pass": pass_, f"python -c '{IMPORTS}'": imports}
    yield Figure("config set, whole process", "s", walls["set"], aim=AIM, peers=peers)
    yield Figure("config get, whole process", "s", walls["get"], aim=AIM, peers=peers)
