"""Recorded and read facts that wishes depend on besides the config: choices made, drop-ins, versions. Reads only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hubd.config.model import Config
from hubd.errors import HubdError
from hubd.flow.source import data_folder
from hubd.host import files
from hubd.layout import Layout
from hubd.tools.notebook import Notebook, code_of

Facts = dict[str, dict[str, Any]]

LONGEST_NOTEBOOK = 8 * 1024 * 1024


def read(layout: Layout, config: Config) -> Facts:
    """All facts by name.

    `drop-ins`: the names and the digest of jupyterhub_config.d. `hub`: which hub environment is switched on.
    `server-list`: path and digest of the locked list of people's servers. `notebooks`: those that
    prove an environment, by their paths in the config. All others were recorded by resources.
    """
    found = files.look(layout.hub)
    server_list = data_folder() / "requirements-server.txt"
    return {
        **_recorded(layout),
        "drop-ins": _drop_ins(layout.config_d),
        "hub": {"version": found.target if found else ""},
        "server-list": {"path": str(server_list), "digest": _digest([server_list])},
        "notebooks": {each.smoke: _notebook(layout, each.smoke) for each in config.environments.values() if each.smoke},
    }


def _notebook(layout: Layout, written: str) -> Notebook:
    """The code of a notebook, or why it cannot be had: that is nothing which keeps the rest from being right."""
    try:
        text = files.read(layout.prefix / written, most=LONGEST_NOTEBOOK)
        if text is None:
            raise HubdError("it is not there")
        return Notebook(written, code_of(text))
    except HubdError as error:
        return Notebook(written, problem=str(error))


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


def _drop_ins(folder: Path) -> dict[str, Any]:
    paths = [folder / name for name in files.children(folder) if name.endswith(".py")]
    return {"names": [path.name for path in paths], "digest": _digest(paths) if paths else ""}


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + (files.read(path) or b""))
    return digest.hexdigest()
