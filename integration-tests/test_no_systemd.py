"""A container whose PID 1 is not systemd: the same command gives the same hub, and hubd itself keeps its programs running."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import leftovers
from hub import COMMAND, RIGHT, HubMachine, copy_checkout, timed_install
from hubclient import Hub, Kernel
from nspawn import Boot
from waiting import wait_for
from web import web_server

OPTIONS = ("--quiet", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=replace-host", "--timezone=off")
# What a container is often started with: it neither starts anything nor collects the dead.
FIRST_PROCESS = ("sleep", "infinity")
DAEMON = ("/opt/hub/hub/bin/python", "-m", "hubd.cli", "--prefix", "/opt/hub", "daemon")
PORT = 8000
# Programs that hubd keeps running, and how each is found. The gate is the proxy's parent.
DYING = {
    "hub": r"^\S+ -m hubd\.hubside --settings",
    "gate": r"^\S+ -m hubd\.hubside\.gate",
    "traefik": r"^\S+/bin/traefik --configFile",
}
OWNERS = {
    "hubd.hubside ": "hubd-hub",
    "bin/traefik --": "hubd-proxy",
    "jupyterhub-singleuser": "ada",
    "hubd.cli --prefix": "root",
}


class ContainerBoot(Boot):
    """A container from start to end."""

    def __init__(self, root: Path, options: tuple[str, ...], *, console: Path) -> None:
        self._console, self._groups = console, []  # no systemd that could mix up the groups of two machines
        with console.open("ab") as output:
            self.process = subprocess.Popen(
                ("systemd-nspawn", *OPTIONS, f"--directory={root}", *options, "--", *FIRST_PROCESS),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.pid1 = wait_for(self._find_pid1, f"the first process of {root}", timeout=20)

    def power_off(self, timeout: float) -> None:
        """Containers are killed: their first process knows no other end."""
        self.pull_the_plug()


class Container(HubMachine):
    """A machine without systemd."""

    def boot(self) -> str:
        options = (f"--machine={self.name}", f"--hostname={self.name}", f"--network-namespace-path={self.net.path}")
        self._boot = ContainerBoot(self.clone.root, options, console=self.folder / "console.log")
        leftovers.note_processes(self.folder, self._boot.pid1, self._boot.process.pid)
        return "running"

    kernel = "science"

    @property
    def hub(self) -> Hub:
        return Hub(self.url(PORT).rstrip("/"))

    def pids(self, pattern: str) -> list[int]:
        """The processes in the container whose command line has `pattern`, as it numbers them."""
        found = []
        for folder in self.path("/proc").iterdir():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if folder.name.isdigit() and re.search(pattern, line):
                found.append(int(folder.name))
        return sorted(found)


@pytest.fixture(scope="module")
def container(base: Path) -> Iterator[Container]:
    """A container with a hub, installed by the README's command."""
    with Container("no-systemd", base) as made:
        copy_checkout(made)
        done, _ = timed_install(made, COMMAND)
        assert done.code == 0, done
        said = re.search(r"Sign in as ada with the one-time password (\S+)", done.out)
        assert said, done
        assert f"The hub is at {made.url(PORT)}" in done.out, done
        assert "no systemd here: the hub comes on the first free port, 8000" in done.out + done.err
        made.passwords["ada"] = said[1]
        yield made


@pytest.fixture
def kernel(container: Container) -> Iterator[Kernel]:
    """A running kernel of ada's, with something in its memory."""
    kernel = container.sign_in("ada").start_server().start_kernel(container.kernel)
    kernel.run("kept = 41")
    yield kernel
    kernel.stop()


def test_hub_answers_and_status_says_what_is_not_enforced(container: Container) -> None:
    assert container.hub.healthy()
    status = container.hubd("status")
    assert status.out.startswith(RIGHT), status
    assert "sandboxes and limits are not enforced" in status.out, status
    plan = container.hubd("plan", "--detailed-exitcode", check=False)
    assert (plan.code, plan.out.startswith("Nothing to do:")) == (0, True), plan


def test_port_that_the_container_uses_is_written_into_the_config(container: Container) -> None:
    assert container.hubd("config", "get", "proxy.port").out.strip() == str(PORT)


def test_cell_runs_as_the_person_and_not_as_anybody_else(container: Container, kernel: Kernel) -> None:
    said = kernel.run("import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name, os.getcwd(), kept + 1)").split()
    assert said == ["ada", "/home/ada", "42"]
    for path in ("/opt/hub/state/record.json", "/opt/hub/state/hub/cookie_secret", "/opt/hub/state/servers.json"):
        assert "Permission" in kernel.run(f"open({path!r})"), path


def test_programs_run_as_whom_they_should(container: Container, kernel: Kernel) -> None:
    shown = container.run(("ps", "axo", "user:20,args", "--no-headers")).out.splitlines()
    for part, owner in OWNERS.items():
        found = {line.split()[0] for line in shown if part in line}
        assert found == {owner}, shown


def test_person_added_can_sign_in(container: Container) -> None:
    person = container.let_in("bea")
    assert person.start_server().run("print(6 * 7)", container.kernel) == "42\n"
    person.stop_server()
    assert not container.pids("jupyterhub-singleuser.*bea")


def test_new_daemon_takes_over_what_runs(container: Container, kernel: Kernel) -> None:
    hub, proxy = container.pids(r"hubd\.hubside "), container.pids("bin/traefik --configFile")
    (daemon,) = container.pids(r"hubd\.cli --prefix \S+ daemon")
    container.run(("kill", "-9", str(daemon)))
    status = container.hubd("status", check=False)
    assert "hubd is not running" in status.out, status
    assert "Start it: hubd daemon" in status.out, status
    start_daemon(container)
    container.hubd("apply", "--yes")
    assert (container.pids(r"hubd\.hubside "), container.pids("bin/traefik --configFile")) == (hub, proxy)
    assert kernel.run("print(kept)") == "41\n"
    person = container.sign_in("ada")
    assert person.api("GET", "users/ada").json()["servers"][""]["ready"]


@pytest.fixture
def restored(container: Container) -> Iterator[None]:
    """Whatever a test leaves, the next one finds the config as it was."""
    good = container.read("/opt/hub/config.yaml")
    yield
    container.write("/opt/hub/config.yaml", good, mode=0o640)
    container.hubd("apply", "--yes", "--wait")
    assert container.status()["state"] == "right"


@pytest.mark.usefixtures("restored")
def test_build_that_takes_too_long_is_ended_and_told(container: Container, tmp_path: Path) -> None:
    with web_server(tmp_path, container.net.host) as web:
        web.delays["slow"] = 30
        entry = f"  slow:\n    packages: [ipykernel, 'hubd-slow @ {web.url}/hubd_slow-1.0-py3-none-any.whl']\n    manager: uv\n"
        text = container.read("/opt/hub/config.yaml").replace("environments:\n", f"environments:\n{entry}")
        container.write("/opt/hub/config.yaml", text + "builds: {time: 5 s}\n", mode=0o640)
        container.hubd("apply", "--yes")
        container.wait_until(lambda: bool(web.requests), "the build to ask for the package")
        assert container.pids("bin/uv pip")
        running = container.run(("ps", "axo", "user:20,args", "--no-headers")).out.splitlines()
        owners = {line.split()[0] for line in running if "bin/uv pip" in line or " -m hubd.jobs" in line}
        assert owners == {"hubd-build"}, running
        container.wait_until(lambda: "took longer" in container.hubd("status", check=False).out, "what came of it", timeout=30)
        shown = container.hubd("status", check=False).out
        assert "it was ended while solving" in shown and "hubd config set builds.time 10s" in shown, shown
        assert not container.pids("bin/uv pip") and not container.pids("hubd.jobs"), "nothing of it goes on"


@pytest.mark.parametrize("program", DYING)
def test_program_that_dies_is_started_again(container: Container, kernel: Kernel, program: str) -> None:
    (before,) = container.pids(DYING[program])
    container.run(("kill", "-9", str(before)))

    def another() -> bool:
        now = container.pids(DYING[program])
        return bool(now) and before not in now

    container.wait_until(another, f"another {program}")
    container.wait_until(lambda: quiet(container), "all right")
    container.hub.wait_healthy(30)
    assert [len(container.pids(pattern)) for pattern in DYING.values()] == [1, 1, 1]
    kernel.connect()
    assert kernel.run("print(kept)") == "41\n", "a person's kernel does not notice"


def test_daemon_stopped_in_order_leaves_the_hub_running(container: Container, kernel: Kernel) -> None:
    (daemon,) = container.pids(r"hubd\.cli --prefix \S+ daemon")
    container.run(("kill", "-TERM", str(daemon)))
    container.wait_until(lambda: not container.pids(r"hubd\.cli --prefix \S+ daemon"), "the end of the daemon")
    assert container.hub.healthy()
    assert kernel.run("print(kept)") == "41\n"
    start_daemon(container)


def test_container_that_starts_anew_needs_only_the_daemon(container: Container) -> None:
    container.reboot()
    assert not container.pids("traefik")
    start_daemon(container)
    container.hub.wait_healthy(60)
    container.wait_until(lambda: container.status()["state"] == "right", "all right again")
    assert container.sign_in("ada").start_server().run("print(6 * 7)", container.kernel) == "42\n"


def test_second_run_of_the_command_repairs(container: Container) -> None:
    container.run(("rm", "/opt/hub/kernels/everyone/kernels/science/kernel.json"))
    done, took = timed_install(container, COMMAND)
    assert (done.code, "one-time password" in done.out) == (0, False), done
    assert took < 60
    assert container.hub.healthy()
    assert container.hubd("status").out.startswith(RIGHT)
    assert len(container.pids(r"hubd\.cli --prefix \S+ daemon")) == 1


def quiet(container: Container) -> bool:
    status = container.status()
    return status["state"] == "right" and not status["daemon"]["pass_since"]


def start_daemon(container: Container) -> None:
    """As a container's start command would."""
    container.run(("sh", "-c", f"setsid {' '.join(DAEMON)} </dev/null >/root/hubd.log 2>&1 &"))
    container.wait_until(lambda: container.hubd("status", check=False).out.find("hubd is not running") < 0, "the daemon")
