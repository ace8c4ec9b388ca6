"""The installer's arguments. Reads nothing."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What bootstrap.py was asked for. events: descriptor for progress events, None prints them as text."""

    prefix: Path
    port: int | None
    admins: tuple[str, ...]
    password_file: Path | None
    config: Path | None
    preset: str
    plugins: tuple[str, ...]
    events: int | None


def parse(arguments: list[str]) -> Options:
    """The options of a command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="hubd_installer", description="Makes the first pass of a new hub.")
    parser.add_argument("--prefix", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--admin", action="append", default=[])
    parser.add_argument("--admin-password-file", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--preset", default="")
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--events", type=int)
    found = parser.parse_args(arguments)
    return Options(
        prefix=found.prefix.absolute(),
        port=found.port,
        admins=tuple(found.admin),
        password_file=found.admin_password_file,
        config=found.config,
        preset=found.preset,
        plugins=tuple(found.plugin),
        events=found.events,
    )
