"""The two README commands on bare machines: what they print, leave behind, keep to themselves, and do the second time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from base_tree import base_tree
from hub import CHECKOUT, INSIDE, KERNEL, RIGHT, HubMachine, Installed, archive, timed_install
from hubclient import SignInRefused
from web import web_server

PASSWORD = "correct-horse-battery"


def test_install_prints_the_address_and_a_password_that_lets_ada_in(installed: Installed, hub_machine: HubMachine) -> None:
    assert installed.bootstrap.code == 0
    assert "The hub is at http://10.203." in installed.bootstrap.out
    page = hub_machine.hub.sign_in("ada", installed.password).get("home")
    assert page.status_code == 200
    assert "ada" in page.text


def test_installed_hub_is_right_and_has_nothing_left_to_do(installed: Installed) -> None:
    assert (installed.status.code, installed.status.out.startswith(RIGHT)) == (0, True), installed.status
    assert installed.plan.code == 0, installed.plan
    assert installed.plan.out.startswith("Nothing to do:")


def test_second_install_is_a_quick_repair_that_changes_nothing(installed: Installed) -> None:
    assert installed.again.code == 0, installed.again
    assert "one-time password" not in installed.again.out
    assert installed.seconds["again"] < installed.seconds["install"] / 3


def test_password_is_in_no_log_and_no_file(installed: Installed, hub_machine: HubMachine) -> None:
    places = ("/opt/hub/state", "/opt/hub/config.yaml", "/var/log", "/etc", "/run/hubd", "/root", "/tmp")
    found = hub_machine.run(("grep", "-rlF", "--", installed.password, *places), check=False)
    assert (found.code, found.out) == (1, ""), f"the password is in {found.out}"
    assert installed.password not in hub_machine.journal()
    log = hub_machine.run(("stat", "-c", "%a %U", "/opt/hub/state/install.log")).out
    assert log.strip() == "600 root"


def test_visitors_are_told_to_come_back_until_the_hub_is_there(installed: Installed) -> None:
    during = [page for page in installed.pages if page.status == 503]
    assert during, [page.status for page in installed.pages]
    assert all("being installed" in page.text for page in during)
    assert all(page.retry_after for page in during)
    assert any("Hub environment" in page.text for page in during)
    assert not any("/opt/hub" in page.text or "pip" in page.text for page in during), "the page shows steps, no log"
    assert installed.pages[-1].status in (200, 302), "at last the hub answers"


def test_state_is_closed_to_others(hub_machine: HubMachine) -> None:
    # Folders that others may not enter are passed over.
    search = "find /opt/hub/state -type d ! -perm -o=x -prune -o -type f -perm -o=r -printf '%P\\n'"
    assert set(hub_machine.shell(search).out.split()) <= {"bootstrap.lock"}
    secret = hub_machine.run(("find", "/opt/hub/state/hub", "-type", "f", "!", "-perm", "0600", "-printf", "%P %m\n")).out
    assert secret == ""


def test_nothing_that_others_can_reach_can_be_written_by_them(hub_machine: HubMachine) -> None:
    # Folders that others may not enter are passed over: a lock of uv's in its cache is open to nobody else.
    search = r"find /opt/hub -type d ! -perm -o=x -prune -o -perm -o=w ! -type l -print"
    assert hub_machine.shell(search).out == ""


@pytest.fixture(scope="module")
def trixie() -> Iterator[Path]:
    with base_tree("trixie") as tree:
        yield tree


@pytest.fixture(scope="module")
def piped(trixie: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubMachine]:
    """The second README command: a pipe, an archive by URL, on the newer Debian, with a chosen password."""
    folder = tmp_path_factory.mktemp("served")
    packed = archive(folder / "jupyter-hubd.tar.gz")
    (folder / "bootstrap.py").write_bytes((CHECKOUT / "bootstrap.py").read_bytes())
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    with HubMachine("piped", trixie, {"ada": PASSWORD}) as machine, web_server(folder, machine.net.host) as web:
        machine.write("/root/password", f"{PASSWORD}\n", mode=0o600)
        options = f"--admin ada --admin-password-file /root/password --source {web.url}/{packed.name}"
        script = f"curl -fsSL {web.url}/bootstrap.py | python3 - {options} --sha256 "
        wrong, _ = timed_install(machine, ("bash", "-o", "pipefail", "-c", script + "0" * 64))
        assert wrong.code == 1
        assert "is not the file that was meant" in wrong.err
        assert machine.run(("ls", "/opt/hub/hub"), check=False).code != 0
        done, _ = timed_install(machine, ("bash", "-o", "pipefail", "-c", script + digest))
        assert done.code == 0, done
        assert PASSWORD not in done.out + done.err
        assert "one-time password" not in done.out
        yield machine


def test_install_through_a_pipe_gives_a_hub_that_works(piped: HubMachine) -> None:
    assert piped.hubd("plan", "--detailed-exitcode").out.startswith("Nothing to do:")
    server = piped.sign_in("ada").start_server()
    assert server.run("import sys; print(sys.prefix)", KERNEL).startswith("/opt/hub/envs/")
    with pytest.raises(SignInRefused):
        piped.hub.sign_in("ada", "something-else")


def test_hub_needs_nothing_of_the_source_it_came_from(hub_machine: HubMachine) -> None:
    hub_machine.run(("rm", "-rf", INSIDE))
    for unit in ("hubd", "jupyterhub"):
        hub_machine.run(("systemctl", "restart", unit))
    hub_machine.wait_right()
    assert hub_machine.changes() == []
