"""The lock that keeps unit tests off the machine holds."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MachineTouched, guard
from fakes import FakeHost

from hubd.host import files, local_host
from hubd.layout import Layout

pytestmark = pytest.mark.touches_machine

REACHES: list[Callable[[], object]] = [
    lambda: subprocess.run(["/bin/true"]),
    lambda: os.system("true"),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
    lambda: os.kill(1, 0),
    lambda: socket.create_connection(("127.0.0.1", 1)),
    lambda: socket.socket(socket.AF_UNIX).connect("/run/hubd/hubd.sock"),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: files.write_atomic(Path("/etc/hubd-test"), b""),
    lambda: files.link(Path("/usr/local/bin/hubd-test"), "x"),
    lambda: files.make_directory(Path("/opt/hub"), mode=0o755),
    lambda: local_host(Layout(), systemd=True).commands.run(("systemctl", "stop", "x")),
    lambda: local_host(Layout()).web.ask("GET", "http://127.0.0.1:80/"),
]


@pytest.mark.parametrize("reach", REACHES, ids=range(len(REACHES)))
def test_no_except_exception_can_hide_it(reach: Callable[[], object]) -> None:
    with pytest.raises(MachineTouched), contextlib.suppress(Exception):
        reach()
    assert len(guard.refused) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nor_a_thread() -> None:
    thread = threading.Thread(target=lambda: subprocess.run(["/bin/true"]))
    thread.start()
    thread.join()
    assert len(guard.refused) == 1


@pytest.mark.real_sockets
def test_a_marker_opens_this_machine_alone() -> None:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 1), timeout=1)
    assert guard.refused == []
    with pytest.raises(MachineTouched):
        socket.getaddrinfo("example.org", 80)
    with pytest.raises(MachineTouched):
        socket.socket().connect(("192.0.2.1", 80))


def test_the_fake_machine_needs_none_of_it(host: FakeHost) -> None:
    host.commands.run(("systemctl", "stop", "x"))
    assert guard.refused == []
