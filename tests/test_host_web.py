"""HTTP and downloads: real ones from this machine alone."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubd.errors import HubdError
from hubd.host.web import Web

pytestmark = pytest.mark.real_sockets
DATA = os.urandom(3_000_000)
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


def test_nobody_there() -> None:
    answer = Web().ask("GET", "http://127.0.0.1:1/x", timeout=1)
    assert (answer.status, "refused" in answer.why) == (0, True)


def test_what_can_be_reached(site: str, tmp_path: Path) -> None:
    web = Web()
    assert web.reachable(f"{site}/moved", timeout=5) == ""
    assert web.reachable(f"{site}/none", timeout=5) == "the server answered 404"
    assert "refused" in web.reachable("http://127.0.0.1:1/x", timeout=1)
    assert web.reachable(f"file://{tmp_path}") == ""
    assert web.reachable(f"file://{tmp_path}/none") == "no such file"


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
    ("/none", RIGHT, "could not be downloaded", "404", True),
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
