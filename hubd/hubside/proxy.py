"""The hub's routes for Traefik, in a file that the proxy's account can read and that is never half written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from jupyterhub_traefik_proxy.traefik_utils import TraefikConfigFileHandler
from tornado.ioloop import PeriodicCallback
from traitlets import default, observe

# Seconds between two looks at the file with the routes.
LOOK_AGAIN = 5


class RoutesFile(TraefikConfigFileHandler):  # type: ignore[misc]  # jupyterhub_traefik_proxy has no types
    """The file with the routes; the group of its folder may read it."""

    _written: tuple[int, ...] = ()

    def is_as_written(self) -> bool:
        """Whether the file is the one that was written last, and nobody has changed it since."""
        try:
            return _mark(os.stat(self.file_path)) == self._written
        except FileNotFoundError:
            return False

    def load(self) -> dict[str, Any]:
        """The routes; none where the file is broken, for the hub adds each route again when it starts."""
        try:
            routes: dict[str, Any] = super().load()
        except FileNotFoundError:
            return {}
        except (ValueError, IndexError, KeyError, TypeError):
            # What the parser raises for a file that somebody has spoiled depends on how it is spoiled.
            return {}
        return routes

    def atomic_dump(self, data: dict[str, Any]) -> None:
        """Put `data` in the place of what the file holds."""
        # The base class makes its file with a mode of 0600, whatever the umask is, and the proxy is another account.
        # The name's ending keeps Traefik, which watches the folder, from reading the file before it is whole.
        fresh = Path(f"{self.file_path}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            self._dump(data, stream)
            stream.flush()
            os.fchmod(descriptor, 0o640)
            self._written = _mark(os.fstat(descriptor))
        fresh.replace(self.file_path)


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid, status.st_gid


class HubdProxy(TraefikFileProviderProxy):  # type: ignore[misc]  # as above
    """Traefik, which runs as a service of its own and reads its routes from a file."""

    @default("dynamic_config_handler")
    def _default_handler(self) -> RoutesFile:
        return RoutesFile(self.dynamic_config_file)

    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = RoutesFile(self.dynamic_config_file)

    async def _start_external(self) -> None:
        await super()._start_external()
        self._keeping = PeriodicCallback(self.keep_routes, 1000 * LOOK_AGAIN)
        self._keeping.start()

    async def keep_routes(self) -> None:
        """Write the routes again where somebody removed or changed the file; else that waits until a server starts or stops."""
        async with self.mutex:
            if self.dynamic_config_handler.is_as_written():
                return
            self.log.warning("%s was removed or changed: writing it again", self.dynamic_config_file)
            try:
                self._persist_dynamic_config()
            except OSError as error:
                self.log.error("%s cannot be written: %s", self.dynamic_config_file, error)

    async def _setup_traefik_dynamic_config(self) -> None:
        # The base class lets what the file says win, so a new API password or port would never get into it.
        http = self.dynamic_config["http"]
        for kind, name in (("routers", "route_api"), ("middlewares", "auth_api")):
            http.get(kind, {}).pop(name, None)
        await super()._setup_traefik_dynamic_config()
