"""systemd as hubd drives it: which commands, in which order, and how a unit is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import FakeCommands

from hubd.errors import CommandFailed
from hubd.host.init import MOST_OF_PROCESS, UnitState, head, process_settings
from hubd.host.systemd import Systemd
from hubd.tools.program import Listener, Program

NAME = "jupyterhub.service"
PROGRAM = Program(name=NAME, description="X", argv=("/x",))
SHOWN = """\
Id=jupyterhub.service
LoadState=loaded
ActiveState=active
SubState=running
MainPID=0
NeedDaemonReload=yes
UnitFileState=enabled
Result=success
NRestarts=2
MemoryMax=infinity
CPUQuotaPerSecUSec=2s
Listen=

Id=hubd-user-ada.service
LoadState=loaded
ActiveState=failed
"""


@pytest.fixture
def commands() -> FakeCommands:
    commands = FakeCommands()
    commands.answers["systemctl", "show"] = SHOWN
    return commands


@pytest.fixture
def init(commands: FakeCommands, tmp_path: Path) -> Systemd:
    return Systemd(commands, tmp_path)  # type: ignore[arg-type]


def verbs(commands: FakeCommands) -> list[str]:
    return [argv[1] for argv in commands.ran]


def test_one_question_answers_for_all_units_until_something_changes(init: Systemd, commands: FakeCommands) -> None:
    assert init.state(NAME) == UnitState(
        NAME,
        True,
        "active",
        "running",
        0,
        "",
        stale=True,
        enabled=True,
        result="success",
        restarts=2,
        memory="infinity",
        cpu="2s",
    )
    assert init.state("nothing.service") == UnitState("nothing.service")
    assert set(init.states("hubd-user-*")) == {"hubd-user-ada.service"}
    assert verbs(commands) == ["show"]
    init.stop(NAME)
    init.state(NAME)
    assert verbs(commands) == ["show", "stop", "show"]
    init.forget()
    init.state(NAME)
    assert verbs(commands)[-1] == "show"


def test_a_look_is_always_fresh(init: Systemd, commands: FakeCommands) -> None:
    init.state(NAME)
    init.look(NAME)
    assert commands.ran[-1][-1] == NAME
    assert len(commands.ran) == 2
    commands.answers["systemctl", "show"] = ""
    assert init.look(NAME) == UnitState(NAME)


def test_stopped_units_that_are_defined_are_asked_for_by_name(init: Systemd, commands: FakeCommands, tmp_path: Path) -> None:
    for name in ("jupyterhub.service", "ssh.service", "hubd.txt"):
        (tmp_path / name).touch()
    init.state(NAME)
    assert "jupyterhub.service" in commands.ran[0]
    assert "ssh.service" not in commands.ran[0]


def test_defining_reloads_and_starts_nothing(init: Systemd, commands: FakeCommands, tmp_path: Path) -> None:
    assert init.definition(NAME) is None
    init.define(PROGRAM)
    assert init.definition(NAME) == init.render(PROGRAM)
    assert verbs(commands) == ["daemon-reload"]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o644
    init.define(Listener(name="x.socket", description="X", service=NAME, address="80", descriptor="http"))
    assert "ListenStream=80" in (init.definition("x.socket") or "")


def test_undefining_stops_first(init: Systemd, commands: FakeCommands, tmp_path: Path) -> None:
    init.define(PROGRAM)
    commands.ran.clear()
    init.undefine(NAME)
    assert verbs(commands) == ["stop", "disable", "daemon-reload"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_starting_reads_a_changed_file_first_and_forgets_old_failures(init: Systemd, commands: FakeCommands, verb: str) -> None:
    getattr(init, verb)(NAME)
    assert [each for each in verbs(commands) if each != "show"] == ["daemon-reload", "reset-failed", "enable", verb]
    commands.ran.clear()
    commands.answers["systemctl", "show"] = SHOWN.replace("NeedDaemonReload=yes", "NeedDaemonReload=no")
    getattr(init, verb)(NAME)
    assert "daemon-reload" not in verbs(commands)


def test_what_fails_is_told_and_may_be_tried_again(init: Systemd, commands: FakeCommands) -> None:
    commands.answers["systemctl", "restart"] = 1
    with pytest.raises(CommandFailed) as caught:
        init.restart(NAME)
    assert caught.value.retry
    commands.answers["systemctl", "stop"] = 5
    init.stop(NAME)


def test_a_transient_unit_replaces_a_failed_one(init: Systemd, commands: FakeCommands) -> None:
    commands.answers["systemctl", "reset-failed"] = 1
    init.run(PROGRAM)
    assert [argv[0] for argv in commands.ran] == ["systemctl", "systemd-run"]


def test_how_a_transient_unit_ended_is_forgotten(init: Systemd, commands: FakeCommands) -> None:
    commands.answers["systemctl", "reset-failed"] = 1  # it ended well, and systemd knows no such unit
    init.clear(NAME)
    assert verbs(commands) == ["stop", "reset-failed"]


def test_a_transient_unit_that_cannot_begin_is_told_with_what_its_log_says(init: Systemd, commands: FakeCommands) -> None:
    def refused(argv: tuple[str, ...]) -> str:
        raise CommandFailed(argv, code=1, output="")

    commands.answers["systemd-run",] = refused
    commands.answers["journalctl",] = "Failed to set up mount namespacing: /opt/hub/state\n"
    with pytest.raises(CommandFailed, match="Failed to set up mount namespacing"):
        init.run(PROGRAM)


def test_limits_and_logs(init: Systemd, commands: FakeCommands) -> None:
    init.set_limits(NAME, [("MemoryMax", "5")])
    assert commands.ran[0][-1] == "MemoryMax=5"
    commands.answers["journalctl",] = "one\ntwo\n"
    assert init.log(NAME, lines=2) == ("one", "two")


def test_the_settings_of_a_running_process(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/environ").write_bytes(b"A=1\0XHUBD_SETTINGS=no\0HUBD_SETTINGS=abc=d\0B=2\0")
    assert process_settings(7, "HUBD_SETTINGS", tmp_path) == "abc=d"
    assert process_settings(7, "NONE", tmp_path) == ""
    assert process_settings(8, "HUBD_SETTINGS", tmp_path) == ""


def test_of_what_a_process_says_of_itself_only_so_much_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    with (folder / "environ").open("wb") as stream:
        stream.write(b"A=1\0")
        stream.truncate(1 << 40)  # it is as large as the process likes, and would fill the memory
    assert process_settings(7, "A", tmp_path) == "1"
    assert len(head(folder / "environ", MOST_OF_PROCESS)) == MOST_OF_PROCESS
    assert head(folder / "environ", 3) == b"A=1"
