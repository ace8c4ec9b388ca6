"""Builds that are killed at any instant, start at once on an empty cache, or find it damaged: not one broken environment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
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
LONGEST = 5.0

CONFIG = "/opt/hub/config.yaml"
ENVS = "/opt/hub/envs"
CACHES = {"conda": f"{ENVS}/.cache/conda-pkgs", "rattler": f"{ENVS}/.cache/rattler/pkgs"}
MANAGERS = tuple(CACHES)
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
            text = f"  {name}:\n    packages: [{packages}]\n    manager: {manager}\n    kernel: {{language: {language}}}\n"
            self.declared[name] = text
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
        missing = [mark for mark in (".hubd-generation.json", "conda-meta/history") if not (prefix / mark).exists()]
        records = sorted((prefix / "conda-meta").glob("*.json"))
        wrong = [f"{name}: {each}" for record in records for each in wrong_files(prefix, record)]
        return [*missing, *wrong, *([] if len(records) > 20 else [f"only {len(records)} records"])]

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
        made.put(first="conda python", second="rattler python")
        said = made.apply("--wait")
        assert said.startswith("0 "), said
        yield made


def strike(machine: HubMachine, job: str, victim: str) -> None:
    """SIGKILL for all of the job, for the manager with all that it started, or for the daemon."""
    if victim == "daemon":
        machine.run(("systemctl", "kill", "--signal=KILL", "hubd"), check=False)
    elif victim == "job":
        machine.run(("systemctl", "kill", "--signal=KILL", job), check=False)
    else:
        script = f"for pid in $(pgrep -P $(systemctl show --value --property=MainPID {job})); do kill -9 -- -$pid; done"
        machine.shell(script, check=False)


def test_kills_at_any_instant_break_no_environment(workshop: Workshop) -> None:
    machine, names = workshop.machine, {"first": "conda", "second": "rattler"}
    struck = {"daemon": 0, "job": 0, "manager": 0}
    for turn in range(KILLS):
        name = list(names)[turn % 2]
        workshop.put(**{name: f"{names[name]} python"})
        workshop.apply()
        time.sleep(workshop.chance.uniform(0, LONGEST))
        victim = workshop.chance.choice(list(struck))
        struck[victim] += 1
        strike(machine, f"hubd-job-env-{name}.service", victim)
        assert not [each for name in names for each in workshop.broken(name)], (turn, name, victim)
        assert all(workshop.offered(each) for each in names), (turn, name, victim)
    said = workshop.apply("--wait")
    assert said.startswith("0 "), said
    assert min(struck.values()) > 0, struck
    for name in names:
        assert workshop.broken(name) == []
        assert workshop.run("import cowsay, sys; print(6 * 7)", name) == "42\n"
        left = machine.run(("ls", f"{ENVS}/{name}")).out.split()
        assert len(left) <= 4, f"what was killed is cleared away: {left}"


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


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("spoil", [cut_off, garble, Path.unlink])
def test_a_damaged_cache_heals(workshop: Workshop, manager: str, spoil: object) -> None:
    workshop.put(first=f"{manager} python")
    assert workshop.apply("--wait").startswith("0 ")
    packages = workshop.machine.path(CACHES[manager])
    victim = next(packages.glob("ipykernel-*/site-packages/ipykernel/kernelapp.py"))
    before = workshop.offered("first")
    assert callable(spoil)
    spoil(victim)
    workshop.put(first=f"{manager} python")
    said = workshop.apply("--wait")
    assert said.startswith("0 "), said
    assert workshop.offered("first") != before, "a new build"
    assert workshop.broken("first") == []
    assert workshop.run("print(6 * 7)", "first") == "42\n"
