"""The sandbox: unit names that never meet, paths that stay one word, and what each service may not do."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hubd.errors import HubdError
from hubd.tools.sandbox import (
    HUB_PROPERTIES,
    LONGEST_UNIT_NAME,
    PROXY_PROPERTIES,
    Properties,
    limits,
    quoted,
    server_properties,
    service_properties,
    unit_name,
)

UNIT_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.")


def values(properties: Properties, key: str) -> list[str]:
    return [value for name, value in properties if name == key]


def test_names_of_units() -> None:
    assert unit_name("ada") == "hubd-user-ada.service"
    assert unit_name("ada", "lab2") == "hubd-user-ada:lab2.service"
    assert unit_name("ada", "zwei Wörter") == "hubd-user-ada:zwei.20W.c3.b6rter.service"


def test_different_servers_have_different_units() -> None:
    users = ["a", "a-b", "a_b", "a-", "b"]
    servers = [
        "",
        "a",
        "A",
        "b",
        "a-b",
        "a b",
        "a.20b",
        "a:b",
        "a/b",
        "a\\b",
        "ä",
        "a.service",
        "service",
        ".",
        "@",
        "%i",
        "日本",
    ]
    units = [unit_name(user, server) for user, server in itertools.product(users, servers)]
    assert len(set(units)) == len(units)
    assert all(set(unit) <= UNIT_CHARACTERS and len(unit) <= LONGEST_UNIT_NAME for unit in units)


@pytest.mark.parametrize(
    "user", ["", "Ada", "1a", "-a", "a b", "a/b", "a.b", "a:b", "a\n", "ä", "a" * 33, "../x", "a@b"]
)  # fmt: skip
def test_what_is_no_user_is_refused(user: str) -> None:
    with pytest.raises(HubdError):
        unit_name(user)


@pytest.mark.parametrize("server", ["a\nb", "\0", "a\tb", "x" * 300, "ä" * 40, "\ud800"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(HubdError):
        unit_name("ada", server)


@pytest.mark.parametrize(
    ("path", "word"),
    [("/home/ada", "/home/ada"), ("/srv/a b", '"/srv/a b"'), ("/a%b", "/a%%b"), ('/a"b', '"/a\\"b"'), ("/a:b", '"/a\\:b"')],
)
def test_a_path_stays_one_word(path: str, word: str) -> None:
    assert quoted(Path(path)) == word


@pytest.mark.parametrize("path", ["relative", "/a\nExecStart=/bin/sh"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(HubdError):
        quoted(Path(path))


@pytest.mark.parametrize("properties", [HUB_PROPERTIES, PROXY_PROPERTIES, server_properties(Path("/home/ada"))])
def test_no_service_can_gain_privileges_or_change_the_system(properties: Properties) -> None:
    for key, value in {
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "ProtectSystem": "strict",
        "ProtectProc": "invisible",
        "RestrictSUIDSGID": "yes",
    }.items():
        assert values(properties, key) == [value]
    # `uts` for a server: see there.
    assert values(properties, "RestrictNamespaces") in (["yes"], ["uts"])


def test_a_server_sees_one_home_and_no_state() -> None:
    properties = server_properties(Path("/home/ada"), hidden=(Path("/opt/hub/state"),), writable=(Path("/srv/course"),))
    assert "/home:ro,mode=0755" in values(properties, "TemporaryFileSystem")
    assert values(properties, "BindPaths") == ["/home/ada"]
    assert "-/opt/hub/state" in values(properties, "InaccessiblePaths")
    assert values(properties, "ReadWritePaths") == ["-/srv/course"]


def test_a_server_sees_the_kernels_that_are_offered_to_its_person_and_no_others() -> None:
    kernels = Path("/srv/hub/kernels")
    properties = server_properties(Path("/home/ada"), audiences=kernels, offered=(kernels / "everyone", kernels / "staff"))
    assert "/srv/hub/kernels:ro,mode=0755" in values(properties, "TemporaryFileSystem")
    # One whose folder is gone must not keep the server from starting.
    assert values(properties, "BindReadOnlyPaths") == ["-/srv/hub/kernels/everyone", "-/srv/hub/kernels/staff"]


def test_a_server_may_make_code_at_run_time() -> None:
    # numba, R and every just-in-time compiler need it
    assert values(server_properties(Path("/home/ada")), "MemoryDenyWriteExecute") == []


def test_services_write_where_they_are_told() -> None:
    assert values(service_properties(HUB_PROPERTIES, writable=(Path("/a"), Path("/b"))), "ReadWritePaths") == ["/a", "/b"]
    assert values(service_properties(PROXY_PROPERTIES, writable=()), "ReadWritePaths") == []


def test_limits() -> None:
    assert limits(memory=1 << 30, cpu=0.5) == (("MemoryMax", "1073741824"), ("CPUQuota", "50%"))
    assert limits(memory=None, cpu=None) == (("MemoryMax", "infinity"), ("CPUQuota", ""))
    assert ("CPUQuota", "1%") in limits(memory=None, cpu=0.001)
