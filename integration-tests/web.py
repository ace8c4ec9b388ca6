"""A small web server for what a test machine downloads: files, and git repositories by git's own program."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# What is below it in an address is asked of `git http-backend`.
GIT = "/git/"


@dataclass(slots=True)
class WebServer:
    """A running server. delays: seconds to wait before answering, by a part of the path; may be changed while it runs,
    which those who wait notice.

    failures: the status to refuse with. changes: what a file is made into on its way. requests: the paths asked for so far, in
    order. Repositories in the folder are at `/git/NAME`.
    """

    url: str
    folder: Path
    delays: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, web: WebServer, *args: object) -> None:
        self.web = web
        super().__init__(*args, directory=str(web.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.web.requests.append(self.path)
        began = time.monotonic()
        while time.monotonic() - began < (_first_match(self.web.delays, self.path) or 0):
            time.sleep(0.05)
        status, change = (_first_match(table, self.path) for table in (self.web.failures, self.web.changes))
        if status:
            self.send_error(int(status))
        elif self.path.startswith(GIT):
            self._git()
        elif change:
            self._send(change(Path(self.translate_path(self.path)).read_bytes()))
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.web.requests.append(self.path)
        self._git()

    def _git(self) -> None:
        place, _, query = self.path.removeprefix(GIT.rstrip("/")).partition("?")
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = {
            "GIT_PROJECT_ROOT": str(self.web.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": place, "QUERY_STRING": query,
            "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(sent)), "PATH": os.environ["PATH"],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        said = subprocess.run(("git", "http-backend"), input=sent, env=told, capture_output=True, check=False).stdout
        head, _, body = said.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `requests` has it."""


def _first_match(table: Mapping[str, Any], path: str) -> Any:
    return next((value for part, value in table.items() if part in path), None)


@contextmanager
def web_server(folder: Path, address: str = "127.0.0.1", port: int = 0) -> Iterator[WebServer]:
    """Serve a folder at `address` (a machine sees this host at `machine.net.host`) until the end of the block."""
    web = WebServer("", folder)
    server = ThreadingHTTPServer((address, port), partial(_Handler, web))
    server.daemon_threads = True
    web.url = f"http://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
