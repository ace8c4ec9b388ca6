"""JupyterHub: its settings, secrets and service, and that it answers, directly and through the proxy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from hubd.hooks import Notice, Settings, Wanted, hookimpl
from hubd.layout import (
    DAEMON_UNIT,
    HUB_ACCOUNT,
    HUB_PORT_UNIT,
    HUB_SECRETS,
    HUB_SOCKET,
    HUB_UNIT,
    PROXY_ACCOUNT,
    PROXY_UNIT,
    Layout,
)
from hubd.parts.proxy import held, hub_port_id
from hubd.resources.base import Resource
from hubd.resources.file import File
from hubd.resources.listening import OwnPort
from hubd.resources.secret import Secret
from hubd.resources.service import Answering, Service
from hubd.resources.unit import Unit
from hubd.tools.program import Listener, Program
from hubd.tools.sandbox import HUB_PROPERTIES, service_properties
from hubd.tools.traefik import endpoint

ANSWERS = "answer:the hub"
SETTINGS = "jupyterhub.json"
DESCRIPTOR = "hub"


def api_url(wanted: Wanted) -> str:
    """The hub's REST API, on this machine."""
    return f"http://127.0.0.1:{wanted.config.hub.port}/hub/api"


@hookimpl
def hubd_hub_settings(wanted: Wanted) -> Settings:
    config, layout = wanted.config, wanted.layout
    state = layout.hub_state
    return {
        "JupyterHub": {
            "hub_ip": "127.0.0.1",
            "hub_port": config.hub.port,
            "bind_url": f"http://127.0.0.1:{config.proxy.port}",
            "db_url": f"sqlite:///{state}/jupyterhub.sqlite",
            "cookie_secret_file": str(state / "cookie_secret"),
            # One page holds a whole course; hubd compares who is known at every pass.
            "api_page_max_limit": 1000,
            "concurrent_spawn_limit": 20,
            "allow_named_servers": True,
        },
        "Spawner": {"default_url": "/lab", "start_timeout": 120, "http_timeout": 120, "notebook_dir": "~/"},
        "HubdAuthenticator": {"dbm_path": str(state / "passwords.dbm")},
        "TraefikProxy": {"traefik_api_url": f"http://127.0.0.1:{config.proxy.api_port}"},
        "TraefikFileProviderProxy": {"dynamic_config_file": str(layout.proxy_rules / "rules.toml")},
        "hubd": {
            "config_d": str(layout.config_d),
            "held_folder": str(layout.proxy_rules),
            "spawn_socket": str(layout.spawn_socket),
            "proxy_api_password_file": str(state / "proxy-api-password"),
            "service_token_file": str(state / "service-token"),
        },
    }


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout = wanted.layout
    settings = json.dumps(wanted.hub_settings, indent=1, sort_keys=True).encode() + b"\n"
    known = wanted.facts.get("hub-secrets", {})
    digest = _digest(settings, wanted.facts.get("drop-ins", {}), wanted.facts.get("hub", {}), known)
    secrets = tuple(_secrets(layout, known))
    yield from secrets
    yield File(
        path=layout.state / SETTINGS, content=settings, mode=0o640, group=HUB_ACCOUNT, meaning="JupyterHub's settings",
        needs=(f"system-account:{HUB_ACCOUNT}", f"directory:{layout.state}"),
    )  # fmt: skip
    yield from _port(wanted)
    yield Unit(unit=hub(wanted, digest), needs=(f"unit:{HUB_SOCKET}",) if wanted.systemd else ())
    yield Service(
        unit=HUB_UNIT, settings=digest, folders=(layout.hub_state, layout.proxy_rules),
        needs=(f"unit:{HUB_UNIT}", f"file:{layout.state / SETTINGS}", *(each.id for each in secrets),
               f"service:{PROXY_UNIT}", f"directory:{layout.proxy_rules}", f"members:{PROXY_ACCOUNT}",
               hub_port_id(wanted)),
        touches="sign-in waits a few seconds; running servers go on",
    )  # fmt: skip
    deadline = wanted.config.hub.start_deadline
    port, address = wanted.config.hub.port, wanted.config.proxy.address or "127.0.0.1"
    yield Answering(
        label="the hub", url=f"http://127.0.0.1:{port}/hub/health", unit=HUB_UNIT, deadline=deadline,
        needs=(f"service:{HUB_UNIT}",),
    )  # fmt: skip
    host = f"[{address}]" if ":" in address else address
    yield Answering(
        label="the hub through the proxy", url=f"http://{host}:{wanted.config.proxy.port}/hub/health", unit=PROXY_UNIT,
        behind=HUB_UNIT, deadline=deadline, needs=(ANSWERS, f"service:{PROXY_UNIT}"),
    )  # fmt: skip


def _port(wanted: Wanted) -> Iterable[Resource]:
    """The hub's port, also while the hub is stopped: who had it then would be asked for people's passwords."""
    port = wanted.config.hub.port
    if not wanted.systemd:
        yield OwnPort(port=port, account=HUB_ACCOUNT, setting="hub.port")
        return
    listener = Listener(
        name=HUB_SOCKET, description="Where JupyterHub listens behind its proxy", service=HUB_PORT_UNIT, descriptor=DESCRIPTOR,
        address=endpoint("127.0.0.1", port),
    )  # fmt: skip
    yield Unit(unit=_stand_in())
    yield from held(listener, service=HUB_UNIT, setting="hub.port")


def _stand_in() -> Program:
    """What a connection starts instead of a hub that was stopped, and which leaves the connection where it is.

    A hub that comes up by itself in the middle of a backup, or of a restore of its database, would spoil it.
    """
    return Program(
        name=HUB_PORT_UNIT,
        description="Stands for JupyterHub while it is stopped and systemd holds its port",
        argv=("/bin/true",),
        user=HUB_ACCOUNT,
        kind="oneshot",
        relations=(("After", HUB_SOCKET), ("Requires", HUB_SOCKET), ("StartLimitIntervalSec", "0")),
        properties=(("RemainAfterExit", "yes"),),
        restart=False,
        install=False,
    )


def hub(wanted: Wanted, settings: str) -> Program:
    """JupyterHub as a sandboxed account that faces the network and owns nothing but its database."""
    layout = wanted.layout
    return Program(
        name=HUB_UNIT,
        description="JupyterHub",
        argv=(str(wanted.hub / "bin/python"), "-m", "hubd.hubside", "--settings", str(layout.state / SETTINGS)),
        user=HUB_ACCOUNT,
        kind="notify",
        directory=layout.hub_state,
        environment=(("PATH", f"{wanted.hub}/bin:/usr/local/bin:/usr/bin:/bin"), ("HOME", str(layout.hub_state))),
        relations=(
            ("After", f"network.target {DAEMON_UNIT} {PROXY_UNIT} {HUB_SOCKET}"),
            ("Wants", PROXY_UNIT),
            ("Requires", HUB_SOCKET),
            ("StartLimitIntervalSec", "0"),
        ),
        properties=(
            *service_properties(HUB_PROPERTIES, writable=(layout.hub_state, layout.proxy_rules)),
            ("NotifyAccess", "main"),
            # Handed over by systemd, which keeps it over a restart, so that no request to it is refused.
            ("Sockets", HUB_SOCKET),
            ("KillMode", "mixed"),
            ("TimeoutStartSec", "120"),
            ("TimeoutStopSec", "30"),
            ("Nice", "-5"),
        ),
        settings=settings,
    )


@hookimpl
def hubd_notices(wanted: Wanted) -> Iterable[Notice]:
    names = wanted.facts.get("drop-ins", {}).get("names")
    if names:
        folder: Path = wanted.layout.config_d
        yield Notice(f"settings of your own are in use: {', '.join(names)} in {folder}", "hubd does not check them.")


def _secrets(layout: Layout, known: Container[str]) -> Iterable[Secret]:
    state = layout.hub_state
    meanings = ("secret that keeps people signed in", "password between hub and proxy", "token between hubd and the hub")
    for name, meaning in zip(HUB_SECRETS, meanings, strict=True):
        yield Secret(path=state / name, owner=HUB_ACCOUNT, meaning=meaning, known=name in known, needs=(f"directory:{state}",))


def _digest(*parts: Any) -> str:
    """Twelve digits that change with anything the hub reads at its start."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:12]
