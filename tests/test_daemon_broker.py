"""Starting people's servers on the hub's request: who may ask, for whom, and what of the request counts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.daemon.broker import Broker
from hubd.errors import HubdError
from hubd.host.init import UnitState
from hubd.host.sockets import Peer
from hubd.layout import HUB_ACCOUNT, USERS_GROUP

HUB = Peer(1, 120)
POLICY = {
    "people": ["ada", "bea", "cid", "old"],
    "argv": ["/opt/hub/server/bin/jupyterhub-singleuser", "--x"],
    "audiences": {"admins": ["ada"], "staff": ["ada", "bea"], "course": ["cid"]},
    "kernels": {"geo": ["course"], "stats": ["staff", "course"], "science": ["everyone"]},
    "environment": {"PATH": "/opt/hub/server/bin:/usr/bin", "SHELL": "/bin/bash"},
    "own": {"cid": {"number": 5, "size": 1 << 30}},
    "own_conda": "/opt/hub/conda",
    "memory": 1 << 30,
    "cpu": 1.5,
}
TOKEN = {"JUPYTERHUB_API_TOKEN": "secret"}


@pytest.fixture
def machine(host: FakeHost) -> FakeHost:
    accounts = host.accounts
    accounts.add(HUB_ACCOUNT, HUB.uid)
    for name, uid in (("ada", 1000), ("bea", 1001), ("cid", 999), ("dan", 1003)):
        accounts.add(name, uid, home=host.layout.homes / name)
    accounts.add("old", 1004, home=host.layout.homes / "old", closed=True)
    accounts.groups[USERS_GROUP] = frozenset({"ada", "cid", "dan", "old"})
    host.layout.state.mkdir(parents=True)
    host.layout.servers_policy.write_text(json.dumps(POLICY))
    return host


def ask(host: FakeHost, peer: Peer = HUB, **request: Any) -> dict[str, Any]:
    (answer,) = Broker(lambda: host).answer({"do": "start", "user": "ada", "env": TOKEN, **request}, peer)
    return dict(answer)


def variables(host: FakeHost, unit: str = "hubd-user-ada.service") -> dict[str, str]:
    from hubd.host.processes import _read_environment_file

    return _read_environment_file(host.layout.run / "servers" / f"{unit}.env")


def test_a_server_is_started_as_the_policy_says(machine: FakeHost) -> None:
    assert ask(machine) == {"ok": True, "status": None}
    program = machine.init.started["hubd-user-ada.service"]
    assert program.argv[:2] == ("/opt/hub/server/bin/jupyterhub-singleuser", "--x")
    assert (program.user, program.directory) == ("ada", machine.layout.homes / "ada")
    assert not program.restart and not program.install
    properties = dict(program.properties)
    assert (properties["MemoryMax"], properties["CPUQuota"]) == (str(1 << 30), "150%")
    assert properties["NoNewPrivileges"] == "yes"
    path = machine.layout.run / "servers/hubd-user-ada.service.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    told = variables(machine)
    assert told["HOME"] == str(machine.layout.homes / "ada")
    assert told["JUPYTERHUB_API_TOKEN"] == "secret"
    assert told["MEM_LIMIT"] == str(1 << 30)


OFFERED: list[tuple[dict[str, Any], list[str], str]] = [
    # audiences, the folders with kernels that ada is given, the kernel of her new notebooks
    ({}, ["everyone"], "science"),
    ({"staff": ["bea"], "course": []}, ["everyone"], "science"),
    ({"staff": ["ada", "bea"], "course": ["bea"]}, ["everyone", "staff"], "stats"),
    ({"staff": ["ada"], "course": ["ada"]}, ["everyone", "staff", "course"], "geo"),
    ({"admins": ["ada"]}, ["everyone", "admins"], "science"),
    # A name that is part of another one.
    ({"staff": ["adam", "ad"]}, ["everyone"], "science"),
]


@pytest.mark.parametrize(("audiences", "folders", "kernel"), OFFERED)
def test_a_person_is_given_the_kernels_of_their_groups(
    machine: FakeHost, audiences: dict[str, Any], folders: list[str], kernel: str
) -> None:
    machine.layout.servers_policy.write_text(json.dumps({**POLICY, "audiences": audiences}))
    assert ask(machine)["ok"]
    paths = [str(machine.layout.prefix / "kernels" / name) for name in folders]
    assert variables(machine)["JUPYTER_PATH"] == ":".join(paths)
    program = machine.init.started["hubd-user-ada.service"]
    assert program.argv[2:] == (f"--MultiKernelManager.default_kernel_name={kernel}",)
    assert [value for name, value in program.properties if name == "BindReadOnlyPaths"] == [f"-{path}" for path in paths]


def test_who_is_offered_no_kernel_has_no_default_one(machine: FakeHost) -> None:
    machine.layout.servers_policy.write_text(json.dumps({**POLICY, "kernels": {"geo": ["course"]}}))
    assert ask(machine)["ok"]
    assert machine.init.started["hubd-user-ada.service"].argv[2:] == ()


def test_the_hub_cannot_say_where_kernels_are(machine: FakeHost) -> None:
    assert ask(machine, env={"JUPYTER_PATH": "/home/bea", "JUPYTERHUB_X": "1"})["ok"]
    assert "bea" not in variables(machine)["JUPYTER_PATH"]


def test_the_token_is_in_no_word_and_no_property(machine: FakeHost) -> None:
    ask(machine)
    assert "secret" not in repr(machine.init.started["hubd-user-ada.service"])


CALLERS = [(Peer(1, 120), True), (Peer(1, 0), True), (Peer(1, 1000), False), (Peer(1, 121), False), (Peer(1, 65534), False)]


@pytest.mark.parametrize("do", ["start", "stop", "poll"])
@pytest.mark.parametrize(("peer", "admitted"), CALLERS)
def test_only_the_hub_may_ask(machine: FakeHost, peer: Peer, admitted: bool, do: str) -> None:
    answer = ask(machine, peer, do=do)
    assert answer["ok"] is admitted
    if not admitted:
        assert "Only the hub" in answer["error"]
        assert machine.init.did == []


def test_nobody_is_the_hub_where_it_has_no_account(machine: FakeHost) -> None:
    del machine.accounts.people[HUB_ACCOUNT]
    assert not ask(machine)["ok"]


PEOPLE = [
    # user, the start of what is told, whether it helps to try again
    ("bea", "The account of bea is still being made", True),  # not yet in the group
    ("cid", "The account of cid may not have a server", False),  # a system account
    ("old", "The account of old may not have a server", False),  # closed
    ("dan", "dan is not on this hub's list of people", False),
    ("mallory", "mallory is not on this hub's list of people", False),
    ("root", "root is not on this hub's list of people", False),
    (HUB_ACCOUNT, "hubd-hub is not on this hub's list of people", False),
]


@pytest.mark.parametrize(("user", "told", "retry"), PEOPLE)
def test_only_people_of_the_hub_get_a_server(machine: FakeHost, user: str, told: str, retry: bool) -> None:
    answer = ask(machine, user=user)
    assert (answer["ok"], answer["retry"]) == (False, retry)
    assert answer["error"].startswith(told)
    assert machine.init.did == []
    assert not (machine.layout.run / "servers").exists() or os.listdir(machine.layout.run / "servers") == []


@pytest.mark.parametrize("home", ["/", "/home", "/root", "/srv/ada", "{homes}", "{homes}/../ada", "{homes}/ada/../../etc"])
def test_a_home_that_is_no_home_is_not_put_into_a_server(machine: FakeHost, home: str) -> None:
    machine.accounts.add("ada", 1000, home=Path(home.format(homes=machine.layout.homes)))
    answer = ask(machine)
    assert (answer["ok"], answer["error"]) == (False, "The account of ada may not have a server.")
    assert machine.init.did == []


def test_a_full_disk_is_told_and_tried_again(machine: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    assert ask(machine) == {"ok": False, "error": "hubd could not do it: No space left on device", "retry": True}


@pytest.mark.parametrize("do", ["start", "stop", "poll"])
@pytest.mark.parametrize(
    "user", ["", "../ada", "ada/../bea", "Ada", "ada bea", "ada\n", "-ada", "ada.service", "ada;id", "%u", "a" * 40, "ada:x"]
)
def test_what_cannot_be_a_name_is_refused(machine: FakeHost, do: str, user: str) -> None:
    assert not ask(machine, do=do, user=user)["ok"]
    assert machine.init.did == []


@pytest.mark.parametrize(
    "request_",
    [
        {"user": None},
        {"user": ["ada"]},
        {"env": None},
        {"env": ["A=1"]},
        {"env": "A=1"},
        {"do": "shell"},
        {"do": None},
        {"server": "x" * 500},
        {"server": "a\nb"},
        {"server": "\ud800"},
        {"user": "\ud800"},
        {"user": "ada\x00"},
        {"do": ["start"]},
        {"do": "\x1b]0;x\x07" * 999},
        {"env": {"JUPYTERHUB_X": "\ud800"}},
        {"env": {"JUPYTERHUB_X": "a\x00b"}},
    ],
)
def test_nonsense_is_answered(machine: FakeHost, request_: dict[str, Any]) -> None:
    answer = ask(machine, **request_)
    assert answer["ok"] is False
    assert answer["retry"] is False
    assert answer["error"].isprintable() and len(answer["error"]) < 400
    assert machine.init.did == []


def test_an_empty_request_is_answered(machine: FakeHost) -> None:
    (answer,) = Broker(lambda: machine).answer({}, HUB)
    assert not answer["ok"]


FORBIDDEN = [
    "X_JPY_TOKEN",
    "LANGUAGE",
    "TZDIR",
    "MYLANG",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "HOME",
    "USER",
    "SHELL",
    "BASH_ENV",
    "ENV",
    "IFS",
    "JUPYTER_PATH",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_CONFIG_PATH",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "MEM_LIMIT",
    "CPU_LIMIT",
    "http_proxy",
    "XDG_CONFIG_HOME",
    "jupyterhub_x",
    "JUPYTERHUB_a",
    "JUPYTERHUB_",
    "A=B",
    "",
    "SSL_CERT_FILE",
    "LD_AUDIT",
    "JUPYTERHUB_SINGLEUSER_APP",
    "JUPYTER_PREFER_ENV_PATH",
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_hub_cannot_change_what_a_server_is(machine: FakeHost, name: str) -> None:
    ask(machine, env={**TOKEN, name: "/evil"})
    assert "/evil" not in variables(machine).values()


@pytest.mark.parametrize(
    "name",
    [
        "JUPYTERHUB_API_TOKEN",
        "JUPYTERHUB_SERVICE_PREFIX",
        "JUPYTERHUB_ACTIVITY_URL",
        "JPY_API_TOKEN",
        "LANG",
        "LC_ALL",
        "TZ",
        "MEM_GUARANTEE",
    ],
)
def test_what_a_server_must_be_told(machine: FakeHost, name: str) -> None:
    ask(machine, env={name: "a b"})
    assert variables(machine)[name] == "a b"


def test_a_value_cannot_bring_another_variable(machine: FakeHost) -> None:
    assert not ask(machine, env={"JUPYTERHUB_X": "a\nLD_PRELOAD=/evil"})["ok"]
    assert machine.init.did == []


def test_named_servers_are_units_of_their_own(machine: FakeHost) -> None:
    for server in ("", "x", "X", "x y", "../x"):
        assert ask(machine, server=server)["ok"]
    assert len(machine.init.started) == 5
    assert all("/" not in name for name in machine.init.started)
    files = os.listdir(machine.layout.run / "servers")
    assert len(files) == 5


def test_what_runs_under_that_name_is_stopped_first(machine: FakeHost) -> None:
    machine.init.units["hubd-user-ada.service"] = UnitState("hubd-user-ada.service", True, "activating")
    ask(machine)
    assert machine.init.did == [("stop", "hubd-user-ada.service"), ("run", "hubd-user-ada.service")]


def test_stopping_forgets_its_secrets_and_is_fine_twice(machine: FakeHost) -> None:
    ask(machine)
    for _ in range(2):
        assert ask(machine, do="stop") == {"ok": True, "status": 0}
    assert os.listdir(machine.layout.run / "servers") == []


def test_somebody_taken_off_the_list_can_still_be_stopped(machine: FakeHost) -> None:
    assert ask(machine, do="stop", user="mallory")["ok"]


def test_polling(machine: FakeHost) -> None:
    ask(machine)
    assert ask(machine, do="poll") == {"ok": True, "status": None}
    machine.init.units.clear()
    machine.init.logs["hubd-user-ada.service"] = ("starting", "MemoryError: no room", "bye")
    assert ask(machine, do="poll") == {"ok": True, "status": 1, "why": "MemoryError: no room"}


def test_a_hub_that_is_not_set_up_yet(machine: FakeHost) -> None:
    machine.layout.servers_policy.unlink()
    answer = ask(machine)
    assert (answer["ok"], answer["retry"]) == (False, True)


def test_a_damaged_policy_starts_nothing(machine: FakeHost) -> None:
    for text in ("", "{", "[]", "{}", "null", '{"people": ["ada"]}'):
        machine.layout.servers_policy.write_text(text)
        assert not ask(machine)["ok"]
    assert machine.init.did == []


def test_a_server_that_does_not_start_is_told_to_the_hub(machine: FakeHost) -> None:
    machine.init.broken["hubd-user-ada.service"] = HubdError("it does not start", fix="Look.", retry=True)
    assert ask(machine) == {"ok": False, "error": "it does not start. Look.", "retry": True}


def test_no_limits(machine: FakeHost) -> None:
    machine.layout.servers_policy.write_text(json.dumps({**POLICY, "memory": None, "cpu": None}))
    ask(machine)
    assert dict(machine.init.started["hubd-user-ada.service"].properties)["MemoryMax"] == "infinity"
    assert not {"MEM_LIMIT", "CPU_LIMIT"} & variables(machine).keys()


def test_who_may_make_environments_is_told_where_they_go(machine: FakeHost) -> None:
    home = machine.layout.homes / "ada"
    ask(machine)
    assert not {"HUBD_OWN_ENVIRONMENTS", "CONDA_ENVS_DIRS"} & variables(machine).keys()
    policy = {**POLICY, "own": {"ada": {"number": 5, "size": 1}}}
    machine.layout.servers_policy.write_text(json.dumps(policy))
    ask(machine)
    told = variables(machine)
    assert told["HUBD_OWN_ENVIRONMENTS"] == f"{home}/envs:{home}/.conda/envs"
    assert told["CONDA_ENVS_DIRS"] == f"{home}/envs"
    assert told["CONDA_PKGS_DIRS"] == f"{home}/.conda/pkgs,{machine.layout.envs}/.packages"
    assert told["PATH"] == "/opt/hub/server/bin:/usr/bin:/opt/hub/conda/condabin"
