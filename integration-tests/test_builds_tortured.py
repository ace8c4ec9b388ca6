"""Builds that are killed at any instant, start at once on an empty cache, or find it damaged: not one broken environment."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from channel.build import MADE
from hub import KERNEL, HubMachine
from web import web_server

# How much of it: 5 are 50 kills and 20 pairs, half an hour.
TIMES = int(os.environ.get("HUBD_TEST_TORTURE", "1"))
KILLS = 10 * TIMES
PAIRS = 4 * TIMES
SEED = 20260801
# How long after its start a build is killed, in seconds: a build of these packages takes about so long on a quiet machine.
LONGEST = 4.0
# Of so many strikes, one must meet a build that is under way.
STRIKES = 3
POWER_CUTS = 2 * TIMES

CONFIG = "/opt/hub/config.yaml"
ENVS = "/opt/hub/envs"
CACHES = {"conda": f"{ENVS}/.cache/conda-pkgs", "rattler": f"{ENVS}/.cache/rattler/pkgs"}
MANAGERS = tuple(CACHES)
BUILDS = {"first": "conda python", "second": "rattler python", "third": "uv python"}
PYTHON = "python=3.11, ipykernel"
R = "r-base, r-irkernel"


@dataclass(slots=True)
class Workshop:
    """A machine that builds from the small channel.

    turn: makes each list of packages one that was never asked for before. declared: the text of each environment.
    """

    machine: HubMachine
    good: str
    conda: str
    turn: int = 0
    declared: dict[str, str] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def put(self, **environments: str) -> None:
        """Let these environments, each `MANAGER LANGUAGE`, have packages that nobody asked for yet; the others stay."""
        self.turn += 1
        for name, said in environments.items():
            manager, language = said.split()
            packages = f"{PYTHON}, 'cowsay>=0.{self.turn}'" if language == "python" else f"{R}, 'r-glue>=0.{self.turn}'"
            packages, pip = ("ipykernel", f"'cowsay>=0.{self.turn}'") if manager == "uv" else (packages, "")
            text = f"  {name}:\n    packages: [{packages}]\n    pip: [{pip}]\n    manager: {manager}\n"
            self.declared[name] = f"{text}    kernel: {{language: {language}}}\n"
        text = "".join(self.declared.values())
        self.machine.write(CONFIG, self.good.replace("environments:\n", f"environments:\n{text}") + self.conda, mode=0o640)

    def apply(self, *words: str) -> str:
        done = self.machine.hubd("apply", "--yes", *words, check=False)
        assert "Traceback" not in done.out + done.err, done
        return f"{done.code} {done.out} {done.err}"

    def offered(self, name: str) -> Path | None:
        """The generation that the kernel is started from, as this host sees it; None where there is no kernel yet."""
        path = self.machine.path(f"/opt/hub/kernels/everyone/kernels/{name}/kernel.json")
        if not path.exists():
            return None
        program = Path(json.loads(path.read_text())["argv"][0])
        return self.machine.path(program.parent.parent)

    def broken(self, name: str) -> list[str]:
        """What is wrong with the generation that people are offered."""
        prefix = self.offered(name)
        if prefix is None:
            return []
        by_uv = (prefix / "pyvenv.cfg").exists()
        records = sorted(prefix.glob("lib/python3*/site-packages/*.dist-info/RECORD" if by_uv else "conda-meta/*.json"))
        marks = (".hubd-generation.json", *(() if by_uv else ("conda-meta/history",)))
        missing = [f"{name}: {mark} is missing" for mark in marks if not (prefix / mark).exists()]
        compare = wrong_modules if by_uv else wrong_files
        wrong = [f"{name}: {each}" for record in records for each in compare(prefix, record)]
        return [*missing, *wrong, *([] if len(records) > 20 else [f"{name}: only {len(records)} records"])]

    def run(self, code: str, kernel: str) -> str:
        return self.machine.sign_in("ada").start_server().run(code, kernel)


def wrong_files(prefix: Path, record: Path) -> Iterator[str]:
    """Files that are not what the record of their package says."""
    for entry in json.loads(record.read_text())["paths_data"]["paths"]:
        path = prefix / entry["_path"]
        if not os.path.lexists(path):
            yield f"{entry['_path']} is missing"
        elif entry["path_type"] == "hardlink":
            expected = entry.get("sha256_in_prefix") or entry["sha256"]
            if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                yield f"{entry['_path']} is another one"


def wrong_modules(prefix: Path, record: Path) -> Iterator[str]:
    """Files that are not what the record of their wheel says."""
    for name, digest, _ in csv.reader(record.read_text().splitlines()):
        path = record.parent.parent / name
        if not path.exists():
            yield f"{name} is missing"
        elif digest and f"sha256={urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip('=')}" != digest:
            yield f"{name} is another one"


@pytest.fixture(scope="module")
def workshop(hub_machine: HubMachine, conda_channel: Path) -> Iterator[Workshop]:
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.manager", "uv")
    sha256 = hashlib.sha256((conda_channel / "Miniconda.sh").read_bytes()).hexdigest()
    with web_server(conda_channel, hub_machine.net.host) as web:
        conda = f"""conda:
  url: {{x86_64: {web.url}/Miniconda.sh, aarch64: {web.url}/Miniconda.sh}}
  sha256: {{x86_64: {sha256}, aarch64: {sha256}}}
  channels: [{web.url}/{MADE}]
"""
        made = Workshop(hub_machine, hub_machine.read(CONFIG), conda)
        made.put(**BUILDS)
        said = made.apply("--wait")
        assert said.startswith("0 "), said
        yield made


def strike(machine: HubMachine, job: str, victim: str) -> bool:
    """SIGKILL for all of the job, for the manager with all that it started, or for the daemon; whether the job was under way."""
    if victim == "manager":
        blow = f"for pid in $(pgrep -P $(systemctl show --value --property=MainPID {job})); do kill -9 -- -$pid; done"
    else:
        blow = f"systemctl kill --signal=KILL {job if victim == 'job' else 'hubd'}"
    # Asked in the same breath: the build goes on.
    state = f"systemctl show --value --property=ActiveState {job}"
    return machine.shell(f"{state}; {blow} || true", check=False).out.split()[:1] == ["active"]


def test_kills_at_any_instant_break_no_environment(workshop: Workshop) -> None:
    machine, hits = workshop.machine, {"daemon": 0, "job": 0, "manager": 0}
    for turn in range(KILLS * STRIKES):
        if sum(hits.values()) == KILLS:
            break
        name = list(BUILDS)[turn % len(BUILDS)]
        workshop.put(**{name: BUILDS[name]})
        workshop.apply()
        time.sleep(workshop.chance.uniform(0, LONGEST))
        # Each of them in turn, as long as it has been met least.
        victim = min(hits, key=lambda each: hits[each])
        hits[victim] += strike(machine, f"hubd-job-env-{name}.service", victim)
        assert not [each for name in BUILDS for each in workshop.broken(name)], (turn, name, victim)
        assert all(workshop.offered(each) for each in BUILDS), (turn, name, victim)
    said = workshop.apply("--wait")
    assert said.startswith("0 "), said
    print("builds that were met:", hits, "in", turn, "strikes")
    assert sum(hits.values()) == KILLS, hits
    all_well(workshop)


def all_well(workshop: Workshop) -> None:
    """What people are offered is whole, runs a cell, and is all that there is."""
    for name in BUILDS:
        assert workshop.broken(name) == []
        assert workshop.run("import cowsay, sys; print(6 * 7)", name) == "42\n"
        left = workshop.machine.run(("ls", f"{ENVS}/{name}")).out.split()
        assert len(left) <= 4, f"what was killed is cleared away: {left}"


def lose_power(machine: HubMachine) -> None:
    """All processes end at once. What was written stays: what a disk loses besides is what a damaged cache is tested with."""
    machine.kill9()
    machine.boot()


def test_power_that_fails_at_any_instant_breaks_no_environment(workshop: Workshop) -> None:
    machine = workshop.machine
    for turn in range(POWER_CUTS):
        workshop.put(**BUILDS)
        workshop.apply()
        time.sleep(workshop.chance.uniform(0, LONGEST))
        lose_power(machine)
        assert not [each for name in BUILDS for each in workshop.broken(name)], turn
        assert all(workshop.offered(each) for each in BUILDS), turn
        machine.hub.wait_healthy(60)
    said = workshop.apply("--wait")
    assert said.startswith("0 "), said
    all_well(workshop)


def test_power_that_fails_between_a_build_and_its_switch_loses_nothing(workshop: Workshop) -> None:
    machine, job = workshop.machine, "hubd-job-env-second.service"
    before = workshop.offered("second")
    assert before
    workshop.put(second="rattler python")
    workshop.apply()
    assert machine.show(job, "ActiveState") == "active"
    machine.run(("systemctl", "stop", "hubd"))
    machine.wait_until(lambda: machine.show(job, "ActiveState") != "active", "the end of the build")
    (new,) = (each for each in before.parent.glob("[0-9]*/.hubd-generation.json") if int(each.parent.name) > int(before.name))
    assert workshop.offered("second") == before
    lose_power(machine)
    machine.wait_until(lambda: workshop.run("import sys; print(sys.prefix)", "second") == f"{ENVS}/second/{new.parent.name}\n",
                       "the new generation, without another build", timeout=60)  # fmt: skip
    assert workshop.broken("second") == []


def test_pairs_that_start_at_once_on_an_empty_cache_are_both_good(workshop: Workshop) -> None:
    for turn in range(PAIRS):
        workshop.machine.run(("rm", "-rf", *CACHES.values()))
        manager = MANAGERS[turn % 2]
        workshop.put(first=f"{manager} python", stats=f"{manager} R")
        said = workshop.apply("--wait")
        assert said.startswith("0 "), (turn, said)
        assert workshop.broken("first") + workshop.broken("stats") == [], (turn, manager)
    assert workshop.run("import cowsay; print(6 * 7)", "first") == "42\n"
    assert workshop.run("cat(6 * 7)", "stats") == "42"
    kept = workshop.machine.run(("ls", f"{ENVS}/first")).out.split()
    assert len(kept) == 4 and "1" not in kept, f"two behind the one in use are kept, and `current`: {kept}"


def cut_off(path: Path) -> None:
    replace(path, path.read_bytes()[:100])


def garble(path: Path) -> None:
    """Of the same length, as after a loss of power: only its content tells."""
    replace(path, b"(" * path.stat().st_size)


def replace(path: Path, data: bytes) -> None:
    """Another file in its place: those that are hard-linked to this one in environments stay."""
    owner = path.stat()
    path.unlink()
    path.write_bytes(data)
    os.chown(path, owner.st_uid, owner.st_gid)


# A file of three packages, each damaged in another way.
DAMAGES: dict[str, Callable[[Path], None]] = {
    "ipykernel/kernelapp.py": cut_off,
    "traitlets/traitlets.py": garble,
    "cowsay/__init__.py": Path.unlink,
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_damaged_cache_heals(workshop: Workshop, name: str) -> None:
    manager = BUILDS[name].split()[0]
    workshop.put(**{name: BUILDS[name]})
    assert workshop.apply("--wait").startswith("0 ")
    packages = workshop.machine.path(CACHES.get(manager, f"{ENVS}/.cache/uv/archive-v0"))
    for module, spoil in DAMAGES.items():
        spoil(next(packages.glob(f"*/site-packages/{module}" if manager in CACHES else f"*/{module}")))
    before = workshop.offered(name)
    workshop.put(**{name: BUILDS[name]})
    said = workshop.apply("--wait")
    assert said.startswith("0 "), said
    assert workshop.offered(name) != before, "a new build"
    assert workshop.broken(name) == []
    assert workshop.run("print(6 * 7)", name) == "42\n"
