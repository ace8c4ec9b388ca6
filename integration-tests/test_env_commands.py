"""`hubd env` on a real machine: back and forward under a running kernel, a build that fails, plans, locks and disk space."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from hub import KERNEL, HubMachine
from hubclient import Server

CONFIG = "/opt/hub/config.yaml"
# The number of a shell that holds on to a generation.
HOLDS = "/tmp/holds"
LETS_GO = f"kill $(cat {HOLDS}) || true; rm {HOLDS}"
WHERE = "import sys; print(sys.prefix)"


@pytest.fixture(scope="module")
def server(hub_machine: HubMachine) -> Server:
    """Ada's server on a machine with two generations of the environment: the second has one package more."""
    hub_machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "toolz")
    hub_machine.hubd("config", "add-item", "people.users", "bea")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=900)
    assert done.code == 0, done
    return hub_machine.sign_in("ada").start_server()


@pytest.fixture(scope="module")
def text(hub_machine: HubMachine, server: Server) -> str:
    """The config by which both are there."""
    return hub_machine.path(CONFIG).read_text()


@pytest.fixture(autouse=True)
def known(hub_machine: HubMachine, server: Server, text: str) -> None:
    """What each test begins with, whatever the one before left: that config, its newest generation, no kernel, the daemon."""
    for kernel in server.api("GET", "kernels").json():
        server.api("DELETE", f"kernels/{kernel['id']}")
    if hub_machine.path(HOLDS).exists():
        hub_machine.shell(LETS_GO)
    if is_known(hub_machine, text):
        return
    print("not as the one before found it")
    hub_machine.write(CONFIG, text, mode=0o640)
    hub_machine.run(("systemctl", "restart", "hubd"))
    daemon_is_back(hub_machine)
    if is_rolled_back(hub_machine):
        hub_machine.hubd("env", "rollback", KERNEL, "--undo")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=900)
    assert done.code == 0 and is_known(hub_machine, text), done


def is_known(machine: HubMachine, text: str) -> bool:
    status = machine.status()
    if not status["daemon"] or status["state"] != "right":
        return False
    return machine.path(CONFIG).read_text() == text and not is_rolled_back(machine)


def is_rolled_back(machine: HubMachine) -> bool:
    place = machine.path("/opt/hub/state/facts/rollbacks.json")
    return place.exists() and place.read_text() != "{}"


def daemon_is_back(machine: HubMachine) -> None:
    machine.wait_until(lambda: machine.status()["daemon"] is not None, "the daemon to be there again", timeout=60)


def told(machine: HubMachine, *words: str, user: str = "root") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.hubd("env", *words, "--json", user=user).out)
    return found


def prefix(number: int) -> str:
    return f"/opt/hub/envs/{KERNEL}/{number}\n"


def programs(machine: HubMachine, number: int) -> int:
    """How many run from a generation."""
    return next(int(each["programs"]) for each in told(machine, "show", KERNEL)["generations"] if each["number"] == number)


def test_back_and_forward_again_under_a_running_kernel(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    assert kernel.run(WHERE) == prefix(2)
    began = time.monotonic()
    said = hub_machine.hubd("env", "rollback", KERNEL).out
    print(f"rollback: {time.monotonic() - began:.2f} s with the start of the command in the machine")
    assert f"{KERNEL}: generation 2 → 1: −toolz " in said, said
    assert "; 1 program that runs keeps generation 2 until the end" in said, said
    assert kernel.run(WHERE) == prefix(2), "what runs keeps what it has"
    assert server.run(WHERE, KERNEL) == prefix(1)
    assert "No module named 'toolz'" in server.run("import toolz", KERNEL)
    shown = hub_machine.hubd("status").out
    assert f"{KERNEL} is rolled back to generation 1" in shown and f"hubd env rollback {KERNEL} --undo" in shown, shown
    generations = {each["number"]: each for each in told(hub_machine, "show", KERNEL)["generations"]}
    assert generations[2]["programs"] == 1 and generations[1]["on"] and generations[2]["asked"], generations
    print("disk:", {number: each["disk"] for number, each in generations.items()})
    assert all(each["disk"]["own"] > 0 for each in generations.values()), generations
    forward = hub_machine.hubd("env", "rollback", KERNEL, "--undo").out
    assert f"{KERNEL}: generation 1 → 2" in forward, forward
    assert server.run("import toolz; print(7)", KERNEL) == "7\n"
    assert kernel.run(WHERE) == prefix(2)
    kernel.stop()
    assert hub_machine.changes() == []


def test_two_generations_are_compared_by_everybody(hub_machine: HubMachine, server: Server) -> None:
    for user in ("root", "ada"):
        said = hub_machine.hubd("env", "diff", KERNEL, user=user).out.splitlines()
        assert said[0] == f"{KERNEL}: generation 1 → 2: +1" and said[1].startswith("  + toolz "), said
    assert [each["name"] for each in told(hub_machine, "diff", KERNEL, "2", "1")["removed"]] == ["toolz"]
    assert "  generation 1 → 2: +toolz " in hub_machine.hubd("env", "show", KERNEL).out


def test_a_plan_tells_what_a_build_brings(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    kernel.run(WHERE)
    hub_machine.hubd("config", "set", "daemon.settle", "5min")  # it would begin to build
    hub_machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "cowsay")
    began = time.monotonic()
    plan = json.loads(hub_machine.hubd("plan", "--json").out)
    print(f"plan: {time.monotonic() - began:.2f} s with the start of the command in the machine")
    change = next(each for each in plan["changes"] if each["id"] == f"environment:{KERNEL}")
    first, running, disk = change["tells"]
    assert first == f"{KERNEL}: +1 package asked for: +cowsay", change
    assert running == "1 running kernel keeps generation 2 until it stops", change
    assert disk.startswith("about ") and disk.endswith(" are free"), change
    forecast = change["forecast"]
    assert forecast["kernels"] == 1 and 10**6 < forecast["disk"]["estimate"] < forecast["disk"]["free"], forecast
    assert hub_machine.hubd("plan").out.endswith("\nVersions: hubd plan --solve\n")
    solved_by_the_daemon(hub_machine)
    hub_machine.hubd("config", "remove-item", f"environments.{KERNEL}.packages", "cowsay")
    hub_machine.hubd("config", "unset", "daemon.settle")
    hub_machine.run(("systemctl", "restart", "hubd"))
    daemon_is_back(hub_machine)
    kernel.stop()


# Begins a solve where a build has the package cache, and leaves as soon as it says that it waits.
LEAVES = """
exec 9>/opt/hub/envs/.cache/build.lock; flock 9
python3 -c 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import os
os.execvp("hubd", ["hubd", "plan", "--solve"])' > /tmp/left 2>&1 9>&- &
for each in $(seq 600); do ! grep -q "waiting for another build" /tmp/left || break; sleep 0.1; done
kill -INT $!
code=0; wait $! || code=$?
cat /tmp/left; echo $code
"""
# What there is of solves.
SOLVES = "systemctl list-units --all --no-legend 'hubd-job-solve*'; find /opt/hub/state -name 'solve-*' || true"  # they vanish


def solved_by_the_daemon(machine: HubMachine) -> None:
    """Versions before the build: for an admin, for two at once, for one who leaves, and where there is no such package."""
    began = time.monotonic()
    other = machine.popen(("sh", "-c", "hubd plan --solve > /tmp/other 2>&1"))
    plan = json.loads(machine.hubd("plan", "--solve", "--json", user="ada").out)
    assert other.wait(60) == 0
    print(f"two plan --solve: {time.monotonic() - began:.2f} s with the start of the command in the machine")
    said = machine.read("/tmp/other")
    assert f"solving {KERNEL} with uv" in said and f"{KERNEL}: +cowsay " in said, said
    change = next(each for each in plan["changes"] if each["id"] == f"environment:{KERNEL}")
    assert change["tells"][0].startswith(f"{KERNEL}: +cowsay "), change
    assert [each["name"] for each in change["forecast"]["solved"]["added"]] == ["cowsay"], change
    assert change["forecast"]["solved"]["download"]["packages"] >= 1, change
    # Who leaves while it waits for the package cache, as it does beside a build.
    left = machine.shell(LEAVES).out
    assert "waiting for another build" in left and left.endswith("interrupted\n130\n"), left
    machine.wait_until(lambda: machine.shell(SOLVES).out == "", "the solve to be ended and cleared away")
    machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "hubd-there-is-none-such")
    refused = machine.hubd("plan", "--solve", check=False)
    assert refused.code == 1 and f"✗ {KERNEL} cannot be solved: " in refused.out, refused
    assert "hubd-there-is-none-such" in refused.out.partition("because")[2], refused
    machine.hubd("config", "remove-item", f"environments.{KERNEL}.packages", "hubd-there-is-none-such")
    assert machine.shell(SOLVES).out == ""


def test_two_who_roll_back_at_once_mean_the_same(hub_machine: HubMachine, server: Server) -> None:
    one, two = (f"hubd env rollback {KERNEL} > /root/{file} 2>&1" for file in ("one", "two"))
    said = hub_machine.shell(f"{one} & {two}; wait; cat /root/one /root/two").out
    assert told(hub_machine, "show", KERNEL)["generation"] == 1, said
    assert "is rolled back to generation 1 already" in said, said
    hub_machine.hubd("env", "rollback", KERNEL, "--undo")
    assert told(hub_machine, "show", KERNEL)["generation"] == 2


def test_a_daemon_that_is_killed_in_the_middle_converges(hub_machine: HubMachine, server: Server) -> None:
    for delay in (0.0, 0.05, 0.1, 0.2, 0.3):
        hub_machine.shell(f"hubd env rollback {KERNEL} & sleep {delay}; systemctl kill -s KILL hubd; wait")
        daemon_is_back(hub_machine)
        hub_machine.hubd("env", "rollback", KERNEL)
        assert server.run(WHERE, KERNEL) == prefix(1)
        hub_machine.hubd("env", "rollback", KERNEL, "--undo")
        assert server.run(WHERE, KERNEL) == prefix(2)
    assert hub_machine.changes() == []


def test_without_a_daemon_it_is_done_here(hub_machine: HubMachine, server: Server) -> None:
    hub_machine.run(("systemctl", "stop", "hubd"))
    done = hub_machine.hubd("env", "rollback", KERNEL)
    assert "hubd is not running: making the pass here." in done.err, done
    assert server.run(WHERE, KERNEL) == prefix(1)
    assert told(hub_machine, "list")["environments"][0]["state"] == "rolled back"
    hub_machine.run(("systemctl", "start", "hubd"))
    daemon_is_back(hub_machine)
    assert server.run(WHERE, KERNEL) == prefix(1), "its first pass has nothing against it"
    hub_machine.hubd("env", "rollback", KERNEL, "--undo")


def test_people_without_rights_see_what_is_in_place_and_change_nothing(hub_machine: HubMachine, server: Server) -> None:
    done = hub_machine.hubd("env", "list", user="bea")
    assert f"{KERNEL}  in place  2" in done.out, done
    assert "Only what is in place is shown: how builds fare is told to root" in done.err and "problem" not in done.err, done
    assert [each["number"] for each in told(hub_machine, "show", KERNEL, user="bea")["generations"]] == [2, 1]
    refused = hub_machine.hubd("env", "rollback", KERNEL, user="bea", check=False)
    assert refused.code == 1 and "you may not ask hubd" in refused.err and "or ask whoever runs this hub" in refused.err, refused


def test_an_admin_without_root_sees_all(hub_machine: HubMachine) -> None:
    assert told(hub_machine, "list", user="ada")["environments"][0]["state"] == "right"


def test_the_whole_story_of_a_build_that_fails_and_the_way_round(hub_machine: HubMachine, server: Server) -> None:
    hub_machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "hubd-there-is-none-such")
    hub_machine.hubd("apply", "--yes", "--wait", check=False, timeout=900)
    said = hub_machine.hubd("env", "why", KERNEL).out
    assert "hubd-there-is-none-such" in said and "People have generation 2 meanwhile." in said, said
    assert "the same again would hardly help, and is tried in 24 hours" in said, said
    assert "hubd tries again within a day, or at once by `hubd apply`." in said and f"hubd logs job-env-{KERNEL}" in said, said
    assert told(hub_machine, "why", KERNEL, user="ada")["trouble"]["log"], "the daemon has the log for admins"
    hub_machine.hubd("env", "rollback", KERNEL, "--to", "2")
    assert hub_machine.status()["state"] == "right"
    hub_machine.hubd("config", "remove-item", f"environments.{KERNEL}.packages", "hubd-there-is-none-such")
    hub_machine.hubd("apply", "--yes", "--wait")
    assert hub_machine.hubd("env", "why", KERNEL).out == f"{KERNEL}: right; nothing failed\n"
    assert hub_machine.run(("cat", "/opt/hub/state/facts/rollbacks.json")).out == "{}"


def test_the_same_is_built_anew_while_people_work(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    before = kernel.run(WHERE)
    said = hub_machine.hubd("env", "build", KERNEL, timeout=900).out
    assert f"… {KERNEL}: starting its kernel and running a cell" in said, said
    now = told(hub_machine, "show", KERNEL)["generation"]
    assert f"{KERNEL}: generation {before.strip().rpartition('/')[2]} → {now}: the same packages" in said, said
    assert kernel.run(WHERE) == before, "what runs keeps what it has"
    kernel.stop()
    shown = hub_machine.hubd("env", "show", KERNEL).out
    assert "switched on, as config.yaml asks\n" in shown and "an earlier build of the same" in shown, shown
    assert f"stays: {KERNEL}, generations " in hub_machine.hubd("env", "gc", "--dry-run").out
    assert server.run(WHERE, KERNEL) == prefix(now) != before
    assert hub_machine.changes() == []


def test_a_lock_that_was_written_builds_the_same_again(hub_machine: HubMachine, server: Server) -> None:
    said = hub_machine.hubd("env", "lock", KERNEL).out
    path = f"/opt/hub/environments/{KERNEL}.lock"
    assert f"{path}: the lock of {KERNEL}" in said and "To build" in said, said
    text = hub_machine.read(path)
    assert hub_machine.hubd("env", "lock", KERNEL, "--to", "-", user="ada").out == text
    refused = hub_machine.hubd("env", "lock", KERNEL, "--generation", "1", check=False)
    assert refused.code == 1 and "--force" in refused.err, refused
    hub_machine.hubd("config", "set", "environments.again", f"{{lock: environments/{KERNEL}.lock}}")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=900)
    assert done.code == 0, done
    assert hub_machine.hubd("env", "lock", "again", "--to", "-").out == text
    assert server.run("import toolz; print(7)", "again") == "7\n"
    exported = hub_machine.hubd("env", "export", KERNEL).out
    assert "  - pip:\n" in exported and "      - toolz==" in exported, exported
    hub_machine.hubd("config", "unset", "environments.again")
    hub_machine.hubd("apply", "--yes")


def test_an_open_shell_keeps_its_generation(hub_machine: HubMachine, server: Server) -> None:
    hub_machine.hubd("env", "rollback", KERNEL, "--to", "1")
    # Nothing of the environment is on its command line, and it runs the machine's own bash.
    line = f"sh -c 'echo $$ > {HOLDS}; exec sleep 600' | hubd-env {KERNEL}"
    hub_machine.popen(("sh", "-c", line), user="ada")
    hub_machine.wait_until(lambda: programs(hub_machine, 1) == 1, "the shell to be counted")
    hub_machine.run(("systemctl", "stop", "hubd"))  # a pass would clear old generations by itself
    back = hub_machine.hubd("env", "rollback", KERNEL, "--undo").out
    assert "; 1 program that runs keeps generation 1 until the end" in back, back
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.keep", "0")
    looked = hub_machine.hubd("env", "gc", "--dry-run").out
    assert f"stays: {KERNEL}, generation 1, as 1 program uses it" in looked, looked
    hub_machine.shell(LETS_GO)
    stays = "program uses it"
    hub_machine.wait_until(lambda: stays not in hub_machine.hubd("env", "gc", "--dry-run").out, "the shell to be gone")
    hub_machine.hubd("config", "unset", f"environments.{KERNEL}.keep")
    hub_machine.run(("systemctl", "start", "hubd"))
    daemon_is_back(hub_machine)


def test_what_nobody_needs_goes_and_what_runs_stays(hub_machine: HubMachine, server: Server) -> None:
    if told(hub_machine, "show", KERNEL)["generation"] == 2:  # one between the first and the newest is to go
        hub_machine.hubd("env", "build", KERNEL, timeout=900)
    hub_machine.hubd("env", "rollback", KERNEL, "--to", "1")
    kernel = server.start_kernel(KERNEL)
    assert kernel.run(WHERE) == prefix(1)
    hub_machine.hubd("env", "rollback", KERNEL, "--undo")
    killed = f"/opt/hub/envs/{KERNEL}/.9.0123456789ab.hubd-gone"
    hub_machine.shell(f"mkdir {killed}; head -c 5000000 /dev/zero > {killed}/x")
    said = hub_machine.hubd("env", "gc", timeout=300).out  # by the daemon
    print(said)
    assert f"{killed}: 5.0 MB" in said and "package cache /opt/hub/envs/.cache: " in said and "Freed " in said, said
    assert hub_machine.run(("find", "/opt/hub/cache", "-mindepth", "2", "-not", "-user", "hubd-build")).out == ""
    hub_machine.run(("systemctl", "stop", "hubd"))  # a pass would clear old generations by itself
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.keep", "0")
    looked = hub_machine.hubd("env", "gc", "--dry-run").out
    assert f"stays: {KERNEL}, generation 1, as 1 program uses it" in looked and "would go: " in looked, looked
    found = told(hub_machine, "gc")
    assert [each["path"] for each in found["kept"]] == [prefix(1).strip()], found
    assert prefix(2).strip() in [each["path"] for each in found["removed"] if each["gone"]] and found["freed"] > 10**6, found
    assert kernel.run(WHERE) == prefix(1), "what runs keeps what it has"
    kernel.stop()
    hub_machine.wait_until(lambda: not told(hub_machine, "gc")["kept"], "the kernel to be gone")
    shown = told(hub_machine, "show", KERNEL)
    assert [each["number"] for each in shown["generations"]] == [shown["generation"]], shown
    hub_machine.hubd("config", "unset", f"environments.{KERNEL}.keep")
    hub_machine.run(("systemctl", "start", "hubd"))
    daemon_is_back(hub_machine)
    assert "7" in server.run("import toolz; print(7)", KERNEL)
    assert hub_machine.changes() == []
