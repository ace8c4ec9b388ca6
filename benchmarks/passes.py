"""How long a pass takes when there is nothing to do, on a real hub with a class of people."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bench import CONFIG, PYTHON, Bench, Installed
from crowd import fabricate, with_environments, with_people
from figures import Figure

PEOPLE, ENVIRONMENTS = 50, 5
ROUNDS = 11
AIM = 1.0
# Environments that are right are to cost no more than this besides all else, seconds.
MANY, AIM_MANY = 100, 0.5
RECORD = "/opt/hub/state/record.json"


def measure(bench: Bench) -> Iterable[Figure]:
    """The pass by its own clock (record.json), and `hubd apply` as a whole."""
    hub = populate(bench.installed)
    units = ("systemctl", "show", "--property=Id,ActiveState", "--", "hubd*.service", "jupyterhub*.service")
    commands = {"apply": ("hubd", "apply"), "show": units, "pass": (PYTHON, "-c", "pass")}
    lengths, walls = [], {name: list[float]() for name in commands}
    for _ in range(ROUNDS):
        for name, runs in hub.take(commands, rounds=1).items():
            walls[name].append(runs[0].wall)
        lengths.append(_last_pass(hub))
    shown = Figure("", "s", walls["show"]).median
    bare = Figure("", "s", walls["pass"]).median
    what = f"{PEOPLE} people, {ENVIRONMENTS} environments"
    yield Figure(f"idle pass: {what}", "s", lengths, aim=AIM, peers={"systemctl show of hubd's units": shown})
    yield Figure("hubd apply with nothing to do, whole process", "s", walls["apply"], peers={"python -c pass": bare})


def measure_many(bench: Bench) -> Iterable[Figure]:
    """What a hundred declared environments add to a pass that finds nothing to do."""
    hub = populate(bench.installed)
    few = [_applied(hub) for _ in range(ROUNDS)]
    text = with_environments(hub.machine.read(CONFIG), MANY)
    fabricate(hub.machine, text)
    hub.put_config(text)
    hub.settle()
    many = [_applied(hub) for _ in range(ROUNDS)]
    usual = Figure("", "s", few).median
    peers = {f"{ENVIRONMENTS} environments": usual}
    yield Figure(f"idle pass: {MANY} environments", "s", many, aim=usual + AIM_MANY, peers=peers)


def _applied(hub: Installed) -> float:
    hub.machine.run(("hubd", "apply"))
    return _last_pass(hub)


def populate(hub: Installed) -> Installed:
    """Bring the machine to 50 real accounts and 5 environments (those added are only marked as built)."""
    text = with_environments(hub.machine.read(CONFIG), ENVIRONMENTS)
    if f"user{PEOPLE:05d}" not in text:
        text = with_people(text, PEOPLE - 1)  # the admin is one of them
        fabricate(hub.machine, text)
        hub.put_config(text)
    hub.settle()
    return hub


def _last_pass(hub: Installed) -> float:
    """Seconds that the newest pass took. :raises AssertionError: it was not idle."""
    last = json.loads(hub.machine.read(RECORD))["last"]
    if last["counts"] or last["trouble"]:
        raise AssertionError(f"this pass should have found nothing to do: {last}")
    return float(last["ended"] - last["started"])
