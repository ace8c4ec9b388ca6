"""Traefik's settings: the static file and hubd's part of the dynamic ones, as TOML. Pure."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from hubd.errors import HubdError

PUBLIC = "http"
API = "auth_api"

# Traefik's priority of a router is the length of its rule: 15 for the default one of jupyterhub-traefik-proxy, "/", and
# more than twice as much for the shortest route to a person's server, /user/a/.
ABOVE_DEFAULT = 17

# Headers such as X_Forwarded_For, which some programs take for X-Forwarded-For, are left out of requests.
ALIASES = "delete"

# With waits that grow from 200 to 400 ms, this many tries hold a request for 28 seconds.
HOLD_ATTEMPTS = 100
HOLD_INTERVAL = "200ms"


def static_config(*, rules: Path, port: int, address: str, api_port: int, level: str = "INFO") -> str:
    """What Traefik reads once, at its start.

    rules: folder of the dynamic files, watched. port, address: where the public is served ("" is every address); a
    socket named `http` handed over by systemd comes before. api_port: on the loopback, for the hub. level: of the log.
    """
    return _toml(
        {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "api": {"dashboard": False},
            "ping": {"manualRouting": True},
            "log": {"level": level},
            "entryPoints": {
                PUBLIC: {
                    "address": endpoint(address, port),
                    "http": {"aliasHeadersStrategy": ALIASES},
                    "transport": {
                        "respondingTimeouts": {"readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "10m"},
                        "lifeCycle": {"requestAcceptGraceTimeout": "0s", "graceTimeOut": "1s"},
                    },
                },
                API: {
                    "address": endpoint("127.0.0.1", api_port),
                    "http": {"aliasHeadersStrategy": ALIASES},
                    "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
                },
            },
            "providers": {
                "providersThrottleDuration": "0s",
                "file": {"directory": str(rules), "watch": True},
            },
        }
    )


def hold_config(*, hub_port: int) -> str:
    """hubd's dynamic file: what the hub itself answers is held, not refused, while the hub restarts.

    People's servers have routers of their own, with longer rules, that come before this one and hold nothing.
    """
    return _toml(
        {
            "http": {
                "routers": {
                    "hubd-hub": {
                        "rule": "PathPrefix(`/`)",
                        "priority": ABOVE_DEFAULT,
                        "entryPoints": [PUBLIC],
                        "service": "hubd-hub",
                        "middlewares": ["hubd-hold"],
                    },
                    # Answers when the routes of all files have been read, for they are read together.
                    "hubd-ready": {"rule": "Path(`/hubd-ready`)", "entryPoints": [API], "service": "ping@internal"},
                },
                "middlewares": {
                    "hubd-hold": {"retry": {"attempts": HOLD_ATTEMPTS, "initialInterval": HOLD_INTERVAL}},
                },
                "services": {
                    "hubd-hub": {
                        "loadBalancer": {
                            "passHostHeader": True,
                            "serversTransport": "hubd-hub",
                            "responseForwarding": {"flushInterval": "-1ms"},
                            "servers": [{"url": f"http://127.0.0.1:{checked_port(hub_port)}"}],
                        }
                    }
                },
                # A new connection for every request: a kept one could be closed by the stopping hub in the very moment
                # a request goes down it, and such a request is not tried again.
                # The time limit is for a hub that takes connections and never comes up.
                "serversTransports": {
                    "hubd-hub": {"maxIdleConnsPerHost": -1, "forwardingTimeouts": {"responseHeaderTimeout": "60s"}}
                },
            }
        }
    )


def endpoint(address: str, port: int) -> str:
    """`address:port` as Traefik wants it. Raises HubdError for what is no address or port."""
    if not address:
        return f":{checked_port(port)}"
    try:
        ip = ipaddress.ip_address(address)
    except ValueError as error:
        raise HubdError(f"{address!r} is not an IP address", fix="Write one like 192.0.2.7 or ::1") from error
    return f"[{ip}]:{checked_port(port)}" if ip.version == 6 else f"{ip}:{checked_port(port)}"


def checked_port(port: int) -> int:
    """`port`, if it is one. Raises HubdError."""
    if not 0 < port < 65536:
        raise HubdError(f"{port} is not a port", fix="Write a number from 1 to 65535")
    return port


def _toml(tables: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """`tables` as TOML. A JSON string is a TOML basic string, but for DEL, which `json` lets through."""
    values = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    text = "".join(f"{key} = {_value(value)}\n" for key, value in values.items())
    if path and (values or not tables):
        text = f"[{'.'.join(path)}]\n{text}\n"
    return text + "".join(_toml(value, (*path, key)) for key, value in tables.items() if isinstance(value, dict))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
