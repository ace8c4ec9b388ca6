"""A notebook is open while its environment changes: its kernel goes on as it is, and is the new one after a restart."""

from __future__ import annotations

import json

import pytest

from hub import KERNEL, HubMachine
from hubclient import Kernel, Server

PREFIX = "import sys; print(sys.prefix)"
FACT = "/opt/hub/state/facts/rollbacks.json"


@pytest.fixture(scope="module")
def server(hub_machine: HubMachine) -> Server:
    return hub_machine.sign_in("ada").start_server()


def prefix(number: int) -> str:
    return f"/opt/hub/envs/{KERNEL}/{number}\n"


def restarted(kernel: Kernel) -> Kernel:
    """The kernel after a click on `Restart Kernel`."""
    kernel.server.api("POST", f"kernels/{kernel.id}/restart")
    kernel.connect()
    return kernel


def test_a_running_kernel_survives_an_update_and_a_rollback(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    assert kernel.run(PREFIX) == prefix(1)
    kernel.run("kept = [1]")

    hub_machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "cowsay")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=600)
    assert done.code == 0, done
    assert kernel.run("kept.append(2); print(kept)") == "[1, 2]\n"
    assert kernel.run(PREFIX) == prefix(1)
    # What was not imported yet is that of the same generation, too.
    assert "ModuleNotFoundError" in kernel.run("import cowsay")
    assert kernel.run("import colorsys; print(colorsys.__file__ is not None)") == "True\n"
    assert server.run(PREFIX, KERNEL) == prefix(2), "a new kernel is of the new generation"

    updated = restarted(kernel)
    assert updated.run(PREFIX) == prefix(2)
    assert updated.run("import cowsay; print('kept' in globals())") == "False\n"
    updated.run("kept = [3]")

    roll_back(hub_machine, to=1)
    assert updated.run("kept.append(4); print(kept)") == "[3, 4]\n"
    assert updated.run(PREFIX) == prefix(2)
    assert server.run(PREFIX, KERNEL) == prefix(1)
    assert restarted(updated).run(PREFIX) == prefix(1)
    updated.stop()


def roll_back(machine: HubMachine, *, to: int) -> None:
    """Go back to an earlier generation, as long as nothing else is asked for."""
    asked = json.loads(machine.read(f"/opt/hub/envs/{KERNEL}/current/.hubd-generation.json"))["digest"]
    machine.write(FACT, json.dumps({KERNEL: {"generation": to, "instead_of": asked}}), mode=0o600)
    done = machine.hubd("apply", "--yes", "--wait")
    assert done.code == 0, done
    assert machine.changes() == []


def test_a_kernel_that_is_not_offered_any_more_is_restarted_as_it_was(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    before = kernel.run(PREFIX)
    hub_machine.hubd("config", "set", "people.groups.others", "{members: []}")
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.audience", "others")
    assert hub_machine.hubd("apply", "--yes", "--wait").code == 0
    assert server.kernelspecs() == {}
    assert restarted(kernel).run(PREFIX) == before
