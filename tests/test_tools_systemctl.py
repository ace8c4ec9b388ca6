"""systemctl, systemd-run, journalctl: the exact words, and the parser of `show`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hubd.tools import systemctl
from hubd.tools.program import Program

SHOWN = """\
Id=jupyterhub.service
LoadState=loaded
ActiveState=active
MainPID=4711
Listen=

Id=jupyterhub-proxy.socket
Listen=[::]:80 (Stream)
Names=a=b

Nothing=here
"""


def test_commands() -> None:
    assert systemctl.show(["hubd*.service", "x.service"]) == (
        "systemctl",
        "show",
        "--property=Id,LoadState,ActiveState,SubState,MainPID,NeedDaemonReload,UnitFileState,Result,NRestarts,ExecMainStatus,"
        "MemoryMax,CPUQuotaPerSecUSec,Listen",
        "--",
        "hubd*.service",
        "x.service",
    )
    assert systemctl.control("restart", "x.service") == ("systemctl", "restart", "--quiet", "--", "x.service")
    assert systemctl.control("stop", "a", "b", block=False) == ("systemctl", "stop", "--quiet", "--no-block", "--", "a", "b")
    assert systemctl.daemon_reload() == ("systemctl", "daemon-reload")
    assert systemctl.set_property("x.service", [("MemoryMax", "5"), ("CPUQuota", "")]) == (
        "systemctl",
        "set-property",
        "--runtime",
        "--",
        "x.service",
        "MemoryMax=5",
        "CPUQuota=",
    )
    assert systemctl.journal("x.service", lines=5) == (
        "journalctl",
        "--unit=x.service",
        "--lines=5",
        "--no-pager",
        "--quiet",
        "--output=cat",
    )
    assert systemctl.journal("x.service", lines=5, follow=True)[-2:] == ("--follow", "--output=short")
    assert systemctl.unit_path(Path("/u"), "x.service") == Path("/u/x.service")


def test_parse_show() -> None:
    first, second = systemctl.parse_show(SHOWN)
    assert first == {"Id": "jupyterhub.service", "LoadState": "loaded", "ActiveState": "active", "MainPID": "4711", "Listen": ""}
    assert second == {"Id": "jupyterhub-proxy.socket", "Listen": "[::]:80 (Stream)", "Names": "a=b"}
    assert list(systemctl.parse_show("")) == []


def test_a_transient_unit() -> None:
    program = Program(
        name="hubd-user-ada.service",
        description="JupyterLab of ada",
        argv=("/x/bin/lab", "--a=$HOME", "-x"),
        user="ada",
        directory=Path("/home/ada"),
        environment=(("A", "b c"),),
        environment_file=Path("/run/a.env"),
        properties=(("MemoryMax", "5"),),
        relations=(("After", "network.target"),),
        settings="digest",
    )
    argv = systemctl.run_transient(program)
    assert argv[:3] == ("systemd-run", "--quiet", "--collect")
    # Of a job, systemd is asked afterwards how it ended.
    assert "--collect" not in systemctl.run_transient(replace(program, remembered=True))
    end = argv.index("--")
    assert argv[end + 1 :] == ("/x/bin/lab", "--a=$HOME", "-x") or argv[end + 1 :] == ("/x/bin/lab", "--a=$$HOME", "-x")
    assert set(argv[3:end]) >= {
        "--unit=hubd-user-ada.service",
        "--description=JupyterLab of ada",
        "--working-directory=/home/ada",
        "--service-type=exec",
        "--uid=ada",
        "--property=MemoryMax=5",
        "--property=After=network.target",
        "--setenv=A=b c",
        "--setenv=HUBD_SETTINGS=digest",
    }
    assert any(word in ("--property=EnvironmentFile=/run/a.env", "--property=EnvironmentFile=-/run/a.env") for word in argv)
