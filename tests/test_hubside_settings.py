"""settings.json, the secrets and the drop-ins: who wins, and what is said when one of them is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer

from hubd.hubside.app import Hub
from hubd.hubside.settings import SettingsError, load, read_secret
from hubd.hubside.spawner import HubdSpawner
from hubd.resources.service import telling_line

Drop = dict[str, str]


def lay(folder: Path, settings: dict[str, Any], drop_ins: Drop | None = None) -> str:
    drop_folder = folder / "d"
    drop_folder.mkdir()
    for name, text in (drop_ins or {}).items():
        (drop_folder / name).write_text(text)
    for name in ("password", "token"):
        (folder / name).write_text(f"the-{name}\n")
        (folder / name).chmod(0o600)
    own = {
        "config_d": str(drop_folder),
        "held_folder": "/x/rules",
        "spawn_socket": "/run/x.sock",
        "proxy_api_password_file": str(folder / "password"),
        "service_token_file": str(folder / "token"),
    }
    path = folder / "settings.json"
    path.write_text(json.dumps({"hubd": own, **settings}))
    return str(path)


def silent(words: str) -> None:
    """Nobody listens."""


def test_values_wiring_and_secrets_come_together(tmp_path: Path) -> None:
    config = load(lay(tmp_path, {"JupyterHub": {"hub_port": 15001}}), say=silent)
    assert config.JupyterHub.hub_port == 15001
    assert config.JupyterHub.cleanup_servers is False
    assert config.TraefikProxy.traefik_api_password == "the-password"
    assert config.HubdSpawner.spawn_socket == "/run/x.sock"
    assert config.Hub.held_folder == "/x/rules"
    assert config.JupyterHub.services == [{"name": "hubd", "api_token": "the-token", "admin": True}]


def test_drop_ins_come_last_in_the_order_of_their_names(tmp_path: Path) -> None:
    drop_ins = {"20.py": "c.JupyterHub.hub_port = 2", "10.py": "c = get_config()\nc.JupyterHub.hub_port = 1", "x.txt": "("}
    said: list[str] = []
    config = load(lay(tmp_path, {"JupyterHub": {"hub_port": 15001}}, drop_ins), say=said.append)
    assert config.JupyterHub.hub_port == 2
    assert [words.rsplit("/", 1)[1] for words in said] == ["10.py", "20.py"]


@pytest.mark.parametrize("verb", ["c.JupyterHub.services = [%s]", "c.JupyterHub.services.append(%s)"])
def test_a_drop_in_cannot_lock_the_daemon_out(tmp_path: Path, verb: str) -> None:
    config = load(lay(tmp_path, {}, {"a.py": verb % "{'name': 'cull'}"}), say=silent)
    assert [service["name"] for service in config.JupyterHub.services] == ["cull", "hubd"]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("c.A.b = 1\n\nc.A.d = unknown\n", 3, "NameError"),
        ("def f():\n    raise ValueError('no')\nf()\n", 2, "ValueError: no"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("c.A.b = (\n", 1, "never closed"),
    ],
)
def test_an_error_in_a_drop_in_names_file_and_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(lay(tmp_path, {}, {"bad.py": text}), say=silent)
    assert f"{tmp_path}/d/bad.py, line {line}: " in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"JupyterHub": 3}', "\udcff"])
def test_settings_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=str(path)):
        load(str(path), say=silent)


def test_secrets_that_cannot_be_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(SettingsError, match="cannot be read"):
        read_secret(secret)
    secret.write_text("\n")
    secret.chmod(0o600)
    with pytest.raises(SettingsError, match="empty"):
        read_secret(secret)
    secret.write_text("x\n")
    secret.chmod(0o640)
    with pytest.raises(SettingsError, match="0640"):
        read_secret(secret)


def test_the_hub_takes_them(tmp_path: Path) -> None:
    path = lay(tmp_path, {"JupyterHub": {"trusted_downstream_ips": ["192.0.2.1"]}, "Authenticator": {"admin_users": ["ada"]}})
    hub = Hub(settings_file=path)
    hub.load_config_file("ignored")
    assert hub.spawner_class is HubdSpawner
    assert hub.authenticator_class(parent=hub).admin_users == {"ada"}
    assert hub.authenticator_class(parent=hub).allow_all is False


def last_words(settings: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a hub that cannot start, and give the last line that it says, without time and place."""
    hub = Hub(settings_file=settings)
    monkeypatch.setattr(HTTPServer, "configure", lambda server: None)
    with pytest.raises(SystemExit) as caught:
        asyncio.run(hub.launch_instance_async([f"--settings={settings}"]))
    assert caught.value.code == 1
    return capfd.readouterr().err.splitlines()[-1].partition("] ")[2]


def test_a_start_that_fails_says_why_last(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = last_words(f"{tmp_path}/none.json", capfd, monkeypatch)
    assert said.startswith(f"The hub does not start: {tmp_path}/none.json cannot be read")


def damaged(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE whole (name TEXT)")
        made.commit()
    database.write_bytes(database.read_bytes()[:100] + b"x" * 3000)


DATABASES = [
    (lambda path: path.write_bytes(b"x" * 5000), "file is not a database", True),
    (damaged, "database disk image is malformed", True),
    (lambda path: path.mkdir(), "unable to open database file", False),
]


@pytest.mark.parametrize(("how", "cause", "cure"), DATABASES)
def test_a_database_that_cannot_be_used_is_named_with_cause_and_cure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    how: Callable[[Path], object], cause: str, cure: bool,
) -> None:  # fmt: skip
    database = tmp_path / "hub.sqlite"
    how(database)
    names = {"db_url": f"sqlite:///{database}", "cookie_secret_file": str(tmp_path / "cookie"), "pid_file": ""}
    said = last_words(lay(tmp_path, {"JupyterHub": names}), capfd, monkeypatch)
    assert said.startswith(f"The hub does not start: its database {database} cannot be used: {cause}")
    assert ("Restore it from a back-up, or move it away" in said) is cure
    assert telling_line((f"[C 2026-11-25 10:30:04.834 Hub app:57] {said}",)).endswith(said), "`hubd status` shows all of it"


def test_other_bugs_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ValueError("one\n  two")

    monkeypatch.setattr(Hub, "initialize", bug)
    assert last_words("x.json", capfd, monkeypatch) == "The hub does not start: ValueError: one two"


def test_a_folder_that_is_called_like_a_drop_in_is_none(tmp_path: Path) -> None:
    place = lay(tmp_path, {"JupyterHub": {"hub_port": 2}}, {"20.py": "c.JupyterHub.hub_port = 3"})
    (tmp_path / "d/10.py").mkdir()
    assert load(place, say=lambda line: None).JupyterHub.hub_port == 3
