"""Traefik in front of everything: its settings, its socket, its service."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from hubd.config.model import Proxy
from hubd.hooks import Wanted, hookimpl
from hubd.layout import HUB_SOCKET, PROXY_ACCOUNT, PROXY_API_SOCKET, PROXY_SOCKET, PROXY_UNIT
from hubd.resources.base import Resource
from hubd.resources.file import File
from hubd.resources.listening import Listening, PortFree
from hubd.resources.nothing_else import NothingElse
from hubd.resources.service import Service
from hubd.resources.unit import Unit
from hubd.tools.program import Listener, Program
from hubd.tools.sandbox import PROXY_PROPERTIES, service_properties
from hubd.tools.traefik import API, PUBLIC, endpoint, hold_config, static_config


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout, proxy = wanted.layout, wanted.config.proxy
    static = static_config(rules=layout.proxy_rules, port=proxy.port, address=proxy.address, api_port=proxy.api_port).encode()
    yield File(
        path=layout.proxy_state / "traefik.toml", content=static, mode=0o640, group=PROXY_ACCOUNT, meaning="the proxy's settings",
        needs=(f"directory:{layout.proxy_state}", f"system-account:{PROXY_ACCOUNT}"),
    )  # fmt: skip
    yield File(
        path=layout.proxy_rules / "hubd.toml", content=hold_config(hub_port=wanted.config.hub.port).encode(), mode=0o640,
        group=PROXY_ACCOUNT, meaning="hold sign-in while the hub restarts",
        # Whoever has the port that is named there is who asks people for their passwords.
        needs=(f"directory:{layout.proxy_rules}", hub_port_id(wanted)),
    )  # fmt: skip
    yield NothingElse(
        folder=layout.proxy_rules, ending=".toml", known=frozenset(("hubd.toml", "rules.toml")), reader="the proxy",
        needs=(f"directory:{layout.proxy_rules}",),
    )  # fmt: skip
    digest = hashlib.sha256(static + str(wanted.facts.get("hub", {})).encode()).hexdigest()[:12]
    yield Unit(unit=proxy_program(wanted, digest))
    needs = [f"unit:{PROXY_UNIT}", f"file:{layout.proxy_state / 'traefik.toml'}", f"file:{layout.proxy_rules / 'hubd.toml'}"]
    if wanted.systemd:
        for listener, setting in _listeners(proxy):
            yield from held(listener, service=PROXY_UNIT, setting=setting)
            needs.append(f"listening:{listener.name}")
    yield Service(
        unit=PROXY_UNIT, settings=digest, folders=(layout.proxy_rules,), needs=tuple(needs), touches="everybody's page reloads"
    )


def _listeners(proxy: Proxy) -> tuple[tuple[Listener, str], ...]:
    """The sockets that systemd holds, over restarts too: what is free for a moment could be taken by anybody on this machine.

    With each, the option that moves it elsewhere.
    """
    public = Listener(
        name=PROXY_SOCKET, description="The public port of this JupyterHub", service=PROXY_UNIT, descriptor=PUBLIC,
        address=endpoint(proxy.address, proxy.port).removeprefix(":"),
    )  # fmt: skip
    api = Listener(
        name=PROXY_API_SOCKET, description="Where JupyterHub talks with its proxy", service=PROXY_UNIT, descriptor=API,
        address=endpoint("127.0.0.1", proxy.api_port),
    )  # fmt: skip
    return (public, "proxy.port"), (api, "proxy.api_port")


def held(listener: Listener, *, service: str, setting: str) -> Iterable[Resource]:
    """What makes systemd hold a port for `service`, which `setting` says."""
    free = PortFree(unit=listener.name, address=listener.address, service=service, setting=setting)
    yield free
    yield Unit(unit=listener, needs=(free.id,))
    yield Listening(unit=listener.name, address=listener.address, service=service, setting=setting,
                    needs=(f"unit:{listener.name}", f"unit:{listener.service}", f"unit:{service}"))  # fmt: skip


def hub_port_id(wanted: Wanted) -> str:
    """The resource that makes sure that nobody but the hub has its port."""
    return f"listening:{HUB_SOCKET}" if wanted.systemd else f"port:{wanted.config.hub.port}"


def proxy_program(wanted: Wanted, settings: str) -> Program:
    """Traefik as a sandboxed account without any privilege: systemd holds the public port for it."""
    layout = wanted.layout
    sockets = f"{PROXY_SOCKET} {PROXY_API_SOCKET}"
    relations = (("After", f"network.target {sockets}"), ("Requires", sockets), ("StartLimitIntervalSec", "0"))
    api_port = str(wanted.config.proxy.api_port)
    traefik = (str(wanted.hub / "bin/traefik"), f"--configFile={layout.proxy_state / 'traefik.toml'}")
    return Program(
        name=PROXY_UNIT,
        description="Proxy in front of JupyterHub (Traefik)",
        # The gate keeps connections waiting, instead of answering 404, until Traefik has read its routes.
        argv=(str(wanted.hub / "bin/python"), "-m", "hubd.hubside.gate", api_port, "--", *traefik),
        kind="notify",
        user=PROXY_ACCOUNT,
        # Traefik watches this folder, and would not see one that is made in its place: like this, hubd sees that for it.
        directory=layout.proxy_rules,
        relations=relations if wanted.systemd else (),
        properties=(
            *service_properties(PROXY_PROPERTIES, writable=()),
            ("NotifyAccess", "main"),
            ("KillMode", "mixed"),
            ("TimeoutStartSec", "30"),
            ("TimeoutStopSec", "15"),
            ("Nice", "-5"),
        ),
        settings=settings,
    )
