"""The tests' own ground: machines boot, keep their files, are apart from each other; conda's stand-in makes what runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import CommandFailed, run
from machine import Machine
from tree import Tree
from web import web_server


def test_machine_is_a_bare_running_debian(machine: Machine) -> None:
    assert machine.run(("systemctl", "is-system-running", "--wait")).out.strip() == "running"
    assert machine.run(("cat", "/proc/1/comm")).out.strip() == "systemd"
    assert machine.run(("python3", "-c", "import ensurepip"), check=False).code != 0
    assert machine.run(("sh", "-c", "command -v sudo"), check=False).code != 0


def test_commands_give_exit_codes_and_run_as_whom_they_should(machine: Machine) -> None:
    assert machine.run(("sh", "-c", "echo out; echo err >&2; exit 7"), check=False).code == 7
    with pytest.raises(AssertionError, match="exited with 7"):
        machine.shell("exit 7")
    with pytest.raises(CommandFailed, match=r"no end after 0\.5 s"):
        machine.run(("sleep", "60"), timeout=0.5)
    assert machine.run(("pgrep", "-x", "sleep"), check=False).code == 1, "a command out of time is killed"
    machine.shell("useradd -m ada")
    assert machine.shell("id -un; pwd; id -G", user="ada").out.split() == ["ada", "/home/ada", "1000"]


def test_machine_reaches_the_package_indexes_until_it_is_cut_off(machine: Machine) -> None:
    machine.run(("apt-get", "-q", "update"), timeout=300)
    machine.run(("apt-get", "-q", "-y", "install", "python3-venv"), timeout=300)
    machine.shell("python3 -m venv /opt/venv")
    download = ("/opt/venv/bin/pip", "download", "-q", "--no-deps", "--no-cache-dir", "--retries=0", "-d", "/opt", "pip")
    machine.run(download)
    machine.net.cut()
    assert machine.run(download, check=False).code != 0
    machine.net.restore()
    machine.run(download)


def test_reboot_and_power_cut_keep_files(machine: Machine) -> None:
    machine.write("/srv/kept", "text", mode=0o600)
    machine.shell("sync; touch /run/gone")
    assert machine.reboot() == "running"
    assert machine.run(("stat", "-c", "%a %U", "/srv/kept")).out.strip() == "600 root"
    assert machine.run(("ls", "/run/gone"), check=False).code != 0
    machine.kill9()
    assert not machine.running
    assert machine.boot() == "running"
    assert machine.read("/srv/kept") == "text"


def test_machines_from_one_snapshot_are_apart(machine: Machine, make_machine: Callable[[str, Path | Tree], Machine]) -> None:
    machine.write("/srv/shared", "of both")
    machine.stop()
    snapshot = machine.snapshot()
    first, second = make_machine("first", snapshot), make_machine("second", snapshot)
    first.write("/srv/shared", "changed")
    first.shell("mv /usr/share/doc /usr/share/moved")  # a folder of the lowest layer
    assert second.read("/srv/shared") == "of both"
    second.run(("ls", "/usr/share/doc"))
    assert first.net.machine != second.net.machine
    machine.boot()
    assert machine.read("/srv/shared") == "of both"


def test_machine_leaves_nothing_behind(base: Path) -> None:
    with Machine("passing", base, network="isolated") as machine:
        folder, net, pid = machine.folder, machine.net, machine.path("/").parent.name
        assert machine.run(("ip", "route", "show", "default")).out == ""
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert net.name not in run(("ip", "netns")).out
    assert net.link not in run(("ip", "-brief", "link")).out


def test_conda_stand_in_makes_an_environment_that_runs(machine: Machine, conda_channel: Path) -> None:
    with web_server(conda_channel, machine.net.host) as web:
        machine.shell(f"curl -fsS {web.url}/Miniconda.sh -o /root/conda.sh && sh /root/conda.sh -b -p /opt/conda")
        source = ("--json", "--override-channels", "-c", f"{web.url}/tests")
        create = ("/opt/conda/bin/conda", "create", "-y", *source, "-p")
        bars, _, last = machine.run((*create, "/opt/env", "python=3.11", "ipykernel")).out.rpartition("\0")
        made = json.loads(last)
        assert '"finished":true' in bars, "what was fetched is told before"
        assert made["success"] is True
        assert "ipykernel" in {package["name"] for package in made["actions"]["LINK"]}
        machine.write("/root/cell.py", RUN_CELL)
        assert machine.run(("/opt/env/bin/python", "/root/cell.py")).out == "/opt/env 42\n"

        # The ugly parts that callers must live with.
        machine.write("/opt/env/mine.txt", "of a user")
        machine.run((*create, "/opt/env", "python=3.11"))
        assert machine.run(("ls", "/opt/env/mine.txt"), check=False).code != 0, "create deletes what is there"
        machine.shell("/opt/conda/bin/conda list -p /opt/env --explicit >/root/explicit.txt")
        assert machine.run((*create, "/opt/again", "--file", "/root/explicit.txt")).out == ""
        for packages, name in FAILURES.items():
            failed = machine.run((*create, "/opt/none", *packages), check=False)
            assert (failed.code, json.loads(failed.out.rpartition("\0")[2])["exception_name"]) == (1, name)


# Two that fill a cold cache side by side: their exit codes, where the JSON of each is, and what is cut off in that cache only.
TWO_AT_ONCE = """
export CONDA_PKGS_DIRS=/root/cold
cd /root
{0} /opt/one python=3.11 ipykernel >one.out 2>one.err & one=$!
{0} /opt/two python=3.11 ipykernel >two.out 2>two.err & two=$!
wait $one; echo $?
wait $two; echo $?
for name in one two; do for where in out err; do if grep -q '"success": true' $name.$where; then echo $where; fi; done; done
short() {{ (cd $1 && find . -name '*.py' -size 100c | sort); }}
short /opt/conda/pkgs >warm.txt
short /root/cold | comm -13 warm.txt -
"""
FAILURES = {
    ("there-is-none",): "PackagesNotFoundInChannelsError",
    ("hubd-test-old", "python=3.11"): "LibMambaUnsatisfiableError",
    ("hubd-test-postlink",): "CondaMultiError",
    ("-c", "http://127.0.0.1:1/none", "pip"): "CondaHTTPError",
}
RUN_CELL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
code = "import sys; print(sys.prefix, 6 * 7)"
hook = lambda message: print(message["content"].get("text", ""), end="")
client.execute_interactive(code, timeout=60, output_hook=hook)
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
