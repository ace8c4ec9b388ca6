"""Starts a person's server by asking the daemon, which is root; the hub is not and starts nothing itself.

The protocol: the spawner connects to the Unix socket, writes one JSON object and a newline, reads one JSON object and a
newline, and closes. Requests name a person and a server ("" is the default one) and nothing else that matters:

    {"do": "start", "user": NAME, "server": NAME, "env": {NAME: TEXT, …}, "port": NUMBER}
    {"do": "stop",  "user": NAME, "server": NAME, "now": BOOL}
    {"do": "poll",  "user": NAME, "server": NAME}

`start` starts the server on 127.0.0.1:port with `env`; one that runs under that user and server is stopped first, so a
request may be repeated after a lost answer. It answers when the process is started, not when it listens. `stop` answers
when the server is gone, also when it never was there; `now` leaves out the polite signal. Answers:

    {"ok": true, "status": null}                 it runs (or is being started)
    {"ok": true, "status": 1, "why": TEXT}       it does not run; its exit code, 0 when not known; why: its last words, optional
    {"ok": false, "error": TEXT, "retry": BOOL}  refused; a sentence for the person; retry: it may work in a moment

A refusal of `poll` or an unreachable daemon says nothing about the server, so it counts as running: JupyterHub forgets a
server that it believes stopped.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

from jupyterhub.spawner import Spawner, SpawnException
from jupyterhub.utils import random_port
from sqlalchemy.orm import object_session
from traitlets import Float, Unicode, default

LOOPBACK = "127.0.0.1"

# One answer is one line; a person's environment is a few kilobytes.
LONGEST_ANSWER = 1 << 20

AWAY = "hubd is not running on this machine; please tell the person who runs this hub."


class DaemonAwayError(Exception):
    """The daemon does not answer; it may be restarting."""


class HubdSpawner(Spawner):  # type: ignore[misc]  # jupyterhub has no types
    """A person's server, as its own unit, started by the daemon."""

    spawn_socket = Unicode("/run/hubd/spawn.sock", help="Where the daemon listens.").tag(config=True)
    patience = Float(30, help="Seconds that a start or stop waits for a daemon that is away.").tag(config=True)
    answer_time = Float(60, help="Seconds that the daemon may take for one answer.").tag(config=True)

    @default("ip")
    def _ip(self) -> str:
        return LOOPBACK

    @default("env_keep")
    def _env_keep(self) -> list[str]:
        # The rest of the hub's own environment is none of a person's business; the daemon gives PATH and HOME.
        return ["LANG", "LC_ALL", "TZ"]

    _stage = "Asking for your server"

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the port from what was kept in the hub's database."""
        super().load_state(state)
        self.port = int(state.get("port", 0))

    def get_state(self) -> dict[str, Any]:
        """What the hub's database keeps: the port."""
        state: dict[str, Any] = super().get_state()
        return {**state, "port": self.port} if self.port else state

    def clear_state(self) -> None:
        """The server is gone, and its port with it."""
        super().clear_state()
        self.port = 0

    async def start(self) -> tuple[str, int]:
        """Have the server started and wait until it listens. Raises SpawnException with words for the person."""
        self._stage = "Asking for your server"
        self.ip, self.port = LOOPBACK, random_port()
        self._remember()
        await self._insist("start", env=self.get_env(), port=self.port)
        self._stage = "Your server is starting"
        await self._listening()
        self._stage = "Your server answers; opening it"
        return LOOPBACK, self.port

    async def stop(self, now: bool = False) -> None:
        """Have the server stopped; returns when it is gone."""
        await self._insist("stop", now=now)

    async def poll(self) -> int | None:
        """None while the server runs or nobody can tell, else its exit code."""
        if not self.port:
            return 0
        try:
            answer = await self._ask("poll")
        except DaemonAwayError as error:
            self.log.debug("Cannot ask about %s: %s", self._log_name, error)
            return None
        if not answer.get("ok"):
            self.log.warning("No answer about %s: %s", self._log_name, answer.get("error"))
            return None
        status = answer.get("status")
        return None if status is None else int(status)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What goes on, for the page that a person waits at."""
        shown = ""
        while True:
            if self._stage != shown:
                shown = self._stage
                yield {"progress": 30 if "Asking" in shown else 60, "message": shown}
            await asyncio.sleep(0.2)

    def _remember(self) -> None:
        # JupyterHub stores these only once `start` has returned; a hub restarted before that would take the server,
        # which starts all the same, for one that never was.
        self.server.ip, self.server.port = self.ip, self.port
        self.orm_spawner.state = self.get_state()
        session = object_session(self.orm_spawner)
        if session is not None:
            session.commit()

    async def _listening(self) -> None:
        while not await asyncio.to_thread(_accepts, self.port):
            answer = await self._ask_or_none("poll")
            if answer and answer.get("ok") and answer.get("status") is not None:
                why = answer.get("why") or f"it ended with exit code {answer['status']}"
                raise SpawnException(f"Your server stopped right after it started: {why}", reason="exited", status_code=500)
            await asyncio.sleep(0.15)

    async def _insist(self, verb: str, **fields: Any) -> None:
        """Ask until the daemon has done it, is away for too long, or refuses."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while True:
            answer = await self._ask_or_none(verb, **fields)
            if answer and answer.get("ok"):
                return
            if loop.time() > end or (answer and not answer.get("retry")):
                raise _refusal(answer)
            self._stage = "Waiting for hubd, which is restarting" if answer is None else str(answer.get("error"))
            await asyncio.sleep(0.25)

    async def _ask_or_none(self, verb: str, **fields: Any) -> dict[str, Any] | None:
        try:
            return await self._ask(verb, **fields)
        except DaemonAwayError as error:
            self.log.info("hubd does not answer about %s: %s", self._log_name, error)
            return None

    async def _ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        request = {"do": verb, "user": self.user.name, "server": self.name, **fields}
        try:
            async with asyncio.timeout(self.answer_time):
                return await _exchange(self.spawn_socket, request)
        except (OSError, ValueError, TimeoutError) as error:
            raise DaemonAwayError(str(error) or type(error).__name__) from error


async def _exchange(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request, return the answer. Raises OSError, ValueError (a broken or cut-off answer)."""
    reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_ANSWER)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        answer = json.loads(await reader.readline())
    finally:
        writer.close()
    if not isinstance(answer, dict):
        raise ValueError("the answer is not an object")
    return answer


def _refusal(answer: dict[str, Any] | None) -> SpawnException:
    if answer is None:
        return SpawnException(AWAY, reason="hubd-away", status_code=503)
    return SpawnException(str(answer.get("error") or "hubd refused."), reason="refused", status_code=403)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
