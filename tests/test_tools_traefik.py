"""Traefik's settings: what they say when read as TOML, and how the held routes rank among the others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_traefik_proxy.traefik_utils import generate_rule

from hubd.errors import HubdError
from hubd.tools.traefik import endpoint, hold_config, static_config


def static(**changed: Any) -> dict[str, Any]:
    wish: dict[str, Any] = {"rules": Path("/r"), "port": 80, "address": "", "api_port": 8099, **changed}
    return tomllib.loads(static_config(**wish))


def seconds(duration: str) -> float:
    return float(duration.removesuffix("ms")) / 1000


def test_the_static_settings() -> None:
    settings = static()
    public, api = settings["entryPoints"]["http"], settings["entryPoints"]["auth_api"]
    assert public["address"] == ":80"
    assert public["transport"]["lifeCycle"]["graceTimeOut"] == "1s"
    assert public["transport"]["respondingTimeouts"]["idleTimeout"] == "10m"
    assert api["address"] == "127.0.0.1:8099"
    assert settings["providers"]["file"] == {"directory": "/r", "watch": True}
    assert settings["providers"]["providersThrottleDuration"] == "0s"
    assert settings["global"] == {"checkNewVersion": False, "sendAnonymousUsage": False}


@pytest.mark.parametrize("folder", ['/a "b"', "/a\\b", "/a\nb", "/ä", "/a\x7fb", "/[x]#"])
def test_any_folder_survives(folder: str) -> None:
    assert static(rules=Path(folder))["providers"]["file"]["directory"] == folder


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [("", 80, ":80"), ("192.0.2.7", 8080, "192.0.2.7:8080"), ("::1", 80, "[::1]:80"), ("2001:DB8::0", 1, "[2001:db8::]:1")],
)
def test_endpoints(address: str, port: int, expected: str) -> None:
    assert endpoint(address, port) == expected


@pytest.mark.parametrize(("address", "port"), [("host", 80), ('"', 80), ("", 0), ("", 65536), ("", -1)])
def test_what_is_no_endpoint_is_refused(address: str, port: int) -> None:
    with pytest.raises(HubdError):
        endpoint(address, port)


def test_sign_in_is_held_for_twenty_seconds_and_more() -> None:
    retry = tomllib.loads(hold_config(hub_port=15001))["http"]["middlewares"]["hubd-hold"]["retry"]
    assert retry["attempts"] * seconds(retry["initialInterval"]) >= 20


def test_the_held_route_ranks_between_the_default_one_and_any_person() -> None:
    router = tomllib.loads(hold_config(hub_port=15001))["http"]["routers"]["hubd-hub"]
    assert len(generate_rule("/")) < router["priority"] < len(generate_rule("/user/a/"))
    assert router["entryPoints"] == ["http"]


def test_the_hub_is_reached_on_the_loopback_by_a_connection_per_request() -> None:
    http = tomllib.loads(hold_config(hub_port=15001))["http"]
    balancer = http["services"]["hubd-hub"]["loadBalancer"]
    assert balancer["servers"] == [{"url": "http://127.0.0.1:15001"}]
    assert http["serversTransports"][balancer["serversTransport"]]["maxIdleConnsPerHost"] == -1


def test_readiness_is_asked_on_the_loopback_only() -> None:
    router = tomllib.loads(hold_config(hub_port=15001))["http"]["routers"]["hubd-ready"]
    assert router["entryPoints"] == ["auth_api"]
    assert router["service"] == "ping@internal"
