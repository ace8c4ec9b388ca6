"""The spawner against a daemon that answers from a list, restarts, refuses or is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import SpawnException

from hubd.hubside import spawner as module
from hubd.hubside.spawner import AWAY, HubdSpawner

Answer = dict[str, Any] | bytes


class Daemon:
    """Answers each request with the next of `answers`, the last one again and again."""

    def __init__(self, path: Path, *answers: Answer) -> None:
        self.path, self.answers, self.asked = path, list(answers), list[dict[str, Any]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(json.loads(await reader.readline()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")
        writer.close()

    async def during(self, work: Awaitable[Any]) -> Any:
        async with await asyncio.start_unix_server(self.serve, str(self.path)):
            return await work


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HubdSpawner]:
    monkeypatch.setattr(module, "_accepts", lambda port: True)
    monkeypatch.setattr(HubdSpawner, "get_env", lambda self: {"JUPYTERHUB_API_TOKEN": "t", "PORT": str(self.port)})
    monkeypatch.setattr(module, "object_session", lambda thing: None)
    monkeypatch.setattr(HubdSpawner, "server", SimpleNamespace())

    def made(name: str = "", **traits: Any) -> HubdSpawner:
        spawner = HubdSpawner(spawn_socket=str(tmp_path / "s"), patience=0.4, **traits)
        spawner.user = SimpleNamespace(name="ada")
        spawner.orm_spawner = SimpleNamespace(name=name, state={}, server=None)
        return spawner

    return made


Make = Callable[..., HubdSpawner]
RUNS = {"ok": True, "status": None}


def test_a_start(make: Make, tmp_path: Path) -> None:
    spawner, daemon = make("lab2"), Daemon(tmp_path / "s", RUNS)
    address, port = asyncio.run(daemon.during(spawner.start()))
    assert (address, port) == ("127.0.0.1", spawner.port)
    env = {"JUPYTERHUB_API_TOKEN": "t", "PORT": str(port)}
    assert daemon.asked == [{"do": "start", "user": "ada", "server": "lab2", "env": env, "port": port}]


def test_what_a_restarted_hub_needs_is_kept_before_the_daemon_is_asked(make: Make) -> None:
    spawner = make()
    with pytest.raises(SpawnException):
        asyncio.run(spawner.start())
    assert spawner.orm_spawner.state == {"port": spawner.port}
    again = make()
    again.load_state(spawner.orm_spawner.state)
    assert again.port == spawner.port


def test_a_daemon_that_restarts_is_waited_for(make: Make, tmp_path: Path) -> None:
    spawner = make()
    daemon = Daemon(tmp_path / "s", b"", {"ok": False, "error": "busy", "retry": True}, RUNS)

    async def late() -> None:
        starting = asyncio.create_task(spawner.start())
        await asyncio.sleep(0.1)
        await daemon.during(starting)

    spawner.patience = 3
    asyncio.run(late())
    assert [request["do"] for request in daemon.asked] == ["start"] * 3


def test_a_daemon_that_stays_away_is_named(make: Make) -> None:
    spawner = make()
    with pytest.raises(SpawnException, match=AWAY[:20]):
        asyncio.run(spawner.start())


def test_a_refusal_reaches_the_person(make: Make, tmp_path: Path) -> None:
    words = "Your account is not on this hub's list."
    daemon = Daemon(tmp_path / "s", {"ok": False, "error": words, "retry": False})
    with pytest.raises(SpawnException) as caught:
        asyncio.run(daemon.during(make().start()))
    assert caught.value.message == words
    assert len(daemon.asked) == 1


def test_a_server_that_ends_at_once_is_told(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_accepts", lambda port: False)
    daemon = Daemon(tmp_path / "s", RUNS, {"ok": True, "status": 1, "why": "No module named x"})
    with pytest.raises(SpawnException) as caught:
        asyncio.run(daemon.during(make().start()))
    assert "No module named x" in caught.value.message


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (RUNS, None),
        ({"ok": True, "status": 0}, 0),
        ({"ok": True, "status": 143}, 143),
        ({"ok": False, "error": "?"}, None),
        (b"", None),
        (b"garbage\n", None),
        (b"[]\n", None),
    ],
)
def test_poll(make: Make, tmp_path: Path, answer: Answer, status: int | None) -> None:
    spawner = make()
    spawner.load_state({"port": 4711})
    assert asyncio.run(Daemon(tmp_path / "s", answer).during(spawner.poll())) == status


def test_a_server_is_never_taken_for_stopped_because_the_daemon_is_away(make: Make) -> None:
    spawner = make()
    spawner.load_state({"port": 4711})
    assert asyncio.run(spawner.poll()) is None


def test_a_server_that_never_started_does_not_run(make: Make) -> None:
    assert asyncio.run(make().poll()) == 0


def test_stop(make: Make, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "s", {"ok": True, "status": 0})
    asyncio.run(daemon.during(make().stop(now=True)))
    assert daemon.asked == [{"do": "stop", "user": "ada", "server": "", "now": True}]


def test_the_page_hears_each_stage_once(make: Make) -> None:
    spawner = make()

    async def first_two() -> list[str]:
        said = []
        async for event in spawner.progress():
            said.append(event["message"])
            spawner._stage = "Your server is starting"
            if len(said) == 2:
                break
        return said

    assert asyncio.run(first_two()) == ["Asking for your server", "Your server is starting"]


def test_the_state_of_a_stopped_server_is_empty(make: Make) -> None:
    spawner = make()
    spawner.load_state({"port": 4711})
    spawner.clear_state()
    assert spawner.get_state() == {}
