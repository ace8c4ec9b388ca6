"""A kernel and a terminal of an environment mean the same one, it is proven before it is used, and nobody changes it by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Done
from hub import KERNEL, HubMachine
from hubclient import Server
from web import web_server

CONFIG = "/opt/hub/config.yaml"
SMOKE = "/root/smoke.ipynb"
# By conda and with pip; the other one, by uv, has none.
GEO = "  geo:\n    packages: [python=3.11, ipykernel, pip, hubd-test-activate]\n    manager: conda\n"
REFUSED = "is shared and cannot be changed here: ask whoever runs this hub to add what you need"


@pytest.fixture(scope="module")
def machine(hub_machine: HubMachine, conda_channel: Path) -> Iterator[HubMachine]:
    """A hub with an environment by conda besides the one by uv."""
    hub_machine.hubd("config", "set", f"environments.{KERNEL}.manager", "uv")
    sha256 = hashlib.sha256((conda_channel / "Miniconda.sh").read_bytes()).hexdigest()
    with web_server(conda_channel, hub_machine.net.host) as web:
        text = hub_machine.read(CONFIG).replace("environments:\n", f"environments:\n{GEO}")
        text += f"conda:\n  channels: [{web.url}/tests]\n"
        text += f"  url: {{x86_64: {web.url}/Miniconda.sh, aarch64: {web.url}/Miniconda.sh}}\n"
        hub_machine.write(CONFIG, f"{text}  sha256: {{x86_64: {sha256}, aarch64: {sha256}}}\n", mode=0o640)
        apply(hub_machine, code=0)
        yield hub_machine


@pytest.fixture(scope="module")
def server(machine: HubMachine) -> Server:
    return machine.sign_in("ada").start_server()


def apply(machine: HubMachine, *, code: int) -> Done:
    done = machine.hubd("apply", "--yes", "--wait", check=False)
    assert done.code == code, done
    return done


def kernel_json(machine: HubMachine, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(machine.read(f"/opt/hub/kernels/everyone/kernels/{name}/kernel.json"))
    return spec


def trouble(machine: HubMachine) -> dict[str, str]:
    told = machine.status()["last_pass"]["trouble"]
    return {each["id"]: f"{each['what']} | {each['why']} | {each['fix']}" for each in told}


def test_kernel_and_terminal_have_the_same_variables(machine: HubMachine, server: Server) -> None:
    spec = kernel_json(machine, "geo")
    prefix = spec["argv"][0].removesuffix("/bin/python")
    assert spec["env"]["HUBD_TEST_DATA"] == f"{prefix}/share/data of geo"
    for name, active in (("geo", "CONDA_PREFIX"), (KERNEL, "VIRTUAL_ENV")):
        env = kernel_json(machine, name)["env"]
        assert {"PATH", active, "PYTHONNOUSERSITE"} <= env.keys(), env
        seen = server.run(f"import json, os; print(json.dumps({{key: os.environ.get(key) for key in {list(env)!r}}}))", name)
        assert json.loads(seen) == env
        code = f"import json, os; print(json.dumps({{key: os.environ.get(key) for key in {list(env)!r}}}))"
        terminal = machine.run(("hubd-env", name, "python", "-c", code), user="ada")
        assert json.loads(terminal.out) == env
    log = machine.hubd("logs", "job-env-geo").out
    assert "the activation script zz-broken.sh failed: it exited with 3" in log, log


def test_programs_in_a_notebook_are_those_of_the_environment(machine: HubMachine, server: Server) -> None:
    prefix = kernel_json(machine, "geo")["argv"][0].removesuffix("/bin/python")
    assert server.run("!which python pip", "geo").split() == [f"{prefix}/bin/python", f"{prefix}/bin/pip"]


def test_what_somebody_installed_at_home_does_not_come_first(machine: HubMachine, server: Server) -> None:
    version = server.run("import sys; print('{}.{}'.format(*sys.version_info))", "geo").strip()
    folder = f"/home/ada/.local/lib/python{version}/site-packages"
    machine.shell(f"mkdir -p {folder} && echo 'raise SystemExit(3)' > {folder}/numbers.py && "
                  f"echo 'broken' > {folder}/decimal.py && echo 'x = 1' > {folder}/hubd_home.py", user="ada")  # fmt: skip
    found = server.run("import importlib.util; print(importlib.util.find_spec('hubd_home'))", "geo")
    assert found == "None\n"


def test_shell_in_an_environment(machine: HubMachine) -> None:
    prefix = kernel_json(machine, "geo")["argv"][0].removesuffix("/bin/python")
    machine.shell("echo 'export PATH=/usr/bin:/bin MINE=kept' > ~/.bashrc", user="ada")
    lines = "command -v python\necho \"<$PS1> $MINE\"\nexit 7\n"
    done = machine.run(("hubd-env", "geo"), input=lines, check=False, user="ada")
    assert done.code == 7, done
    path, prompt = done.out.splitlines()[-2:]
    assert path == f"{prefix}/bin/python"
    assert prompt.startswith("<(geo) ") and prompt.endswith("> kept"), prompt
    assert machine.run(("hubd-env",), user="ada").out.split() == sorted(["geo", KERNEL])
    wrong = machine.run(("hubd-env", "goe", "true"), check=False, user="ada")
    assert (wrong.code, "there is no environment goe" in wrong.err, "Traceback" in wrong.err) == (2, True, False), wrong
    assert machine.run(("hubd-env", "geo", "python", "-c", "raise SystemExit(9)"), check=False, user="ada").code == 9


@pytest.mark.parametrize("name", ["geo", KERNEL])
@pytest.mark.parametrize("command", ["%pip", "%conda", "%uv pip", "!pip"])
def test_installing_into_it_is_refused_with_a_sentence(machine: HubMachine, server: Server, name: str, command: str) -> None:
    consists = f"find /opt/hub/envs/{name}/current/ /home/ada/.local/lib -printf '%p %s %T@\\n' | sort"
    before = machine.shell(consists).out
    said = server.run(f"{command} install cowsay", name)
    assert f"The environment {name} {REFUSED} (hubd config add-item environments.{name}.packages PACKAGE), " in said, said
    assert "or make one of your own, if you may: hubd env create NAME PACKAGE" in said, said
    assert "Traceback" not in said, said
    assert machine.shell(consists).out == before, "nothing came into one of them, and nothing into a home"


@pytest.mark.parametrize("name", ["geo", KERNEL])
def test_installing_in_its_terminal_is_refused_too(machine: HubMachine, name: str) -> None:
    done = machine.run(("hubd-env", name, "pip", "install", "cowsay"), check=False, user="ada")
    assert done.code == 1, done
    assert f"The environment {name} {REFUSED}" in done.err, done


def test_listing_what_there_is_goes_on(server: Server) -> None:
    assert "ipykernel" in server.run("%pip list", "geo")


def write_notebook(machine: HubMachine, *cells: str, output: str = "") -> None:
    shown = [{"output_type": "stream", "name": "stdout", "text": output}] if output else []
    usual: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": shown, "execution_count": None}
    code = [{**usual, "source": cell} for cell in cells]
    cells_and_text = [{"cell_type": "markdown", "source": "# Course", "metadata": {}}, *code]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells_and_text}
    # Neither its folder nor the file itself is readable for the account that builds.
    machine.write(SMOKE, json.dumps(whole), mode=0o600)


def test_environment_whose_notebook_fails_is_not_used(machine: HubMachine, server: Server) -> None:
    before = kernel_json(machine, "geo")
    write_notebook(machine, "print('\\x1b]0;owned\\x07')", "import ipykernel", "import there_is_none", "1 / 0")
    machine.hubd("config", "set", "environments.geo.smoke", SMOKE)
    apply(machine, code=5)
    told = trouble(machine)["environment:geo"]
    assert f"its notebook fails: {SMOKE} in code cell 3 | ModuleNotFoundError: No module named 'there_is_none' | " in told, told
    assert kernel_json(machine, "geo") == before
    assert server.run("print(6 * 7)", "geo") == "42\n"
    # Corrected, it is proven and switched to.
    write_notebook(machine, "import os, ipykernel\nassert os.environ['HUBD_TEST_DATA']", "import asyncio\nawait asyncio.sleep(0)")
    apply(machine, code=0)
    proven = kernel_json(machine, "geo")
    assert proven != before
    # What it printed when somebody ran it is no change.
    write_notebook(machine, "import os, ipykernel\nassert os.environ['HUBD_TEST_DATA']", "import asyncio\nawait asyncio.sleep(0)",
                   output="seen\n")  # fmt: skip
    assert machine.changes() == []


# Leaves a process that nobody asks to end, and that changes the environment when its kernel has gone.
LEAVES = """
import ipykernel, os, subprocess, sys
deaf = '''
import os, pathlib, signal, sys, time
for number in (1, 2, 15):
    signal.signal(number, signal.SIG_IGN)
while os.path.exists("/proc/" + sys.argv[1]):
    time.sleep(0.1)
time.sleep(2)
file = pathlib.Path(sys.argv[2])
for path in (file.parent, file):
    path.chmod(0o755)
file.write_text("raise SystemExit('changed')")
time.sleep(600)
'''
nobody = subprocess.DEVNULL
words = [sys.executable, "-c", deaf, str(os.getpid()), ipykernel.__file__, "hubd-test-left"]
subprocess.Popen(words, start_new_session=True, stdin=nobody, stdout=nobody, stderr=nobody)
"""


def test_what_a_notebook_leaves_running_is_ended_with_its_kernel(machine: HubMachine, server: Server) -> None:
    write_notebook(machine, LEAVES, "raise ValueError('my own fault')")
    machine.hubd("config", "set", "environments.geo.smoke", SMOKE)
    apply(machine, code=5)
    assert "ValueError: my own fault" in trouble(machine)["environment:geo"]
    write_notebook(machine, LEAVES, "import time\ntime.sleep(1)")
    before = kernel_json(machine, "geo")
    apply(machine, code=0)
    assert kernel_json(machine, "geo") != before
    assert not machine.shell("pgrep -f '[h]ubd-test-left' || true").out, "nothing of either is left"
    package = "lib/python3.11/site-packages/ipykernel/__init__.py"
    assert "SystemExit" not in machine.read(f"/opt/hub/envs/geo/current/{package}")
    assert server.run("print(6 * 7)", "geo") == "42\n"


def test_notebook_that_comes_to_no_end_or_is_gone_is_told(machine: HubMachine, server: Server) -> None:
    before = kernel_json(machine, "geo")
    write_notebook(machine, "1", "while True: pass")
    machine.hubd("config", "set", "environments.geo.smoke_time", "3 s")
    apply(machine, code=5)
    told = trouble(machine)["environment:geo"]
    assert f"its notebook comes to no end: {SMOKE} in code cell 2 | it may take 3 seconds" in told, told
    machine.run(("rm", SMOKE))
    apply(machine, code=5)
    told = trouble(machine)["environment:geo"]
    assert f"{SMOKE} cannot be read | there is no such file | Put it at {SMOKE}" in told, told
    assert kernel_json(machine, "geo") == before
    machine.hubd("config", "unset", "environments.geo.smoke")
    machine.hubd("config", "unset", "environments.geo.smoke_time")
    apply(machine, code=0)
    assert machine.status()["state"] == "right"
    assert server.run("print(6 * 7)", "geo") == "42\n"


@pytest.mark.parametrize("name", ["geo", KERNEL])
def test_change_by_hand_is_reported(machine: HubMachine, name: str) -> None:
    prefix = kernel_json(machine, name)["argv"][0].removesuffix("/bin/python")
    writable = machine.run(("find", prefix, "-not", "-type", "l", "-perm", "/222")).out
    assert writable == ""
    # Root runs its Python, which compiles what it imports: nothing was changed by that.
    machine.run((f"{prefix}/bin/python", "-c", "import ipykernel, this, antigravity"))
    apply(machine, code=0)
    packages = machine.run(("sh", "-c", f"ls -d {prefix}/lib/python3*/site-packages")).out.strip()
    machine.run(("touch", f"{packages}/by_hand.py"))
    apply(machine, code=5)
    told = trouble(machine)[f"untouched:{name}"]
    where = packages.removeprefix(f"{prefix}/")
    assert f"{name} was changed by hand | {where} of its generation {Path(prefix).name} was changed" in told, told
    assert f"{name} was changed by hand" in machine.hubd("status", check=False).out
    assert machine.hubd("env", "why", name).out.startswith(f"✗ {name} was changed by hand")
    machine.shell(told.rpartition("To build it anew: ")[2], timeout=300)
    assert machine.status()["state"] == "right", machine.status()
    assert kernel_json(machine, name)["argv"][0] != f"{prefix}/bin/python"


@pytest.mark.parametrize("name", ["geo", KERNEL])
def test_edit_deep_inside_is_told_to_whoever_asks_and_then_by_status(machine: HubMachine, name: str) -> None:
    prefix = kernel_json(machine, name)["argv"][0].removesuffix("/bin/python")
    assert machine.hubd("env", "why", name).out == f"{name}: right; nothing failed\n"
    # In place: what the package cache has is the same file, and is edited with it.
    module = machine.run(("sh", "-c", f"ls {prefix}/lib/python3*/site-packages/ipykernel/__init__.py")).out.strip()
    machine.shell(f"echo '# by hand' >> {module}")
    assert int(machine.run(("stat", "-c", "%h", module)).out) > 1
    machine.shell(f"rm -r {prefix}/lib/python3*/site-packages/ipykernel/inprocess")
    said = machine.hubd("env", "why", name).out
    where = f"ipykernel/__init__.py of its generation {Path(prefix).name}"
    assert f"{where} was changed just now, after the build, and 1 more" in said, said
    assert "ipykernel/__init__.py of its generation" in machine.hubd("env", "show", name).out
    machine.wait_until(lambda: f"untouched:{name}" in trouble(machine), "status to tell it, too")
    machine.hubd("env", "build", name, timeout=300)
    assert machine.status()["state"] == "right", machine.status()
    assert machine.hubd("env", "why", name).out == f"{name}: right; nothing failed\n"
    built = kernel_json(machine, name)["argv"][0].removesuffix("/bin/python")
    assert built != prefix and "# by hand" not in machine.read(module.replace(prefix, built))
