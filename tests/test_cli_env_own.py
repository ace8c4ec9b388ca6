"""`hubd env publish`: yes and no to what people ask for, in words and as JSON."""

from __future__ import annotations

import json
import sys

import pytest
from fakes import FakeHost, Owners
from machine import Machine

from hubd.cli import env_own
from hubd.cli.main import run
from hubd.errors import ExitCode
from hubd.flow import published
from hubd.tools.lock import CondaPackage, Lock, lock_text

LOCK = Lock(
    manager="conda", platform="linux-64", pip=(f"cowsay==6.1 --hash=sha256:{'a' * 64}",),
    conda=(CondaPackage("zlib", "1.3", "h1_0", "https://example.org/forge/linux-64/zlib-1.3-h1_0.conda", "b" * 64),),
)  # fmt: skip
GEO = {"owner": "bea", "environment": "geo"}


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which bea asked to offer her geo."""
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: host.layout)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    made = Machine(host, monkeypatch)
    made.settle()
    published.ask(host.layout, "bea", "geo", lock_text(LOCK).encode())
    return made


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = ExitCode.DONE) -> str:
    """What `env publish --json` prints to standard output."""
    assert run(["env", "publish", "--json", *words]) == code
    return capsys.readouterr().out


def test_a_yes_as_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, "bea/geo", "--as", "maps", "--audience", "everyone"))
    assert found == {**GEO, "state": "accepted", "name": "maps", "origins": ["https://example.org/forge", "PyPI"]}
    assert (machine.layout.published / "bea/geo.lock").read_text() == lock_text(LOCK)
    assert published.requests(machine.layout) == {}


def test_a_no_as_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(told(capsys, "bea/geo", "--decline")) == {**GEO, "state": "declined"}
    assert published.requests(machine.layout) == {}
    assert told(capsys, "bea/geo", "--decline", code=ExitCode.USAGE) == ""


def test_a_request_as_json(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_own, "_ask", lambda layout, asked, quiet=False: {**GEO, "packages": 2, "heard": asked["do"]})
    assert json.loads(told(capsys, "geo", "--request")) == {**GEO, "packages": 2, "heard": "request", "state": "asked"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("geo",), "'geo' does not say whose environment it is"),
        (("geo", "--request", "--as", "maps"), "--as and --audience are for the person who says yes"),
        (("bea/geo", "--decline", "--audience", "everyone"), "--as and --audience are for the person who says yes"),
        (("bea/geo", "--decline", "--request"), "--request and --decline exclude each other"),
        (("bea/other", "--decline"), "bea did not ask to offer other"),
        (("../geo", "--decline"), "'..' cannot be a name"),
    ],
)
def test_what_cannot_be_meant(machine: Machine, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "publish", *words]) == ExitCode.USAGE
    assert why in capsys.readouterr().err
    assert published.requests(machine.layout) == {"bea": ["geo"]}


def test_only_root_decides(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for words in (("bea/geo",), ("bea/geo", "--decline")):
        assert run(["env", "publish", *words]) == ExitCode.FAILED
        assert "only root may" in capsys.readouterr().err
    assert published.requests(machine.layout) == {"bea": ["geo"]}
