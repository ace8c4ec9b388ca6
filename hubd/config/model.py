"""Every option of config.yaml, once: its type, default, meaning and an example. Knows nothing of text or machine."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, create_model

from hubd.config.checks import (
    missing_kernel,
    no_r_by_uv,
    odd_time,
    plugins_twice,
    shared_ports,
    too_little,
    unclear_source,
    unknown_audiences,
    unknown_default,
    vague_audience,
)
from hubd.config.conda_section import Conda
from hubd.config.git_section import Git, misplaced_git
from hubd.config.names import (
    AbsolutePath,
    Address,
    Audience,
    Channels,
    Checksum,
    EnvironmentName,
    Line,
    NotebookPath,
    Packages,
    Place,
    PluginName,
    Port,
    is_address,
)
from hubd.config.people_section import People
from hubd.config.publish_section import Publish
from hubd.config.section import ByName, Finding, Section, twice
from hubd.config.units import Cores, Duration, Size
from hubd.layout import EVERYONE


class Limits(Section):
    """What each person's server may use."""

    memory: Size | None = Field(default=None, description="Memory for each server; null for no limit.", examples=["1G"])
    cpu: Cores | None = Field(default=None, description="Processor cores for each server; null for no limit.", examples=[2])

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from too_little(written, "a server to start")


class Builds(Section):
    """What each build of an environment may use."""

    memory: Size | None = Field(default=None, description="Memory for each build; null for no limit.", examples=["4G"])
    cpu: Cores | None = Field(default=None, description="Processor cores for each build; null for no limit.", examples=[2])
    time: Duration = Field(
        default=7200,
        description="How long a build may take, its wait for other builds included, until it is ended.",
        examples=["2 h"],
    )

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from too_little(written, "a build")
        yield from odd_time(written)


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
    pip: Packages = Field(
        default=(),
        description="Packages from PyPI besides those, as pip writes them; what conda has installed they may not replace.",
        examples=[["some-package==1.2"]],
    )
    manager: Literal["auto", "conda", "rattler", "uv"] = Field(
        default="auto",
        description="What installs the packages: conda, rattler, uv, or auto for conda where it can be had.",
        examples=["auto"],
    )
    lock: Place | None = Field(
        default=None,
        description="A lock to build exactly instead of packages: a file (from the hub's folder, or absolute) or an address.",
        examples=["environments/geo.lock"],
    )
    file: Place | None = Field(
        default=None,
        description="An environment.yml to take packages, channels and pip part from: a file or an address.",
        examples=["environments/r.yml"],
    )
    sha256: Checksum | None = Field(
        default=None,
        description="What the SHA-256 of that lock or file must be; an address needs one.",
        examples=["f6dfb5b59614fd7b2956b240b2575a9d58203ec7f7a99f85128158a0fdc5c1d7"],
    )
    git: Git | None = Field(
        default=None,
        description="The git repository, at an exact commit, that holds this lock or file, whose path is then one in there.",
        examples=[{"url": "https://git.example.org/course", "commit": "8f2a4c1be07d53946a1f0c9e2d7b85634afe1290"}],
    )
    publish: Publish | None = Field(
        default=None,
        description="An environment that somebody made, built again from its lock; see `hubd env publish`.",
        examples=[{"owner": "bea", "environment": "geo"}],
    )
    frozen: bool = Field(
        default=False,
        description="Whether it stays as it was built, whatever changes here: for what is past its end of life.",
        examples=[True],
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
    smoke: NotebookPath | None = Field(
        default=None,
        description="A notebook that must run from top to bottom before a build is used, on this machine or below /opt/hub; "
        "null for one cell that prints 42.",
        examples=["notebooks/smoke.ipynb"],
    )
    smoke_time: Duration = Field(
        default=300,
        description="How long that notebook may run.",
        examples=["5 min"],
    )
    keep: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="How many generations before the one in use are kept to go back to; what a program uses is never removed.",
        examples=[2],
    )
    audience: Audience = Field(
        default=(EVERYONE,), examples=[["students", "staff"]],
        description="Whom its kernel is offered to: `everyone`, or a list of groups of people.groups, `admins` among them.",
    )

    @property
    def lock_place(self) -> str | None:
        """The lock to build: the one that is named, or that of what is published."""
        return self.publish.place if self.publish else self.lock

    @property
    def places(self) -> tuple[str | None, ...]:
        """What it is built from or proven by and is in no repository: files of this machine, and addresses."""
        return (self.smoke,) if self.git else (self.lock_place, self.file, self.smoke)

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        yield from twice(written, "packages")
        yield from twice(written, "pip")
        yield from missing_kernel(written)
        yield from no_r_by_uv(written)
        yield from unclear_source(written)
        yield from misplaced_git(written)
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
    builds: Builds = Field(default=Builds(), description="What each build of an environment may use.", examples=[{"time": "2 h"}])
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

    @property
    def files(self) -> tuple[str, ...]:
        """The files of this machine that environments are built from or proven by, as they are named."""
        places = (place for each in self.environments.values() for place in each.places)
        return tuple(dict.fromkeys(place for place in places if place and not is_address(place)))

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
