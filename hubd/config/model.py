"""Every option of config.yaml, once: its type, default, meaning and an example. Knows nothing of text or machine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, create_model

from hubd.config.checks import (
    missing_kernel,
    plugins_twice,
    shared_ports,
    unknown_audiences,
    unknown_default,
    unknown_members,
    vague_audience,
)
from hubd.config.names import (
    AbsolutePath,
    Accounts,
    Address,
    Audience,
    Channels,
    Checksum,
    EnvironmentName,
    GroupName,
    Line,
    Packages,
    PluginName,
    Port,
    Url,
)
from hubd.config.section import ByName, Finding, Section, twice
from hubd.config.units import Cores, Duration, Size, parse_cores, parse_size
from hubd.layout import ADMINS, EVERYONE

INSTALLER = "https://repo.anaconda.com/miniconda/Miniconda3-py313_26.1.1-1-Linux-{}.sh"

# JupyterLab alone takes more; somebody forgot a letter.
LEAST_MEMORY = 128 * 1024**2
# With less a server is not up before its start is given up; 1e-9 would be given to systemd as 1 %.
LEAST_CPU = 0.05


class Group(Section):
    """A group of people."""

    members: Accounts = Field(default=(), description="The people in this group, by name.", examples=[["ada", "bea"]])

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "members")


class People(Section):
    """Who may use the hub, and as what."""

    admins: Accounts = Field(default=(), description="People who look after the hub: hub admins with sudo.", examples=[["ada"]])
    users: Accounts = Field(default=(), description="People who may sign in and work.", examples=[["bea", "cid"]])
    groups: dict[GroupName, Group] = Field(
        default={},
        description="Groups of people by name, each with its members.",
        examples=[{"course": {"members": ["ada", "bea"]}}],
    )

    @property
    def everybody(self) -> tuple[str, ...]:
        """Admins and users, each once, in the order of the file."""
        return tuple(dict.fromkeys((*self.admins, *self.users)))

    @property
    def audiences(self) -> dict[str, tuple[str, ...]]:
        """Who is in each audience but that of everyone."""
        return {ADMINS: self.admins, **{name: group.members for name, group in self.groups.items()}}

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "admins")
        yield from twice(written, "users")
        yield from unknown_members(written)


class Limits(Section):
    """What each person's server may use."""

    memory: Size | None = Field(default=None, description="Memory for each server; null for no limit.", examples=["1G"])
    cpu: Cores | None = Field(default=None, description="Processor cores for each server; null for no limit.", examples=[2])

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        memory = written.get("memory")
        with contextlib.suppress(ValueError):  # what is no size at all is told by its type
            if memory is not None and parse_size(memory) < LEAST_MEMORY:
                yield ("memory",), f"`{memory}` is too little for a server to start", "write at least 128M, such as 1G"
        cpu = written.get("cpu")
        with contextlib.suppress(ValueError):
            if cpu is not None and parse_cores(cpu) < LEAST_CPU:
                yield ("cpu",), f"`{cpu}` is too little for a server to start", f"write at least {LEAST_CPU}, such as 0.5"


class Kernel(Section):
    """How an environment shows up in the launcher."""

    display_name: Line | None = Field(
        default=None,
        description="The kernel's name as people see it; null for the environment's name.",
        examples=["Science"],
    )
    language: Literal["python", "R"] = Field(default="python", description="The language of the kernel.", examples=["python"])


class Environment(Section):
    """Packages that are installed together, and the kernel that runs on them."""

    packages: Packages = Field(
        default=("ipykernel",),
        description="Packages to install, with the kernel's own among them.",
        examples=[["python=3.12", "ipykernel", "numpy"]],
    )
    manager: Literal["auto", "conda", "uv"] = Field(
        default="auto",
        description="What installs the packages: conda, uv, or auto for conda where it can be had.",
        examples=["auto"],
    )
    channels: Channels = Field(
        default=(),
        description="Conda channels; none for those of conda.channels.",
        examples=[["conda-forge"]],
    )
    kernel: Kernel = Field(
        default=Kernel(),
        description="How it shows up in the launcher.",
        examples=[{"display_name": "Science"}],
    )
    audience: Audience = Field(
        default=(EVERYONE,), examples=[["students", "staff"]],
        description="Whom its kernel is offered to: `everyone`, or a list of groups of people.groups, `admins` among them.",
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "packages")
        yield from missing_kernel(written)
        yield from twice(written, "audience")
        yield from vague_audience(written)


class Hub(Section):
    """JupyterHub itself."""

    port: Port = Field(
        default=15001,
        description="Port on this machine that the hub listens on behind the proxy.",
        examples=[15001],
    )
    start_deadline: Duration = Field(
        default=60,
        description="How long the hub may take to answer before a start counts as failed.",
        examples=["60 s"],
    )


class Proxy(Section):
    """The web server in front of everything."""

    port: Port = Field(default=80, description="Port that people's browsers come in on.", examples=[80])
    address: Address = Field(
        default="",
        description="IP address to listen on; empty for all of this machine's.",
        examples=["127.0.0.1"],
    )
    api_port: Port = Field(default=8099, description="Port on this machine that the proxy answers questions on.", examples=[8099])


class InstallerUrls(Section):
    """Where Miniconda's installer comes from, for each kind of processor."""

    x86_64: Url = Field(
        default=INSTALLER.format("x86_64"),
        description="For Intel and AMD.",
        examples=["https://mirror.example.org/miniconda.sh"],
    )
    aarch64: Url = Field(
        default=INSTALLER.format("aarch64"),
        description="For ARM.",
        examples=["https://mirror.example.org/miniconda-arm.sh"],
    )


class InstallerChecksums(Section):
    """What the installer's SHA-256 must be, for each kind of processor."""

    x86_64: Checksum = Field(
        default="f6dfb5b59614fd7b2956b240b2575a9d58203ec7f7a99f85128158a0fdc5c1d7",
        description="For Intel and AMD.",
        examples=["f6dfb5b59614fd7b2956b240b2575a9d58203ec7f7a99f85128158a0fdc5c1d7"],
    )
    aarch64: Checksum = Field(
        default="07c82b5aec04d5f0f3e4b246835b6bc85e104821cbcb0a059c7ea80f028503f4",
        description="For ARM.",
        examples=["07c82b5aec04d5f0f3e4b246835b6bc85e104821cbcb0a059c7ea80f028503f4"],
    )


class Conda(Section):
    """The conda that builds environments."""

    path: AbsolutePath | None = Field(
        default=None,
        description="A conda that is already on this machine; null to install Miniconda.",
        examples=["/opt/miniconda3"],
    )
    url: InstallerUrls = Field(
        default=InstallerUrls(),
        description="Address of the installer.",
        examples=[{"x86_64": "https://mirror.example.org/miniconda.sh"}],
    )
    sha256: InstallerChecksums = Field(
        default=InstallerChecksums(),
        description="Checksum of the installer; it must change with the address.",
        examples=[{}],
    )
    channels: Channels = Field(
        default=("conda-forge",),
        description="Channels that packages come from, best first.",
        examples=[["conda-forge"]],
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "channels")


class Daemon(Section):
    """The program that keeps everything right."""

    interval: Duration = Field(
        default=300, description="How often it looks, when nothing calls for it earlier.", examples=["5 min"]
    )
    settle: Duration = Field(
        default=3,
        description="How long a changed file is left alone before it is acted on, so that `hubd plan` can show what is coming.",
        examples=["3 s"],
    )


class Plugin(Section):
    """A plugin to use: its name alone, or with the place that it comes from."""

    name: PluginName = Field(description="The plugin's name.", examples=["hubd-announcement"])
    source: AbsolutePath | None = Field(
        default=None,
        description="Folder or archive to install it from; null for one that comes with hubd.",
        examples=["/srv/hubd-mine"],
    )


Plugins = Annotated[tuple[Annotated[Plugin, ByName("name")], ...], Field(strict=False)]


PORTS = {
    ("proxy", "port"): Proxy().port,
    ("proxy", "api_port"): Proxy().api_port,
    ("hub", "port"): Hub().port,
}


class Config(Section):
    """The whole of config.yaml."""

    people: People = Field(default=People(), description="Who may use the hub, and as what.", examples=[{"admins": ["ada"]}])
    limits: Limits = Field(default=Limits(), description="What each person's server may use.", examples=[{"memory": "1G"}])
    environments: dict[EnvironmentName, Environment] = Field(
        default={},
        description="Environments by name: packages that are installed together, offered as a kernel.",
        examples=[{"science": {"packages": ["python=3.12", "ipykernel", "numpy"]}}],
    )
    default_environment: EnvironmentName | None = Field(
        default=None,
        description="The environment that a new notebook of somebody who is offered it gets; null for the first one.",
        examples=["science"],
    )
    hub: Hub = Field(default=Hub(), description="JupyterHub itself.", examples=[{"start_deadline": "60 s"}])
    proxy: Proxy = Field(default=Proxy(), description="The web server in front of everything.", examples=[{"port": 80}])
    conda: Conda = Field(
        default=Conda(),
        description="The conda that builds environments.",
        examples=[{"channels": ["conda-forge"]}],
    )
    daemon: Daemon = Field(
        default=Daemon(),
        description="The program that keeps everything right.",
        examples=[{"interval": "5 min"}],
    )
    plugins: Plugins = Field(default=(), description="Plugins to use, by name.", examples=[["hubd-announcement"]])

    def section(self, name: str) -> Section:
        """A plugin's own section. Raises KeyError where no plugin brought such a section."""
        if name in Config.model_fields or name not in type(self).model_fields:
            raise KeyError(name)
        return cast(Section, getattr(self, name))

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from unknown_audiences(written)
        yield from unknown_default(written)
        yield from shared_ports(written, PORTS)
        yield from plugins_twice(written)


def config_model(sections: Mapping[str, type[Section]]) -> type[Config]:
    """The model of the whole file with the plugins' sections in it. Raises ValueError where two want the same name."""
    return _config_model(tuple(sorted(sections.items())))


@functools.lru_cache(maxsize=8)
def _config_model(sections: tuple[tuple[str, type[Section]], ...]) -> type[Config]:
    if not sections:
        return Config
    taken = [name for name, _ in sections if name in Config.model_fields or hasattr(Config, name)]
    if taken:
        raise ValueError(f"a plugin can't bring a section named {taken[0]}: hubd has one")
    fields: dict[str, Any] = {}
    for name, section in sections:
        description = (section.__doc__ or name).strip().splitlines()[0]
        fields[name] = (section, Field(default_factory=section, description=description))
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)
