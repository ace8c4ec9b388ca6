"""What the hub and its proxy stand on is taken from under them while they run: one pass heals it, and people work on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from hub import KERNEL, HubMachine
from hubclient import Kernel

PORTS = {"jupyterhub-proxy.socket": 80, "jupyterhub-proxy-api.socket": 8099, "jupyterhub.socket": 15001}
STATE = "/opt/hub/state/hub"
SECRETS = " ".join(f"{STATE}/{name}" for name in ("cookie_secret", "proxy-api-password", "service-token"))

RULES = "/opt/hub/state/proxy/rules"
ROUTES = f"{RULES}/rules.toml"

# Tries to listen in the hub's place; prints why it cannot.
SQUAT = """
import errno, socket
with socket.socket() as mine:
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        mine.bind(("127.0.0.1", 15001))
        mine.listen()
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
# The units of a hub that listened by itself, as hubd made them once.
AS_BEFORE = """
cd /etc/systemd/system
sed -i '/^Sockets=/d; /^Requires=/d; s/ jupyterhub.socket//' jupyterhub.service
systemctl daemon-reload
systemctl disable --now jupyterhub.socket jupyterhub-port.service
rm jupyterhub.socket jupyterhub-port.service
systemctl daemon-reload
systemctl restart jupyterhub
"""


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


# ---------------------------------------------------------------- the hub's port


def test_nobody_can_serve_a_page_in_the_place_of_a_stopped_hub(hub_machine: HubMachine, kernel: Kernel) -> None:
    hub_machine.run(("systemctl", "stop", "hubd", "jupyterhub"))
    assert hub_machine.run(("python3", "-c", SQUAT), user="ada").out == "EADDRINUSE\n"
    with ThreadPoolExecutor(1) as pool:
        visit = pool.submit(requests.get, hub_machine.url(path="/hub/login"), timeout=60)
        # Who asks waits, and starts nothing: a stopped hub stays stopped, for as long as a backup takes.
        with pytest.raises(TimeoutError):
            visit.result(5)
        assert hub_machine.show("hub", "ActiveState") == "inactive"
        hub_machine.run(("systemctl", "start", "hubd"))
        assert visit.result(60).status_code == 200
    heal(hub_machine, kernel)


def test_port_of_a_hub_that_listened_by_itself_is_taken_over(hub_machine: HubMachine, kernel: Kernel) -> None:
    hub_machine.shell(AS_BEFORE)
    hub_machine.hub.wait_healthy()
    assert not held_by_systemd(hub_machine, 15001)
    heal(hub_machine, kernel)
    assert held_by_systemd(hub_machine, 15001)


def test_port_of_the_hub_moves_while_everybody_works(hub_machine: HubMachine, kernel: Kernel) -> None:
    proxy = hub_machine.main_pid("proxy")
    for words, port, old in ((("set", "hub.port", "15002"), 15002, 15001), (("unset", "hub.port"), 15001, 15002)):
        hub_machine.hubd("config", *words)
        heal(hub_machine, kernel)
        assert (held_by_systemd(hub_machine, port), held_by_systemd(hub_machine, old)) == (True, False)
    assert hub_machine.main_pid("proxy") == proxy


# ---------------------------------------------------------------- the hub's secrets


def test_secrets_that_were_removed_are_made_anew_and_the_hub_has_the_new_ones(hub_machine: HubMachine, kernel: Kernel) -> None:
    before = hub_machine.shell(f"cat {SECRETS}").out
    signed_in = hub_machine.sign_in("ada")
    hub_machine.shell(f"rm {SECRETS}")
    done = hub_machine.hubd("apply", "--yes")
    assert "refused" not in done.out + done.err
    assert done.out.count("jupyterhub.service with its new settings") == 1, done
    heal(hub_machine, kernel)
    assert not set(hub_machine.shell(f"cat {SECRETS}").out.split()) & set(before.split())
    ask = f"curl --silent --fail --user hubd:$(cat {STATE}/proxy-api-password) http://127.0.0.1:8099/api/overview"
    assert '"http"' in hub_machine.shell(ask).out
    old = before.split()[-1]
    assert hub_machine.hub.api(old, "GET", "users").status_code == 403, "the old token is good for nothing"
    assert "/hub/login" in signed_in.get("home").url, "who was signed in signs in again"


# ---------------------------------------------------------------- the routes


@pytest.mark.parametrize("how", [f"rm -rf {RULES}", f"mv {RULES} {RULES}.old", f"rm -rf {RULES}; mkdir {RULES}"])
def test_another_folder_of_the_routes_is_seen_by_the_proxy_and_filled_by_the_hub(
    hub_machine: HubMachine, kernel: Kernel, how: str
) -> None:
    hub_machine.shell(how)
    heal(hub_machine, kernel)
    assert "/user/ada/" in hub_machine.read(ROUTES)
    # What the hub writes there from now on reaches the proxy, too.
    bea = hub_machine.let_in("bea")
    assert bea.start_server().kernelspecs()
    bea.stop_server()


# In a sticky folder the kernel may refuse even root to open another's file for creation.
SPOILED = f"printf '[[[' | dd of={ROUTES} conv=nocreat status=none"


@pytest.mark.parametrize("how", [f"rm {ROUTES}", SPOILED, f"truncate -c -s 0 {ROUTES}", f"chmod 0 {ROUTES}"])
def test_routes_that_were_removed_or_spoiled_are_written_again_by_the_hub(
    hub_machine: HubMachine, kernel: Kernel, how: str
) -> None:
    look = f"cat {ROUTES} && stat -c '%a %U %G' {ROUTES} || true"
    before, hub = hub_machine.shell(look).out, hub_machine.main_pid("hub")
    assert before.endswith("\n640 hubd-hub hubd-proxy\n")
    hub_machine.shell(how)
    hub_machine.wait_until(lambda: hub_machine.shell(look).out == before, "the routes", timeout=60)
    heal(hub_machine, kernel)
    assert hub_machine.main_pid("hub") == hub
