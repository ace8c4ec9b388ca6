"""The hub's web server: it listens on the socket that systemd holds, and a stop lets the requests in flight finish."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.netutil import bind_sockets

from hubd.hubside import handover

SOCKET_NAME = "hub"

# Connections wait here where systemd holds no socket for the hub; every person and every running server may have several.
BACKLOG = 1024


class _Watched(HTTPMessageDelegate):
    """Passes everything on, and knows whether a request has begun."""

    def __init__(self, inner: HTTPMessageDelegate) -> None:
        self._inner = inner
        self.begun = False

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Awaitable[None] | None:
        self.begun = True
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


class GracefulServer(HTTPServer):
    """A web server that can be stopped without losing a request.

    After `HTTPServer.configure(GracefulServer)` this is what JupyterHub gets when it makes its server.
    """

    def initialize(self, *words: Any, **named: Any) -> None:
        super().initialize(*words, **named)
        self._requests: dict[object, _Watched] = {}
        self._listening: list[socket.socket] = []

    def listen(self, port: int, address: str | None = None, **named: Any) -> None:  # type: ignore[override]  # passes all on
        """Listen on the socket that was handed over; else, or where its address is another, on a new one."""
        named.setdefault("backlog", BACKLOG)
        self._listening = _handed(address, port) or bind_sockets(port, address, **named)
        self.add_sockets(self._listening)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        # Called when a connection starts to wait for its next request: what it carried before has been answered.
        watched = _Watched(super().start_request(server_conn, request_conn))
        self._requests[server_conn] = watched
        return watched

    def on_close(self, server_conn: object) -> None:
        self._requests.pop(server_conn, None)
        super().on_close(server_conn)

    @property
    def in_flight(self) -> int:
        """How many requests have begun and are not answered yet."""
        return sum(watched.begun for watched in self._requests.values())

    async def drain(self, *, limit: float) -> int:
        """Take no new connection and wait until what has begun is answered.

        limit: seconds to wait at most. Returns how many requests were left unanswered.
        """
        self._accept_what_waits()
        self.stop()
        # Answers from now on end their connection, so that nobody sends another request down a closing one.
        self.conn_params.no_keep_alive = True
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        # A connection accepted last has not had the time to say what it wants: give all a moment.
        await asyncio.sleep(0.05)
        while self.in_flight and loop.time() < end:
            await asyncio.sleep(0.02)
        return self.in_flight

    def _accept_what_waits(self) -> None:
        # Closing a listening socket resets the connections in its queue. Where a supervisor holds the socket too,
        # they would simply wait for the next process; served now, they need not.
        for listening in self._listening:
            try:
                while True:
                    connection, address = listening.accept()
                    connection.setblocking(False)
                    self._handle_connection(connection, address)
            except OSError:
                continue


def _handed(address: str | None, port: int) -> list[socket.socket]:
    found = handover.take(SOCKET_NAME)
    right = [handed for handed in found if handed.getsockname()[:2] == (address, port)]
    for handed in found:
        if handed not in right:
            handed.close()
    return right
