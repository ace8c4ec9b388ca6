"""From hubd's settings.json, the secrets' files and the drop-ins to JupyterHub's configuration.

settings.json holds trait values by class name, in JSON; lists stand for sets. Its key `hubd` holds what is not a trait:

    config_d                  folder of *.py drop-ins, read in the order of their names
    held_folder               folder that the hub keeps open as long as it runs
    spawn_socket              the socket on which the daemon starts people's servers
    proxy_api_password_file   password of the proxy's API
    service_token_file        token with which the daemon talks to the hub's REST API

There is no secret in it: secrets are read from files that nobody but their owner may read.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue, PyFileConfigLoader

SERVICE = "hubd"

# How the hub is wired here. The settings file and the drop-ins come after and win.
WIRING: dict[str, dict[str, Any]] = {
    "JupyterHub": {
        "spawner_class": "hubd.hubside.spawner.HubdSpawner",
        "authenticator_class": "hubd.hubside.authenticator.HubdAuthenticator",
        "proxy_class": "hubd.hubside.proxy.HubdProxy",
        # A restart of the hub must not end anybody's server, nor the proxy, which is a service of its own.
        "cleanup_servers": False,
        "cleanup_proxy": False,
        # A newer JupyterHub brings its database up to date by itself, keeping a copy of the old one.
        "upgrade_db": True,
    },
    "TraefikProxy": {"should_start": False, "traefik_api_username": SERVICE},
}


class SettingsError(Exception):
    """The settings cannot be used; the text says which file, where and why."""


def load(path: str, *, say: Callable[[str], None]) -> Config:
    """The whole configuration from the settings at `path`. say: is told each drop-in that is read.

    Raises SettingsError.
    """
    settings = _read_settings(Path(path))
    own = settings.pop("hubd", {})
    config = Config(WIRING)
    config.merge(Config(_secrets(own)))
    config.merge(Config(settings))
    for drop_in in _drop_ins(own.get("config_d")):
        say(f"Reading {drop_in}")
        config.merge(read_drop_in(drop_in))
    _add_service(config, own.get("service_token_file"))
    return config


def read_drop_in(path: Path) -> Config:
    """What one drop-in sets. Raises SettingsError with its file and line."""
    try:
        return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except SyntaxError as error:
        raise SettingsError(f"{error.filename or path}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}") from error


def read_secret(path: Path) -> str:
    """The one line in the file at `path`. Raises SettingsError when it is missing, empty or open to others."""
    try:
        with path.open(encoding="ascii") as stream:
            mode = os.fstat(stream.fileno()).st_mode & 0o777
            text = stream.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise SettingsError(f"the secret {path} can be read by others (its mode is {mode:04o}, not 0600)")
    if not text:
        raise SettingsError(f"the secret {path} is empty")
    return text


def _read_settings(path: Path) -> dict[str, dict[str, Any]]:
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict) or not all(isinstance(value, dict) for value in settings.values()):
        raise SettingsError(f"{path} must hold an object of objects: trait values by class name")
    return settings


def _secrets(own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if "held_folder" in own:
        found["Hub"] = {"held_folder": own["held_folder"]}
    if "spawn_socket" in own:
        found["HubdSpawner"] = {"spawn_socket": own["spawn_socket"]}
    if "proxy_api_password_file" in own:
        password = read_secret(Path(own["proxy_api_password_file"]))
        found["TraefikProxy"] = {"traefik_api_password": password}
    return found


def _add_service(config: Config, token_file: str | None) -> None:
    """Let the daemon in, last of all: a drop-in that sets the list of services would leave it out."""
    if not token_file:
        return
    services = config["JupyterHub"].get("services", [])
    if isinstance(services, LazyConfigValue):
        services = services.get_value([])
    # Only an admin may make others admins; roles and their scopes do not reach that far.
    ours = {"name": SERVICE, "api_token": read_secret(Path(token_file)), "admin": True}
    config["JupyterHub"]["services"] = [*(one for one in services if one.get("name") != SERVICE), ours]


def _drop_ins(folder: str | None) -> list[Path]:
    # hubd looks at the same ones: a folder of such a name is none.
    return sorted(path for path in Path(folder).glob("*.py") if not path.is_dir()) if folder else []


def _line_in(path: Path, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
