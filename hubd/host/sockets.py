"""Unix sockets that speak one JSON object a line, and who is at the other end. Knows no purpose."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host.files import ids, owner_name

# A request is a few hundred bytes, with a person's environment a few kilobytes; the answer may be a plan for thousands.
LONGEST = 128 << 10
LONGEST_ANSWER = 64 << 20

# Seconds: until all of a request is there, and for one answer to be taken.
FIRST_LINE = 5.0
PATIENCE = 30.0

# How many are answered at a time, in all and of one account. Those beyond are sent away and not kept waiting: who says
# nothing, in however many connections, must be in nobody else's way.
MOST = 256
EACH = 64

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
    """Listens at `path`; each connection carries one request and any number of answers, in a thread of its own.

    each: how many connections of one account are answered at a time.
    """

    def __init__(self, path: Path, handler: Handler, *, mode: int, group: str, each: int = EACH) -> None:
        self.path, self._handler, self._each = path, handler, each
        self._closed = False
        self._busy: Counter[int] = Counter()
        self._guard = threading.Lock()
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
        self._place = _place(temporary)
        # Under its name only when it listens with its final mode: nobody is ever refused or let in by mistake.
        os.replace(temporary, path)

    @property
    def is_found(self) -> bool:
        """Whether its path still leads to it: root may have cleaned the folder up, or put something else there."""
        return _place(self.path) == self._place

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
                self._begin(connection)
            except (OSError, RuntimeError):
                if self._closed:
                    return
                # Too many connections or threads right now: those that wait are served when others have ended.
                time.sleep(0.1)

    def _begin(self, connection: socket.socket) -> None:
        peer = _peer(connection)
        with self._guard:
            room = self._busy[peer.uid] < self._each and self._busy.total() < MOST
            self._busy[peer.uid] += room
        if not room:
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                _send(connection, {"ok": False, "error": "hubd is asked too much at once. Try again in a moment.", "retry": True})
            return
        try:
            threading.Thread(target=self._answer, args=(connection, peer), daemon=True).start()
        except RuntimeError:
            self._end(peer)
            raise

    def _end(self, peer: Peer) -> None:
        with self._guard:
            self._busy[peer.uid] -= 1
            self._busy += Counter()  # forgets those at nought

    def _answer(self, connection: socket.socket, peer: Peer) -> None:
        try:
            self._exchange(connection, peer)
        finally:
            self._end(peer)

    def _exchange(self, connection: socket.socket, peer: Peer) -> None:
        with connection, contextlib.suppress(OSError):
            request = _parsed(_request(connection), LONGEST)
            connection.settimeout(PATIENCE)
            if request is None:
                _send(connection, {"ok": False, "error": "The request is not one line with a JSON object."})
                return
            for message in self._handler(request, peer):
                _send(connection, message)


def ask(path: Path, request: Message, *, first: float | None = None, timeout: float | None = None) -> Iterator[Message]:
    """Send one request and yield each answer as it comes.

    first: seconds until the first answer. timeout: seconds until each later one; None waits for ever.
    Raises OSError when nobody listens, TimeoutError or BlockingIOError when nobody answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout if first is None else first)
        connection.connect(str(path))
        _send(connection, request)
        with connection.makefile("rb") as lines:
            while line := lines.readline(LONGEST_ANSWER + 1):
                message = _parsed(line, LONGEST_ANSWER)
                if message is None:
                    raise HubdError("the daemon's answer cannot be read", retry=True)
                connection.settimeout(timeout)
                yield message


def _request(connection: socket.socket) -> bytes:
    """The first line, which must be there soon, however it comes. Raises TimeoutError."""
    end, line = time.monotonic() + FIRST_LINE, b""
    while b"\n" not in line and len(line) <= LONGEST:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no request came")
        connection.settimeout(left)
        chunk = connection.recv(65536)
        if not chunk:
            break
        line += chunk
    return line.partition(b"\n")[0]


def _send(connection: socket.socket, message: Message) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _parsed(line: bytes, longest: int) -> dict[str, Any] | None:
    if len(line) > longest:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _place(path: Path) -> tuple[int, int] | None:
    """Which thing lies at `path`; no other gets the same numbers as long as a bound socket is open."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _peer(connection: socket.socket) -> Peer:
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)
