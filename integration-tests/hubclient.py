"""Drives a hub as a person's browser does, over HTTP and websockets: sign in, start a server, run a cell."""

from __future__ import annotations

import json
import re
import uuid
from html import unescape
from typing import Any
from urllib.parse import quote

import requests
import websocket

from waiting import wait_for

TIMEOUT = 30.0


class SignInRefused(AssertionError):
    """The hub did not let somebody in; the message has what its page says."""


class Hub:
    """A hub at an address such as http://10.203.1.2 (with no slash at its end)."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def healthy(self) -> bool:
        """Whether the hub answers for itself: 200 from /hub/health, and nothing less."""
        try:
            return requests.get(f"{self.url}/hub/health", timeout=5, allow_redirects=False).status_code == 200
        except requests.RequestException:
            return False

    def wait_healthy(self, timeout: float = 60) -> None:
        wait_for(self.healthy, f"a healthy hub at {self.url}", timeout=timeout)

    def sign_in(self, name: str, password: str) -> Person:
        """Sign in by the hub's own form, with its XSRF token; a first sign-in sets the password where that is allowed.

        :raises SignInRefused: the hub shows the form again.
        """
        session = requests.Session()
        page = session.get(f"{self.url}/hub/login", timeout=TIMEOUT)
        page.raise_for_status()
        form = {"username": name, "password": password, "_xsrf": xsrf(session, "/hub/")}
        answer = session.post(f"{self.url}/hub/login?next=", data=form, allow_redirects=False, timeout=TIMEOUT)
        if answer.status_code != 302:
            told = re.search(r'class="login_error">([^<]*)<', answer.text)
            raise SignInRefused(f"{name}: {answer.status_code} {unescape(told[1]) if told else answer.text[:2000]}")
        return Person(self, name, session)

    def api(self, token: str, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the hub's REST API, such as `users/ada`, with a token."""
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{self.url}/hub/api/{path}", json=body, headers=headers, timeout=TIMEOUT)


class Person:
    """Somebody who is signed in."""

    def __init__(self, hub: Hub, name: str, session: requests.Session) -> None:
        self.hub, self.name, self.session = hub, name, session

    def get(self, path: str, *, follow: bool = True) -> requests.Response:
        """A page of the hub, such as `home`."""
        return self.session.get(f"{self.hub.url}/hub/{path}", allow_redirects=follow, timeout=TIMEOUT)

    def api(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the hub's REST API as the pages of the hub do."""
        address = f"{self.hub.url}/hub/api/{path}"
        headers = {"X-XSRFToken": xsrf(self.session, "/hub/"), "Referer": f"{self.hub.url}/hub/home"}
        return self.session.request(method, address, json=body, headers=headers, timeout=TIMEOUT)

    def start_server(self, server: str = "", *, timeout: float = 120) -> Server:
        """Start one's server (a named one if `server` is given) as the hub's page does, and wait until it answers."""
        started = Server(self, server)
        # A new session's first page brings the cookie that the hub wants to see again.
        self.session.get(f"{self.hub.url}/hub/home", timeout=TIMEOUT)
        where = f"{self.name}/servers/{quote(server)}" if server else f"{self.name}/server"
        asked = self.api("POST", f"users/{where}")
        if asked.status_code not in (201, 202) and "already" not in asked.text:
            raise AssertionError(f"starting {started.path}: {asked.status_code} {asked.text[:1000]}")
        wait_for(started.ready, f"the server {started.path}", timeout=timeout, every=0.1)
        return started

    def stop_server(self, server: str = "", *, timeout: float = 60) -> None:
        """Stop one's server and wait until the hub says that it has gone."""
        where = f"{self.name}/servers/{quote(server)}" if server else f"{self.name}/server"
        self.api("DELETE", f"users/{where}").raise_for_status()

        def gone() -> bool:
            servers = self.api("GET", f"users/{self.name}").json().get("servers", {})
            return server not in servers or servers[server].get("stopped", False)

        wait_for(gone, f"the end of the server {server!r} of {self.name}", timeout=timeout, every=0.1)


class Server:
    """A person's running Jupyter server."""

    def __init__(self, person: Person, server: str) -> None:
        self.person = person
        self.path = f"/user/{person.name}/{quote(server) + '/' if server else ''}"
        self.url = f"{person.hub.url}{self.path}"

    def ready(self) -> bool:
        """Whether it answers; takes the way of a browser through the hub's OAuth pages on the way."""
        session = self.person.session
        # A page, because an address below /api/ answers 403 and never sends anybody to sign in.
        session.get(f"{self.url}lab", timeout=TIMEOUT)
        status = session.get(f"{self.url}api/status", allow_redirects=False, timeout=TIMEOUT)
        return status.status_code == 200 and "json" in status.headers.get("Content-Type", "")

    def api(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the server's own API, such as `kernels`."""
        headers = {"X-XSRFToken": xsrf(self.person.session, self.path), "Referer": f"{self.url}lab"}
        address = f"{self.url}api/{path}"
        answer = self.person.session.request(method, address, json=body, headers=headers, timeout=TIMEOUT)
        if answer.status_code >= 400:
            raise AssertionError(f"{method} {address}: {answer.status_code} {answer.text[:1000]}")
        return answer

    def kernelspecs(self) -> dict[str, str]:
        """What a new notebook can be started with: the display name of each kernel, by name."""
        specs = self.api("GET", "kernelspecs").json()["kernelspecs"]
        return {name: spec["spec"]["display_name"] for name, spec in specs.items()}

    def start_kernel(self, name: str) -> Kernel:
        """Start a kernel by its kernelspec's name and connect to it."""
        return Kernel(self, self.api("POST", "kernels", {"name": name}).json()["id"])

    def run(self, code: str, kernel: str) -> str:
        """What a cell prints when run in a new kernel, which is stopped after it."""
        started = self.start_kernel(kernel)
        try:
            return started.run(code)
        finally:
            started.stop()


class Kernel:
    """A running kernel and a websocket to it."""

    def __init__(self, server: Server, identity: str) -> None:
        self.server, self.id = server, identity
        self.connect()

    def connect(self) -> None:
        """Open a new websocket to the same kernel."""
        session = self.server.person.session
        cookies = "; ".join(f"{one.name}={one.value}" for one in session.cookies if self.server.path.startswith(one.path))
        address = f"{self.server.url}api/kernels/{self.id}/channels?session_id={uuid.uuid4().hex}"
        self._socket: Any = websocket.create_connection(
            address.replace("http", "ws", 1), cookie=cookies, timeout=TIMEOUT, enable_multithread=True
        )

    def run(self, code: str, *, timeout: float = 60) -> str:
        """Run a cell and give what it prints, results and tracebacks included.

        :raises websocket.WebSocketException: the connection broke; `connect` makes a new one.
        """
        request = self._message("execute_request", {"code": code, "silent": False, "store_history": True})
        self._socket.settimeout(timeout)
        self._socket.send(json.dumps(request))
        printed = ""
        while True:
            message = json.loads(self._socket.recv())
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed
            printed += printed_by(message["msg_type"], content)

    def stop(self) -> None:
        self._socket.close()
        self.server.api("DELETE", f"kernels/{self.id}")

    def _message(self, kind: str, content: dict[str, object]) -> dict[str, Any]:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": self.id, "version": "5.3"}
        content = {"user_expressions": {}, "allow_stdin": False, **content}
        return {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "content": content}


def printed_by(kind: str, content: dict[str, Any]) -> str:
    """The text that a kernel's message of this kind puts below a cell."""
    if kind == "stream":
        return str(content["text"])
    if kind == "execute_result":
        return str(content["data"].get("text/plain", ""))
    return "\n".join(content["traceback"]) if kind == "error" else ""


def xsrf(session: requests.Session, path: str) -> str:
    """The XSRF token that a browser would send to this path: of the cookies that fit, the one made for most of it."""
    fitting = [one for one in session.cookies if one.name == "_xsrf" and path.startswith(one.path)]
    return max(fitting, key=lambda one: len(one.path)).value or "" if fitting else ""
