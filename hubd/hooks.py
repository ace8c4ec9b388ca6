"""The hooks through which built-in parts and plugins alike add to hubd. Specifications only.

A hook contributes values; it never acts on the machine. Each is called once a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

from hubd.config.model import Config
from hubd.config.section import Section
from hubd.layout import Layout
from hubd.resources.base import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

PROJECT = "hubd"

Settings = Mapping[str, Mapping[str, Any]]
"""JupyterHub settings: class name to trait name to a JSON value, `{"JupyterHub": {"concurrent_spawn_limit": 20}}`."""

_Hook = TypeVar("_Hook", bound="Callable[..., object]")
_spec = pluggy.HookspecMarker(PROJECT)
_impl = pluggy.HookimplMarker(PROJECT)


def hookspec(function: _Hook) -> _Hook:
    """Mark a hook's specification (typed, unlike pluggy's own marker)."""
    return _spec(function)


def hookimpl(function: _Hook) -> _Hook:
    """Mark an implementation of a hook; its name must be the hook's."""
    return _impl(function)


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that decides what the machine should be.

    config: the file. facts: what happened at run time and was recorded, by name. layout: where things are.
    systemd: whether PID 1 is systemd. hub_settings: what all parts and plugins set in JupyterHub, merged.
    """

    config: Config
    layout: Layout
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    systemd: bool = True
    hub_settings: Settings = field(default_factory=dict)

    @property
    def hub(self) -> Path:
        """The hub environment that is switched on, by its own path.

        Programs run from there and not through the link: what runs must not import half of its successor.
        """
        version = str(self.facts.get("hub", {}).get("version", ""))
        return self.layout.prefix / version if version else self.layout.hub


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is not wrong but that the person who runs the hub should know. fix: the way out, if wanted."""

    say: str
    fix: str = ""


class CommandContext(Protocol):
    """What a plugin's command finds in `ctx.obj`."""

    @property
    def layout(self) -> Layout:
        """Where things are."""

    def change_config(self, *, set_to: Mapping[str, str] | None = None, unset: Iterable[str] = ()) -> None:
        """Change options of config.yaml in one go, as `hubd config set` and `unset` do, and print what changed.

        set_to: path to value as a person would type it. unset: paths.
        Raises ConfigInvalid where the result would not be valid, UsageError where there is no such option, Locked where
        somebody else is changing the file; nothing is written then.
        """


@hookspec
def hubd_config_sections() -> Mapping[str, type[Section]]:
    """Sections of config.yaml that this plugin brings: name to model. Called before the file is read."""
    return {}


@hookspec
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    """What this part or plugin wants of the machine. Pure: the same `wanted` gives the same resources."""
    return ()


@hookspec
def hubd_hub_settings(wanted: Wanted) -> Settings:
    """Settings of JupyterHub. A trait that two plugins set to different values is an error that names both."""
    return {}


@hookspec
def hubd_commands() -> Iterable[click.Command]:
    """Further commands: `hubd NAME …`. Each finds a `CommandContext` in `ctx.obj`, as the built-in ones do."""
    return ()


@hookspec
def hubd_notices(wanted: Wanted) -> Iterable[Notice]:
    """What `hubd status` mentions besides the state of things."""
    return ()
