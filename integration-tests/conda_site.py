"""A site with a mirror of its own: a real channel and a stand-in for conda's installer on this host, and what is asked of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from channel.build import MADE
from hub import KERNEL, HubMachine
from web import WebServer, web_server

CONFIG = "/opt/hub/config.yaml"


@dataclass(frozen=True, slots=True)
class Site:
    """A site with a mirror of its own: the channel and the installer."""

    machine: HubMachine
    web: WebServer
    good: str
    sha256: str

    def config(self, environments: str, *, sha256: str = "", conda: str = "") -> str:
        """The config with these environments added and conda from the mirror."""
        own = conda or f"""conda:
  url: {{x86_64: {self.web.url}/Miniconda.sh, aarch64: {self.web.url}/Miniconda.sh}}
  sha256: {{x86_64: {sha256 or self.sha256}, aarch64: {sha256 or self.sha256}}}
  channels: [{", ".join(self.channels)}]
"""
        return self.good.replace("environments:\n", f"environments:\n{environments}") + own

    @property
    def channels(self) -> list[str]:
        return [f"{self.web.url}/{name}" for name in ("real", MADE) if (self.web.folder / name).exists()]

    def foretold(self, text: str, name: str) -> dict[str, Any]:
        """What `hubd plan --solve` says of a build that this config asks for; looks that it changes nothing."""
        self.machine.run(("systemctl", "stop", "hubd"))  # it would begin to build
        self.machine.write(CONFIG, text, mode=0o640)
        before = self._there()
        done = self.machine.hubd("plan", "--solve", "--json", check=False)
        assert "Traceback" not in done.out + done.err, done
        assert self._there() == before, done
        self.machine.run(("systemctl", "start", "hubd"))
        change = next(each for each in json.loads(done.out)["changes"] if each["id"] == f"environment:{name}")
        return {**change, "code": done.code}

    def _there(self) -> str:
        """What there is of environments and of jobs."""
        return self.machine.shell(
            "find /opt/hub/envs /opt/hub/state/jobs /opt/hub/state/reports -maxdepth 2 -not -name solves.lock"
            " -not -path '*/.cache/*' -printf '%p %i %U %m\\n' | sort; systemctl list-units --all --no-legend 'hubd-job-solve*'"
        ).out

    def apply(self, text: str) -> str:
        """Put the config in place, follow the builds to their end, and give what was said."""
        self.machine.write(CONFIG, text, mode=0o640)
        done = self.machine.hubd("apply", "--yes", "--wait", check=False)
        assert "Traceback" not in done.out + done.err, done
        return f"{done.code} {done.out} {done.err}"

    def trouble(self, identity: str) -> str:
        """What status says of one thing, in one line."""
        told = {each["id"]: each for each in self.machine.status()["last_pass"]["trouble"]}
        assert identity in told, told
        return f"{told[identity]['what']} | {told[identity]['why']} | {told[identity]['fix']}"

    def run(self, code: str, kernel: str) -> str:
        return self.machine.sign_in("ada").start_server().run(code, kernel)


@pytest.fixture(scope="module")
def site(hub_machine: HubMachine, conda_channel: Path) -> Iterator[Site]:
    # What is there already stays with uv: the small channel does not have its packages.
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.manager", "uv")
    sha256 = hashlib.sha256((conda_channel / "Miniconda.sh").read_bytes()).hexdigest()
    with web_server(conda_channel, hub_machine.net.host) as web:
        yield Site(hub_machine, web, hub_machine.read(CONFIG), sha256)


def environment(name: str, packages: str, manager: str = "conda") -> str:
    return f"  {name}:\n    packages: [{packages}]\n    manager: {manager}\n"
