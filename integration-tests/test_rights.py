"""What each account may not do: the hub's own, in its sandbox and out of it, a person's in a real server, others'."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub import KERNEL, HubMachine
from hubclient import Server

HUB_ACCOUNT = "hubd-hub"
EXPOSURE = 2.0

# Tries each thing and prints, as JSON, how it went: "done", or the name of the error.
PROBE = """
import errno, json, os, socket, subprocess, urllib.error, urllib.request
def tried(act):
    try:
        return act() or "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
def read(path):
    return str(os.listdir(path)) if os.path.isdir(path) else open(path, "rb").read(100).hex()
def write(path):
    os.close(os.open(os.path.join(path, "probe") if os.path.isdir(path) else path, os.O_WRONLY | os.O_CREAT))
def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)
def become_root(words):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "done" if done.stdout.strip() == "0" else "refused"
def got_namespace(kind):
    return subprocess.run(["unshare", kind, "true"], capture_output=True).returncode == 0
def ask(request):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/hubd/spawn.sock")
        connection.sendall(json.dumps(request).encode() + b"\\n")
        return json.loads(connection.makefile().readline())
def status(url):
    try:
        return str(urllib.request.urlopen(url, timeout=10).status)
    except urllib.error.HTTPError as error:
        return str(error.code)
def writable(top):
    return [path for path, _, files in os.walk(top) for path in (path, *(os.path.join(path, one) for one in files))
            if os.access(path, os.W_OK) and not os.path.islink(path)]
"""

SECRETS = (
    "/etc/shadow",
    "/root",
    "/home/ada",
    "/home/ada/private.txt",
    "/opt/hub/cache",
    "/opt/hub/config.yaml",
    "/opt/hub/envs/.cache",
    "/opt/hub/state/facts",
    "/opt/hub/state/install.log",
    "/opt/hub/state/jobs",
    "/opt/hub/state/network.env",
    "/opt/hub/state/record.json",
    "/opt/hub/state/secrets",
    "/opt/hub/state/servers.json",
    "/run/hubd/servers",
)
OF_THE_HUB = ("cookie_secret", "jupyterhub.sqlite", "passwords.dbm", "proxy-api-password", "service-token")
NOT_TO_BE_WRITTEN = (
    "/",
    "/etc",
    "/etc/cron.d",
    "/etc/sudoers.d",
    "/etc/systemd/system",
    "/opt/hub",
    "/opt/hub/config.yaml",
    "/opt/hub/envs",
    "/opt/hub/hub/bin/hubd",
    "/opt/hub/jupyterhub_config.d",
    "/opt/hub/kernels/everyone/kernels",
    "/opt/hub/state",
    "/opt/hub/state/jupyterhub.json",
    "/opt/hub/state/proxy/rules/hubd.toml",
    "/opt/hub/state/proxy/traefik.toml",
    "/opt/hub/state/servers.json",
    "/opt/hub/versions",
    "/run/hubd",
    "/usr/local/bin",
)
NAMESPACES = ("--user", "--mount", "--net", "--pid", "--uts")
TO_ROOT = (("sudo", "-n", "id", "-u"), ("su", "-c", "id -u"), ("python3", "-c", "import os; os.setuid(0); print(os.getuid())"))


def probe(expressions: dict[str, str]) -> str:
    """A script that evaluates each expression in words of PROBE and prints the outcomes."""
    tries = ", ".join(f"{name!r}: tried(lambda: {expression})" for name, expression in expressions.items())
    return f"{PROBE}\nprint(json.dumps({{{tries}}}))"


def all_of(word: str, things: tuple[Any, ...]) -> dict[str, str]:
    return {str(thing): f"{word}({thing!r})" for thing in things}


def as_account(machine: HubMachine, script: str, account: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run(("python3", "-c", script), user=account).out)
    return found


def in_sandbox_of(machine: HubMachine, script: str, unit: str) -> dict[str, Any]:
    """Run a script as the only program of a copy of the unit, so with its account and all its properties."""
    dropped = r"ExecStart=|Type=|Restart|NotifyAccess=|Sockets=|After=|Wants=|Requires=|\[Install\]|WantedBy="
    lines = [line for line in machine.read(f"/etc/systemd/system/{unit}").splitlines() if not re.match(dropped, line)]
    machine.write("/usr/local/share/probe.py", script)
    start = ["Type=oneshot", "ExecStart=/usr/bin/python3 /usr/local/share/probe.py", "StandardOutput=truncate:/run/probe.out"]
    place = lines.index("[Service]") + 1
    machine.write("/run/systemd/system/probe.service", "\n".join([*lines[:place], *start, *lines[place:]]) + "\n")
    machine.shell("systemctl daemon-reload && systemctl start probe")
    found: dict[str, Any] = json.loads(machine.read("/run/probe.out"))
    return found


@pytest.fixture(scope="module")
def machine(hub_machine: HubMachine) -> HubMachine:
    hub_machine.shell("useradd --create-home mallory; useradd --create-home outsider")
    hub_machine.hubd("config", "add-item", "people.users", "bea")
    hub_machine.hubd("apply", "--yes")
    hub_machine.run(("tee", "/home/ada/private.txt"), input="of ada", user="ada")
    hub_machine.shell("chmod 644 /home/ada/private.txt", user="ada")
    return hub_machine


@pytest.fixture(scope="module")
def of_ada(machine: HubMachine) -> Server:
    return machine.sign_in("ada").start_server()


@pytest.fixture(scope="module")
def of_bea(machine: HubMachine) -> Server:
    return machine.sign_in("bea").start_server()


@pytest.mark.parametrize("sandboxed", [True, False], ids=["sandboxed", "bare"])
def test_hubs_account_reads_writes_and_becomes_nothing_that_is_not_its_own(
    machine: HubMachine, of_ada: Server, sandboxed: bool
) -> None:
    processes = tuple(f"/proc/{machine.main_pid(unit)}/environ" for unit in ("daemon", "proxy", "hubd-user-ada.service"))
    reading = probe(all_of("read", (*SECRETS, *processes)))
    writing = probe(all_of("write", NOT_TO_BE_WRITTEN))
    rising = probe(all_of("become_root", TO_ROOT))
    asking = probe(all_of("connect", ("/run/hubd/hubd.sock",)))
    for script in (reading, writing, rising, asking):
        found = in_sandbox_of(machine, script, "jupyterhub.service") if sandboxed else as_account(machine, script, HUB_ACCOUNT)
        bad = {what: how for what, how in found.items() if how not in ("EACCES", "EPERM", "EROFS", "ENOENT", "refused")}
        assert bad == {}
        assert found


def test_proxys_account_reads_neither_the_hubs_secrets_nor_the_state(machine: HubMachine) -> None:
    secrets = (*SECRETS, *(f"/opt/hub/state/hub/{name}" for name in OF_THE_HUB))
    sockets = ("/run/hubd/hubd.sock", "/run/hubd/spawn.sock")
    script = probe(all_of("read", secrets) | all_of("write", NOT_TO_BE_WRITTEN) | all_of("connect", sockets))
    found = in_sandbox_of(machine, script, "jupyterhub-proxy.service")
    assert {what: how for what, how in found.items() if how not in ("EACCES", "EPERM", "EROFS", "ENOENT")} == {}


@pytest.mark.parametrize(
    "name", ["root", "hubd-build", "hubd-hub", "mallory", "nobody", "", "-x", "../ada", "ada.service --user=root", "ada\n", "Ada"]
)
def test_hub_cannot_start_a_server_for_anybody_else(machine: HubMachine, name: str) -> None:
    before = running_servers(machine)
    request = {"do": "start", "user": name, "server": "", "env": {}, "port": 9}
    answer = as_account(machine, probe({"answer": f"ask({request!r})"}), HUB_ACCOUNT)["answer"]
    assert answer["ok"] is False
    assert answer["error"]
    assert running_servers(machine) == before


@pytest.mark.parametrize("server", ["/../x", "a b", "x.service", "%n", "é", "a\nb", "x" * 300])
def test_name_of_a_server_cannot_reach_another_unit(machine: HubMachine, server: str) -> None:
    request = {"do": "start", "user": "bea", "server": server, "env": {}, "port": 9}
    answer = as_account(machine, probe({"answer": f"ask({request!r})"}), HUB_ACCOUNT)["answer"]
    new = [unit for unit in running_servers(machine) if not re.fullmatch(r"hubd-user-(ada|bea)\.service", unit)]
    assert all(unit.startswith("hubd-user-bea:") for unit in new)
    if answer["ok"]:
        ended = as_account(machine, probe({"answer": f"ask({request | {'do': 'stop'}!r})"}), HUB_ACCOUNT)["answer"]
        assert ended["ok"] is True
    assert [unit for unit in running_servers(machine) if ":" in unit] == []


def running_servers(machine: HubMachine) -> list[str]:
    listed = machine.run(("systemctl", "list-units", "--plain", "--no-legend", "--all", "hubd-user-*")).out
    return sorted(line.split()[0] for line in listed.splitlines())


def test_what_the_hub_says_cannot_change_what_a_server_runs(machine: HubMachine) -> None:
    env = {
        "LD_PRELOAD": "/home/bea/evil.so",
        "PATH": "/home/bea",
        "PYTHONPATH": "/home/bea",
        "HOME": "/home/ada",
        "BASH_ENV": "/home/bea/evil",
        "JUPYTER_CONFIG_DIR": "/home/bea",
        "JUPYTERHUB_X\nLD_LIBRARY_PATH": "/home/bea",
        "JUPYTERHUB_SINGLEUSER_APP": "evil.App",
        "MEM_LIMIT": "1",
        "JUPYTERHUB_KEPT": 'a "quoted" $HOME \\ value',
    }
    request = {"do": "start", "user": "bea", "server": "probe", "env": env, "port": 9}
    try:
        answer = as_account(machine, probe({"answer": f"ask({request!r})"}), HUB_ACCOUNT)["answer"]
        assert answer["ok"] is True
        pid = machine.main_pid("hubd-user-bea:probe.service")
        raw = machine.path(f"/proc/{pid}/environ").read_text()
        found = dict(pair.split("=", 1) for pair in raw.split("\0") if pair)
    finally:
        as_account(machine, probe({"answer": f"ask({request | {'do': 'stop'}!r})"}), HUB_ACCOUNT)
    assert not {"LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "PYTHONPATH", "BASH_ENV", "JUPYTER_CONFIG_DIR"} & set(found)
    assert found.get("JUPYTERHUB_SINGLEUSER_APP") != "evil.App"
    assert "/home/bea" not in found["PATH"]
    assert (found["HOME"], found["USER"]) == ("/home/bea", "bea")
    assert found["MEM_LIMIT"] == str(2**30)
    assert found["JUPYTERHUB_KEPT"] == env["JUPYTERHUB_KEPT"]


def test_line_break_in_what_the_hub_says_is_refused(machine: HubMachine) -> None:
    env = {"JUPYTERHUB_DEFAULT_URL": "/lab\nLD_AUDIT=/home/bea/evil.so"}
    request = {"do": "start", "user": "bea", "server": "probe", "env": env, "port": 9}
    answer = as_account(machine, probe({"answer": f"ask({request!r})"}), HUB_ACCOUNT)["answer"]
    assert (answer["ok"], "line break" in answer["error"]) == (False, True)
    assert "hubd-user-bea:probe.service" not in running_servers(machine)


@pytest.mark.parametrize("account", ["bea", "outsider", "hubd-proxy", "hubd-build", "nobody"])
def test_others_cannot_talk_to_the_daemon(machine: HubMachine, account: str) -> None:
    found = as_account(machine, probe(all_of("connect", ("/run/hubd/hubd.sock", "/run/hubd/spawn.sock"))), account)
    assert set(found.values()) == {"EACCES"}


def test_person_reads_nothing_of_others_and_writes_nothing_of_the_hubs(
    machine: HubMachine, of_ada: Server, of_bea: Server
) -> None:
    port = machine.path(f"/proc/{machine.main_pid('hubd-user-ada.service')}/environ").read_text()
    address = re.search(r"JUPYTERHUB_SERVICE_URL=(http://127\.0\.0\.1:\d+)", port)
    assert address
    secrets = (*SECRETS, *(f"/opt/hub/state/hub/{name}" for name in OF_THE_HUB), "/home/outsider")
    secrets += tuple(f"/proc/{machine.main_pid(unit)}/environ" for unit in ("daemon", "hub", "hubd-user-ada.service"))
    expressions = {
        **all_of("read", secrets),
        **{f"write {path}": f"write({path!r})" for path in (*NOT_TO_BE_WRITTEN, "/home", "/tmp/../home/ada")},
        **all_of("connect", ("/run/hubd/hubd.sock", "/run/hubd/spawn.sock")),
        **all_of("become_root", TO_ROOT),
        "below the prefix": "str(writable('/opt/hub'))",
        "processes": "str({os.stat(f'/proc/{pid}').st_uid for pid in os.listdir('/proc') if pid.isdigit()} - {os.getuid()})",
        "homes": "str(os.listdir('/home'))",
        "ada's server": f"status('{address[1]}/user/ada/api/contents')",
        "hub's API": "status('http://127.0.0.1:15001/hub/api/users')",
        "proxy's API": "status('http://127.0.0.1:8099/api/rawdata')",
        "namespaces": f"str([kind for kind in {NAMESPACES} if got_namespace(kind)])",
        "own home": "write(os.path.expanduser('~'))",
    }
    found = json.loads(of_bea.run(probe(expressions), KERNEL))
    expected = {
        "below the prefix": "[]", "processes": "set()", "homes": "['bea']", "ada's server": "403", "hub's API": "403",
        "proxy's API": "401", "own home": "done", "namespaces": "[]",
    }  # fmt: skip
    assert {name: found.pop(name) for name in expected} == expected
    bad = {what: how for what, how in found.items() if how not in ("EACCES", "EPERM", "EROFS", "ENOENT", "EISDIR", "refused")}
    assert bad == {}


def test_person_with_a_login_shell_reads_nothing_of_others_either(machine: HubMachine, of_ada: Server) -> None:
    secrets = (*SECRETS, *(f"/opt/hub/state/hub/{name}" for name in OF_THE_HUB))
    secrets += tuple(f"/proc/{machine.main_pid(unit)}/environ" for unit in ("daemon", "hub", "hubd-user-ada.service"))
    expressions = {**all_of("read", secrets), "below the prefix": "str(writable('/opt/hub'))"}
    found = as_account(machine, probe(expressions), "bea")
    assert found.pop("below the prefix") == "[]"
    assert {what: how for what, how in found.items() if how != "EACCES"} == {}


@pytest.mark.parametrize("unit", ["jupyterhub.service", "jupyterhub-proxy.service", "hubd-user-ada.service"])
def test_exposure_is_low(machine: HubMachine, of_ada: Server, unit: str, artefacts: Path) -> None:
    # What systemd keeps of a unit that has no file of its own shows after a reload only.
    machine.run(("systemctl", "daemon-reload"))
    told = machine.run(("systemd-analyze", "security", "--no-pager", unit)).out
    (artefacts / "security.txt").write_text(told)
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert level
    assert float(level[1]) <= EXPOSURE, told
