"""An installation that is killed, wherever it is, and started again: it ends as one that was never disturbed."""

from __future__ import annotations

import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

from hub import COMMAND, KERNEL, RIGHT, HubMachine, copy_checkout, timed_install


@dataclass(frozen=True, slots=True)
class Kill:
    """When and what to kill. after: words of the last line printed before; wait: seconds from then on; whom: see `victims`."""

    after: str
    wait: float
    whom: str = "all"


# In the order in which an installation comes by; each run gets a little further than the one before.
KILLS = (
    Kill("Checks of this machine", 1.0),  # apt and dpkg at work
    Kill("Source of the hub", 1.0),  # uv is fetched
    Kill("Source of the hub", 0.2, "bootstrap.py"),  # its children are left behind
    Kill("uv, which makes environments", 2.0),  # the hub environment is half there
    Kill("writing the configuration", 0.3),  # the first pass has begun
    Kill("writing the configuration", 3.0, "hubd_installer"),  # the installer alone; services come up
    Kill("setting up the machine", 2.0),  # builds are under way
    Kill("building the environments", 0.05),  # passwords are set, and not shown yet
)
LINE = re.compile(r"^\s*[\d.]+ s\s+(.*\S)\s*$")


def test_installation_killed_again_and_again_ends_right(base: Path) -> None:
    with HubMachine("killed-install", base) as machine:
        copy_checkout(machine)
        for kill in KILLS:
            killed(machine, kill)
        ends_right(machine)


def test_installation_killed_at_random_instants_ends_right(base: Path) -> None:
    seed = int(os.environ.get("HUBD_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"HUBD_TEST_SEED={seed}")
    chance = random.Random(seed)
    with HubMachine("killed-at-random", base) as machine:
        copy_checkout(machine)
        for longest in (12, 20, 25):
            killed(machine, Kill("", chance.uniform(0.5, longest)))
        ends_right(machine)


def killed(machine: HubMachine, kill: Kill) -> None:
    """Run the installation up to that point and kill it there."""
    began = time.monotonic()
    process = machine.popen(COMMAND)
    assert process.stdout
    seen = []
    while kill.after:
        line = process.stdout.readline()
        seen.append(line)
        assert line, f"it ended before {kill}: {''.join(seen)}"
        found = LINE.match(line)
        if found and found[1] == kill.after:
            break
    time.sleep(kill.wait)
    alive = victims(machine, kill.whom)
    machine.run(("sh", "-c", 'kill -KILL "$@" 2>/dev/null || true', "sh", *map(str, alive)))
    process.wait(60)
    print(f"{kill}: {len(alive)} processes killed after {time.monotonic() - began:.1f} s")
    assert alive, f"it had ended before {kill}: {''.join(seen)}{process.stdout.read()}"


def victims(machine: HubMachine, whom: str) -> list[int]:
    """The processes to kill: one program, or `all`: bootstrap.py and whatever it started."""
    rows = [line.split(None, 2) for line in machine.run(("ps", "axo", "pid,ppid,args", "--no-headers")).out.splitlines()]
    if whom != "all":
        return [int(pid) for pid, _, words in rows if whom in words and "python" in words]
    found = {pid for pid, _, words in rows if "bootstrap.py" in words}
    while more := {pid for pid, parent, _ in rows if parent in found and pid not in found}:
        found |= more
    return sorted(map(int, found))


def ends_right(machine: HubMachine) -> None:
    done, _ = timed_install(machine)
    assert done.code == 0, done
    said = re.search(r"Sign in as ada with the one-time password (\S+)", done.out)
    assert said, f"a password that was never shown is shown now: {done}"
    machine.passwords["ada"] = said[1]
    status = machine.hubd("status")
    assert status.out.startswith(RIGHT), status
    plan = machine.hubd("plan", "--detailed-exitcode", check=False)
    assert (plan.code, plan.out.startswith("Nothing to do:")) == (0, True), plan
    assert machine.sign_in("ada").start_server().run("print(6 * 7)", KERNEL) == "42\n"
    assert machine.run(("find", "/opt/hub", "-name", "*.hubd-new", "-o", "-name", ".*.part")).out == ""
    kept = machine.shell("ls /opt/hub/versions | sed 's/-.*//' | sort").out.split()
    assert kept == ["hub", "server", "uv"], f"nothing half made is left: {kept}"
    assert machine.run(("ls", "/opt/hub/state/secrets")).out.find("first-passwords") < 0
    again, _ = timed_install(machine)
    assert (again.code, "one-time password" in again.out) == (0, False), again
