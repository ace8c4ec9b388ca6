"""Programs as unit files and environment files: nothing in a name, a path or a value can become a directive."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubd.tools import program
from hubd.tools.program import Listener, Program

QUOTED = [
    ("plain", '"plain"'),
    ("two words", '"two words"'),
    ('say "hi"', '"say \\"hi\\""'),
    ("back\\slash", '"back\\\\slash"'),
    ("100%", '"100%%"'),
    ("%h/%i", '"%%h/%%i"'),
    ("it's", '"it\'s"'),
    ("", '""'),
    ("a;b", '"a;b"'),
    ("é", '"é"'),
]


@pytest.mark.parametrize(("word", "quoted"), QUOTED)
def test_quote(word: str, quoted: str) -> None:
    assert program.quote(word) == quoted


@pytest.mark.parametrize("word", ["a\nExecStart=/bin/sh", "a\rb", "a\tb", "\0", "\x1b"])
def test_control_characters_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        program.quote(word)


def test_a_dollar_expands_nothing() -> None:
    assert program.command_line(("/x", "$HOME", "${A}", "50%")) == '"/x" "$$HOME" "$${A}" "50%%"'


def test_a_service() -> None:
    text = program.service_text(Program(
        name="x.service", description="X", argv=("/bin/x", "-a b"), user="ada", directory=Path("/home/ada"), kind="notify",
        environment=(("A", "1 2"),), environment_file=Path("/x/env"), relations=(("After", "network.target"),),
        properties=(("NoNewPrivileges", "yes"),), settings="d1g",
    ))  # fmt: skip
    assert text == (
        "# Written by hubd; changes here are undone.\n[Unit]\nDescription=X\nAfter=network.target\n\n[Service]\nType=notify\n"
        'ExecStart="/bin/x" "-a b"\nUser=ada\nWorkingDirectory=/home/ada\nEnvironment="A=1 2"\nEnvironment="HUBD_SETTINGS=d1g"\n'
        "EnvironmentFile=-/x/env\nRestart=always\nRestartSec=1\nNoNewPrivileges=yes\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def test_a_job_is_not_started_again_and_not_at_boot() -> None:
    text = program.service_text(Program(name="x", description="X", argv=("/x",), restart=False, install=False))
    assert "Restart" not in text
    assert "[Install]" not in text
    assert "User=" not in text


def test_new_settings_are_another_definition() -> None:
    one = Program(name="x", description="X", argv=("/x",), settings="a")
    assert program.service_text(one) != program.service_text(program.with_settings(one, "b"))


def test_a_listener() -> None:
    text = program.socket_text(
        Listener(name="x.socket", description="X", service="x.service", address="[::1]:80", descriptor="http")
    )
    assert {"ListenStream=[::1]:80", "FileDescriptorName=http", "Service=x.service", "WantedBy=sockets.target",
            "TriggerLimitIntervalSec=0"} <= set(text.splitlines())  # fmt: skip


VALUES = [
    "",
    "plain",
    "two words",
    'quo"te',
    "it's",
    "back\\slash",
    "$HOME",
    "`id`",
    "100%",
    '{"a": [1, "b"]}',
    "#no",
    "é",
    "a=b",
    "\\n",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_as_it_was(value: str, tmp_path: Path) -> None:
    from hubd.host.processes import _read_environment_file

    path = tmp_path / "env"
    path.write_text(program.environment_file_text([("A", value), ("B", "2")]))
    assert _read_environment_file(path) == {"A": value, "B": "2"}


@pytest.mark.parametrize("value", VALUES)
def test_a_value_reads_the_same_in_a_shell(value: str) -> None:
    import shlex

    # The format is a subset of the shell's, which systemd documents.
    text = program.environment_file_text([("A", value)])
    assert shlex.split(text.strip().replace("\\$", "$").replace("\\`", "`"))[0] == f"A={value}"


@pytest.mark.parametrize("value", ["a\nB=1", "a\0b"])
def test_a_line_break_cannot_bring_another_variable(value: str) -> None:
    with pytest.raises(ValueError, match="line break in the value of A"):
        program.environment_file_text([("A", value)])
