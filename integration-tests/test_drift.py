"""What the hub and its proxy stand on is taken from under them while they run: one pass heals it, and people work on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub import KERNEL, HubMachine
from hubclient import Kernel

PORTS = {"jupyterhub-proxy.socket": 80, "jupyterhub-proxy-api.socket": 8099}


@pytest.fixture
def kernel(hub_machine: HubMachine) -> Iterator[Kernel]:
    """A running kernel of ada's, with something in its memory."""
    started = hub_machine.sign_in("ada").start_server().start_kernel(KERNEL)
    started.run("kept = 41")
    yield started
    started.connect()
    started.stop()


def heal(machine: HubMachine, kernel: Kernel) -> None:
    """One pass puts all of it right, and the kernel is still the same, over a websocket made now."""
    done = machine.hubd("apply", "--yes")
    assert done.code == 0, done
    assert machine.status()["state"] == "right", machine.status()
    assert machine.changes() == []
    assert machine.hub.healthy()
    assert machine.sign_in("ada").get("home").status_code == 200
    kernel.connect()
    assert kernel.run("print(kept + 1)") == "42\n"


def held_by_systemd(machine: HubMachine, port: int) -> bool:
    return '("systemd",pid=1,' in machine.run(("ss", "-Hltnp", f"sport = :{port}")).out


@pytest.mark.parametrize("unit", PORTS)
def test_port_whose_socket_unit_was_removed_is_held_again(hub_machine: HubMachine, kernel: Kernel, unit: str) -> None:
    hub_machine.shell(f"rm /etc/systemd/system/{unit} && systemctl daemon-reload")
    assert not held_by_systemd(hub_machine, PORTS[unit]), "systemd lets go of what it has no file for"
    heal(hub_machine, kernel)
    assert held_by_systemd(hub_machine, PORTS[unit])
