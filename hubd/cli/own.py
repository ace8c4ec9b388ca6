"""A person's own environments, as that person finds them in the home; what is in them is run as that person alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from hubd.errors import HubdError, UsageError
from hubd.host import files
from hubd.layout import Layout
from hubd.tools import uv
from hubd.tools.kernels import activated
from hubd.tools.lock import LONGEST_LOCK, SAVED, parse_lock
from hubd.words import named, plain

# For people who came by ssh; in JupyterLab the variable tells the same.
FOLDERS = "envs", ".conda/envs"

# What the kernel of one has at the end of its name, and what tells it from a shared one of the same name.
_ENDING = " (my own)"

# Activates as conda does, then becomes the command, or says the first word where it is none.
_ACTIVATE = """\
missing=$1; shift
while [ "$1" != -- ]; do . "$1"; shift; done; shift
type -P -- "$1" >/dev/null || { printf '%s\\n' "$missing" >&2; exit 127; }
exec "$@"
"""


def _folders() -> list[Path]:
    told = os.environ.get("HUBD_OWN_ENVIRONMENTS", "")
    return [Path(each) for each in told.split(":") if each] or [Path.home() / each for each in FOLDERS]


def names() -> list[str]:
    """What they are called."""
    return [name for folder in _folders() for name in files.children(folder) if _is_environment(folder / name)]


def title(name: str) -> str:
    """What one is called beside those of the hub."""
    return f"{name}{_ENDING}"


def meant(name: str, *, mine: bool) -> tuple[str, bool]:
    """The name of an environment, and whether one's own is meant for sure: by its title, or as somebody says so."""
    return name.removesuffix(_ENDING), mine or name.endswith(_ENDING)


def is_shared(layout: Layout, name: str) -> bool:
    """Whether the hub has one of that name: it is what is meant by the name alone."""
    return name[0] != "." and name in files.children(layout.envs)


def in_terminal(layout: Layout, name: str) -> str:
    """The command that opens a shell in one."""
    return f"hubd-env --own {name}" if is_shared(layout, name) else f"hubd-env {name}"


def twice(layout: Layout, name: str = "") -> list[str]:
    """A line for each name that the hub has, too; name: for no other one."""
    line = "{0} is there twice: `hubd-env {0}` is the hub's, `hubd-env --own {0}` is yours."
    return [line.format(each) for each in names() if name in ("", each) and is_shared(layout, each)]


def find(name: str) -> Path | None:
    """Where one is; None where there is none of that name."""
    paths = (folder / name for folder in _folders() if "/" not in name)
    return next((path for path in paths if _is_environment(path)), None)


def get(name: str) -> Path:
    """Where one is. Raises UsageError where there is none of that name."""
    found = find(name)
    if found is None:
        there = names()
        why = f"there are {named(there, limit=30)}" if there else "you have none"
        raise UsageError(f"there is no environment {name} of your own", why=why)
    return found


def all_told() -> list[dict[str, Any]]:
    """Those of whoever asks, as JSON values."""
    return [told(found) for name in names() if (found := find(name))]


def told(prefix: Path) -> dict[str, Any]:
    """One as JSON values, as far as that is known without a look through its files. packages: how many it has.

    manager: conda, rattler, uv, or venv where Python itself made it. built: when hubd made it, else what made it.
    """
    is_conda = (prefix / "conda-meta").is_dir()
    settings = _text(prefix / "pyvenv.cfg")
    records, ending = (prefix / "conda-meta", ".json") if is_conda else (_packages(prefix), ".dist-info")
    times = (prefix / SAVED, prefix / ("conda-meta/history" if is_conda else "pyvenv.cfg"))
    return {
        "name": plain(prefix.name),
        "path": plain(str(prefix)),
        "manager": _manager(prefix, settings) if not is_conda else _manager(prefix) or "conda",
        "built": next((changed / 1e9 for changed in map(files.changed_at, times) if changed), None),
        "python": uv.version_of(settings),
        "kernel": bool(_names(prefix / "share/jupyter/kernels")),
        "packages": sum(name.endswith(ending) for name in _names(records)) if records else 0,
    }


def _manager(prefix: Path, settings: str = "") -> str:
    """By what hubd wrote down when it made it; else by pyvenv.cfg; empty where neither tells."""
    with contextlib.suppress(HubdError):
        return parse_lock(_text(prefix / SAVED)).manager
    return ("uv" if "\nuv = " in f"\n{settings}" else "venv") if settings else ""


def _names(folder: Path) -> tuple[str, ...]:
    """What is in a folder; nothing where it may not be read."""
    try:
        return tuple(files.children(folder))
    except (HubdError, OSError):
        return ()


def _packages(prefix: Path) -> Path | None:
    return next(iter(sorted(prefix.glob("lib/python*/site-packages"))), None)


def _text(path: Path) -> str:
    try:
        return (files.read(path, follow=False, most=LONGEST_LOCK) or b"").decode(errors="replace")
    except HubdError:
        return ""


def variables(prefix: Path) -> dict[str, str]:
    """What every program of it is to have."""
    is_conda = (prefix / "conda-meta").is_dir()
    kind = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": prefix.name} if is_conda else {"VIRTUAL_ENV": str(prefix)}
    language = {"R_HOME": str(prefix / "lib/R")} if (prefix / "lib/R").is_dir() else {}
    return activated(prefix, {"PYTHONNOUSERSITE": "1", **kind, **language})


def scripts(prefix: Path) -> tuple[str, ...]:
    """What its packages want to be run at each activation."""
    folder = prefix / "etc/conda/activate.d"
    return tuple(str(folder / name) for name in files.children(folder) if name.endswith(".sh"))


def after(scripts: tuple[str, ...], command: tuple[str, ...], *, missing: str) -> tuple[str, ...]:
    """The command, with these scripts run before it. missing: what is said where there is no such program even then."""
    if not scripts:
        return command
    return ("/bin/bash", "--noprofile", "--norc", "-c", _ACTIVATE, "bash", missing, *scripts, "--", *command)


def _is_environment(prefix: Path) -> bool:
    made = (prefix / "conda-meta/history").is_file() or (prefix / "pyvenv.cfg").is_file()
    return made and not prefix.with_name(f".{prefix.name}.unfinished").exists()
