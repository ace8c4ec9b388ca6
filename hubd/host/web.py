"""HTTP as hubd needs it: is something there, JSON questions to the hub, and downloads with a checksum."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import queue
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.errors import HubdError

# A page of a thousand people with their servers is two or three megabytes; read as JSON it takes twenty times that.
LONGEST_ANSWER = 8 * 1024 * 1024

# A download may take as long as it likes, if it goes on: some bytes within STALL, and PACE bytes within each WINDOW, in
# seconds. A slow line does a hundred times that.
STALL = 30.0
WINDOW = 60.0
PACE = 60 * 1024

# What a server answers that has no such thing, or not for us; no waiting changes that.
GONE = (401, 404, 410)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; status 0 means that nobody answered, and `why` tells how."""

    status: int
    body: bytes = b""
    why: str = ""

    def json(self) -> Any:
        return json.loads(self.body)


class Web:
    """Talks HTTP; tests put a table of answers in its place."""

    def ask(
        self,
        method: str,
        url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
    ) -> Answer:
        """One request on this machine's loopback; no redirect is followed and nothing is raised for a bad answer.

        timeout: seconds for all of it, from the connection to the last byte.
        """
        # http.client and not requests: the pass asks each time, and requests alone costs a third of its memory.
        parts = urllib.parse.urlsplit(url)
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        end = time.monotonic() + timeout
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), data, sent)
            response = http.client.HTTPResponse(_Until(connection.sock, end), method=method)  # type: ignore[arg-type]
            response.begin()
            body_read = response.read(LONGEST_ANSWER + 1)
            if len(body_read) > LONGEST_ANSWER:
                return Answer(0, why=f"the answer is larger than {LONGEST_ANSWER >> 20} MB")
            return Answer(response.status, body_read)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, why=str(error) or type(error).__name__)
        finally:
            connection.close()

    def reachable(self, url: str, *, timeout: float = 10) -> str:
        """Empty when `url` can be read, else why it cannot. Follows redirects.

        timeout: seconds for each answer; all of them together get twice that.
        """
        if url.startswith("/"):
            return "" if Path(url).exists() else "no such file"
        if url.startswith("file:"):
            return "" if Path(urllib.parse.urlsplit(url).path).exists() else "no such file"
        said: queue.SimpleQueue[str] = queue.SimpleQueue()
        # One that answers a byte at a time ends with this process.
        threading.Thread(target=lambda: said.put(_probed(url, timeout)), daemon=True).start()
        try:
            return said.get(timeout=2 * timeout)
        except queue.Empty:
            return f"the server did not answer within {2 * timeout:.0f} seconds"

    def download(self, url: str, path: Path, *, sha256: str, progress: Callable[[int, int], None] | None = None) -> None:
        """Fetch `url` to `path`; the file appears only when it is whole and its SHA-256 is right.

        progress: called with bytes so far and bytes in all (0 when unknown).
        Raises HubdError when it cannot be reached, is cut off or is another file than the checksum says.
        """
        temporary = path.with_name(f".{path.name}.part")
        digest = hashlib.sha256()
        try:
            with temporary.open("wb") as out:
                for chunk in _chunks(url, progress):
                    digest.update(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:  # requests' exceptions are OSErrors too
            temporary.unlink(missing_ok=True)
            gone = getattr(getattr(error, "response", None), "status_code", 0) in GONE
            fix = "Correct the address." if gone else ""
            raise HubdError(f"{url} could not be downloaded", why=_short(error), fix=fix, retry=not gone) from error
        if digest.hexdigest() != sha256.lower():
            temporary.unlink()
            raise HubdError(
                f"{url} is not the file it should be",
                why=f"its SHA-256 is {digest.hexdigest()}, expected {sha256.lower()}",
                fix="Check the address and the checksum in config.yaml; do not use the file.",
            )
        os.replace(temporary, path)


def _probed(url: str, timeout: float) -> str:
    import requests

    try:
        with requests.get(url, timeout=timeout, stream=True) as response:
            return "" if response.ok else f"the server answered {response.status_code}"
    except Exception as error:  # noqa: BLE001  # whatever it is, `url` cannot be read
        return _short(error)


class _Until(io.RawIOBase):
    """A connection that is read until a moment: a time limit of the socket alone begins anew with each byte."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection, self._end = connection, end

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client asks of a connection."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def _chunks(url: str, progress: Callable[[int, int], None] | None) -> Any:
    import requests

    if url.startswith(("file:", "/")):
        source = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
        with source.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                yield chunk
        return
    with requests.get(url, timeout=STALL, stream=True) as response:
        response.raise_for_status()
        total, done = int(response.headers.get("Content-Length", 0)), 0
        for chunk in _paced(response.raw):
            done += len(chunk)
            if progress:
                progress(done, total)
            yield chunk
        if total and done < total:
            raise OSError(f"the connection ended after {done} of {total} bytes")


def _paced(stream: Any, ticks: Callable[[], float] = time.monotonic) -> Iterator[bytes]:
    """What comes, as it comes. Raises OSError when it breaks off or hardly comes at all."""
    from urllib3.exceptions import HTTPError

    began, came = ticks(), 0
    try:
        # Not requests' own way, which waits for a whole piece however slowly it comes.
        while chunk := stream.read1(1 << 20, decode_content=True):
            came += len(chunk)
            if ticks() - began > WINDOW:
                if came < PACE:
                    raise OSError(f"it stalled: {came} bytes in the last {WINDOW:.0f} seconds")
                began, came = ticks(), 0
            yield chunk
    except HTTPError as error:
        raise OSError(_short(error)) from error


def _short(error: BaseException) -> str:
    """The innermost reason of a nested network error, in one line."""
    reason: BaseException = error
    while True:
        inner = getattr(reason, "reason", None) or next((each for each in reason.args if isinstance(each, BaseException)), None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    # urllib3 puts the connection's own description in front of what happened.
    return str(reason).rpartition("): ")[2].replace("\n", " ")[:200]
