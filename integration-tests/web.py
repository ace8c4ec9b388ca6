"""A small web server for what a test machine downloads: the channel, the installer, bootstrap.py. Serves files only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class WebServer:
    """A running server. delays: seconds to wait before answering, by a part of the path; may be changed while it runs.

    failures: the status to refuse with. changes: what a file is made into on its way. requests: the paths asked for so far, in
    order.
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
        time.sleep(_first_match(self.web.delays, self.path) or 0)
        status, change = (_first_match(table, self.path) for table in (self.web.failures, self.web.changes))
        if status:
            self.send_error(int(status))
        elif change:
            self._send(change(Path(self.translate_path(self.path)).read_bytes()))
        else:
            super().do_GET()

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
