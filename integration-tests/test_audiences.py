"""Kernels for some people and not for others: in lists, files and Chromium's launcher, as groups and audiences change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from browser import browser
from hub import DISPLAYED, KERNEL, HubMachine
from hubclient import Server

PEOPLE = ("bea", "cid")
# Each environment with the groups that it is for. They consist of the same packages, so only the first build takes time.
FOR = {"geo": "staff", "lab": "course", "trial": "admins"}
SHOWN = {name: f"The {name} kernel" for name in FOR}
FOLDERS = "import os; print(*sorted(os.listdir('/opt/hub/kernels')))"


@pytest.fixture(scope="module")
def machine(hub_machine: HubMachine) -> HubMachine:
    """The machine with two groups of one person each, an environment for each of them, and one for admins."""
    hub_machine.hubd("config", "add-item", "people.users", *PEOPLE)
    for group, member in zip(("staff", "course"), PEOPLE, strict=True):
        hub_machine.hubd("config", "set", f"people.groups.{group}", f"{{members: [{member}]}}")
    for name, group in FOR.items():
        entry = f"{{packages: [ipykernel], manager: uv, audience: [{group}], kernel: {{display_name: {SHOWN[name]}}}}}"
        hub_machine.hubd("config", "set", f"environments.{name}", entry)
    hub_machine.hubd("config", "set", "default_environment", "lab")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=600)
    assert done.code == 0, done
    return hub_machine


@pytest.fixture(scope="module")
def servers(machine: HubMachine) -> dict[str, Server]:
    return {name: machine.sign_in(name).start_server() for name in ("ada", *PEOPLE)}


OFFERED = [
    # who, what besides the kernel for everyone, the folders of kernels, what a new notebook gets
    ("ada", ["trial"], "admins everyone", KERNEL),
    ("bea", ["geo"], "everyone staff", KERNEL),
    ("cid", ["lab"], "course everyone", "lab"),
]


@pytest.mark.parametrize(("who", "own", "folders", "default"), OFFERED)
def test_each_is_offered_the_kernels_of_their_groups(
    machine: HubMachine, servers: dict[str, Server], who: str, own: list[str], folders: str, default: str
) -> None:
    server = servers[who]
    assert server.kernelspecs() == {KERNEL: DISPLAYED, **{name: SHOWN[name] for name in own}}
    assert server.api("GET", "kernelspecs").json()["default"] == default
    assert server.run(FOLDERS, own[0]).split() == folders.split(), "the folders of others are not even there"
    for other in sorted(set(FOR) - set(own)):
        with pytest.raises(AssertionError, match=r"kernels: [45]\d\d "):
            server.start_kernel(other)
    assert server.api("GET", "kernels").json() == []


def test_each_sees_their_own_kernels_in_the_launcher(machine: HubMachine, servers: dict[str, Server], artefacts: Path) -> None:
    seen = {}
    for who in PEOPLE:
        with browser(machine.hub.url, artefacts) as window:
            window.sign_in(who, machine.passwords[who])
            window.wait_for_launcher()
            window.picture(f"launcher-of-{who}")
            seen[who] = window.launcher_kernels()
    assert seen == {"bea": sorted([DISPLAYED, SHOWN["geo"]]), "cid": sorted([DISPLAYED, SHOWN["lab"]])}


def test_another_audience_shows_in_open_pages_and_ends_no_kernel(
    machine: HubMachine, servers: dict[str, Server], artefacts: Path
) -> None:
    kernel = servers["bea"].start_kernel("geo")
    kernel.run("kept = 41")
    with browser(machine.hub.url, artefacts) as window:
        window.sign_in("cid", machine.passwords["cid"])
        window.wait_for_launcher()
        machine.hubd("config", "set", "environments.geo.audience", "course")
        done = machine.hubd("apply", "--yes", "--wait")
        assert done.code == 0, done
        began = time.monotonic()
        window.page.wait_for_selector(f'.jp-LauncherCard[title*="{SHOWN["geo"]}"]', timeout=120_000)
        window.picture("launcher-of-cid-later")
        (artefacts / "seconds.txt").write_text(f"{time.monotonic() - began:.1f}\n")
    assert set(servers["cid"].kernelspecs()) == {KERNEL, "lab", "geo"}
    assert set(servers["bea"].kernelspecs()) == {KERNEL}
    assert kernel.run("kept + 1") == "42", "a kernel that runs goes on"
    kernel.stop()
    assert machine.changes() == []


def test_another_group_counts_from_the_next_start_on(machine: HubMachine, servers: dict[str, Server]) -> None:
    machine.hubd("config", "add-item", "people.groups.course.members", "bea")
    planned = machine.hubd("plan")
    assert "next start" in planned.out, planned
    machine.hubd("apply", "--yes")
    assert set(servers["bea"].kernelspecs()) == {KERNEL}
    servers["bea"].person.stop_server()
    server = servers["bea"].person.start_server()
    assert set(server.kernelspecs()) == {KERNEL, "lab", "geo"}
    assert server.api("GET", "kernelspecs").json()["default"] == "lab"


def test_a_group_that_nobody_declared_is_refused(machine: HubMachine) -> None:
    done = machine.hubd("config", "set", "environments.geo.audience", "corse", check=False)
    assert done.code != 0
    assert "did you mean `course`?" in done.err, done
