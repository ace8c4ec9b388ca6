"""Offers the environments that a person made for themselves as kernels of that person. Read by jupyter_server_config.py.

They are looked for whenever somebody asks what kernels there are, so that one that was just made is there without a restart.
What is in them is the person's own, and so is the process that looks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

# hubd sets it for people who may have environments of their own: folders with environments, parted by `:`.
FOLDERS = "HUBD_OWN_ENVIRONMENTS"
PREFIX = "own-"
PATH = "/usr/local/bin:/usr/bin:/bin"

# Activates as conda does, and then is the kernel itself: it gets the signals that are meant for it.
ACTIVATE = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do [ ! -r "$script" ] || . "$script"; done; exec "$@"'


class KernelsOfOnesOwn(KernelSpecManager):
    """What is offered to the person, and what the person made."""

    def find_kernel_specs(self) -> dict[str, str]:
        """The folder of each kernel, by name."""
        return {**super().find_kernel_specs(), **{name: str(folder) for name, (_, folder) in self._own().items()}}

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """How a kernel is started. Raises NoSuchKernel."""
        if not kernel_name.startswith(PREFIX):
            return super().get_kernel_spec(kernel_name)
        found = self._own().get(kernel_name)
        if not found:
            raise NoSuchKernel(kernel_name)
        prefix, folder = found
        return self.kernel_spec_class(resource_dir=str(folder), **spec(prefix, folder))

    def _own(self) -> dict[str, tuple[Path, Path]]:
        folders = [Path(each) for each in os.environ.get(FOLDERS, "").split(":") if each]
        return dict(own_kernels(folders))


def own_kernels(folders: list[Path]) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """The kernels of the environments in these folders: a name for each, the environment, and where its kernel.json is."""
    for prefix in (each for folder in folders for each in _inside(folder) if _is_environment(each)):
        kernels = [each for each in _inside(prefix / "share/jupyter/kernels") if (each / "kernel.json").is_file()]
        for kernel in kernels:
            words = (prefix.name, kernel.name) if len(kernels) > 1 else (prefix.name,)
            yield PREFIX + "-".join(re.sub(r"[^a-z0-9._-]", "_", word.lower()) for word in words), (prefix, kernel)


def spec(prefix: Path, folder: Path) -> dict[str, Any]:
    """What kernel.json of an environment says, so that its programs and variables are those of the environment."""
    said = json.loads((folder / "kernel.json").read_text())
    # Some are written with a bare name, for which Jupyter would take the interpreter that it runs with itself.
    program = prefix / "bin" / said["argv"][0]
    argv = [str(program) if program.exists() else said["argv"][0], *said["argv"][1:]]
    variables = {"PATH": f"{prefix}/bin:{PATH}", "PYTHONNOUSERSITE": "1"}
    if (prefix / "conda-meta").is_dir():
        variables |= {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": prefix.name}
        if (prefix / "etc/conda/activate.d").is_dir():
            argv = ["/bin/bash", "--noprofile", "--norc", "-c", ACTIVATE, "bash", *argv]
    else:
        variables |= {"VIRTUAL_ENV": str(prefix)}
    if (prefix / "lib/R").is_dir():
        variables |= {"R_HOME": str(prefix / "lib/R")}
    language = str(said.get("language") or "")
    what = "" if language.lower() == "python" else f", {language}"
    # Jupyter puts the variables of the server in where it finds a `$`.
    told = {name: value.replace("$", "$$") for name, value in {**variables, **said.get("env", {})}.items()}
    return {**said, "argv": argv, "env": told, "display_name": f"{prefix.name}{what} (my own)"}


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError:
        return []


def _is_environment(prefix: Path) -> bool:
    made = (prefix / "conda-meta/history").is_file() or (prefix / "pyvenv.cfg").is_file()
    # hubd lays this beside an environment as long as it makes it.
    return made and not prefix.with_name(f".{prefix.name}.unfinished").exists()


c = get_config()  # type: ignore[name-defined]  # noqa: F821  # Jupyter gives it
c.ServerApp.kernel_spec_manager_class = KernelsOfOnesOwn
