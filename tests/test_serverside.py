"""The settings of people's servers, with stand-ins for the parts of Jupyter that the tests' environment does not have."""

from __future__ import annotations

import asyncio
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import hubd.serverside

CONFIG = Path(hubd.serverside.__file__).with_name("jupyter_server_config.py")


class NoSuchKernel(KeyError):
    pass


class Manager:
    """Restarts as Jupyter does: with what is remembered of the first start."""

    def __init__(self, offered: dict[str, str]) -> None:
        remembered = SimpleNamespace(kernel_spec="old")
        self.kernel = SimpleNamespace(kernel_name="science", provisioner=remembered, _kernel_spec="old")
        self.kernel_spec_manager = self
        self.offered = offered
        self.started: list[Any] = []

    def get_kernel(self, kernel_id: str) -> Any:
        assert kernel_id == "an-id"
        return self.kernel

    def get_kernel_spec(self, name: str) -> str:
        if name not in self.offered:
            raise NoSuchKernel(name)
        return self.offered[name]

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        self.started.append((self.kernel._kernel_spec, self.kernel.provisioner.kernel_spec, now))


def manager_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class that the settings give to Jupyter."""
    modules = {"jupyter_client.kernelspec": {"NoSuchKernel": NoSuchKernel},
               "jupyter_server.services.kernels.kernelmanager": {"AsyncMappingKernelManager": Manager}}  # fmt: skip
    for name, content in modules.items():
        parts = name.split(".")
        for at in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:at]), ModuleType(".".join(parts[:at])))
        vars(sys.modules[name]).update(content)
    settings = SimpleNamespace(ServerApp=SimpleNamespace())
    runpy.run_path(str(CONFIG), {"get_config": lambda: settings, "load_subconfig": lambda name: None})
    return settings.ServerApp.kernel_manager_class


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize(("offered", "started"), [({"science": "new"}, "new"), ({"maths": "new"}, "old")])
def test_a_kernel_is_restarted_as_it_is_offered_now(
    monkeypatch: pytest.MonkeyPatch, offered: dict[str, str], started: str, now: bool
) -> None:
    manager = manager_class(monkeypatch)(offered)
    asyncio.run(manager.restart_kernel("an-id", now=now))
    assert manager.started == [(started, started, now)]
