"""Hub, proxy and daemon are restarted and killed under people's feet: kernels live on, and nobody is turned away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub import KERNEL, HubMachine
from hubclient import Kernel, Server
from watcher import Answer, Watcher

LONGEST_OUTAGE = 4.0


@pytest.fixture(scope="module")
def server(hub_machine: HubMachine) -> Server:
    return hub_machine.sign_in("ada").start_server()


@pytest.fixture(scope="module")
def kernel(server: Server) -> Kernel:
    started = server.start_kernel(KERNEL)
    started.run("import os; kept = 41; born = os.getpid()")
    return started


@dataclass(frozen=True, slots=True)
class Watched:
    """sign_in: what strangers get from the sign-in page; server: what ada gets from her running server."""

    sign_in: Watcher
    server: Watcher

    @property
    def bad(self) -> list[Answer]:
        return self.sign_in.bad("sign-in") + self.server.bad("server")


Watch = Callable[[], AbstractContextManager[Watched]]


@pytest.fixture
def watched(hub_machine: HubMachine, server: Server, artefacts: Path) -> Watch:
    """Asks for the sign-in page and for the running server all the time while a block runs; what came is kept."""

    @contextmanager
    def watch() -> Iterator[Watched]:
        strangers = Watcher({"sign-in": f"{hub_machine.hub.url}/hub/login"})
        ada = Watcher({"server": f"{server.url}api/status"}, server.person.session)
        with strangers, ada:
            yield Watched(strangers, ada)
        (artefacts / "watched.json").write_text(json.dumps(strangers.summary() | ada.summary(), indent=1))

    return watch


def lives_on(kernel: Kernel) -> bool:
    """Whether it is the same process with the same memory, over a websocket made now."""
    kernel.connect()
    return kernel.run("print(kept + 1, born == os.getpid())") == "42 True\n"


@pytest.mark.parametrize("unit", ["hub", "proxy", "daemon"])
def test_restart_loses_no_request_and_no_kernel(
    hub_machine: HubMachine, kernel: Kernel, watched: Watch, unit: str
) -> None:
    before = hub_machine.main_pid(unit)
    with watched() as seen:
        hub_machine.run(("systemctl", "restart", hub_machine.unit(unit)))
        hub_machine.wait_right()
    after = hub_machine.main_pid(unit)
    assert after not in (0, before)
    assert seen.bad == []
    assert len(seen.sign_in.answers["sign-in"]) >= 3
    assert lives_on(kernel)


@pytest.mark.parametrize("unit", ["hub", "daemon"])
def test_websocket_stays_open_while_hub_or_daemon_restarts(hub_machine: HubMachine, kernel: Kernel, unit: str) -> None:
    kernel.connect()
    hub_machine.run(("systemctl", "restart", hub_machine.unit(unit)))
    assert kernel.run("kept + 1") == "42"
    hub_machine.wait_right()
    assert kernel.run("kept + 2") == "43"


# Tries to get a port for as long as somebody reads what it prints.
GRAB = """
import socket, sys, time
print("ready", flush=True)
while True:
    with socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            mine.bind(("127.0.0.1", int(sys.argv[1])))
            mine.listen()
            print("got it", flush=True)
        except OSError:
            time.sleep(0.0005)
"""


@pytest.mark.parametrize(("unit", "port"), [("proxy", "8099"), ("hub", "15001")])
def test_no_person_can_take_the_ports_of_what_restarts(hub_machine: HubMachine, unit: str, port: str) -> None:
    grabber = hub_machine.popen(("python3", "-c", GRAB, port), user="ada")
    assert grabber.stdout and grabber.stdout.readline() == "ready\n"
    for _ in range(3):
        hub_machine.run(("systemctl", "restart", hub_machine.unit(unit)))
    # The program in the machine is a child of what was started here.
    os.killpg(grabber.pid, signal.SIGKILL)
    assert grabber.stdout.read() == ""
    hub_machine.hubd("apply", "--yes")


def test_sign_in_sent_while_the_hub_restarts_is_answered(hub_machine: HubMachine) -> None:
    restart = hub_machine.popen(("systemctl", "restart", hub_machine.unit("hub")))
    assert hub_machine.sign_in("ada").get("home").status_code == 200
    assert restart.wait(60) == 0
    hub_machine.wait_right()


@pytest.mark.parametrize("unit", ["hub", "proxy", "daemon"])
def test_killed_service_comes_back_by_itself(hub_machine: HubMachine, kernel: Kernel, watched: Watch, unit: str) -> None:
    before = hub_machine.main_pid(unit)
    with watched() as seen:
        time.sleep(0.1)
        hub_machine.run(("kill", "-KILL", str(before)))
        hub_machine.wait_until(lambda: hub_machine.main_pid(unit) not in (0, before), f"a new {unit}")
        hub_machine.wait_right()
    if unit != "proxy":
        assert seen.server.bad("server") == [], "running servers do not notice"
    if unit == "daemon":
        assert seen.sign_in.bad("sign-in") == []
    # Nobody can close the door behind a process that is killed: what comes in the next moments may be lost.
    assert all(answer.at < LONGEST_OUTAGE for answer in seen.bad), seen.bad
    assert lives_on(kernel)


def test_server_stops_for_its_person_after_all_that(hub_machine: HubMachine, server: Server, kernel: Kernel) -> None:
    kernel.stop()
    server.person = hub_machine.sign_in("ada")
    server.person.get("home")
    server.person.stop_server()
    assert hub_machine.show("hubd-user-ada.service", "ActiveState") == "inactive"
