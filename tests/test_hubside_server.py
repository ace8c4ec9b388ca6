"""The hub's web server: a stop that loses nothing, and the listening socket that outlives it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from hubd.hubside import handover
from hubd.hubside.server import SOCKET_NAME, GracefulServer
from hubd.parts import hub


class Slow(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(float(self.get_query_argument("s", "0")))
        self.finish("answered")


def served() -> tuple[GracefulServer, int]:
    server = GracefulServer(Application([("/", Slow)]))
    server.listen(0, "127.0.0.1")
    return server, server._listening[0].getsockname()[1]


async def ask(port: int, seconds: float = 0, *, keep: bool = False) -> tuple[bytes, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /?s={seconds} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(len(b"answered"))
    if not keep:
        writer.close()
    return head + body, (reader, writer)


@pytest.fixture(autouse=True)
def _no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)


def test_jupyterhub_gets_this_server() -> None:
    before = HTTPServer.configured_class()
    HTTPServer.configure(GracefulServer)
    try:
        assert isinstance(HTTPServer(Application([])), GracefulServer)
    finally:
        HTTPServer.configure(before)


def test_what_has_begun_is_answered_and_nothing_new_is_taken() -> None:
    async def story() -> None:
        server, port = served()
        begun = asyncio.create_task(ask(port, 0.3))
        await asyncio.sleep(0.1)
        assert server.in_flight == 1
        left = await server.drain(limit=3)
        assert left == 0
        assert (await begun)[0].endswith(b"answered")
        with pytest.raises(OSError):
            await ask(port)

    asyncio.run(story())


def test_connections_that_wait_in_the_queue_are_answered() -> None:
    async def story() -> None:
        server, port = served()
        # Connected and sent in one go, without a turn of the event loop in which the server could take them.
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for one in waiting:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.drain(limit=3)
        for one in waiting:
            assert await asyncio.to_thread(one.recv, 1000)
            one.close()

    asyncio.run(story())


def test_the_wait_is_bounded_and_says_what_is_left() -> None:
    async def story() -> None:
        server, port = served()
        endless = asyncio.create_task(ask(port, 60))
        await asyncio.sleep(0.05)
        assert await server.drain(limit=0.1) == 1
        endless.cancel()

    asyncio.run(story())


def test_an_idle_connection_is_not_waited_for_and_its_next_answer_is_its_last() -> None:
    async def story() -> None:
        server, port = served()
        head, (reader, writer) = await ask(port, keep=True)
        assert b"connection: close" not in head.lower()
        loop = asyncio.get_running_loop()
        start = loop.time()
        assert await server.drain(limit=3) == 0
        assert loop.time() - start < 1
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"connection: close" in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()

    asyncio.run(story())


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Hands over a copy of a descriptor, as systemd does."""

    def given(descriptor: int, name: str) -> None:
        monkeypatch.setattr(handover, "FIRST_DESCRIPTOR", os.dup(descriptor))
        for variable, value in {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}.items():
            monkeypatch.setenv(variable, value)

    return given


def test_a_connection_made_while_the_hub_is_away_is_answered_by_the_next_one(hand_over: Callable[[int, str], None]) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:  # by systemd
            port = held.getsockname()[1]
            hand_over(held.fileno(), SOCKET_NAME)
            old = GracefulServer(Application([("/", Slow)]))
            old.listen(port, "127.0.0.1")
            assert (await asyncio.wait_for(ask(port), 2))[0].endswith(b"answered")
            await old.drain(limit=1)
            waiting = asyncio.create_task(ask(port))
            await asyncio.sleep(0.05)
            hand_over(held.fileno(), SOCKET_NAME)
            new = GracefulServer(Application([("/", Slow)]))
            new.listen(port, "127.0.0.1")
            assert (await asyncio.wait_for(waiting, 2))[0].endswith(b"answered")
            new.stop()

    asyncio.run(story())


def test_a_socket_of_another_port_is_let_go(hand_over: Callable[[int, str], None]) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            old = held.getsockname()[1]
            hand_over(held.fileno(), SOCKET_NAME)
        server, port = served()
        assert (await ask(port))[0].endswith(b"answered")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(ask(old), 2)
        server.stop()

    asyncio.run(story())


def test_the_socket_has_the_name_under_which_the_hub_looks_for_it() -> None:
    assert hub.DESCRIPTOR == SOCKET_NAME


def test_what_was_meant_for_another_process_or_name_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, hand_over: Callable[[int, str], None]
) -> None:
    hand_over(0, "other")
    assert handover.take("hub") == []
    hand_over(0, "hub")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert handover.take("hub") == []


def test_without_a_supervisor_nothing_is_sent() -> None:
    handover.notify("READY=1")
