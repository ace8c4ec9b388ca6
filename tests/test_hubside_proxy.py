"""The routes' file and the proxy's gate."""

from __future__ import annotations

import asyncio
import http.server
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hubd.hubside import gate
from hubd.hubside.proxy import HubdProxy, RoutesFile
from hubd.tools import traefik


def test_the_group_may_read_the_routes(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        RoutesFile(str(tmp_path / "rules.toml")).atomic_dump({"a": {"b": 1}})
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["rules.toml"]
    assert (tmp_path / "rules.toml").stat().st_mode & 0o777 == 0o640
    assert RoutesFile(str(tmp_path / "rules.toml")).load() == {"a": {"b": 1}}


def test_a_write_that_was_killed_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "rules.toml.new").write_text("half")
    RoutesFile(str(tmp_path / "rules.toml")).atomic_dump({"a": 1})
    assert RoutesFile(str(tmp_path / "rules.toml")).load() == {"a": 1}


@pytest.mark.parametrize("text", ["garbage [[[", "a = ", "[a]\n[a]\n", "a = 'x\n", "\0", "[http.routers", "="])
def test_spoiled_routes_are_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    assert RoutesFile(str(tmp_path / "rules.toml")).load() == {}


def test_a_new_api_password_gets_into_the_file(tmp_path: Path) -> None:
    def password_in_file(password: str) -> str:
        proxy = HubdProxy(
            should_start=True,
            dynamic_config_file=str(tmp_path / "rules.toml"),
            traefik_api_url="http://127.0.0.1:8099",
            traefik_api_username="hubd",
            traefik_api_hashed_password=password,
            public_url="http://127.0.0.1:80",
        )
        asyncio.run(proxy._setup_traefik_dynamic_config())
        rules = RoutesFile(str(tmp_path / "rules.toml")).load()
        (user,) = rules["http"]["middlewares"]["auth_api"]["basicAuth"]["users"]
        return str(user)

    assert password_in_file("old") == "hubd:old"
    assert password_in_file("new") == "hubd:new"


SPOILED = [
    lambda file: file.unlink(),
    lambda file: file.write_text("garbage [[["),
    lambda file: file.write_text(file.read_text().replace("8099", "8098")),
    lambda file: os.truncate(file, 0),
    lambda file: file.chmod(0),
]


@pytest.mark.parametrize("spoil", SPOILED, ids=range(len(SPOILED)))
def test_routes_that_somebody_spoiled_are_written_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    async def story() -> None:
        file = tmp_path / "rules.toml"
        proxy = HubdProxy(should_start=True, dynamic_config_file=str(file), traefik_api_hashed_password="x")
        await proxy._setup_traefik_dynamic_config()
        before, written = file.read_bytes(), file.stat().st_ino
        await proxy.keep_routes()
        assert file.stat().st_ino == written, "what is right is left alone"
        spoil(file)
        await proxy.keep_routes()
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (before, 0o640)

    asyncio.run(story())


def test_a_folder_that_is_gone_is_told_and_tried_again(tmp_path: Path, logged: list[logging.LogRecord]) -> None:
    async def story() -> None:
        file = tmp_path / "rules" / "rules.toml"
        file.parent.mkdir()
        proxy = HubdProxy(should_start=True, dynamic_config_file=str(file), traefik_api_hashed_password="x")
        await proxy._setup_traefik_dynamic_config()
        shutil.rmtree(file.parent)
        await proxy.keep_routes()
        assert any("rules.toml cannot be written" in record.getMessage() for record in logged)
        file.parent.mkdir()
        await proxy.keep_routes()
        assert file.exists()

    asyncio.run(story())


def test_the_routes_are_looked_at_as_long_as_the_hub_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def traefik_answers(proxy: HubdProxy) -> None:
        """Traefik has read its settings."""

    monkeypatch.setattr("hubd.hubside.proxy.LOOK_AGAIN", 0.01)
    monkeypatch.setattr(HubdProxy, "_wait_for_static_config", traefik_answers)

    async def story() -> None:
        file = tmp_path / "rules.toml"
        proxy = HubdProxy(dynamic_config_file=str(file), should_start=False, traefik_api_hashed_password="x")
        await proxy._start_future
        file.unlink()
        while not file.exists():
            await asyncio.sleep(0.01)
        proxy._keeping.stop()

    asyncio.run(asyncio.wait_for(story(), 10))


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_the_gate(family: socket.AddressFamily, address: str) -> None:
    try:
        listening = socket.create_server((address, 0), family=family, dualstack_ipv6=family == socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listening:
        port = listening.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port))
        taken, _ = listening.accept()
        gate.shut([listening])
        assert not connects(port)
        early.sendall(b"goes on")
        assert taken.recv(10) == b"goes on"
        gate.unlock([listening])
        assert connects(port)
        early.close()
        taken.close()


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == gate.READY_PATH else 404)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_what_systemd_hands_over_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:auth_api"}.items():
        monkeypatch.setenv(name, value)
    assert gate.handed_over() == {3: "http", 4: "auth_api"}
    assert gate.UNGATED == traefik.API
    monkeypatch.setenv("LISTEN_PID", "1")
    assert gate.handed_over() == {}


def test_readiness_is_the_answer_of_a_route() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port = server.server_address[1]
    assert gate.is_ready(port)
    server.shutdown()
    server.server_close()
    assert not gate.is_ready(port)
