"""The daemon's sockets: one request, any number of answers, and who is asking."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.host import sockets
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
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return b"cut off"


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


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def heard(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_who_says_nothing_is_soon_let_go(server: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "FIRST_LINE", 0.05)
    assert heard(connected(server.path)) == b""
    assert echo.peers == []


def test_who_says_it_a_letter_at_a_time_is_let_go_too(server: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "FIRST_LINE", 0.05)
    connection = connected(server.path)
    with pytest.raises(OSError):
        while True:
            connection.send(b" ")
            time.sleep(0.001)
    connection.close()
    assert echo.peers == []


def test_one_account_gets_so_many_connections_and_no_more(tmp_path: Path, echo: Echo) -> None:
    server = Server(tmp_path / "run/s", echo, mode=0o600, group="", each=3)
    server.start()
    idle = [connected(server.path) for _ in range(3)]
    try:
        answer = json.loads(heard(connected(server.path)))
        assert (answer["ok"], answer["retry"], "too much at once" in answer["error"]) == (False, True, True)
        idle.pop().close()
        answers: list[Message] = []
        while len(answers) != 2:  # until it has seen that the one has left
            with contextlib.suppress(ConnectionError):
                answers = list(ask(server.path, {}, timeout=5))
        # The others are still served.
        idle[0].sendall(b"{}\n")
        assert len(heard(idle[0]).splitlines()) == 2
    finally:
        for connection in idle:
            connection.close()
        server.close()


def test_who_has_many_connections_is_in_nobody_elses_way(
    tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = iter((1000, 1000, 1000, 1001))
    monkeypatch.setattr(sockets, "_peer", lambda connection: Peer(1, next(uids)))
    server = Server(tmp_path / "run/s", echo, mode=0o600, group="", each=2)
    server.start()
    idle = [connected(server.path) for _ in range(2)]
    assert b"too much at once" in heard(connected(server.path))
    assert len(list(ask(server.path, {}, timeout=5))) == 2
    for connection in idle:
        connection.close()
    server.close()


def test_all_together_get_so_many(tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST", 2)
    server = Server(tmp_path / "run/s", echo, mode=0o600, group="")
    server.start()
    idle = [connected(server.path) for _ in range(2)]
    assert b"too much at once" in heard(connected(server.path))
    for connection in idle:
        connection.close()
    server.close()


def test_without_a_thread_the_place_is_free_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(RuntimeError):
            server._begin(ours)
    assert not server._busy


def test_a_first_answer_has_its_own_limit(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(request: Message, peer: Peer) -> Iterator[Message]:
        if "mute" not in request:
            yield {"heard": 1}
        go.wait(5)
        yield {"done": 1}

    server = Server(tmp_path / "s", slow, mode=0o600, group="")
    server.start()
    with pytest.raises(TimeoutError):
        list(ask(server.path, {"mute": 1}, first=0.02))
    answers = ask(server.path, {}, first=5)
    assert next(answers) == {"heard": 1}
    threading.Timer(0.01, go.set).start()
    assert list(answers) == [{"done": 1}]
    server.close()


def test_an_answer_may_be_long(tmp_path: Path) -> None:
    plan = {"changes": ["x" * 1000] * 3000}
    server = Server(tmp_path / "s", lambda request, peer: iter([plan]), mode=0o600, group="")
    server.start()
    assert list(ask(server.path, {}, timeout=5)) == [plan]
    server.close()


def test_the_socket_appears_with_its_final_mode(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert os.listdir(server.path.parent) == ["s"]


def test_a_socket_left_by_a_killed_daemon_is_replaced(server: Server, echo: Echo) -> None:
    successor = Server(server.path, echo, mode=0o600, group="")
    successor.start()
    assert len(list(ask(server.path, {}, timeout=5))) == 2
    successor.close()


@pytest.mark.parametrize("how", ["its folder is gone", "it is gone", "another is there", "a file is there"])
def test_a_server_knows_whether_its_path_leads_to_it(server: Server, echo: Echo, how: str) -> None:
    assert server.is_found
    if how == "another is there":
        Server(server.path, echo, mode=0o600, group="").close()
    else:
        server.path.unlink()
    if how == "its folder is gone":
        server.path.parent.rmdir()
    if how == "a file is there":
        server.path.touch()
    assert not server.is_found


def test_nobody_listens(tmp_path: Path, server: Server) -> None:
    with pytest.raises(OSError):
        list(ask(tmp_path / "none", {}))
    server.close()
    with pytest.raises(OSError):
        list(ask(server.path, {}, timeout=5))
