"""People sign in, start servers, run cells on the declared kernel: over HTTP and websockets, and in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import browser
from hub import DISPLAYED, KERNEL, HubMachine
from hubclient import Server, SignInRefused

WHERE = "import os, sys; print(sys.prefix, os.getcwd(), os.environ['USER'])"


@pytest.fixture(scope="module")
def server(hub_machine: HubMachine) -> Server:
    return hub_machine.sign_in("ada").start_server()


def test_only_declared_kernels_are_offered(server: Server) -> None:
    assert server.kernelspecs() == {KERNEL: DISPLAYED}


@pytest.mark.parametrize("name", ["python3", "python"])
def test_jupyters_own_kernel_is_not_even_started_by_its_name(server: Server, name: str) -> None:
    with pytest.raises(AssertionError, match=r"kernels: [45]\d\d "):
        server.start_kernel(name)
    assert server.api("GET", "kernels").json() == []


def test_notebook_is_exported_as_a_page(server: Server) -> None:
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "source": "print(6 * 7)"}
    cell |= {"metadata": {}, "outputs": [], "execution_count": None}
    language = {"name": "python", "pygments_lexer": "ipython3", "version": "3.12"}
    content = {"cells": [cell], "metadata": {"language_info": language}, "nbformat": 4, "nbformat_minor": 5}
    server.api("PUT", "contents/exported.ipynb", {"type": "notebook", "format": "json", "content": content})
    page = server.person.session.get(f"{server.url}nbconvert/html/exported.ipynb", timeout=60)
    assert (page.status_code, "print" in page.text) == (200, True), page.text[:1000]


def test_cell_runs_on_the_declared_environment_in_the_persons_home(server: Server) -> None:
    prefix, folder, user = server.run(WHERE, KERNEL).split()
    assert prefix.startswith(f"/opt/hub/envs/{KERNEL}/")
    assert (folder, user) == ("/home/ada", "ada")


def test_new_notebook_gets_the_default_kernel(server: Server) -> None:
    assert server.api("GET", "kernelspecs").json()["default"] == KERNEL


def test_named_server_runs_beside_the_default_one(hub_machine: HubMachine, server: Server) -> None:
    kernel = server.start_kernel(KERNEL)
    kernel.run("kept = 41")
    second = server.person.start_server("second")
    assert second.kernelspecs() == {KERNEL: DISPLAYED}
    units = hub_machine.run(("systemctl", "list-units", "--plain", "--no-legend", "hubd-user-*")).out
    assert len(units.splitlines()) == 2, units
    assert second.run(WHERE, KERNEL).split()[2] == "ada"
    assert kernel.run("kept + 1") == "42"
    server.person.stop_server("second")
    assert kernel.run("kept + 2") == "43", "the end of one server is not the end of the other"
    kernel.stop()


def test_declared_person_chooses_a_password_at_first_use(hub_machine: HubMachine) -> None:
    hub_machine.hubd("config", "add-item", "people.users", "bea")
    hub_machine.hubd("apply", "--yes")
    with pytest.raises(SignInRefused, match="at least 7 characters"):
        hub_machine.hub.sign_in("bea", "short")
    hub_machine.hub.sign_in("bea", "chosen-by-bea")
    with pytest.raises(SignInRefused, match="Invalid username or password"):
        hub_machine.hub.sign_in("bea", "guessed-by-cid")
    bea = hub_machine.hub.sign_in("bea", "chosen-by-bea")
    assert bea.get("admin").status_code == 403
    assert bea.start_server().run(WHERE, KERNEL).split()[1:] == ["/home/bea", "bea"]


@pytest.mark.parametrize("name", ["cid", "root", "hubd-hub", "../ada", "ada:second"])
def test_undeclared_person_is_refused_and_leaves_no_trace(hub_machine: HubMachine, name: str) -> None:
    with pytest.raises(SignInRefused):
        hub_machine.hub.sign_in(name, "long-enough-password")
    store = "import json,subprocess as s; print(s.run(['/opt/hub/hub/bin/python','-m','hubd.hubside.passwords','--store',"
    store += "'/opt/hub/state/hub/passwords.dbm','known'],capture_output=True,text=True).stdout)"
    assert name not in hub_machine.run(("python3", "-c", store)).out.replace('"ada"', "")


def test_browser_signs_in_and_runs_a_cell(hub_machine: HubMachine, artefacts: Path) -> None:
    with browser(hub_machine.hub.url, artefacts) as seen:
        seen.sign_in("ada", hub_machine.passwords["ada"])
        seen.wait_for_launcher()
        assert seen.page.locator(f'.jp-LauncherCard[data-category="Notebook"][title*="{DISPLAYED}"]').count() == 1
        assert seen.page.locator('.jp-LauncherCard[data-category="Notebook"]').count() == 1
        seen.picture("launcher")
        assert "/opt/hub/envs/" in seen.run_cell("import sys; print(sys.prefix)", DISPLAYED)
        seen.picture("cell")
    assert seen.problems == []
    assert (artefacts / "cell.png").stat().st_size > 10_000
