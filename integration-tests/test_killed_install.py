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
# Runs in the machine: a command up to a line of what it prints and some seconds more, and then kills one program, or `all`:
# the command and what it started. They are halted first, so that none begins another meanwhile, and by a program that is
# served before them: on a busy host seconds may pass between two looks from outside. Prints what the command printed, and in
# the last line how many were killed: 0 when it had ended by itself.
KILLER = r"""
import os, re, signal, subprocess, sys, time

after, wait, whom, *command = sys.argv[1:]
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
os.nice(-20)

def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as words:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
                if state != "Z" and int(pid) != os.getpid():
                    yield int(pid), int(parent), words.read()
        except (FileNotFoundError, ProcessLookupError):
            pass

def victims():
    rows = list(processes())
    if whom != "all":
        return {pid for pid, _, words in rows if whom in words and "python" in words}
    found = {pid for pid, _, _ in rows if pid == process.pid}
    while more := {pid for pid, parent, _ in rows if parent in found} - found:
        found |= more
    return found

def send(number, pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

for line in iter(process.stdout.readline, b"") if after else ():
    print(line.decode(), end="")
    found = re.match(r"\s*[\d.]+ s\s+(.*\S)\s*$", line.decode())
    if found and found[1] == after:
        break
else:
    after and sys.exit(f"it ended before {after}")
time.sleep(float(wait))
halted = set()
while more := victims() - halted:
    send(signal.SIGSTOP, more)
    halted |= more
send(signal.SIGKILL, halted)
process.wait(60)
os.set_blocking(process.stdout.fileno(), False)
print((process.stdout.read() or b"").decode(errors="replace"))
print(len(halted))
"""


def test_installation_killed_again_and_again_ends_right(base: Path) -> None:
    with HubMachine("killed-install", base) as machine:
        copy_checkout(machine)
        for kill in KILLS:
            said, count = killed(machine, kill)
            assert count, f"it had ended before {kill}: {said}"
        ends_right(machine)


def test_installation_killed_at_random_instants_ends_right(base: Path) -> None:
    seed = int(os.environ.get("HUBD_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"HUBD_TEST_SEED={seed}")
    chance, said = random.Random(seed), ""
    with HubMachine("killed-at-random", base) as machine:
        copy_checkout(machine)
        for longest in (12, 20, 25):
            more, count = killed(machine, Kill("", chance.uniform(0.5, longest)))
            assert count or said, f"a first installation takes longer: {more}"
            said += more
        ends_right(machine, said)


def killed(machine: HubMachine, kill: Kill) -> tuple[str, int]:
    """Run the installation up to that point and kill it there; gives what it printed and how many processes it was."""
    began = time.monotonic()
    words = ("python3", "-c", KILLER, kill.after, str(kill.wait), kill.whom, *COMMAND)
    said, _, count = machine.run(words, timeout=900).out.rstrip().rpartition("\n")
    print(f"{kill}: {count} processes killed after {time.monotonic() - began:.1f} s")
    return said, int(count)


def ends_right(machine: HubMachine, before: str = "") -> None:
    """before: what was printed by runs that may have come as far as to show the password."""
    done, _ = timed_install(machine)
    assert done.code == 0, done
    said = re.findall(r"Sign in as ada with the one-time password (\S+)", before + done.out)
    assert said, f"a password that was never shown is shown now: {done}"
    machine.passwords["ada"] = said[-1]
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
