"""Things that go wrong around a running hub: status says what and why, nothing is lost, and the next pass heals."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from hub import KERNEL, HubMachine
from watcher import Watcher

RECORD = "/opt/hub/state/record.json"
DROP_IN = "/opt/hub/jupyterhub_config.d/90-test.py"
# Holds the lock that all passes share, as a pass does, until it is killed.
HOLD_LOCK = """
import fcntl, time
file = open("/opt/hub/state/lock", "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(120)
"""
WATCHED = """
cat /etc/systemd/system/jupyterhub* /etc/passwd
systemctl show --value --property=MainPID jupyterhub jupyterhub-proxy
"""


@pytest.fixture(autouse=True)
def all_right(hub_machine: HubMachine) -> Iterator[None]:
    """Each test finds the hub right and leaves it so."""
    yield
    hub_machine.run(("rm", "-f", DROP_IN))
    heal(hub_machine)


def heal(machine: HubMachine) -> None:
    """Whatever was wrong is no more: the next pass mends all of it."""
    done = machine.hubd("apply", "--yes", "--wait")
    assert done.code == 0, done
    assert machine.status()["state"] == "right", machine.status()
    assert machine.changes() == []
    assert machine.hub.healthy()


def trouble(machine: HubMachine) -> dict[str, dict[str, Any]]:
    """What status complains of, by the id of the thing."""
    status = machine.status()
    assert status["state"] == "trouble", status
    return {each["id"]: each for each in status["last_pass"]["trouble"]}


def owned(machine: HubMachine) -> set[str]:
    return set(json.loads(machine.read(RECORD))["owned"])


@contextmanager
def listening(machine: HubMachine, port: int) -> Iterator[int]:
    """Another program on a port of the machine; gives its process id there."""
    program = machine.popen(("python3", "-m", "http.server", str(port)))
    try:
        machine.wait_until(lambda: bool(holder(machine, port)), f"a program on port {port}")
        yield int(holder(machine, port))
    finally:
        machine.shell(f"kill {holder(machine, port)}")
        program.wait(20)


def holder(machine: HubMachine, port: int) -> str:
    found = machine.run(("ss", "-Hltnp", f"sport = :{port}")).out
    return found.partition("pid=")[2].split(",")[0]


# ---------------------------------------------------------------- the disk is full


# The proxy works in a folder of the state, and so keeps its file system in use.
SMALL_DISK = """
systemctl stop hubd jupyterhub jupyterhub-proxy
mkdir -p /mnt/small
mount -t tmpfs -o size=4M,mode=711 small /mnt/small
cp -a /opt/hub/state/. /mnt/small
mount --bind /mnt/small /opt/hub/state
systemctl start jupyterhub-proxy jupyterhub hubd
"""
BACK_AGAIN = """
systemctl stop hubd jupyterhub jupyterhub-proxy
rm -f /mnt/small/filler
umount /opt/hub/state
cp -a /mnt/small/. /opt/hub/state
umount /mnt/small
systemctl start jupyterhub-proxy jupyterhub hubd
"""


@pytest.fixture
def small_disk(hub_machine: HubMachine) -> Iterator[None]:
    """The state lies on a file system of its own, with a little room."""
    hub_machine.shell(SMALL_DISK)
    hub_machine.hubd("apply", "--yes")
    yield
    hub_machine.shell(BACK_AGAIN)


def test_full_disk_is_told_and_nothing_is_lost(hub_machine: HubMachine, small_disk: None) -> None:
    before, config = owned(hub_machine), hub_machine.read("/opt/hub/config.yaml")
    hub_machine.shell("dd if=/dev/zero of=/opt/hub/state/filler bs=4k status=none || true")
    done = hub_machine.hubd("config", "set", "limits.cpu", "0.5")
    assert done.code == 0, done
    done = hub_machine.hubd("apply", "--yes", check=False)
    said = done.out + done.err
    assert (done.code in (1, 5), "No space left on device" in said, "Traceback" in said) == (True, True, False), done
    assert any("No space left" in each["why"] for each in trouble(hub_machine).values())
    assert hub_machine.hub.healthy()
    assert owned(hub_machine) == before
    assert hub_machine.run(("find", "/opt/hub/state", "-name", "*.hubd-new")).out == ""
    hub_machine.run(("rm", "/opt/hub/state/filler"))
    heal(hub_machine)
    assert json.loads(hub_machine.read("/opt/hub/state/servers.json"))["cpu"] == 0.5
    hub_machine.write("/opt/hub/config.yaml", config)


def test_pass_without_the_daemon_that_a_full_disk_ends_is_told_by_status(hub_machine: HubMachine, small_disk: None) -> None:
    config = hub_machine.read("/opt/hub/config.yaml")
    hub_machine.run(("systemctl", "stop", "hubd"))
    assert hub_machine.hubd("status").out.startswith("All is right.")
    hub_machine.shell("dd if=/dev/zero of=/opt/hub/state/filler bs=4k status=none || true")
    hub_machine.hubd("config", "set", "limits.cpu", "0.5")
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert (done.code, "No space left on device" in done.err) == (1, True), done
    assert_no_end(hub_machine)
    hub_machine.run(("rm", "/opt/hub/state/filler"))
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.hubd("status").out.startswith("All is right.")
    hub_machine.write("/opt/hub/config.yaml", config)


def assert_no_end(machine: HubMachine) -> None:
    """Without a daemon, status knows that the last pass did not end."""
    status = machine.hubd("status", check=False)
    assert (status.code, status.out.startswith("Something needs attention.")) == (1, True), status
    assert "✗ the last pass came to no end\n" in status.out, status
    assert "(asked by the command line), and failed or was killed\n" in status.out, status


# ---------------------------------------------------------------- the network is gone


def test_environment_waits_for_a_package_index_that_cannot_be_reached(hub_machine: HubMachine) -> None:
    good = hub_machine.read("/opt/hub/config.yaml")
    added = "environments:\n  away:\n    packages: [ipykernel, cowsay]\n    manager: uv\n"
    hub_machine.net.cut()
    try:
        hub_machine.write("/opt/hub/config.yaml", good.replace("environments:\n", added))
        done = hub_machine.hubd("apply", "--yes", "--wait", check=False)
        assert (done.code, "package index cannot be reached" in done.out + done.err) == (5, True), done
        assert trouble(hub_machine)["environment:away"]["what"] == "away is not built: the package index cannot be reached"
        assert hub_machine.hub.healthy()
        assert hub_machine.sign_in("ada").get("home").status_code == 200
    finally:
        hub_machine.net.restore()
    heal(hub_machine)
    assert "away" in hub_machine.sign_in("ada").start_server().kernelspecs()
    hub_machine.write("/opt/hub/config.yaml", good)
    heal(hub_machine)
    assert not hub_machine.path("/opt/hub/envs/away").exists()


# ---------------------------------------------------------------- ports are taken


def test_public_port_taken_while_the_proxy_was_down_names_the_program(hub_machine: HubMachine) -> None:
    hub_machine.run(("systemctl", "stop", "hubd", "jupyterhub-proxy.socket", "jupyterhub-proxy"))
    with listening(hub_machine, 80) as pid:
        hub_machine.run(("systemctl", "start", "hubd"))
        done = hub_machine.hubd("apply", "--yes", check=False)
        assert (done.code, f"python3 (process {pid}) holds it" in done.err) == (5, True), done
        told = trouble(hub_machine)["port:80"]
        assert told["what"] == "port 80 cannot be listened on"
        assert f"python3 (process {pid})" in told["why"]
        assert "proxy.port" in told["fix"]


def test_new_public_port_that_is_taken_leaves_the_old_one_in_service(hub_machine: HubMachine) -> None:
    watcher = Watcher({"hub": hub_machine.url(path="/hub/health")}, every=0.1)
    with listening(hub_machine, 8081) as pid, watcher:
        hub_machine.hubd("config", "set", "proxy.port", "8081")
        done = hub_machine.hubd("apply", "--yes", check=False)
        assert (done.code, f"python3 (process {pid}) holds it" in done.err) == (5, True), done
        assert f"python3 (process {pid})" in trouble(hub_machine)["port:8081"]["why"]
        hub_machine.hubd("config", "unset", "proxy.port")
        heal(hub_machine)
    assert watcher.bad("hub") == [], watcher.summary()


def test_new_port_of_the_hub_that_is_taken_leaves_the_hub_where_it_is(hub_machine: HubMachine) -> None:
    before = hub_machine.main_pid(hub_machine.unit("hub"))
    with listening(hub_machine, 15002) as pid:
        hub_machine.hubd("config", "set", "hub.port", "15002")
        done = hub_machine.hubd("apply", "--yes", check=False)
        assert done.code == 5, done
        assert f"python3 (process {pid})" in trouble(hub_machine)["port:127.0.0.1:15002"]["why"]
        assert hub_machine.main_pid(hub_machine.unit("hub")) == before
        assert hub_machine.hub.healthy(), "the proxy must not send people to that program"
        hub_machine.hubd("config", "unset", "hub.port")
        heal(hub_machine)


# ---------------------------------------------------------------- the hub or the proxy does not come up


def test_drop_in_that_raises_is_named_with_file_and_line_and_removing_it_heals(hub_machine: HubMachine) -> None:
    hub_machine.write(DROP_IN, "c.JupyterHub.log_level = 20\n\nraise RuntimeError('boom of the drop-in')\n")
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert done.code == 5, done
    why = trouble(hub_machine)["service:jupyterhub.service"]["why"]
    assert "boom of the drop-in" in why, why
    assert "90-test.py" in why and "line 3" in why, why
    shown = hub_machine.hubd("status", check=False)
    assert (shown.code, "90-test.py" in shown.out) == (1, True), shown
    hub_machine.run(("rm", DROP_IN))
    hub_machine.wait_until(lambda: hub_machine.status()["state"] == "right", "the daemon to mend it by itself", timeout=60)


DATABASE = "/opt/hub/state/hub/jupyterhub.sqlite"
DAMAGES = [
    (f"head -c 40000 /dev/zero | tr '\\0' x >{DATABASE}", "file is not a database"),
    (f"head -c 3000 /dev/zero | dd of={DATABASE} bs=1 seek=100 conv=notrunc", "database disk image is malformed"),
]


@pytest.mark.parametrize(("damage", "cause"), DAMAGES)
def test_damaged_database_is_named_with_cause_and_cure_and_a_new_one_works(
    hub_machine: HubMachine, damage: str, cause: str
) -> None:
    hub_machine.shell(f"systemctl stop jupyterhub; {damage}")
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert done.code == 5, done
    why = trouble(hub_machine)["service:jupyterhub.service"]["why"]
    assert f"its database {DATABASE} cannot be used: {cause}. Restore it from a back-up, or move it away" in why, why
    assert "sqlalche" not in hub_machine.hubd("status", check=False).out
    hub_machine.run(("mv", DATABASE, f"{DATABASE}.old"))
    heal(hub_machine)
    assert hub_machine.sign_in("ada").get("home").status_code == 200


def test_proxy_that_cannot_start_is_told_with_its_reason(hub_machine: HubMachine) -> None:
    # The port of its API, on the loopback, is somebody else's.
    hub_machine.run(("systemctl", "stop", "hubd", "jupyterhub-proxy-api.socket", "jupyterhub-proxy"))
    with listening(hub_machine, 8099) as pid:
        hub_machine.run(("systemctl", "start", "hubd"))
        done = hub_machine.hubd("apply", "--yes", check=False)
        assert done.code == 5, done
        told = trouble(hub_machine)["port:127.0.0.1:8099"]
        assert f"python3 (process {pid})" in told["why"], told
        assert "proxy.api_port" in told["fix"], told


# ---------------------------------------------------------------- the record


@pytest.mark.parametrize("damage", ["echo '{\"version\": 1, \"own' >", "head -c 3000 /dev/urandom >", "truncate -s 0", "rm"])
def test_record_that_is_damaged_or_gone_loses_nothing(hub_machine: HubMachine, damage: str) -> None:
    before = owned(hub_machine)
    made = hub_machine.shell(WATCHED).out
    hub_machine.shell(f"{damage} {RECORD}")
    done = hub_machine.hubd("apply", "--yes")
    assert done.code == 0, done
    shown = hub_machine.hubd("status", check=False)
    assert (("record.json is damaged" in shown.out) == (damage != "rm")), shown
    assert "Traceback" not in shown.err
    assert hub_machine.shell(WATCHED).out == made
    heal(hub_machine)
    assert owned(hub_machine) == before


# ---------------------------------------------------------------- a folder lies where a file should be


@pytest.fixture
def folder_in_the_place_of_a_file(hub_machine: HubMachine) -> Iterator[str]:
    place = "/opt/hub/state/servers.json"
    hub_machine.shell(f"rm {place} && mkdir {place}")
    yield place
    hub_machine.run(("mv", place, f"{place}.old"))


def test_folder_in_the_place_of_a_file_is_trouble_in_the_plan_and_in_the_pass(
    hub_machine: HubMachine, folder_in_the_place_of_a_file: str
) -> None:
    place = folder_in_the_place_of_a_file
    cure = f"Move it out of the way: mv {place} {place}.old"
    planned = hub_machine.hubd("plan")
    assert f"  ✗ {place} should be a file\n    because it is a folder\n    {cure}\n" in planned.out, planned
    assert "\n1 thing needs attention, " in planned.out, planned
    assert hub_machine.hubd("plan", "--detailed-exitcode", check=False).code == 1
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert (done.code, cure in done.err) == (5, True), done
    assert trouble(hub_machine)[f"file:{place}"]["fix"] == cure


# ---------------------------------------------------------------- somebody cleans /run up


@pytest.mark.parametrize("gone", ["/run/hubd", "/run/hubd/hubd.sock", "/run/hubd/spawn.sock"])
def test_sockets_that_are_deleted_come_back_without_a_restart(hub_machine: HubMachine, gone: str) -> None:
    daemon = hub_machine.main_pid("daemon")
    sockets = [hub_machine.path(f"/run/hubd/{name}.sock") for name in ("hubd", "spawn")]
    hub_machine.run(("rm", "-rf", gone))
    hub_machine.wait_until(lambda: all(path.exists() for path in sockets), "both sockets", timeout=60)
    assert hub_machine.status()["daemon"]["pid"] == daemon
    assert hub_machine.run(("stat", "--format=%a %U %G", *(f"/run/hubd/{name}.sock" for name in ("hubd", "spawn")))).out == (
        "660 root hubd-admins\n660 root hubd-hub\n"
    )
    ada = hub_machine.sign_in("ada")
    server = ada.start_server()
    assert server.run("print(6 * 7)", KERNEL) == "42\n"
    ada.stop_server()


# ---------------------------------------------------------------- two at once


def test_passes_asked_for_at_the_same_time_are_made_one_after_the_other(hub_machine: HubMachine) -> None:
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(hub_machine.hubd, "apply", "--yes", check=False) for _ in range(4)]
        hub_machine.hubd("config", "add-item", "people.users", "dora")
        assert [each.result().code for each in running] == [0, 0, 0, 0]
    heal(hub_machine)
    hub_machine.run(("id", "dora"))
    hub_machine.hubd("config", "remove-item", "people.users", "dora")


def hear(process: subprocess.Popen[str], words: str) -> None:
    """Read what it prints until it says that."""
    assert process.stdout
    while words not in (line := process.stdout.readline()):
        assert line, f"it ended without a word of: {words}"


@contextmanager
def lock_held(machine: HubMachine) -> Iterator[None]:
    holds = machine.popen(("python3", "-c", HOLD_LOCK))
    assert holds.stdout and holds.stdout.readline().strip() == "held"
    try:
        yield
    finally:
        machine.shell("pkill -f [o]pt/hub/state/lock")
        holds.wait(20)


def test_without_the_daemon_a_second_pass_waits_or_leaves(hub_machine: HubMachine) -> None:
    hub_machine.run(("systemctl", "stop", "hubd"))
    with lock_held(hub_machine):
        left = hub_machine.hubd("apply", "--yes", "--no-lock-wait", check=False)
        assert (left.code, "another pass is under way" in left.err) == (6, True), left
        waits = hub_machine.popen(("hubd", "apply", "--yes"))
        hear(waits, "waiting for another pass to end")
        assert waits.poll() is None
    assert waits.wait(60) == 0
    hub_machine.run(("systemctl", "start", "hubd"))


def test_while_the_daemon_makes_a_pass_a_second_one_waits_or_leaves(hub_machine: HubMachine) -> None:
    with lock_held(hub_machine):
        hub_machine.run(("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "hubd"))
        hub_machine.wait_until(lambda: bool(hub_machine.status()["daemon"]["pass_since"]), "the daemon to begin a pass")
        left = hub_machine.hubd("apply", "--yes", "--no-lock-wait", check=False)
        assert (left.code, "another pass is under way" in left.err) == (6, True), left
        waits = hub_machine.popen(("hubd", "apply", "--yes"))
        time.sleep(1.5)
        assert waits.poll() is None
        assert hub_machine.hub.healthy()
    assert waits.wait(60) == 0


# ---------------------------------------------------------------- the clock


DIGEST = """
from pathlib import Path
from hubd.resources.environment import Environment
from hubd.resources.generation import Generations
from hubd.tools.notebook import first_notebook
place = Generations(folder=Path("/opt/hub/envs/later"), link=Path("/opt/hub/envs/later/current"))
cell = first_notebook("python")
print(Environment(environment="later", generations=place, manager="uv", packages=("ipykernel",), notebook=cell).digest)
"""


def test_marks_from_the_future_stop_nothing(hub_machine: HubMachine) -> None:
    """What a clock that was set back leaves behind. (The clock of a test machine is this host's, and stays as it is.)"""
    good = hub_machine.read("/opt/hub/config.yaml")
    later = time.time() + 86400
    digest = hub_machine.run(("/opt/hub/hub/bin/python", "-c", DIGEST)).out.strip()
    report = {"state": "failed", "job": "env-later", "digest": digest, "tries": 9, "what": "no", "why": "no", "ended": later}
    order = {"digest": digest, "tries": 8, "at": later, "limits": {"memory": None, "cpu": None, "time": 7200}}
    hub_machine.shell("mkdir -p /opt/hub/envs/later /opt/hub/state/reports/env-later")
    hub_machine.write("/opt/hub/state/jobs/env-later.json", json.dumps({**order, "prefix": "/opt/hub/envs/later"}))
    hub_machine.write("/opt/hub/state/reports/env-later/report.json", json.dumps(report))
    hub_machine.run(("chown", "-R", "hubd-build:", "/opt/hub/state/reports/env-later"))
    hub_machine.run(("systemctl", "stop", "hubd"))
    record = json.loads(hub_machine.read(RECORD))
    record["last"] |= {"started": later, "ended": later}
    hub_machine.write(RECORD, json.dumps(record), mode=0o600)
    hub_machine.shell("find /opt/hub/state /opt/hub/kernels /opt/hub/config.yaml -exec touch -h -d '+1 day' {} +")
    shown = hub_machine.hubd("status")
    assert "the clock was set back" in shown.out, shown
    added = "environments:\n  later:\n    packages: [ipykernel]\n    manager: uv\n"
    hub_machine.write("/opt/hub/config.yaml", good.replace("environments:\n", added))
    hub_machine.run(("systemctl", "start", "hubd"))
    kernel = hub_machine.path("/opt/hub/kernels/everyone/kernels/later/kernel.json")
    hub_machine.wait_until(kernel.exists, "the kernel", timeout=90)
    heal(hub_machine)
    hub_machine.write("/opt/hub/config.yaml", good)


# ---------------------------------------------------------------- the daemon ends in mid-pass


def much_to_do(machine: HubMachine, turn: int) -> str:
    """Begin a pass with steps of all kinds, the longest a restart of the hub."""
    name = f"mid{turn}"
    machine.write(DROP_IN, f"# turn {turn}\n")
    machine.hubd("config", "add-item", "people.users", name)
    # The daemon itself leaves a changed file alone for a moment; whoever asks is served at once.
    machine.run(("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "hubd"))
    return name


def converged(machine: HubMachine, name: str) -> None:
    heal(machine)
    assert machine.run(("id", "-nG", name)).out.split() == [name, "hubd-users"]
    assert machine.run(("find", "/opt/hub/state", "/etc/systemd/system", "/home", "-name", "*.hubd-new")).out == ""
    person = machine.sign_in(name)
    assert person.get("home").status_code == 200


@pytest.mark.parametrize("after", [0.1, 0.6, 1.5, 3.0])
def test_daemon_killed_in_mid_pass_begins_anew_and_ends_right(hub_machine: HubMachine, after: float) -> None:
    name = much_to_do(hub_machine, int(after * 10))
    time.sleep(after)
    hub_machine.run(("systemctl", "kill", "--signal=KILL", "hubd"))
    hub_machine.wait_until(lambda: "daemon" in hub_machine.hubd("status", "--json", check=False).out, "the next daemon")
    converged(hub_machine, name)


def test_pass_without_the_daemon_that_is_killed_is_told_by_status(hub_machine: HubMachine) -> None:
    hub_machine.run(("systemctl", "stop", "hubd"))
    hub_machine.write(DROP_IN, "# a restart of the hub\n")
    going = hub_machine.popen(("hubd", "apply", "--yes"))
    hear(going, "restart jupyterhub.service")
    status = hub_machine.hubd("status")
    assert "A pass is under way: asked by the command line\n" in status.out, status
    hub_machine.shell("pkill -KILL -f '[h]ubd apply --yes'")
    going.wait(20)
    assert_no_end(hub_machine)
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.hubd("status").out.startswith("All is right.")
    hub_machine.run(("systemctl", "start", "hubd"))


def test_daemon_stopped_in_mid_pass_leaves_what_the_next_one_mends(hub_machine: HubMachine) -> None:
    name = much_to_do(hub_machine, 99)
    accounts = hub_machine.path("/etc/passwd")
    hub_machine.wait_until(lambda: f"\n{name}:" in accounts.read_text(), "the pass to be under way")
    began = time.monotonic()
    hub_machine.run(("systemctl", "stop", "hubd"))
    assert time.monotonic() - began < 30
    assert hub_machine.show("daemon", "Result") == "success"
    assert "the last pass was stopped before its end" in hub_machine.hubd("status", check=False).out
    hub_machine.run(("systemctl", "start", "hubd"))
    converged(hub_machine, name)


def test_people_work_on_through_all_of_it(hub_machine: HubMachine) -> None:
    kernel = hub_machine.sign_in("ada").start_server().start_kernel(KERNEL)
    kernel.run("kept = 41")
    hub_machine.run(("systemctl", "kill", "--signal=KILL", "hubd"))
    hub_machine.write(DROP_IN, "raise SystemExit('no')\n")
    hub_machine.hubd("apply", "--yes", check=False)
    assert kernel.run("print(kept + 1)") == "42\n"
    hub_machine.run(("rm", DROP_IN))
    heal(hub_machine)
    kernel.stop()
