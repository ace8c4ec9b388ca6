"""Environment builds as jobs: nobody waits for them, and killed, failed or overtaken ones harm nobody."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import KERNEL, HubMachine
from web import WebServer, web_server

CONFIG = "/opt/hub/config.yaml"
JOB = "hubd-job-env-slow.service"
SLOW = "hubd_slow-1.0-py3-none-any.whl"
# Seconds that each request for it waits, unless a test has seen what it wanted: less than uv's patience.
SLOWNESS = 25.0


@pytest.fixture(scope="module")
def index(hub_machine: HubMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server with one package that is slow to come."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder / SLOW)
    with web_server(folder, hub_machine.net.host) as web:
        yield web


def write_wheel(path: Path) -> None:
    info = "hubd_slow-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("hubd_slow.py", "SPEED = 0\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: hubd-slow\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"hubd_slow.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def building(hub_machine: HubMachine, index: WebServer) -> Iterator[HubMachine]:
    """The machine while the environment `slow` is being built; it is taken away again afterwards."""
    good = hub_machine.read(CONFIG)
    index.delays["slow"] = SLOWNESS
    put(hub_machine, with_slow(hub_machine, index))
    done = hub_machine.hubd("apply", "--yes")
    assert done.code == 0, done
    hub_machine.wait_until(lambda: "/" + SLOW in index.requests, "the build to ask for the slow package")
    yield hub_machine
    index.delays.clear()
    index.requests.clear()
    put(hub_machine, good)
    hub_machine.hubd("apply", "--yes", "--wait")
    assert hub_machine.status()["state"] == "right", hub_machine.status()


def with_slow(machine: HubMachine, index: WebServer) -> str:
    """The config with the environment `slow` in it, which is in no cache."""
    machine.shell("rm -rf /opt/hub/envs/.cache/uv/wheels-* /opt/hub/envs/.cache/uv/archive-*/hubd_slow*")
    entry = f"  slow:\n    packages: [ipykernel, 'hubd-slow @ {index.url}/{SLOW}']\n    manager: uv\n"
    return machine.read(CONFIG).replace("environments:\n", f"environments:\n{entry}")


# A source package whose build tells what it could reach of what is not its own.
NOSY = "hubd_nosy-1.0"
BACKEND = r"""
import os, subprocess, zipfile

PLACES = ["/opt/hub/cache/server/x", "/opt/hub/cache/conda/x", "/opt/hub/server/lib/x", "/opt/hub/hub/x", "/opt/hub/envs/x",
          "/opt/hub/envs/SCIENCE/x", "/opt/hub/state/x", "/opt/hub/kernels/everyone/x", "/etc/x", "/home/ada/x",
          "/opt/hub/state/reports/x", "/opt/hub/state/reports/env-slow/report.json", "/opt/hub/state/reports/env-slow/x"]
FOLDERS = ["/opt/hub/state/reports/env-slow", "/opt/hub/state/reports/env-nosy"]
READ = ["/opt/hub/state/secrets", "/opt/hub/state/hub/cookie_secret", "/opt/hub/state/record.json", "/home/ada", "/etc/shadow"]

def can_write(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True

def can_read(path):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).read()
    except OSError:
        return False
    return True

def cgroup(pid):
    try:
        return open("/proc/%s/cgroup" % pid).read()
    except OSError:
        return ""

def of_others():
    # The roots of processes that are not of this build.
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    return ["/proc/%s/root" % pid for pid in pids if cgroup(pid) not in ("", cgroup("self"))]

def can_move(path):
    try:
        os.rename(path, path + ".mine")
    except OSError:
        return False
    return True

def build_wheel(folder, config_settings=None, metadata_directory=None):
    reached = [p for p in PLACES if can_write(p)] + [p for p in READ if can_read(p)] + [p for p in FOLDERS if can_move(p)]
    reached += [p for p in of_others() if can_read(p)]
    if os.getuid() == 0 or not subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        reached.append("root")
    info = "hubd_nosy-1.0.dist-info"
    name = "hubd_nosy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("hubd_nosy.py", "REACHED = " + repr(reached))
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\nName: hubd-nosy\nVersion: 1.0\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "/RECORD", "")
    return name
"""


def write_nosy(folder: Path, science: str) -> Path:
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "hubd-nosy"\nversion = "1.0"\n'
    files = {"pyproject.toml": project, "backend.py": BACKEND.replace("SCIENCE", science),
             "PKG-INFO": "Metadata-Version: 2.1\nName: hubd-nosy\nVersion: 1.0\n"}  # fmt: skip
    path = folder / f"{NOSY}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{NOSY}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_code_that_runs_in_a_build_reaches_nothing_that_is_not_its_own(
    building: HubMachine, index: WebServer, tmp_path: Path
) -> None:
    generation = building.run(("sh", "-c", f"basename $(ls -d /opt/hub/envs/{KERNEL}/*)")).out.strip()
    write_nosy(tmp_path, f"{KERNEL}/{generation}")
    with web_server(tmp_path, building.net.host) as web:
        entry = f"  nosy:\n    packages: [ipykernel, 'hubd-nosy @ {web.url}/{NOSY}.tar.gz']\n    manager: uv\n"
        put(building, building.read(CONFIG).replace("environments:\n", f"environments:\n{entry}"))
        building.hubd("apply", "--yes")
        # What runs as the same account at the same time is no nearer to it.
        assert {"environment:slow", "environment:nosy"} <= going(building).keys()
        index.delays.clear()
        building.wait_until(lambda: {"slow", "nosy"} <= set(kernels(building)), "both kernels", timeout=90)
    server = building.sign_in("ada").start_server()
    assert server.run("import hubd_nosy; print(hubd_nosy.REACHED)", "nosy") == "[]\n"
    for job in ("env-slow", "env-nosy"):
        assert json.loads(building.read(f"/opt/hub/state/reports/{job}/report.json"))["state"] == "done"


def test_what_an_older_hub_left_among_the_reports_is_cleared_away(hub_machine: HubMachine) -> None:
    hub_machine.shell(
        "cd /opt/hub/state/reports && chown root:hubd-build . && chmod 1770 . && echo '{}' > env-science.json && mkfifo x"
        " && ln -s /etc l && mkdir env-gone && chown -hR hubd-build: env-science.json x l env-gone"
    )
    hub_machine.hubd("apply", "--yes")
    assert hub_machine.run(("stat", "-c", "%U:%G %a", "/opt/hub/state/reports")).out == "root:root 711\n"
    assert not {"env-science.json", "x", "l", "env-gone"} & set(hub_machine.run(("ls", "/opt/hub/state/reports")).out.split())
    assert hub_machine.changes() == []


@pytest.fixture
def restored(hub_machine: HubMachine, index: WebServer) -> Iterator[None]:
    """Whatever a test leaves, the next one finds the config as it was."""
    good = hub_machine.read(CONFIG)
    yield
    index.delays.clear()
    put(hub_machine, good)
    hub_machine.hubd("apply", "--yes", "--wait")
    assert hub_machine.status()["state"] == "right"


@pytest.mark.usefixtures("restored")
def test_build_that_takes_too_long_is_ended_and_told_and_tried_again_with_more_time(
    hub_machine: HubMachine, index: WebServer
) -> None:
    spec = hub_machine.read(f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json")
    index.delays["slow"] = 60
    put(hub_machine, with_slow(hub_machine, index) + "builds: {time: 5 s, memory: 512M, cpu: 0.5}\n")
    hub_machine.hubd("apply", "--yes")
    wanted = {
        "MemoryMax": str(512 * 2**20), "MemorySwapMax": "0", "OOMScoreAdjust": "500", "CPUQuotaPerSecUSec": "500ms",
        "RuntimeMaxUSec": "5s",
    }  # fmt: skip
    assert {name: hub_machine.show(JOB, name) for name in wanted} == wanted
    hub_machine.wait_until(lambda: "took longer" in hub_machine.hubd("status", check=False).out, "what came of it", timeout=30)
    shown = hub_machine.hubd("status", check=False).out
    told = ("build of slow took longer than builds.time (5 s)", "it was ended while solving", "hubd config set builds.time 10s")
    assert all(words in shown for words in told), shown
    assert not hub_machine.shell("pgrep -fa '[h]ubd-slow' || true").out, "nothing of it goes on"
    index.delays.clear()
    hub_machine.hubd("config", "set", "builds.time", "5min")
    hub_machine.wait_until(lambda: "slow" in kernels(hub_machine), "the kernel, without anybody asking", timeout=90)
    assert hub_machine.read(f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json") == spec, "nothing else is built anew"


def put(machine: HubMachine, text: str) -> None:
    machine.write(CONFIG, text, mode=0o640)
    machine.run(("chgrp", "hubd-admins", CONFIG))


def going(machine: HubMachine) -> dict[str, Any]:
    """What status says is under way."""
    last = machine.status()["last_pass"] or {}
    return {each["id"]: each["say"] for each in last["running"]}


def kernels(machine: HubMachine) -> list[str]:
    folder = machine.path("/opt/hub/kernels/everyone/kernels")
    return sorted(spec.parent.name for spec in folder.glob("*/kernel.json"))


def test_person_added_while_an_environment_builds_signs_in_long_before_it_is_built(
    building: HubMachine, index: WebServer
) -> None:
    assert "environment:slow" in going(building)
    assert building.let_in("eve").get("home").status_code == 200
    assert building.show(JOB, "ActiveState") == "active", "it still builds"
    assert "environment:slow" in going(building)
    assert kernels(building) == [KERNEL]
    index.delays.clear()
    building.wait_until(lambda: kernels(building) == sorted([KERNEL, "slow"]), "the kernel, put in place by itself", timeout=90)
    server = building.sign_in("eve").start_server()
    assert server.run("import hubd_slow; print(hubd_slow.SPEED)", "slow") == "0\n"


def test_killed_build_is_told_and_made_again(building: HubMachine, index: WebServer) -> None:
    before = building.main_pid(JOB)
    building.run(("systemctl", "kill", "--signal=KILL", JOB))
    building.wait_until(lambda: building.main_pid(JOB) not in (0, before), "the build to begin again")
    index.delays.clear()
    assert "was killed" in building.journal("-u", "hubd", "--since=-60s")
    building.wait_until(lambda: "slow" in kernels(building), "the kernel", timeout=90)


def test_build_outlives_a_restart_of_the_daemon_and_is_put_in_place(building: HubMachine, index: WebServer) -> None:
    before = building.main_pid(JOB)
    building.run(("systemctl", "restart", "hubd"))
    building.hubd("apply", "--yes")
    assert building.main_pid(JOB) == before
    building.run(("systemctl", "kill", "--signal=KILL", "hubd"))
    index.delays.clear()
    building.wait_until(lambda: "slow" in kernels(building), "the kernel", timeout=90)


def test_build_that_is_no_longer_wanted_harms_nobody(building: HubMachine, index: WebServer) -> None:
    put(building, building.read(CONFIG).replace("  slow:\n", "  other:\n"))
    building.hubd("apply", "--yes")
    index.delays.clear()
    building.wait_until(lambda: not building.main_pid(JOB), "the end of the old build", timeout=180)
    assert "slow" not in kernels(building)
    building.hubd("apply", "--yes", "--wait")
    assert "other" in kernels(building)


def test_failing_build_leaves_the_old_kernel_and_names_the_package(hub_machine: HubMachine) -> None:
    good = hub_machine.read(CONFIG)
    spec = hub_machine.read(f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json")
    hub_machine.hubd("config", "add-item", f"environments.{KERNEL}.packages", "no-such-package-for-hubd")
    done = hub_machine.hubd("apply", "--yes", "--wait", check=False)
    assert (done.code, "no-such-package-for-hubd" in done.err) == (5, True), done
    shown = hub_machine.hubd("status", check=False)
    assert (shown.code, "no-such-package-for-hubd" in shown.out) == (1, True), shown
    assert hub_machine.read(f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json") == spec
    assert hub_machine.sign_in("ada").start_server().run("print(6 * 7)", KERNEL) == "42\n"
    # A corrected list is tried at once, without the wait after a failure and without anybody asking.
    put(hub_machine, hub_machine.read(CONFIG).replace("no-such-package-for-hubd", "cowsay"))
    place = f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json"
    hub_machine.wait_until(lambda: hub_machine.read(place) != spec, "the corrected environment", timeout=90)
    put(hub_machine, good)
    hub_machine.hubd("apply", "--yes", "--wait")
    assert hub_machine.status()["state"] == "right"
    left = hub_machine.run(("ls", f"/opt/hub/envs/{KERNEL}")).out.split()
    assert left == ["1", "2", "current"], "the one in between is kept, the broken one is cleared, and the first one is on again"
    assert hub_machine.run(("readlink", f"/opt/hub/envs/{KERNEL}/current")).out.strip() == "1"
