"""Unix sockets that speak one JSON object a line, and who is at the other end. Knows no purpose."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host.files import ids, owner_name

LONGEST = 1 << 20
PATIENCE = 30.0

Message = Mapping[str, Any]
Handler = Callable[[Message, "Peer"], Iterator[Message]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel tells it."""

    pid: int
    uid: int

    @property
    def name(self) -> str:
        return owner_name(self.uid)


class Server:
    """Listens at `path`; each connection carries one request and any number of answers, in a thread of its own."""

    def __init__(self, path: Path, handler: Handler, *, mode: int, group: str) -> None:
        self.path, self._handler = path, handler
        self._closed = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.chmod(path.parent, 0o755)  # whatever the umask: each socket says for itself who may use it  # noqa: S103
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        self._socket.bind(str(temporary))
        os.chmod(temporary, mode)
        os.chown(temporary, 0 if os.geteuid() == 0 else -1, ids(None, group)[1] if group else -1)
        self._socket.listen(256)
        # Under its name only when it listens with its final mode: nobody is ever refused or let in by mistake.
        os.replace(temporary, path)

    def start(self) -> None:
        """Serve in the background until `close`."""
        threading.Thread(target=self._serve, name=self.path.name, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()
            except (OSError, RuntimeError):
                if self._closed:
                    return
                # Too many connections or threads right now: those that wait are served when others have ended.
                time.sleep(0.1)

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            peer = _peer(connection)
            with connection.makefile("rb") as lines:
                request = _parsed(lines.readline(LONGEST + 1))
            if request is None:
                _send(connection, {"ok": False, "error": "The request is not one line with a JSON object."})
                return
            for message in self._handler(request, peer):
                _send(connection, message)


def ask(path: Path, request: Message, *, timeout: float | None = None) -> Iterator[Message]:
    """Send one request and yield each answer as it comes. Raises OSError when nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        _send(connection, request)
        with connection.makefile("rb") as lines:
            for line in lines:
                message = _parsed(line)
                if message is None:
                    raise HubdError("the daemon's answer cannot be read", retry=True)
                yield message


def _send(connection: socket.socket, message: Message) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and len(line) <= LONGEST else None


def _peer(connection: socket.socket) -> Peer:
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)
