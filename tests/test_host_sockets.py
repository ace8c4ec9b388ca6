"""The daemon's sockets: one request, any number of answers, and who is asking."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.host.sockets import LONGEST, Message, Peer, Server, ask

pytestmark = [pytest.mark.real_sockets, pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")]


class Echo:
    """Answers twice and remembers who asked."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def __call__(self, request: Message, peer: Peer) -> Iterator[Message]:
        self.peers.append(peer)
        if "fail" in request:
            raise RuntimeError("a bug")
        yield {"one": request}
        yield {"two": 2}


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def server(tmp_path: Path, echo: Echo) -> Iterator[Server]:
    server = Server(tmp_path / "run/s", echo, mode=0o600, group="")
    server.start()
    yield server
    server.close()


def raw(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return b"cut off"
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_request_and_its_answers(server: Server, echo: Echo, me: str) -> None:
    assert list(ask(server.path, {"do": "x"}, timeout=5)) == [{"one": {"do": "x"}}, {"two": 2}]
    (peer,) = echo.peers
    assert (peer.pid, peer.uid, peer.name) == (os.getpid(), os.geteuid(), me)


def test_many_at_once(server: Server) -> None:
    found: list[int] = []

    def one(number: int) -> None:
        (first, _) = ask(server.path, {"number": number}, timeout=5)
        found.append(first["one"]["number"])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(found) == list(range(20))


@pytest.mark.parametrize("data", [b"garbage\n", b"[1]\n", b"7\n", b"\xff\xfe\n", b"\n", b"", b"{", b'{"a": ' * 5000 + b"\n"])
def test_garbage_is_answered_and_hurts_nobody(server: Server, echo: Echo, data: bytes) -> None:
    assert b"not one line with a JSON object" in raw(server.path, data)
    assert echo.peers == []
    assert len(list(ask(server.path, {}, timeout=5))) == 2


@pytest.mark.parametrize(
    "data", [b'{"a": "' + b"x" * (2 * LONGEST) + b'"}\n', b'{"a": 1}' + b" " * (2 * LONGEST) + b"\n"], ids="xs"
)
def test_a_request_without_end_is_cut_off(server: Server, echo: Echo, data: bytes) -> None:
    answer = raw(server.path, data)
    assert b'"two"' not in answer
    assert echo.peers == []


def test_a_bug_in_a_handler_ends_one_connection(server: Server) -> None:
    assert list(ask(server.path, {"fail": 1}, timeout=5)) == []
    assert len(list(ask(server.path, {}, timeout=5))) == 2


def test_one_who_leaves_early_hurts_nobody(server: Server) -> None:
    answers = ask(server.path, {}, timeout=5)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(list(ask(server.path, {}, timeout=5))) == 2


def test_the_socket_appears_with_its_final_mode(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert os.listdir(server.path.parent) == ["s"]


def test_a_socket_left_by_a_killed_daemon_is_replaced(server: Server, echo: Echo) -> None:
    successor = Server(server.path, echo, mode=0o600, group="")
    successor.start()
    assert len(list(ask(server.path, {}, timeout=5))) == 2
    successor.close()


def test_nobody_listens(tmp_path: Path, server: Server) -> None:
    with pytest.raises(OSError):
        list(ask(tmp_path / "none", {}))
    server.close()
    with pytest.raises(OSError):
        list(ask(server.path, {}, timeout=5))
