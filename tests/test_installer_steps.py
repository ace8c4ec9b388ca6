"""The installer's own pieces: options, the first config, passwords, progress."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fakes import FakeHost

from hubd.config.parse import parse as parse_config
from hubd.config.problems import ConfigInvalid
from hubd.errors import HubdError, UsageError
from hubd.layout import Layout
from hubd_installer import first_config, passwords
from hubd_installer.install import _keep_network_settings, main
from hubd_installer.options import Options, parse
from hubd_installer.progress import Progress


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    return layout


def options(*words: str) -> Options:
    return parse(["--prefix", "/x", *words])


def test_options() -> None:
    found = options(
        "--admin", "ada", "--admin", "bea", "--port", "8000", "--preset", "course", "--plugin", "p", "--events", "5", "--yes"
    )
    assert (found.admins, found.port, found.preset, found.plugins, found.events) == (("ada", "bea"), 8000, "course", ("p",), 5)
    assert options().prefix == Path("/x")
    with pytest.raises(SystemExit) as caught:
        options("--nonsense")
    assert caught.value.code == 2


def put(layout: Layout, *words: str) -> str:
    first_config.put_in_place(layout, options(*words))
    return layout.config_file.read_text()


def test_a_new_config_from_the_default_preset(layout: Layout) -> None:
    text = put(layout, "--admin", "ada", "--port", "8000")
    config = parse_config(text)
    assert (config.people.admins, config.proxy.port) == (("ada",), 8000)
    assert text.startswith("#")
    assert layout.config_file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("preset", ["nope", "../presets/demo", "/etc/passwd", "."])
def test_an_unknown_preset(layout: Layout, preset: str) -> None:
    with pytest.raises(UsageError) as caught:
        put(layout, "--preset", preset)
    assert "demo" in caught.value.fix
    assert not layout.config_file.exists()
    layout.config_file.write_text("{}")
    with pytest.raises(UsageError):
        put(layout, "--preset", preset)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--preset", "demo"), "--preset demo is not used"), (("--config", "/x.yaml"), "--config /x.yaml is not used"), ((), "")],
)
def test_that_a_config_is_kept_is_said_to_those_who_asked_for_another(layout: Layout, words: tuple[str, ...], said: str) -> None:
    layout.config_file.write_text("{}")
    heard: list[str] = []
    first_config.put_in_place(layout, options(*words), say=heard.append)
    assert heard == ([f"{layout.config_file} is there already and is kept; {said}."] if said else [])
    layout.config_file.unlink()
    first_config.put_in_place(layout, options("--preset", "demo"), say=heard.append)
    assert len(heard) == bool(said)


def test_every_preset_can_be_used(layout: Layout) -> None:
    from hubd.flow.source import data_folder

    for path in (data_folder() / "presets").glob("*.yaml"):
        layout.config_file.unlink(missing_ok=True)
        put(layout, "--preset", path.stem, "--admin", "ada")


def test_a_given_config_is_taken_word_for_word(layout: Layout, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("# mine\npeople: {admins: [ada]}  # me\n")
    assert put(layout, "--config", str(mine)) == mine.read_text()


def test_an_invalid_given_config_is_not_put_in_place(layout: Layout, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("peeple: {}\n")
    with pytest.raises(ConfigInvalid):
        put(layout, "--config", str(mine))
    assert not layout.config_file.exists()


def test_a_config_that_is_there_is_kept_and_what_is_asked_for_added(layout: Layout) -> None:
    layout.config_file.write_text("# mine\npeople: {admins: [ada]}\n")
    layout.config_file.chmod(0o600)
    assert put(layout) == "# mine\npeople: {admins: [ada]}\n"
    text = put(layout, "--admin", "ada", "--admin", "bea", "--preset", "demo")
    assert text.startswith("# mine")
    assert parse_config(text).people.admins == ("ada", "bea")
    assert layout.config_file.stat().st_mode & 0o777 == 0o600


def test_an_unknown_plugin(layout: Layout) -> None:
    with pytest.raises(UsageError, match="no plugin"):
        put(layout, "--plugin", "nope")


def test_first_passwords_are_set_once_and_those_made_up_are_shown(host: FakeHost) -> None:
    host.layout.secrets.mkdir(parents=True)
    said: list[str] = []

    def tool(argv: tuple[str, ...]) -> str:
        said.append(argv[-1])
        return '["bea"]' if argv[-1] == "known" else ""

    host.commands.answers[f"{host.layout.hub}/bin/python",] = tool
    shown = passwords.first_passwords(host, ("ada", "bea"), None)
    assert shown.keys() == {"ada"}
    assert said == ["known", "ada"]
    assert host.commands.options[1]["stdin"] == shown["ada"].encode()
    assert {each["user"] for each in host.commands.options} == {"hubd-hub"}
    # Never in the words of a command, which everybody can see.
    assert not any(shown["ada"] in word for argv in host.commands.ran for word in argv)


def test_a_password_made_up_before_a_kill_is_shown_by_the_next_run_and_then_forgotten(host: FakeHost) -> None:
    host.layout.secrets.mkdir(parents=True)
    first = passwords.first_passwords(host, ("ada",), None)
    (kept,) = host.layout.secrets.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    host.commands.answers[f"{host.layout.hub}/bin/python",] = lambda argv: '["ada"]' if argv[-1] == "known" else ""
    assert passwords.first_passwords(host, ("ada",), None) == first
    passwords.forget_shown(host.layout)
    assert passwords.first_passwords(host, ("ada",), None) == {}
    assert list(host.layout.secrets.iterdir()) == []


def test_a_given_password_is_used_and_never_shown(host: FakeHost, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    assert passwords.first_passwords(host, ("ada",), path) == {}
    assert host.commands.options[1]["stdin"] == b"correct horse"


def test_a_tool_that_fails(host: FakeHost) -> None:
    host.commands.answers[f"{host.layout.hub}/bin/python",] = 1
    with pytest.raises(HubdError, match="password could not be set"):
        passwords.first_passwords(host, ("ada",), None)


@pytest.mark.parametrize("content", [b"short\n", b"", b"\xff\xfe\xff\xff\xff\xff\xff\xff"])
def test_what_cannot_be_a_password(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        passwords.read_given(path)
    with pytest.raises(UsageError):
        passwords.read_given(tmp_path / "none")


def test_made_up_passwords_can_be_read_aloud_and_differ() -> None:
    words = {passwords.made_up() for _ in range(50)}
    assert len(words) == 50
    assert all(len(word) == 19 and not set(word) & set("01loiO") for word in words)


def test_progress_as_events(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT)
    progress = Progress(descriptor)
    with pytest.raises(ZeroDivisionError), progress.step("one"):
        progress.command("a command")
        raise ZeroDivisionError
    with progress.step("two"):
        pass
    progress.error("it broke")
    progress.say("hello")
    os.close(descriptor)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [(event.get("step"), event.get("state")) for event in events if "step" in event] == [
        ("one", "start"), ("one", "failed"), ("two", "start"), ("two", "done"),
    ]  # fmt: skip
    assert events[-2:] == [{"error": "it broke"}, {"say": "hello"}]
    # The terminal may be gone: the installation goes on.
    progress.say("nobody hears")


def test_what_reaches_the_network_is_kept_for_the_daemon(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("PIP_", "UV_", "CONDA_", "SSL_CERT_", "REQUESTS_", "CURL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pw@proxy:1")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")  # bootstrap.py's own: builds may fetch a Python
    _keep_network_settings(layout)
    path = layout.state / "network.env"
    assert path.read_text() == 'HTTPS_PROXY="http://me:pw@proxy:1"\n'
    assert path.stat().st_mode & 0o777 == 0o600
    # A later run by hand, without the variable, does not forget it.
    monkeypatch.delenv("HTTPS_PROXY")
    _keep_network_settings(layout)
    assert "proxy:1" in path.read_text()


def test_an_error_is_told_in_words_with_its_code(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    layout.config_file.write_text("peeple: {}\n")
    assert main(["--prefix", str(layout.prefix)]) == 3
    out, err = capsys.readouterr()
    assert "people" in err
    assert "people" not in out
    assert "Traceback" not in err
