"""Recorded and read facts that wishes depend on besides the config: choices made, drop-ins, versions. Reads only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hubd
from hubd.config.model import Config
from hubd.errors import HubdError
from hubd.flow import published
from hubd.flow.source import data_folder
from hubd.host import files
from hubd.layout import HUB_SECRETS, Layout
from hubd.resources.generation import Generations
from hubd.resources.secret import read_secret

# Bytes of a lock, an environment.yml or a notebook.
LONGEST = 8 * 1024 * 1024

Facts = dict[str, dict[str, Any]]


def read(layout: Layout, config: Config) -> Facts:
    """All facts by name.

    `drop-ins`: the names and the digest of jupyterhub_config.d. `hub`: which hub environment is switched on.
    `hub-secrets`: a few digits for each of the hub's secrets that is there; they change with it and give nothing away.
    `server-list`: path and digest of the locked list of people's servers. `files`: the locks and files that environments
    are built from and the notebooks that prove them, by the place that the config names: `text`, or `why` it cannot be read;
    `private` where not everybody on the machine could read it.
    `server-settings`: the folder with the settings that Jupyter reads in people's servers. `requests`: the environments that
    people ask to be offered to others, by owner. `frozen`: the digest that the generation in use was built for, by environment.
    All others were recorded by resources.
    """
    found = files.look(layout.hub)
    server_list = data_folder() / "requirements-server.txt"
    # As it is without links: commands and the daemon come to the package by different ways.
    settings = Path(hubd.__file__).resolve().parent / "serverside"
    return {
        **_recorded(layout),
        "drop-ins": _drop_ins(layout.config_d),
        "hub": {"version": found.target if found else ""},
        "hub-secrets": _hub_secrets(layout.hub_state),
        "server-list": {"path": str(server_list), "digest": _digest([server_list])},
        "files": {place: _text(layout.prefix / place, layout.prefix) for place in config.files},
        "server-settings": {"path": str(settings)},
        "requests": published.requests(layout),
        "frozen": {name: _built_for(layout.envs / name) for name, each in config.environments.items() if each.frozen},
    }


def _recorded(layout: Layout) -> Facts:
    """What happened at run time; a damaged fact counts as not recorded."""
    facts: Facts = {}
    for name in files.children(layout.facts):
        if name.endswith(".json") and not name.startswith("."):
            try:
                facts[name.removesuffix(".json")] = dict(json.loads(files.read(layout.facts / name) or b""))
            except (ValueError, TypeError, HubdError):
                continue
    return facts


def _built_for(folder: Path) -> str:
    """The digest in the mark of the generation that is switched on; empty where there is none."""
    found = Generations(folder=folder, link=folder / "current").current()
    return found.digest if found else ""


def _text(path: Path, prefix: Path) -> dict[str, str]:
    """What a file says, which anybody may have written: bounded, and no reason to stop a pass."""
    try:
        data = files.read(path, most=LONGEST)
        if data is None:
            return {"why": "there is no such file"}
        return {"text": data.decode(), **({} if _is_open(path, prefix) else {"private": "yes"})}
    except HubdError as error:
        return {"why": error.why}
    except UnicodeDecodeError:
        return {"why": "it is not text"}


def _is_open(path: Path, prefix: Path) -> bool:
    """Whether everybody on the machine may read a file that root can; of the folders that the hub is in nothing is asked."""
    try:
        place = path.resolve()
        folders = (each for each in place.parents if not prefix.resolve().is_relative_to(each))
        return bool(place.stat().st_mode & 0o004) and all(each.stat().st_mode & 0o001 for each in folders)
    except OSError:
        return False


def _hub_secrets(folder: Path) -> dict[str, str]:
    read = {name: read_secret(folder / name) for name in HUB_SECRETS}
    return {name: hashlib.sha256(data).hexdigest()[:12] for name, data in read.items() if data}


def _drop_ins(folder: Path) -> dict[str, Any]:
    paths = [folder / name for name in files.children(folder) if name.endswith(".py") and not (folder / name).is_dir()]
    return {"names": [path.name for path in paths], "digest": _digest(paths) if paths else ""}


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + (files.read(path) or b""))
    return digest.hexdigest()
