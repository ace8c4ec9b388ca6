"""Packages of the distribution."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host
from hubd.resources.base import Resource, Step
from hubd.tools import apt

INSTALL_LIMIT = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages(Resource):
    """Packages that are installed; hubd never removes or upgrades one."""

    kind = "packages"
    lane = "apt"

    label: str
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.label

    def observe(self, host: Host) -> frozenset[str]:
        return apt.installed(host.commands.run(apt.query(self.packages), check=False).out)

    def steps(self, seen: frozenset[str]) -> tuple[Step, ...]:
        missing = tuple(name for name in self.packages if name not in seen)
        if not missing:
            return ()
        return (Step(f"install {', '.join(missing)} from the distribution", lambda host: _install(host, missing)),)


def _install(host: Host, missing: tuple[str, ...]) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        host.commands.run(apt.install(missing), timeout=INSTALL_LIMIT, environment=environment)
    except CommandFailed:
        # Most often the package lists are old or were never fetched.
        host.commands.run(apt.update(), timeout=INSTALL_LIMIT, environment=environment, check=False)
        try:
            host.commands.run(apt.install(missing), timeout=INSTALL_LIMIT, environment=environment)
        except CommandFailed as error:
            raise HubdError(
                f"{', '.join(missing)} could not be installed",
                why=error.why,
                fix="Run `apt-get update && apt-get install` for it by hand and read what it says.",
                retry=True,
            ) from error
