"""People come, change and go by config.yaml alone: accounts, homes, sign-in, admin rights, groups; homes always stay."""

from __future__ import annotations

import time

import pytest
import requests

from hub import KERNEL, HubMachine
from hubclient import Person, SignInRefused

IDENTITY = ("id", "-Gn")


def groups_of(machine: HubMachine, name: str) -> set[str]:
    return set(machine.run((*IDENTITY, name)).out.split())


def hub_users(ada: Person) -> dict[str, bool]:
    return {user["name"]: user["admin"] for user in ada.api("GET", "users").json()}


def is_gone(person: Person) -> bool:
    """Whether a session that was signed in is sent to the sign-in page."""
    return "/hub/login" in person.get("home").url


@pytest.fixture(scope="module")
def ada(hub_machine: HubMachine) -> Person:
    person = hub_machine.sign_in("ada")
    person.get("home")
    return person


def test_new_person_can_sign_in_within_seconds(hub_machine: HubMachine) -> None:
    hub_machine.hubd("config", "add-item", "people.users", "cid")
    began = time.monotonic()

    def can_sign_in() -> bool:
        try:
            hub_machine.sign_in("cid")
        except SignInRefused:
            return False
        return True

    hub_machine.wait_until(can_sign_in, "cid to be let in", timeout=60)
    assert time.monotonic() - began < 10
    hub_machine.wait_right()
    shown = hub_machine.run(("stat", "-c", "%a %U %G", "/home/cid", "/home/cid/notebooks")).out
    assert shown == "700 cid cid\n" * 2
    assert groups_of(hub_machine, "cid") == {"cid", "hubd-users"}
    server = hub_machine.sign_in("cid").start_server()
    assert server.run("import getpass; print(getpass.getuser())", KERNEL) == "cid\n"


def test_admins_have_the_hub_sudo_and_hubds_commands(hub_machine: HubMachine, ada: Person) -> None:
    assert ada.get("admin").status_code == 200
    assert groups_of(hub_machine, "ada") == {"ada", "hubd-admins", "hubd-users"}
    assert hub_machine.run(("sudo", "-n", "id", "-u"), user="ada").out == "0\n"
    assert hub_machine.hubd("status", user="ada").code == 0
    assert "admins" in hub_machine.hubd("config", "show", user="ada").out
    assert "sudo" in hub_machine.hubd("config", "set", "limits.cpu", "2", user="ada", check=False).err
    assert hub_machine.run(("sudo", "-n", "hubd", "config", "set", "limits.cpu", "2"), user="ada").code == 0


def test_person_who_is_no_admin_has_none_of_it(hub_machine: HubMachine) -> None:
    cid = hub_machine.sign_in("cid")
    assert cid.get("admin").status_code == 403
    assert cid.api("POST", "users/dora").status_code == 403
    assert hub_machine.run(("sudo", "-n", "id", "-u"), user="cid", check=False).code != 0
    for words in (("status",), ("apply",), ("config", "show"), ("config", "set", "limits.memory", "8G")):
        refused = hub_machine.hubd(*words, user="cid", check=False)
        assert refused.code != 0, refused
        assert "Traceback" not in refused.out + refused.err
        assert "sudo" in refused.err, refused


def test_admin_taken_off_the_list_loses_everything_at_once(hub_machine: HubMachine) -> None:
    hub_machine.hubd("config", "add-item", "people.admins", "dora")
    hub_machine.hubd("apply", "--yes")
    dora = hub_machine.sign_in("dora")
    assert dora.get("admin").status_code == 200
    assert hub_machine.run(("sudo", "-n", "id", "-u"), user="dora").out == "0\n"
    token = dora.api("POST", "users/dora/tokens", {"note": "kept for later"}).json()["token"]
    assert hub_machine.hub.api(token, "GET", "users/ada").status_code == 200

    # In this order: somebody who is on neither list for a moment is somebody who left.
    hub_machine.hubd("config", "add-item", "people.users", "dora")
    hub_machine.hubd("config", "remove-item", "people.admins", "dora")
    hub_machine.hubd("apply", "--yes")
    assert groups_of(hub_machine, "dora") == {"dora", "hubd-users"}
    assert hub_machine.run(("sudo", "-n", "id", "-u"), user="dora", check=False).code != 0
    assert dora.get("admin").status_code == 403, "the open session has lost it too"
    assert hub_machine.hub.api(token, "GET", "users/ada").status_code in (403, 404), "and so has a token made before"
    assert hub_machine.changes() == []


def test_name_that_can_have_no_account_keeps_nobody_in_and_nobody_out(hub_machine: HubMachine) -> None:
    good = hub_machine.read("/opt/hub/config.yaml")
    hub_machine.hubd("config", "add-item", "people.admins", "dora")
    hub_machine.hubd("apply", "--yes")
    hub_machine.run(("groupadd", "labgroup"))
    hub_machine.hubd("config", "add-item", "people.users", "labgroup", "eva", "dora")
    hub_machine.hubd("config", "remove-item", "people.admins", "dora")
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert done.code == 5
    assert "labgroup" in done.err
    assert hub_machine.run(("sudo", "-n", "id", "-u"), user="dora", check=False).code != 0
    assert groups_of(hub_machine, "eva") == {"eva", "hubd-users"}
    assert hub_machine.sign_in("eva").start_server().run("print(6 * 7)", KERNEL) == "42\n"
    hub_machine.run(("groupdel", "labgroup"))
    hub_machine.write("/opt/hub/config.yaml", good)
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.changes() == []


def test_removed_person_is_shut_out_and_the_home_stays(hub_machine: HubMachine, ada: Person) -> None:
    cid = hub_machine.sign_in("cid")
    server = cid.start_server()
    server.run("open('kept.txt', 'w').write('mine')", KERNEL)
    assert hub_machine.show("hubd-user-cid.service", "ActiveState") == "active"
    plan_words = "close the account cid; its home stays"

    hub_machine.run(("systemctl", "stop", "hubd"))
    hub_machine.hubd("config", "remove-item", "people.users", "cid")
    assert plan_words in hub_machine.hubd("plan").out
    hub_machine.run(("systemctl", "start", "hubd"))
    hub_machine.wait_right()

    assert hub_machine.show("hubd-user-cid.service", "ActiveState") == "inactive"
    assert hub_machine.run(("pgrep", "-u", "cid"), check=False).code == 1, "nothing of cid's runs on"
    assert is_gone(cid)
    with pytest.raises(SignInRefused):
        hub_machine.sign_in("cid")
    assert "cid" not in hub_users(ada)
    assert "hubd-users" not in groups_of(hub_machine, "cid")
    shadow = hub_machine.run(("getent", "shadow", "cid")).out.split(":")
    assert shadow[1].startswith(("!", "*"))
    assert shadow[7], "the account has expired"
    assert hub_machine.read("/home/cid/kept.txt") == "mine"
    assert hub_machine.changes() == []


def test_person_who_comes_back_finds_the_home_as_it_was(hub_machine: HubMachine) -> None:
    owner = hub_machine.run(("stat", "-c", "%u", "/home/cid/kept.txt")).out
    hub_machine.hubd("config", "add-item", "people.users", "cid")
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.run(("id", "-u", "cid")).out == owner
    cid = hub_machine.hub.sign_in("cid", "a-new-first-choice")
    assert cid.start_server().run("print(open('kept.txt').read())", KERNEL) == "mine\n"


def test_groups_and_their_members_are_in_the_hub_as_declared(hub_machine: HubMachine, ada: Person) -> None:
    def groups() -> dict[str, set[str]]:
        return {group["name"]: set(group["users"]) for group in ada.api("GET", "groups").json()}

    hub_machine.hubd("config", "add-item", "people.groups.course.members", "cid", "dora")
    hub_machine.hubd("apply", "--yes")
    assert groups() == {"course": {"cid", "dora"}}
    hub_machine.hubd("config", "remove-item", "people.groups.course.members", "cid")
    hub_machine.hubd("apply", "--yes")
    assert groups() == {"course": {"dora"}}
    hub_machine.hubd("config", "unset", "people.groups.course")
    hub_machine.hubd("apply", "--yes")
    assert groups() == {}


def test_account_that_was_there_before_is_taken_over_and_given_back(hub_machine: HubMachine) -> None:
    hub_machine.shell("useradd --create-home emil; echo own > /home/emil/own; chmod 755 /home/emil; usermod -p x emil")
    hub_machine.hubd("config", "add-item", "people.users", "emil")
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.run(("stat", "-c", "%a", "/home/emil")).out == "700\n"
    assert hub_machine.sign_in("emil").start_server().run("print(open('own').read())", KERNEL) == "own\n\n"
    hub_machine.hubd("config", "remove-item", "people.users", "emil")
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.run(("getent", "shadow", "emil")).out.split(":")[1] == "x", "not hubd's to close"
    assert hub_machine.show("hubd-user-emil.service", "ActiveState") == "inactive"
    with pytest.raises(SignInRefused):
        hub_machine.sign_in("emil")


@pytest.mark.parametrize("name", ["root", "daemon", "hubd-hub", "hubd-build"])
def test_accounts_of_the_system_never_become_people(hub_machine: HubMachine, name: str) -> None:
    before = groups_of(hub_machine, name)
    if hub_machine.hubd("config", "add-item", "people.users", name, check=False).code == 0:
        assert hub_machine.hubd("apply", "--yes", check=False).code in (1, 5)
        assert name in hub_machine.hubd("status", check=False).out
        hub_machine.hubd("config", "remove-item", "people.users", name)
        hub_machine.hubd("apply", "--yes")
    assert groups_of(hub_machine, name) == before
    with pytest.raises(SignInRefused):
        hub_machine.hub.sign_in(name, "long-enough-password")
    assert requests.get(f"{hub_machine.hub.url}/hub/health", timeout=10).status_code == 200
