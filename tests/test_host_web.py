"""HTTP and downloads: real ones from this machine alone."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.errors import HubdError
from hubd.host import web
from hubd.host.web import Web

pytestmark = pytest.mark.real_sockets
DATA = bytes(range(256)) * 12_000
RIGHT = hashlib.sha256(DATA).hexdigest()


class Site(http.server.BaseHTTPRequestHandler):
    """A few pages."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/data")
            self.end_headers()
            return
        body = {"/data": DATA, "/cut": DATA}.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 1000 if self.path == "/cut" else None])

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        said = {
            "body": json.loads(asked),
            "path": self.path,
            "token": self.headers["Authorization"],
            "type": self.headers["Content-Type"],
        }
        body = json.dumps(said).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_a_question_with_an_answer(site: str) -> None:
    answer = Web().ask("POST", f"{site}/hub/api/users?limit=5", body={"a": 1}, headers={"Authorization": "token x"})
    assert answer.status == 201
    assert answer.json() == {"body": {"a": 1}, "path": "/hub/api/users?limit=5", "token": "token x", "type": "application/json"}


def test_no_redirect_is_followed_and_no_bad_answer_is_raised(site: str) -> None:
    assert Web().ask("GET", f"{site}/moved").status == 302
    assert Web().ask("GET", f"{site}/none").status == 404


class Drip:
    """One who takes a connection, says something, and then a byte at a time, each `pause` seconds, for ever."""

    def __init__(self, said: bytes, pause: float) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._said, self._pause, self._end = said, pause, threading.Event()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/x"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(self._said)
            while not self._end.wait(self._pause):
                connection.sendall(b"x")

    def close(self) -> None:
        self._end.set()
        self._listening.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
DRIPS = [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX-", HEAD, HEAD.replace(b"Content-Length: 1000000\r\n", b"")]


@pytest.mark.parametrize("said", DRIPS)
def test_one_who_answers_a_byte_at_a_time_is_given_up(said: bytes) -> None:
    drip = Drip(said, 0.005)
    try:
        # Each byte comes well within the limit; all of them never would.
        answer = Web().ask("GET", drip.url, timeout=0.05)
        assert (answer.status, answer.why) == (0, "timed out")
    finally:
        drip.close()


def test_a_server_that_never_comes_to_an_end_cannot_be_reached() -> None:
    drip = Drip(b"HTTP/1.1 200 OK\r\nX-", 0.01)
    try:
        assert "did not answer within" in Web().reachable(drip.url, timeout=0.1)
    finally:
        drip.close()


def test_one_who_says_to_go_on_for_ever_is_given_up() -> None:
    drip = Drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.01)
    try:
        assert Web().ask("GET", drip.url, timeout=0.05).status == 0
    finally:
        drip.close()


def test_an_answer_without_end_is_none(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LONGEST_ANSWER", 2 << 20)
    answer = Web().ask("GET", f"{site}/data")
    assert (answer.status, answer.body, answer.why) == (0, b"", "the answer is larger than 2 MB")
    monkeypatch.setattr(web, "LONGEST_ANSWER", len(DATA))
    assert Web().ask("GET", f"{site}/data").body == DATA


class Slow:
    """A download of `pieces`, one each `pause` seconds of a clock that is not the real one."""

    def __init__(self, pieces: list[bytes], pause: float) -> None:
        self._pieces, self._pause, self.now = iter(pieces), pause, 0.0

    def ticks(self) -> float:
        return self.now

    def read1(self, amount: int, *, decode_content: bool) -> bytes:
        self.now += self._pause
        return next(self._pieces, b"")


PACES = [
    # size of a piece, seconds between two, whether that is given up
    (1, 1.0, True),
    (1, 29.0, True),
    (1000, 1.0, True),
    (1030, 1.0, False),
    (65536, 29.0, False),
]


@pytest.mark.parametrize(("size", "pause", "given_up"), PACES)
def test_a_download_may_be_slow_and_must_go_on(size: int, pause: float, given_up: bool) -> None:
    slow = Slow([b"x" * size] * 200, pause)
    taken = web._paced(slow, slow.ticks)
    if given_up:
        with pytest.raises(OSError, match="stalled"):
            list(taken)
        assert slow.now < 100
    else:
        assert len(b"".join(taken)) == 200 * size


def test_a_download_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web, "STALL", 0.02)
    drip = Drip(HEAD, 60)
    try:
        with pytest.raises(HubdError) as caught:
            Web().download(drip.url, tmp_path / "file", sha256=RIGHT)
        assert (caught.value.retry, "timed out" in caught.value.why.lower()) == (True, True)
        assert os.listdir(tmp_path) == []
    finally:
        drip.close()


def test_nobody_there() -> None:
    answer = Web().ask("GET", "http://127.0.0.1:1/x", timeout=1)
    assert (answer.status, "refused" in answer.why) == (0, True)


def test_what_can_be_reached(site: str, tmp_path: Path) -> None:
    ask = Web().reachable
    assert ask(f"{site}/moved", timeout=5) == ""
    assert ask(f"{site}/none", timeout=5) == "the server answered 404"
    assert "refused" in ask("http://127.0.0.1:1/x", timeout=1)
    assert ask(f"file://{tmp_path}") == ""
    assert ask(f"file://{tmp_path}/none") == "no such file"


@pytest.mark.parametrize("where", ["file", "path", "http", "moved"])
def test_a_download_with_the_right_checksum(site: str, tmp_path: Path, where: str) -> None:
    source, path = tmp_path / "the source", tmp_path / "file"
    source.write_bytes(DATA)
    url = {"file": source.as_uri(), "path": str(source), "http": f"{site}/data", "moved": f"{site}/moved"}[where]
    heard: list[tuple[int, int]] = []
    Web().download(url, path, sha256=RIGHT.upper(), progress=lambda done, total: heard.append((done, total)))
    assert path.read_bytes() == DATA
    assert sorted(os.listdir(tmp_path)) == ["file", "the source"]
    if where == "http":
        assert heard[-1] == (len(DATA), len(DATA))


FAILURES = [
    ("/data", "0" * 64, "is not the file it should be", RIGHT, False),
    ("/none", RIGHT, "could not be downloaded", "404", False),
    ("/cut", RIGHT, "could not be downloaded", "", True),
]


@pytest.mark.parametrize(("page", "sha256", "what", "why", "retry"), FAILURES)
def test_a_failed_download_leaves_nothing(
    site: str, tmp_path: Path, page: str, sha256: str, what: str, why: str, retry: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(HubdError) as caught:
        Web().download(f"{site}{page}", path, sha256=sha256)
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.retry is retry
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HubdError, match="could not be downloaded"):
        Web().download(f"file://{tmp_path}/none", tmp_path / "file", sha256=RIGHT)
    assert os.listdir(tmp_path) == []
