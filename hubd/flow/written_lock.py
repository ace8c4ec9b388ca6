"""A saved lock is put where an administrator wants it, and the change of config.yaml that builds from it is told."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubd.config.names import is_address
from hubd.config.path import dotted
from hubd.config.section import written_as
from hubd.config.shape import flow
from hubd.config.text import read
from hubd.errors import HubdError
from hubd.flow.source import read_text
from hubd.host import files
from hubd.layout import Layout
from hubd.tools.lock import Lock, lock_text
from hubd.words import named

# What a lock takes the place of.
REPLACED = ("packages", "pip", "channels", "file", "sha256", "git", "lock")


@dataclass(frozen=True, slots=True)
class Put:
    """changed: whether something else was at the path, or nothing."""

    path: Path
    changed: bool


def usual_place(layout: Layout, name: str) -> Path:
    """Where the lock of an environment is put when nobody says where."""
    return layout.prefix / "environments" / f"{name}.lock"


def put_lock(layout: Layout, path: Path, lock: Lock, *, force: bool = False) -> Put:
    """Write the lock by one rename. Raises HubdError where something else is at the path, unless `force`."""
    data = lock_text(lock).encode()
    there = files.read(path)
    if there == data:
        return Put(path, changed=False)
    if there is not None and not force:
        # By a rename, for which it is the folder that counts.
        over = "Write over it: --force." if os.access(path.parent, os.W_OK) else "Write over it: sudo, and --force."
        users = built_from(layout, path)
        why = f"config.yaml builds {named(users)} from it" if users else "an environment may be built from it"
        raise HubdError(
            f"{path} is there already and holds something else", why=why,
            fix=f"{over} Write to another file: --to FILE.",
        )  # fmt: skip
    folder = layout.prefix / "environments"
    try:
        if path.parent == folder and files.look(folder, names=False) is None:
            files.make_directory(folder, mode=0o755)
        files.write_atomic(path, data, keep=True)
    except HubdError as error:
        fix = error.fix or "Use sudo, or write to another place: --to FILE."
        raise HubdError(error.what, why=error.why, fix=fix, retry=error.retry) from error
    return Put(path, changed=True)


def built_from(layout: Layout, path: Path) -> list[str]:
    """The environments that are built anew when that lock is another one; none for an account that may not read config.yaml."""
    found = []
    for name, written in _environments(layout).items():
        entry = written if isinstance(written, Mapping) else {}
        place = entry.get("lock")
        here = isinstance(place, str) and not is_address(place) and not entry.get("git") and not entry.get("frozen")
        if here and os.path.realpath(layout.prefix / str(place)) == os.path.realpath(path):
            found.append(str(name))
    return found


def how_to_use(layout: Layout, name: str, path: Path, lock: Lock) -> str:
    """The command that makes config.yaml build the environment from that lock; empty where it does so already.

    Where packages are written, the whole section is: beside a lock they are refused.
    """
    place = str(path.relative_to(layout.prefix)) if path.is_relative_to(layout.prefix) else str(path)
    written = _written(layout, name)
    if written.get("lock") == place and not written.get("git"):
        return ""
    option = f"environments.{dotted((name,))}"
    kept = {key: value for key, value in written.items() if key not in REPLACED}
    if written and not set(REPLACED[:-1]) & written.keys() and _fits(written, lock):
        return f"hubd config set {shlex.quote(f'{option}.lock')} {shlex.quote(place)}"
    manager = {} if _fits(written, lock) else {"manager": "conda" if lock.conda else "uv"}
    section = flow({"lock": place, **kept, **manager})
    return f"hubd config set {shlex.quote(option)} {shlex.quote(section)}"


def _written(layout: Layout, name: str) -> Mapping[str, Any]:
    """The section of the environment as it is written; empty where there is none, or this account may not read it."""
    return written_as(dict, _environments(layout), name) or {}


def _environments(layout: Layout) -> Mapping[Any, Any]:
    try:
        data = read(read_text(layout)).data
    except HubdError:
        return {}
    return written_as(dict, data, "environments") or {}


def _fits(written: Mapping[str, Any], lock: Lock) -> bool:
    """Whether the manager that is written can build the lock."""
    manager = str(written.get("manager", "auto"))
    return manager == "auto" or (manager == "uv") != bool(lock.conda)
