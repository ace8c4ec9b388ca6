"""A person's own environments, as that person finds them in the home; what is in them is run as that person alone."""

from __future__ import annotations

import os
from pathlib import Path

from hubd.host import files
from hubd.tools.kernels import activated

# For people who came by ssh; in JupyterLab the variable tells the same.
FOLDERS = "envs", ".conda/envs"

# Activates as conda does, then becomes the command.
_ACTIVATE = 'while [ "$1" != -- ]; do . "$1"; shift; done; shift; exec "$@"'


def _folders() -> list[Path]:
    told = os.environ.get("HUBD_OWN_ENVIRONMENTS", "")
    return [Path(each) for each in told.split(":") if each] or [Path.home() / each for each in FOLDERS]


def names() -> list[str]:
    """What they are called."""
    return [name for folder in _folders() for name in files.children(folder) if _is_environment(folder / name)]


def find(name: str) -> Path | None:
    """Where one is; None where there is none of that name."""
    paths = (folder / name for folder in _folders() if "/" not in name)
    return next((path for path in paths if _is_environment(path)), None)


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


def after(scripts: tuple[str, ...], command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, with these scripts run before it."""
    return ("/bin/bash", "--noprofile", "--norc", "-c", _ACTIVATE, "bash", *scripts, "--", *command) if scripts else command


def _is_environment(prefix: Path) -> bool:
    made = (prefix / "conda-meta/history").is_file() or (prefix / "pyvenv.cfg").is_file()
    return made and not prefix.with_name(f".{prefix.name}.unfinished").exists()
