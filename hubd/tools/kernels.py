"""Kernels as Jupyter starts them: argv by language, and the text of kernel.json. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

# What people have besides the environment's own programs.
PATH = "/usr/local/bin:/usr/bin:/bin"


def kernel_argv(prefix: Path, language: str) -> list[str]:
    """How the kernel of a language is started from the environment at `prefix`."""
    if language == "R":
        return [f"{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"]
    return [f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def activated(prefix: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a program of the environment; `variables` are those that the environment asks for."""
    return {"PATH": f"{prefix}/bin:{PATH}", **variables}


def kernelspec(prefix: Path, variables: Mapping[str, str], *, title: str, language: str, debugger: bool = False) -> bytes:
    """kernel.json: the environment's own interpreter, and its programs and variables in the notebook.

    debugger: whether JupyterLab may ask the kernel for one.
    """
    spec = {
        "argv": kernel_argv(prefix, language),
        "display_name": title,
        "language": language,
        # jupyter_client puts the variables of the server in where it finds a `$`.
        "env": {name: value.replace("$", "$$") for name, value in activated(prefix, variables).items()},
        "metadata": {"debugger": debugger},
    }
    return json.dumps(spec, indent=1).encode() + b"\n"
