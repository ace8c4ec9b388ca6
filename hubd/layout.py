"""Where everything lives: every path hubd uses, derived from the prefix. Reads and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PREFIX = Path("/opt/hub")

HUB_ACCOUNT = "hubd-hub"
PROXY_ACCOUNT = "hubd-proxy"
BUILD_ACCOUNT = "hubd-build"
ADMINS_GROUP = "hubd-admins"
USERS_GROUP = "hubd-users"

# Of these, a build sees nothing: systemd puts something empty in their place.
UNSEEN_BY_BUILDS = (Path("/root"), Path("/home"), Path("/run/user"))

# Audiences that are there without being declared; all others are groups of people.
EVERYONE = "everyone"
ADMINS = "admins"

# What the names of JupyterLab's own generations begin with; they share a folder with other things.
SERVER_LABEL = "server-"

DAEMON_UNIT = "hubd.service"
HUB_UNIT = "jupyterhub.service"
# Files in the hub's own folder.
HUB_SECRETS = ("cookie_secret", "proxy-api-password", "service-token")
HUB_SOCKET = "jupyterhub.socket"
HUB_PORT_UNIT = "jupyterhub-port.service"
PROXY_UNIT = "jupyterhub-proxy.service"
PROXY_SOCKET = "jupyterhub-proxy.socket"
PROXY_API_SOCKET = "jupyterhub-proxy-api.socket"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one installation.

    prefix: the folder everything of the product is under.
    run: sockets and other things that live until the next boot.
    units: where systemd reads the administrator's units.
    homes: the folder people's homes are made in.
    """

    prefix: Path = DEFAULT_PREFIX
    run: Path = Path("/run/hubd")
    units: Path = Path("/etc/systemd/system")
    homes: Path = Path("/home")

    @property
    def config_file(self) -> Path:
        return self.prefix / "config.yaml"

    @property
    def hub(self) -> Path:
        return self.prefix / "hub"

    @property
    def server(self) -> Path:
        return self.prefix / "server"

    @property
    def versions(self) -> Path:
        return self.prefix / "versions"

    @property
    def envs(self) -> Path:
        return self.prefix / "envs"

    @property
    def audiences(self) -> Path:
        """Holds a folder for each audience."""
        return self.prefix / "kernels"

    def audience(self, name: str) -> Path:
        """A Jupyter data directory: what is under its `kernels/` is offered to this audience."""
        return self.audiences / name

    @property
    def kernels(self) -> Path:
        """The one that everybody is offered."""
        return self.audience(EVERYONE)

    @property
    def conda(self) -> Path:
        return self.prefix / "conda"

    @property
    def cache(self) -> Path:
        return self.prefix / "cache"

    def package_cache(self, name: str) -> Path:
        """The cache that jobs of one kind share. That of `environments` lies among these: hard links end where a mount does."""
        return self.envs / ".cache" if name == "environments" else self.cache / name

    @property
    def packages(self) -> Path:
        """Unpacked conda packages that builds leave for people's conda; beside the cache that they are hard links to."""
        return self.envs / ".packages"

    @property
    def config_d(self) -> Path:
        return self.prefix / "jupyterhub_config.d"

    @property
    def state(self) -> Path:
        return self.prefix / "state"

    @property
    def record(self) -> Path:
        return self.state / "record.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def facts(self) -> Path:
        return self.state / "facts"

    @property
    def jobs(self) -> Path:
        return self.state / "jobs"

    @property
    def reports(self) -> Path:
        """Where jobs report how far they are and how they ended."""
        return self.state / "reports"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def servers_policy(self) -> Path:
        """What the daemon checks a request for a person's server against."""
        return self.state / "servers.json"

    @property
    def hub_state(self) -> Path:
        return self.state / "hub"

    @property
    def proxy_state(self) -> Path:
        return self.state / "proxy"

    @property
    def proxy_rules(self) -> Path:
        return self.proxy_state / "rules"

    @property
    def socket(self) -> Path:
        return self.run / "hubd.sock"

    @property
    def spawn_socket(self) -> Path:
        return self.run / "spawn.sock"

    @property
    def people_socket(self) -> Path:
        """Where everybody with a server may ask for what is theirs."""
        return self.run / "people.sock"

    @property
    def requests(self) -> Path:
        """Locks of environments that people ask to be offered to others, as OWNER/NAME.lock."""
        return self.state / "requests"

    @property
    def published(self) -> Path:
        """Those that somebody who may said yes to."""
        return self.prefix / "published"


def layout_of(prefix: Path) -> Layout:
    """The layout of the installation at `prefix`; one that is not at the usual place has sockets of its own, too."""
    prefix = prefix.absolute()
    return Layout(prefix) if prefix == DEFAULT_PREFIX else Layout(prefix, run=prefix / "run")
