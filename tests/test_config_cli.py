"""`hubd config …` on a file of its own: what is printed, what is written, and what is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import Field

from hubd.cli.config import _again, config_commands
from hubd.cli.config_file import ConfigFile
from hubd.config.problems import ConfigInvalid
from hubd.config.section import Section
from hubd.errors import HubdError, Locked, UsageError
from hubd.host.locks import file_lock
from hubd.layout import Layout, layout_of

FILE = "# mine\npeople:\n  admins: [ada]\nlimits:\n  memory: 1G  # enough\n"


@dataclass(frozen=True)
class Root:
    """Stands for what the root command hands down."""

    layout: Layout


class Board(Section):
    """A plugin's section."""

    motto: str = Field(default="", description="A text.", examples=["x"])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = layout_of(tmp_path)
    layout.state.mkdir()
    layout.config_file.write_text(FILE)
    layout.config_file.chmod(0o640)
    return layout


def run(layout: Layout, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(config_commands, list(words), obj=Root(layout), input=typed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show",), FILE),
        (("get", "limits.memory"), "1G\n"),
        (("get", "proxy.port"), "80\n"),
        (("get", "limits.cpu"), "null\n"),
        (("get", "people.admins"), "ada\n"),
        (("get", "--written", "limits"), "memory: 1G\n"),
        (
            ("get", "--json", "people"),
            '{\n  "admins": [\n    "ada"\n  ],\n  "users": [],\n  "groups": {}\n}\n',
        ),
        (("set", "limits.memory", "1024M"), "limits.memory is already 1G; nothing changed.\n"),
    ],
)
def test_looking_changes_nothing(layout: Layout, words: tuple[str, ...], said: str) -> None:
    before = layout.config_file.stat()
    result = run(layout, *words)
    assert (result.output, result.exit_code) == (said, 0)
    assert layout.config_file.stat().st_ino == before.st_ino


def test_defaults_are_shown_as_a_file_that_is_valid(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(run(layout, "show", "--defaults").output)
    assert "is valid: people: 1, environments: 0" in run(layout, "validate", str(tmp_path / "all.yaml")).output
    assert json.loads(run(layout, "show", "--defaults", "--json").output)["proxy"]["port"] == 80
    assert json.loads(run(layout, "show", "--json").output)["limits"] == {"memory": "1G"}


def test_what_is_removed_is_not_told_with_all_its_defaults(layout: Layout) -> None:
    assert run(layout, "set", "environments.geo", "{packages: [ipykernel, numpy]}").exit_code == 0
    result = run(layout, "unset", "environments.geo")
    assert result.output.splitlines()[0] == "environments.geo: removed"


@pytest.mark.parametrize(
    ("words", "said", "before", "after"),
    [
        (("set", "limits.memory", "2G"), "limits.memory: 1G → 2G", "1G", "2G"),
        (("set", "limits", "{cpu: 1}"), "limits.cpu: null → 1", "memory: 1G  # enough", "cpu: 1"),
        (("unset", "limits.memory"), "limits.memory: 1G → null", "limits:\n  memory: 1G  # enough\n", ""),
        (
            ("add-item", "people.admins", "bea", "cid"),
            "people.admins: [ada] → [ada, bea, cid]",
            "[ada]",
            "[ada, bea, cid]",
        ),
        (("remove-item", "people.admins", "ada"), "people.admins: [ada] → []", "[ada]", "[]"),
    ],
)
def test_a_change_is_told_and_written(layout: Layout, words: tuple[str, ...], said: str, before: str, after: str) -> None:
    result = run(layout, *words)
    assert result.exit_code == 0, result.exception
    assert said in result.output
    assert "hubd plan" in result.output
    assert layout.config_file.read_text() == FILE.replace(before, after)
    assert stat.S_IMODE(layout.config_file.stat().st_mode) == 0o640
    assert sorted(os.listdir(layout.prefix)) == ["config.yaml", "state"]


@pytest.mark.parametrize(
    "words",
    [("set", "limits.memory", "lots"), ("set", "limts.memory", "1G"), ("add-item", "people.admins", "Root"), ("get", "nothing"),
     ("remove-item", "people.admins", "eve"), ("get", "--written", "limits.cpu"), ("set", "people.admins", "root")],
)  # fmt: skip
def test_what_is_refused_changes_nothing(layout: Layout, words: tuple[str, ...]) -> None:
    result = run(layout, *words)
    assert isinstance(result.exception, HubdError)
    assert layout.config_file.read_text() == FILE


BEYOND = [
    (("get", "people.users[99999999]"), 2),
    (("get", "--written", "people.users[99999999]"), 2),
    (("get", "--written", "limits.cpus"), 2),
    (("get", "--written", "limits.cpu"), 1),
    (("set", "people.admins[99999999]", "bea"), 2),
    (("set", "people.admins[0]", "bea"), 0),
    (("unset", "people.users[99999999]"), 2),
    (("add-item", "people.users[99999999]", "bea"), 2),
    (("remove-item", "people.users[99999999]", "bea"), 2),
    (("get", f"people.users[{'9' * 5000}]"), 2),
]


@pytest.mark.parametrize(("words", "code"), BEYOND, ids=lambda value: str(value)[:60])
def test_an_item_that_is_not_there_is_a_usage_error(layout: Layout, words: tuple[str, ...], code: int) -> None:
    result = run(layout, *words)
    assert getattr(result.exception, "code", result.exit_code) == code, result.exception


def test_a_link_stays_a_link(layout: Layout) -> None:
    real = layout.prefix / "real.yaml"
    layout.config_file.rename(real)
    layout.config_file.symlink_to("real.yaml")
    assert run(layout, "set", "limits.memory", "2G").exit_code == 0
    assert layout.config_file.is_symlink()
    assert "2G" in real.read_text()


def test_two_changes_at_once_are_one_after_the_other(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.cli.config_file.LOCK_WAIT", 0.0)
    with file_lock(layout.state / "config.lock", wait=0):
        result = run(layout, "set", "limits.memory", "2G")
    assert isinstance(result.exception, Locked)
    assert "configuration" in result.exception.what
    assert layout.config_file.read_text() == FILE


@pytest.mark.parametrize("place", ["missing", "directory", "broken"])
def test_every_unusable_file_leaves_with_the_code_for_it(layout: Layout, place: str) -> None:
    file = layout.prefix / place
    if place == "directory":
        file.mkdir()
    elif place == "broken":
        file.write_bytes(b"\xff\xfe\x00")
    for words in (("validate",), ("get", "limits.memory"), ("set", "limits.memory", "1G"), ("show",)):
        result = run(layout, "--config", str(file), *words)
        assert isinstance(result.exception, HubdError)
        assert result.exception.code == 3
        assert str(file) in result.exception.what


def test_the_last_word_has_what_the_plugins_say_after_the_change(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def sections(self: ConfigFile, text: bytes) -> tuple[dict[str, type[Section]], tuple[str, ...]]:
        return ({"board": Board} if b"hubd-board" in text else {}), (("lost",) if b"hubd-broken" in text else ())

    monkeypatch.setattr(ConfigFile, "sections", sections)
    assert isinstance(run(layout, "set", "board.motto", "hi").exception, UsageError)
    assert run(layout, "add-item", "plugins", "hubd-board", "hubd-broken").exit_code == 0
    assert run(layout, "set", "board.motto", "hi").exit_code == 0
    layout.config_file.write_text(layout.config_file.read_text() + "lost: {anything: 1}\n")
    assert run(layout, "set", "limits.memory", "2G").exit_code == 0
    for plugin in ("hubd-board", "hubd-broken"):
        refused = run(layout, "remove-item", "plugins", plugin).exception
        assert isinstance(refused, ConfigInvalid)
        assert "is not an option" in refused.problems[0].message
    assert run(layout, "unset", "board").exit_code == 0
    assert run(layout, "remove-item", "plugins", "hubd-board").exit_code == 0


def editor(layout: Layout, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = layout.state / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(program))


def test_an_editor_changes_the_file(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, 'sed -i s/1G/3G/ "$1"')
    result = run(layout, "edit")
    assert "is written" in result.output
    assert layout.config_file.read_text() == FILE.replace("1G", "3G")
    assert sorted(os.listdir(layout.prefix)) == ["config.yaml", "state"]


def test_what_was_typed_is_kept_when_it_is_not_valid(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, 'sed -i s/1G/lots/ "$1"')
    result = run(layout, "edit", typed="n\n")
    assert isinstance(result.exception, HubdError)
    assert "line 5, column 11: limits.memory" in result.output
    assert layout.config_file.read_text() == FILE
    draft = layout.prefix / ".config.yaml.draft"
    assert draft.read_text() == FILE.replace("1G", "lots")
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    editor(layout, monkeypatch, 'sed -i s/lots/4G/ "$1"')
    assert run(layout, "edit", typed="y\n").exit_code == 0
    assert layout.config_file.read_text() == FILE.replace("1G", "4G")
    assert not draft.exists()


@pytest.mark.parametrize("how", [KeyboardInterrupt, EOFError])
def test_ctrl_c_at_the_question_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: type[BaseException]
) -> None:
    def ended(prompt: str) -> str:
        raise how

    monkeypatch.setattr("click.termui.visible_prompt_func", ended)
    with pytest.raises(click.Abort) if how is KeyboardInterrupt else contextlib.nullcontext():
        assert _again(tmp_path / "draft") is False
    assert f"Your text is in {tmp_path / 'draft'}" in capsys.readouterr().err


def test_the_editor_opens_again_where_the_text_is_not_valid(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, 'grep -q lots "$1" && sed -i s/lots/5G/ "$1" || sed -i s/1G/lots/ "$1"')
    assert run(layout, "edit", typed="y\n").exit_code == 0
    assert "5G" in layout.config_file.read_text()


def test_an_edit_never_overwrites_what_somebody_else_wrote(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, f'sed -i s/1G/6G/ "$1"; echo "# theirs" >> {layout.config_file}')
    result = run(layout, "edit")
    assert isinstance(result.exception, HubdError)
    assert layout.config_file.read_text() == f"{FILE}# theirs\n"
    assert "6G" in (layout.prefix / ".config.yaml.draft").read_text()


def test_without_an_editor_no_draft_is_left(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/nonexistent/editor")
    result = run(layout, "edit")
    assert isinstance(result.exception, HubdError)
    assert "draft" not in result.exception.fix
    assert sorted(os.listdir(layout.prefix)) == ["config.yaml", "state"]


def test_what_was_typed_is_kept_when_the_editor_fails_afterwards(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, 'sed -i s/1G/3G/ "$1"; exit 1')
    result = run(layout, "edit")
    assert isinstance(result.exception, HubdError)
    assert str(layout.prefix / ".config.yaml.draft") in result.exception.fix
    assert "3G" in (layout.prefix / ".config.yaml.draft").read_text()


WITHOUT_ADMINS = [
    (("remove-item", "people.admins", "ada"), True),
    (("set", "people.admins", "[]"), True),
    (("unset", "people"), True),
    (("set", "people.admins", "bea"), False),
    (("set", "limits.memory", "2G"), False),
]


@pytest.mark.parametrize(("words", "warned"), WITHOUT_ADMINS)
def test_the_last_admin_goes_with_a_warning(layout: Layout, words: tuple[str, ...], warned: bool) -> None:
    result = run(layout, *words)
    assert result.exit_code == 0
    assert ("Undo: hubd config add-item people.admins ada\n" in result.stderr) is warned
    other = layout.prefix / "my file"
    other.write_text(FILE)
    told = run(layout, "--config", str(other), *words).stderr
    assert (f"Undo: hubd config --config '{other}' add-item people.admins ada\n" in told) is warned


def test_an_editor_takes_the_last_admin_away(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(layout, monkeypatch, 'sed -i s/ada// "$1"')
    assert "Undo: hubd config add-item people.admins ada\n" in run(layout, "edit").stderr


def test_a_new_admin_without_a_password_is_warned_of(layout: Layout) -> None:
    told = run(layout, "add-item", "people.admins", "dora").stderr
    assert "Who has no password yet (dora) signs in with what is typed first" in told
    assert "no password yet" not in run(layout, "add-item", "people.users", "eva").stderr
    assert "no password yet" not in run(layout, "add-item", "people.admins", "dora").stderr


def test_a_negative_number_is_a_value(layout: Layout) -> None:
    error = run(layout, "set", "limits.cpu", "-1").exception
    assert isinstance(error, ConfigInvalid)
    assert error.problems[0].name == "limits.cpu"


def test_the_schema_is_json(layout: Layout) -> None:
    assert "limits" in json.loads(run(layout, "schema").output)["properties"]


def test_options_are_completed(layout: Layout) -> None:
    import click

    from hubd.cli.config import complete_path, set_option

    with click.Context(config_commands, obj=Root(layout)) as outer:
        inner = click.Context(set_option, parent=outer)
        found = [item.value for item in complete_path(inner, set_option.params[0], "limits.")]
    assert found == ["limits.memory", "limits.cpu"]


SLIPS = [
    # what is done where there is an environment geo, whether it makes a new one, and what it is taken for
    (("add-item", "environments.geoo.packages", "numpy"), "geoo", "geo"),
    (("set", "environments.geoo.keep", "3"), "geoo", "geo"),
    (("add-item", "environments.statistics.packages", "numpy"), "statistics", ""),
    (("add-item", "environments.geo.packages", "numpy"), "", ""),
    (("set", "environments.geoo", "{packages: [ipykernel]}"), "", ""),
    (("unset", "environments.geoo.packages"), "", ""),
]


@pytest.mark.parametrize(("words", "new", "meant"), SLIPS)
def test_a_new_environment_is_told_as_one_and_a_slip_can_be_taken_back(
    layout: Layout, words: tuple[str, ...], new: str, meant: str
) -> None:
    other = layout.prefix / "my file"
    for path, where, option in ((layout.config_file, "", ()), (other, f" --config '{other}'", ("--config", str(other)))):
        path.write_text(FILE + "environments:\n  geo: {packages: [ipykernel, scipy]}\n")
        told = run(layout, *option, *words)
        assert told.stdout.startswith(f"environments.{new}: new\nenvironments.{new}.") is bool(new), told.output
        back = f"Did you mean {meant}? Take it back: hubd config{where} unset environments.{new}\n"
        assert (back in told.stderr, "Did you mean" in told.stderr) == (bool(meant), bool(meant)), told.stderr
        if meant:
            assert run(layout, *option, "unset", f"environments.{new}").stdout.startswith(f"environments.{new}: removed\n")
