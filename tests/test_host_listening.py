"""Whether systemd really holds the port that it shows: after a change of the address it may only say so."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hubd.host import host, ports
from hubd.host.systemd import _held

# Local address, state (0A listens) and inode of a row of /proc/net/tcp; 0050 is port 80, 1F90 is 8080.
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "   0: {}:{} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0 0 10 0\n"
ANY6 = "0" * 32


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "1/fd").mkdir(parents=True)
    (tmp_path / "net/tcp").write_text(HEAD + ROW.format("0100007F", "0050", "01", 7) + ROW.format("0100007F", "1F90", "0A", 9))
    (tmp_path / "net/tcp6").write_text(HEAD + ROW.format(ANY6, "0050", "0A", 8))
    for number, inode in enumerate((7, 8)):
        (tmp_path / f"1/fd/{number}").symlink_to(f"socket:[{inode}]")
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "held"),
    [
        ("[::]:80 (Stream)", True),
        ("127.0.0.1:8080 (Stream)", False),  # somebody else's
        ("[::]:81 (Stream)", False),  # nobody's
        ("/run/x (Stream)", True),  # not a port
        ("", True),
    ],
)
def test_what_systemd_shows_is_believed_when_it_holds_it(proc: Path, shown: str, held: bool) -> None:
    assert _held(shown, proc) == (shown if held else "")


def test_a_connection_is_not_a_listener(proc: Path) -> None:
    (proc / "net/tcp6").write_text(HEAD)
    assert _held("[::]:80 (Stream)", proc) == ""


def test_who_may_not_look_believes_it(proc: Path) -> None:
    for link in (proc / "1/fd").iterdir():
        link.unlink()
    (proc / "1/fd").rmdir()
    assert _held("[::]:80 (Stream)", proc) == "[::]:80 (Stream)"


def test_who_holds_a_port_is_seen_on_the_process_itself(proc: Path) -> None:
    (proc / "5/fd").mkdir(parents=True)
    (proc / "5/fd/3").symlink_to("socket:[9]")
    assert ports.holds(5, 8080, proc) is True
    assert ports.holds(1, 8080, proc) is False
    # A connection is not a listener, and a process that has ended holds nothing.
    (proc / "5/fd/4").symlink_to("socket:[7]")
    assert ports.holds(5, 80, proc) is False
    assert ports.holds(6, 8080, proc) is None


@pytest.mark.parametrize(
    ("address", "gets_it"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("::", True), ("::ffff:127.0.0.1", True), ("127.0.0.2", False)],
)
def test_who_gets_what_is_sent_to_this_machine(address: str, gets_it: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, 0), family=family, dualstack_ipv6=family == socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listening:
        found = host.Host.listeners(None, listening.getsockname()[1])  # type: ignore[arg-type]  # it needs nothing of a host
    assert found == (frozenset({os.getuid()}) if gets_it else frozenset())
