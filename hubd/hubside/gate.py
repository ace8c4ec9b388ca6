"""Starts Traefik behind a shut gate and opens it when the routes are there: `python -m hubd.hubside.gate PORT -- traefik …`.

Traefik takes connections as soon as it has its socket and answers 404 until it has read its routes, and a connection
that comes in between the old process and the new one waits to be answered so. Therefore the kernel is asked to ignore new
connections for that moment: a client's machine tries again by itself a second later. The socket is systemd's and outlives
this process; where none is handed over there is no gate, and the program is simply run.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from types import FrameType

from hubd.hubside import handover

READY_PATH = "/hubd-ready"

# The name of the socket for the proxy's API, which is also that of Traefik's entry point for it.
UNGATED = "auth_api"

# Where the routes do not come the gate is opened all the same: a hub that answers 404 tells more than one that is mute.
LONGEST_WAIT = 15.0

# Time for Traefik to take the connections that wait, before it is told to stop.
SETTLE = 0.1

# From Linux's in6.h and in.h; Python does not name them.
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
ANY_TTL = 0

# Packets set out with 64 or 128, and with 255 from a few machines on the same wire: those alone find the gate open.
# (A packet filter on the socket would stop them too, but not every kernel lets an unprivileged program set one.)
UNREACHED_TTL = 255


def shut(listening: list[socket.socket]) -> None:
    """Ignore new connections, as if the packet had been lost; those that exist go on."""
    _demand(listening, UNREACHED_TTL)


def unlock(listening: list[socket.socket]) -> None:
    """Take connections again."""
    _demand(listening, ANY_TTL)


def _demand(listening: list[socket.socket], ttl: int) -> None:
    for one in listening:
        one.setsockopt(socket.IPPROTO_IP, IP_MINTTL, ttl)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl)


def is_ready(port: int) -> bool:
    """Whether the proxy has read its routes: one of them, on the loopback, answers then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", READY_PATH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start(argv: list[str], count: int) -> int:
    """Run a program that finds `count` sockets from descriptor 3 on; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        # The names and number are there already; only whom they are for changes. Where systemd listens for messages
        # is the gate's business alone.
        environment = {**os.environ, "LISTEN_PID": str(os.getpid())}
        environment.pop("NOTIFY_SOCKET", None)
        os.execve(argv[0], argv, environment if count else dict(os.environ))  # noqa: S606  # no shell is wanted
    except OSError as error:
        print(f"{argv[0]} cannot be run: {error}", file=sys.stderr)
    os._exit(127)


def run(argv: list[str], *, port: int, handed: Mapping[int, str]) -> int:
    """Run the proxy until it ends; returns its exit code. The gate is shut before a SIGTERM reaches the proxy, and left shut.

    handed: see `handed_over`. The API's socket has no gate: this program itself asks there whether the routes are read.
    """
    listening = [socket.socket(fileno=descriptor) for descriptor, name in handed.items() if name != UNGATED]
    shut(listening)
    child = start(argv, len(handed))

    def stop(number: int, frame: FrameType | None) -> None:
        shut(listening)
        handover.notify("STOPPING=1")
        time.sleep(SETTLE)
        os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    end = time.monotonic() + LONGEST_WAIT
    while not is_ready(port) and time.monotonic() < end and not _ended(child):
        time.sleep(0.02)
    unlock(listening)
    if not _ended(child):
        handover.notify("READY=1")
    _, status = os.waitpid(child, 0)
    shut(listening)
    return os.waitstatus_to_exitcode(status)


def _ended(child: int) -> bool:
    # WNOWAIT leaves the exit status to be collected by the one place that does.
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def handed_over() -> dict[int, str]:
    """The descriptors of the listening sockets that systemd gave to this process, with their names."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return dict(enumerate(names[: int(os.environ.get("LISTEN_FDS", "0"))], handover.FIRST_DESCRIPTOR))


def main(words: list[str] | None = None) -> int:
    """The command. Exit code: the proxy's, 128 and the signal's number where a signal ended it."""
    parser = argparse.ArgumentParser(prog="python -m hubd.hubside.gate", description="Runs the proxy behind a gate.")
    parser.add_argument("port", type=int, help="port of the proxy's API on the loopback")
    parser.add_argument("program", nargs="+", help="absolute path and arguments, after `--`")
    arguments = parser.parse_args(words)
    code = run(arguments.program, port=arguments.port, handed=handed_over())
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
