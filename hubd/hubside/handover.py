"""What passes between systemd and the programs here: listening sockets that it hands over, and how far a start or stop is.

Outside systemd every call here does nothing.
"""

from __future__ import annotations

import os
import socket

FIRST_DESCRIPTOR = 3


def notify(*lines: str) -> None:
    """Send `lines` to the process that supervises us; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(lines).encode(), address)


def take(name: str) -> list[socket.socket]:
    """The sockets that were handed to this process under `name`; a second call finds none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    mine = [FIRST_DESCRIPTOR + place for place in range(count) if names[place : place + 1] == [name]]
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        del os.environ[variable]
    return [_adopt(descriptor) for descriptor in mine]


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted
