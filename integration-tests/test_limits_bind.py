"""Limits, where a kernel enforces them: what takes more is ended or held back, and everybody else goes on.

The machine is emulated, for which see `emulated`. In it a person's server is started by hubd as it is for the hub. Its
JupyterLab, which would take minutes to come up, and all processors meanwhile, is halted at once and is there all the same; what
is greedy is put among the server's processes, where a kernel would be.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import Done
from emulated import EmulatedMachine
from hub import KERNEL, Installed
from waiting import wait_for
from watcher import Watcher
from web import WebServer, web_server

CONFIG = "/opt/hub/config.yaml"
KERNEL_JSON = f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json"
GROUPS = "/sys/fs/cgroup/system.slice"
JOB = f"hubd-job-env-{KERNEL}.service"
WORK = "work-of-ada.service"
PEOPLE = ("ada", "eve")

# In MiB and cores. Builds have enough to come to the code of a package.
BUILD_MEMORY, BUILD_CORES = 320, 1
SERVER_MEMORY, LESS_MEMORY, SERVER_CORES = 160, 140, 0.5
CHANGES = {
    "  memory: 1G\n  cpu: 1\n": f"  memory: {SERVER_MEMORY}M\n  cpu: {SERVER_CORES}\n",
    "environments:\n": f"builds: {{memory: {BUILD_MEMORY}M, cpu: {BUILD_CORES}}}\n\nenvironments:\n",
    "admins: [ada]\n": "admins: [ada]\n  users: [eve]\n",
}
# What is counted of a quota may be late by some slices of time.
INEXACT = 1.15

# A build backend. It burns until this host knows enough, then takes memory; were nobody to end it, it would end by itself.
GREEDY = "hubd-greedy"
BACKEND = """
import os, signal, socket, time

def told(what):
    with socket.create_connection(ADDRESS) as web:
        web.sendall(b"GET /%s HTTP/1.0\\r\\n\\r\\n" % what.encode())
        return b" 200 " in web.recv(100)

def burner():
    child = os.fork()
    while not child:
        pass
    return child

def build_wheel(folder, config_settings=None, metadata_directory=None):
    children = [burner() for _ in range(3)]
    while not told("burning"):
        time.sleep(0.5)
    for child in children:
        os.kill(child, signal.SIGKILL)
    held = []
    for much in range(20, 1000, 20):
        held.append(bytearray(b"x") * (20 << 20))
        told(f"held/{much}")
"""

# Among the processes of unit $1, as ada: the rest of the words.
AMONG = f'echo $$ >"{GROUPS}/$1/cgroup.procs"; shift; exec setpriv --reuid=ada --regid=ada --init-groups -- "$@"'
TAKE = "held = []\nfor much in range(20, 1000, 20):\n    held.append(bytearray(b'x') * (20 << 20))\n    print(much, flush=True)"

# How many cores unit $1 uses, over six seconds.
MEASURE = f"""
used() {{ sed -n 's/^usage_usec //p' "{GROUPS}/$1/cpu.stat"; }}
before=$(used "$1"); began=$(date +%s%6N); sleep 6; after=$(used "$1"); ended=$(date +%s%6N)
echo "$((after - before)) $((ended - began))"
"""
ASK_FOR_SERVER = """
import socket, sys
hubd = socket.socket(socket.AF_UNIX)
hubd.connect("/run/hubd/spawn.sock")
hubd.sendall(sys.argv[1].encode() + b"\\n")
print(hubd.makefile().readline())
"""


@pytest.fixture(scope="module")
def emulated(installed: Installed) -> Iterator[EmulatedMachine]:
    """A hub with two people and with limits, put in place by the pass that its daemon makes at boot."""
    with EmulatedMachine("limits", installed.tree, {"ada": installed.password}, prepare=with_limits) as machine:
        machine.hub.wait_healthy(120)
        yield machine


def with_limits(root: Path) -> None:
    file = root / CONFIG.lstrip("/")
    text = file.read_text()
    for old, new in CHANGES.items():
        assert old in text, text
        text = text.replace(old, new)
    file.write_text(text)


@dataclass(frozen=True, slots=True)
class Build:
    """How a greedy build went. cores: used while it burned. held: MiB that it said it has. apply: the command that waited.

    before, after: ada's work, as the number of its process, and what is offered as the kernel.
    """

    cores: float
    held: list[int]
    apply: Done
    hub: Watcher
    before: tuple[int, str]
    after: tuple[int, str]


@pytest.fixture(scope="module")
def build(emulated: EmulatedMachine, tmp_path_factory: pytest.TempPathFactory) -> Build:
    emulated.run(("systemd-run", "--quiet", "--uid=ada", f"--unit={WORK}", "sleep", "infinity"))
    before = beside(emulated)
    folder = tmp_path_factory.mktemp("index")
    hub = Watcher({"health": f"{emulated.hub.url}/hub/health"}, every=1, patience=30)
    with web_server(folder, emulated.net.host) as web, hub:
        emulated.hubd("config", "add-item", f"environments.{KERNEL}.packages", write_greedy(web))
        applying = emulated.popen(("hubd", "apply", "--yes", "--wait"))
        emulated.wait_until(lambda: "/burning" in web.requests, "the greedy build to begin", timeout=240)
        cores = cores_used(emulated, JOB)
        (folder / "burning").touch()
        said, _ = applying.communicate(timeout=240)
        held = [int(path.rpartition("/")[2]) for path in web.requests if path.startswith("/held/")]
    return Build(cores, held, Done(("apply",), applying.returncode, said, ""), hub, before, beside(emulated))


def beside(machine: EmulatedMachine) -> tuple[int, str]:
    """What a build must not change."""
    return machine.main_pid(WORK), machine.read(KERNEL_JSON)


def write_greedy(web: WebServer) -> str:
    """Serve the source package, and give the requirement that names it."""
    host, port = web.url.removeprefix("http://").split(":")
    # What is not known before the backend has run makes uv run it at once.
    project = f'[project]\nname = "{GREEDY}"\ndynamic = ["version"]\n'
    project += '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    backend = BACKEND.replace("ADDRESS", repr((host, int(port))))
    with tarfile.open(web.folder / f"{GREEDY}-1.0.tar.gz", "w:gz") as archive:
        for name, text in {"pyproject.toml": project, "backend.py": backend}.items():
            entry = tarfile.TarInfo(f"{GREEDY}-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return f"{GREEDY} @ {web.url}/{GREEDY}-1.0.tar.gz"


def cores_used(machine: EmulatedMachine, unit: str) -> float:
    used, passed = map(int, machine.run(("bash", "-euc", MEASURE, "measure", unit)).out.split())
    return used / passed


def test_build_gets_no_more_processor_time_than_its_limit(build: Build) -> None:
    assert 0.6 * BUILD_CORES < build.cores < INEXACT * BUILD_CORES


def test_build_that_takes_more_memory_than_its_limit_is_ended_and_told(emulated: EmulatedMachine, build: Build) -> None:
    assert build.held and max(build.held) < BUILD_MEMORY, "it came to its code, and not beyond its limit"
    assert f"oom_memcg=/system.slice/{JOB}" in emulated.journal("-k"), "the kernel ended it"
    assert build.apply.code == 5, build.apply
    for said in (build.apply.out, emulated.hubd("status", check=False).out):
        assert f"the build of {KERNEL} needed more than builds.memory ({BUILD_MEMORY}M)" in said
        assert f"hubd config set builds.memory {2 * BUILD_MEMORY}M" in said


def test_greedy_build_harms_neither_the_hub_nor_people(build: Build) -> None:
    assert build.hub.answers["health"] and not build.hub.bad("health"), build.hub.summary()
    assert build.after == build.before, "ada's work goes on, and the kernel of the generation before is offered"


@pytest.fixture(scope="module")
def servers(emulated: EmulatedMachine) -> dict[str, int]:
    """The servers of both people, each unit with the number of its main process."""
    for number, name in enumerate(PEOPLE):
        address = f"http://127.0.0.1:{9100 + number}/user/{name}/"
        env = {"JUPYTERHUB_API_TOKEN": "none", "JUPYTERHUB_SERVICE_URL": address, "JUPYTERHUB_USER": name}
        request = json.dumps({"do": "start", "user": name, "server": "", "port": 9100 + number, "env": env})
        said = emulated.run(("python3", "-c", ASK_FOR_SERVER, request), user="hubd-hub").out
        assert json.loads(said) == {"ok": True, "status": None}
        emulated.run(("systemctl", "kill", "--signal=STOP", f"hubd-user-{name}"))
    return {unit: emulated.main_pid(unit) for unit in (f"hubd-user-{name}.service" for name in PEOPLE)}


def test_server_gets_no_more_processor_time_than_its_limit(emulated: EmulatedMachine, servers: dict[str, int]) -> None:
    unit = next(iter(servers))
    for _ in range(2):
        emulated.popen(("bash", "-euc", AMONG, "among", unit, "timeout", "40", "sh", "-c", "while :; do :; done"))
    wait_for(lambda: len(emulated.read(f"{GROUPS}/{unit}/cgroup.procs").split()) > 4, "both to burn", timeout=30, every=1)
    assert 0.6 * SERVER_CORES < cores_used(emulated, unit) < INEXACT * SERVER_CORES
    emulated.run(("pkill", "-u", "ada", "-x", "timeout"))


def test_what_takes_more_memory_than_a_server_has_is_ended_and_nobody_else(
    emulated: EmulatedMachine, servers: dict[str, int]
) -> None:
    unit = next(iter(servers))
    taken = emulated.run(("bash", "-euc", AMONG, "among", unit, "python3", "-c", TAKE), check=False, timeout=240)
    assert taken.code == 128 + 9, taken
    assert int(taken.out.split()[-1]) < SERVER_MEMORY
    assert f"oom_memcg=/system.slice/{unit}" in emulated.journal("-k"), "the kernel ended it"
    assert {each: emulated.main_pid(each) for each in servers} == servers, "neither ada's JupyterLab is ended nor that of eve"
    assert emulated.hub.healthy()


def test_changed_limit_reaches_a_running_server(emulated: EmulatedMachine, servers: dict[str, int]) -> None:
    unit = next(iter(servers))
    assert emulated.read(f"{GROUPS}/{unit}/memory.max").strip() == str(SERVER_MEMORY << 20)
    emulated.hubd("config", "set", "limits.memory", f"{LESS_MEMORY}M")
    place, less = f"{GROUPS}/{unit}/memory.max", str(LESS_MEMORY << 20)
    # Each look takes some of the time that the pass needs.
    wait_for(lambda: emulated.read(place).strip() == less, "the new limit, without anybody asking", timeout=120, every=2)
    assert emulated.main_pid(unit) == servers[unit], "nobody is interrupted"
