"""JupyterHub with hubd's settings, a stop that loses no request, and a last log line that says why a start failed."""

from __future__ import annotations

import os
import signal
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.app import aliases as jupyterhub_aliases
from sqlalchemy.exc import DBAPIError, OperationalError
from tornado.httpserver import HTTPServer
from traitlets import Dict, TraitError, Unicode
from traitlets.config import Config

from hubd.hubside import handover
from hubd.hubside.server import GracefulServer
from hubd.hubside.settings import SERVICE, SettingsError, load

# Seconds that requests in flight get to finish when the hub is told to stop.
GRACE = 3.0

FAILED = "The hub does not start: %s"


class Hub(JupyterHub):  # type: ignore[misc]  # jupyterhub has no types
    """JupyterHub, as hubd runs it."""

    name = "jupyterhub"
    settings_file = Unicode("settings.json", help="The settings that hubd wrote.").tag(config=True)
    held_folder = Unicode(help="The folder of the routes, kept open.").tag(config=True)
    aliases = Dict({**jupyterhub_aliases, "settings": "Hub.settings_file"})

    _stopping = False

    def load_config_file(self, filename: str, path: str | None = None) -> None:
        """Take the settings from hubd's file and the drop-ins; JupyterHub's own configuration file is not read."""
        config: Config = load(self.settings_file, say=self.log.info)
        config.merge(self.cli_config)
        self.update_config(config)

    async def init_api_tokens(self) -> None:
        """Take the tokens of the settings. One that hubd had before, and that somebody may know, is none any more."""
        await super().init_api_tokens()
        forget_old_tokens(self.db, {token for token, name in self.service_tokens.items() if name == SERVICE})

    async def launch_instance_async(self, argv: list[str] | None = None) -> None:
        HTTPServer.configure(GracefulServer)
        try:
            await self.initialize(argv)
            self._hold_folder()
            await self.start()
        except (SettingsError, TraitError) as error:
            self._give_up(str(error))
        except DBAPIError as error:
            self.log.exception("Unexpected error")
            self._give_up(about_database(self.db_url.removeprefix("sqlite:///"), error))
        except Exception as error:
            self.log.exception("Unexpected error")
            self._give_up(f"{type(error).__name__}: {error}")
        else:
            handover.notify("READY=1", "STATUS=Serving")

    def _hold_folder(self) -> None:
        # So hubd sees whether the folder is still the one that this process may write to: one that is made in its place is
        # not, in the hub's sandbox.
        if self.held_folder:
            self._held = os.open(self.held_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _give_up(self, why: str) -> None:
        self.log.critical(FAILED, " ".join(why.split()))  # one line, for that is what `hubd status` shows
        self.exit(1)

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """Answer what has begun, then shut down as JupyterHub does. Running servers are left alone."""
        if self._stopping:
            return
        self._stopping = True
        handover.notify("STOPPING=1", "STATUS=Finishing the requests in flight")
        await self._drain(self.http_server)
        await super().shutdown_cancel_tasks(sig)

    async def _drain(self, server: Any) -> None:
        if isinstance(server, GracefulServer):
            left = await server.drain(limit=GRACE)
            if left:
                self.log.warning("Stopping with %d requests unanswered after %.0f s", left, GRACE)


def about_database(place: str, error: DBAPIError) -> str:
    """What is wrong with the database at `place`, in words, and where it is damaged what to do about it."""
    cause = f"its database {place} cannot be used: {error.orig}"
    if isinstance(error, OperationalError):  # it cannot be opened, the disk is full: the file may be well
        return cause
    return f"{cause}. Restore it from a back-up, or move it away: the hub begins a new one, passwords and homes stay"


def forget_old_tokens(db: Any, present: set[str]) -> None:
    """Leave hubd's service no token in the hub's database but those that are in use; JupyterHub itself keeps all."""
    service = orm.Service.find(db, SERVICE)
    for token in list(service.api_tokens) if service else ():
        if not any(token.match(each) for each in present):
            db.delete(token)
    db.commit()
