"""config.yaml changes under a running hub: the daemon sees it by itself, and only what must change does, without an outage."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hub import KERNEL, UNITS, HubMachine
from hubclient import Kernel, Server
from watcher import Watcher

SERVER = "hubd-user-ada.service"
GIGABYTE = 2**30


@pytest.fixture(scope="module")
def server(hub_machine: HubMachine) -> Server:
    return hub_machine.sign_in("ada").start_server()


@pytest.fixture(scope="module")
def kernel(server: Server) -> Kernel:
    started = server.start_kernel(KERNEL)
    started.run("kept = 41")
    return started


def processes(machine: HubMachine) -> dict[str, int]:
    return {unit: machine.main_pid(unit) for unit in (*UNITS, SERVER)}


def test_limit_reaches_running_servers_without_a_restart(
    hub_machine: HubMachine, server: Server, kernel: Kernel, artefacts: Path
) -> None:
    before = processes(hub_machine)
    strangers = Watcher({"sign-in": f"{hub_machine.hub.url}/hub/login"})
    ada = Watcher({"server": f"{server.url}api/status"}, server.person.session)
    with strangers, ada:
        began = time.monotonic()
        hub_machine.hubd("config", "set", "limits.memory", "1536M")
        hub_machine.wait_until(lambda: hub_machine.show(SERVER, "MemoryMax") == str(1536 * 2**20), "the new limit", timeout=60)
        took = time.monotonic() - began
        hub_machine.wait_right()
    (artefacts / "watched.json").write_text(json.dumps(strangers.summary() | ada.summary() | {"seconds": took}, indent=1))
    assert processes(hub_machine) == before
    assert strangers.bad("sign-in") + ada.bad("server") == []
    assert len(ada.answers["server"]) >= 10
    assert kernel.run("kept + 1") == "42"


def test_processor_limit_and_no_limit_reach_running_servers(hub_machine: HubMachine, kernel: Kernel) -> None:
    before = processes(hub_machine)
    hub_machine.hubd("config", "set", "limits.cpu", "1.5")
    hub_machine.wait_until(lambda: hub_machine.show(SERVER, "CPUQuotaPerSecUSec") == "1.500000s", "1.5 cores", timeout=60)
    hub_machine.hubd("config", "set", "limits.memory", "null")
    hub_machine.hubd("config", "set", "limits.cpu", "null")
    hub_machine.wait_until(lambda: hub_machine.show(SERVER, "MemoryMax") == "infinity", "no limit", timeout=60)
    hub_machine.wait_until(lambda: hub_machine.show(SERVER, "CPUQuotaPerSecUSec") == "infinity", "no limit", timeout=60)
    assert processes(hub_machine) == before
    hub_machine.wait_right()
    assert hub_machine.changes() == []


def test_next_server_starts_with_the_present_limit(hub_machine: HubMachine, server: Server) -> None:
    hub_machine.hubd("config", "set", "limits.memory", "2G")
    hub_machine.hubd("apply", "--yes")
    server.person.start_server("other")
    assert hub_machine.show("hubd-user-ada:other.service", "MemoryMax") == str(2 * GIGABYTE)
    assert "2147483648" in server.person.start_server("other").run("import os; print(os.environ['MEM_LIMIT'])", KERNEL)
    server.person.stop_server("other")


def test_edit_by_hand_is_seen_too(hub_machine: HubMachine) -> None:
    text = hub_machine.read("/opt/hub/config.yaml")
    assert "memory: 2G" in text
    # As editors do it: a new file under the old name.
    hub_machine.write("/opt/hub/.config.yaml.swp", text.replace("memory: 2G", "memory: 3G  # for the exam"), mode=0o640)
    hub_machine.shell("chgrp hubd-admins /opt/hub/.config.yaml.swp && mv /opt/hub/.config.yaml.swp /opt/hub/config.yaml")
    hub_machine.wait_until(lambda: hub_machine.show(SERVER, "MemoryMax") == str(3 * GIGABYTE), "3 GB", timeout=60)
    hub_machine.wait_right()
    hub_machine.hubd("config", "set", "limits.cpu", "2")
    assert "# for the exam" in hub_machine.read("/opt/hub/config.yaml"), "comments survive"


def test_plan_says_in_plain_words_what_would_change_and_apply_does_it(hub_machine: HubMachine) -> None:
    hub_machine.run(("systemctl", "stop", "hubd"))
    hub_machine.hubd("config", "set", "limits.memory", "1G")
    plan = hub_machine.hubd("plan", "--detailed-exitcode", check=False)
    assert plan.code == 4
    assert "change the limits of the running servers of ada" in plan.out
    assert hub_machine.show(SERVER, "MemoryMax") == str(3 * GIGABYTE), "a plan changes nothing"
    applied = hub_machine.hubd("apply", "--yes")
    assert applied.code == 0
    assert hub_machine.show(SERVER, "MemoryMax") == str(GIGABYTE)
    assert hub_machine.hubd("plan", "--detailed-exitcode").out.startswith("Nothing to do:")
    hub_machine.run(("systemctl", "start", "hubd"))
    hub_machine.wait_right()
