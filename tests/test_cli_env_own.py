"""`hubd env publish`: yes and no to what people ask for, in words and as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import click
import pytest
from fakes import FakeHost, Owners
from machine import Machine

from hubd.cli import env_own
from hubd.cli.main import run
from hubd.errors import ExitCode, HubdError
from hubd.flow import published
from hubd.flow.environments import declared_environment, wanted_resources
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
    monkeypatch.setattr(env_own, "daemon_answers", lambda layout: False)
    made = Machine(host, owners, monkeypatch)
    made.begin()
    published.ask(host.layout, "bea", "geo", lock_text(LOCK).encode())
    return made


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = ExitCode.DONE) -> str:
    """What `env publish --json` prints to standard output."""
    assert run(["env", "publish", "--json", *words]) == code
    return capsys.readouterr().out


def test_a_yes_as_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, "bea/geo", "--as", "maps", "--audience", "everyone"))
    origins = ["https://example.org/forge", "PyPI"]
    assert found == {**GEO, "state": "accepted", "name": "maps", "origins": origins, "audience": ["everyone"]}
    assert (machine.layout.published / "bea/geo@maps.lock").read_text() == lock_text(LOCK)
    assert published.requests(machine.layout) == {}


def test_it_is_said_what_the_owners_own_is_called_then(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(env_own, "_ask", lambda layout, asked, quiet=False: {**GEO, "packages": 2})
    assert run(["env", "publish", "geo", "--request"]) == 0
    assert "what `hubd-env geo` means; yours is: hubd-env --own geo\n" in capsys.readouterr().out
    assert run(["env", "publish", "bea/geo"]) == 0
    assert "`hubd-env geo` is the offered one then; bea's own is: hubd-env --own geo\n" in capsys.readouterr().out
    published.ask(machine.layout, "bea", "geo", lock_text(LOCK).encode())
    assert run(["env", "publish", "bea/geo", "--as", "maps"]) == 0
    assert "--own" not in capsys.readouterr().out, "it has its name for itself"


YES = [
    # --audience of the first yes and of the second one, and what is said each time
    ("", "", "It is for everyone.", "It is for everyone already."),
    ("everyone", "everyone", "It is for everyone.", "It is for everyone already."),
    ("course", "course", "It is for course.", "It is for course already."),
    ("course", "", "It is for course.", "It is for course already."),
    ("course,admins", "everyone", "It is for course, admins.", "It is for everyone."),
]


@pytest.mark.parametrize(("first", "second", "said", "then"), YES)
def test_it_is_said_to_whom_it_is_offered(
    machine: Machine, capsys: pytest.CaptureFixture[str], first: str, second: str, said: str, then: str
) -> None:
    for audience, words in ((first, said), (second, then)):
        published.ask(machine.layout, "bea", "geo", lock_text(LOCK).encode())
        assert run(["env", "publish", "bea/geo", *(["--audience", audience] if audience else [])]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert f"{words}   For others: hubd config set environments.geo.audience GROUP" in lines
        assert not any("already [" in line or "already {" in line for line in lines), lines


def test_a_second_yes_changes_nothing_but_its_own_entry(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "bea/geo")
    newer = lock_text(replace(LOCK, pip=(f"cowsay==6.2 --hash=sha256:{'c' * 64}",)))
    for name in ("maps", "more"):
        published.ask(machine.layout, "bea", "geo", newer.encode())
        told(capsys, "bea/geo", "--as", name)
    _, resources = wanted_resources(machine.host)
    built = {name: declared_environment(resources, name) for name in ("geo", "maps", "more")}
    texts = {name: each.source.text if each and each.source else "" for name, each in built.items()}
    assert texts == {"geo": lock_text(LOCK), "maps": newer, "more": newer}


def test_a_no_as_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(told(capsys, "bea/geo", "--decline")) == {**GEO, "state": "declined"}
    assert published.requests(machine.layout) == {}
    assert told(capsys, "bea/geo", "--decline", code=ExitCode.USAGE) == ""


def test_status_forgets_what_was_declined_at_once(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(env_own, "daemon_answers", lambda layout: True)
    monkeypatch.setattr(env_own, "talk", lambda layout, request: asked.append(request))
    told(capsys, "bea/geo", "--decline")
    assert asked == [{"do": "look"}]


def test_a_request_as_json(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_own, "_ask", lambda layout, asked, quiet=False: {**GEO, "packages": 2, "heard": asked["do"]})
    assert json.loads(told(capsys, "geo", "--request")) == {**GEO, "packages": 2, "heard": "request", "state": "asked"}


def test_taken_back_as_json(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_own, "_ask", lambda layout, asked, quiet=False: {**GEO, "heard": asked["do"]})
    assert json.loads(told(capsys, "geo", "--withdraw")) == {**GEO, "heard": "withdraw", "state": "withdrawn"}
    assert run(["env", "publish", "geo", "--withdraw"]) == 0
    assert capsys.readouterr().out == "Nobody is asked to offer geo any more. The environment itself stays as it is.\n"


@pytest.mark.parametrize(("typed", "offered"), [("", ["maps", "bea/geo"]), ("b", ["bea/geo"]), ("m", ["maps"]), ("x", [])])
def test_completion_offers_ones_own_and_what_others_ask(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    monkeypatch.setattr("hubd.cli.own.names", lambda: ["maps"])
    ctx = click.Context(env_own.publish, obj=SimpleNamespace(layout=machine.layout))
    assert [each.value for each in env_own.complete_offer(ctx, env_own.publish.params[0], typed)] == offered


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("geo",), "'geo' does not say whose environment it is"),
        (("geo", "--request", "--as", "maps"), "--as and --audience are for the person who says yes"),
        (("bea/geo", "--decline", "--audience", "everyone"), "--as and --audience are for the person who says yes"),
        (("bea/geo", "--decline", "--request"), "--request and --decline exclude each other"),
        (("geo", "--withdraw", "--request"), "--request and --withdraw exclude each other"),
        (("geo", "--withdraw", "--as", "maps"), "--as and --audience are for the person who says yes"),
        (("bea/other", "--decline"), "bea did not ask to offer other"),
        (("../geo", "--decline"), "'..' cannot be a name"),
    ],
)
def test_what_cannot_be_meant(machine: Machine, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "publish", *words]) == ExitCode.USAGE
    assert why in capsys.readouterr().err
    assert published.requests(machine.layout) == {"bea": ["geo"]}


@pytest.mark.parametrize(("me", "then"), [("bea", "or ask for it"), ("cid", "or have bea ask for it")])
def test_only_root_decides(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, me: str, then: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(env_own, "_me", lambda: me)
    for words in (("bea/geo", "--audience", "everyone"), ("bea/geo", "--decline")):
        assert run(["env", "publish", *words]) == ExitCode.FAILED
        told = capsys.readouterr().err
        assert "only root may" in told and f"Use sudo, {then}: hubd env publish geo --request\n" in told
    assert published.requests(machine.layout) == {"bea": ["geo"]}


@pytest.mark.parametrize("option", ["--request", "--withdraw"])
def test_ones_own_may_be_named_with_its_owner(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(env_own, "_me", lambda: "bea")
    monkeypatch.setattr(
        env_own, "_ask", lambda layout, request, quiet=False: asked.append(request) or {**GEO, "packages": 2}
    )  # fmt: skip
    for name in ("geo", "bea/geo"):
        assert run(["env", "publish", name, option]) == 0
        assert "bea/geo --withdraw" not in capsys.readouterr().out
    assert asked == [{"do": option[2:], "name": "geo"}] * 2


OTHERS = [
    # who asks, how, and what is said of bea's
    (0, "--withdraw", "only bea may take that back", "Say no: hubd env publish bea/geo --decline"),
    (0, "--request", "only bea may ask for that", "Root need not ask: hubd env publish bea/geo"),
    (1000, "--withdraw", "only bea may take that back", ""),
    (1000, "--request", "only bea may ask for that", ""),
]


@pytest.mark.parametrize(("uid", "option", "what", "fix"), OTHERS)
def test_somebody_elses_is_neither_asked_for_nor_taken_back(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    uid: int, option: str, what: str, fix: str,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr(env_own, "_me", lambda: "cid" if uid else "root")
    assert run(["env", "publish", "bea/geo", option]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert what in told and f"you are {'cid' if uid else 'root'}" in told
    assert fix + "\n" in told and ("hubd env publish" in told) is bool(fix)
    assert published.requests(machine.layout) == {"bea": ["geo"]}


def test_who_is_nobody_here_is_told_first(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("zoe/geo",), ("zoe/science", "--audience", "everyone")):
        assert run(["env", "publish", *words]) == ExitCode.USAGE
        told = capsys.readouterr().err
        assert "zoe is not on this hub's list of people" in told
        assert "Put them on it first: hubd config add-item people.users zoe\n" in told
    published.ask(machine.layout, "zoe", "geo", lock_text(LOCK).encode())  # who asked before leaving
    assert run(["env", "publish", "zoe/geo", "--as", "maps"]) == 0


def test_an_environment_of_that_name_is_not_changed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    before = machine.layout.config_file.read_text()
    assert run(["env", "publish", "bea/geo", "--as", "science", "--audience", "course", "--audience", "admins"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "there is an environment science already" in told
    assert told.endswith("name: hubd env publish bea/geo --audience course --audience admins --as science-bea\n")
    assert machine.layout.config_file.read_text() == before
    assert published.requests(machine.layout) == {"bea": ["geo"]}


SHA = f" --hash=sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "line",
    ["evil@http://127.0.0.1/evil-1-py3-none-any.whl" + SHA, "evil @ https://x.example/e.whl" + SHA,
     "evil@file:///tmp/e.whl" + SHA, "six==1.0", "six==1.0\x1b[2K" + SHA],
)  # fmt: skip
def test_what_comes_from_anywhere_else_is_offered_to_nobody(machine: Machine, line: str) -> None:
    lock = Lock(manager="uv", platform="linux-64", python="3.11", pip=(line,))
    assert published.unchecked(lock) == [line]
    path = machine.layout.requests / "bea/geo.lock"
    path.write_text(lock_text(lock))
    with pytest.raises(HubdError):  # whoever put it there
        published.asked(machine.layout, "bea", "geo")
    assert not (machine.layout.published / "bea/geo.lock").exists()


def test_what_is_taken_back_while_root_says_yes_is_offered_as_it_was_seen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sys.modules["hubd.cli.main"].Context.change_config

    def withdrawn(self: Any, **change: Any) -> None:
        published.withdraw(machine.layout, "bea", "geo")
        real(self, **change)

    monkeypatch.setattr(sys.modules["hubd.cli.main"].Context, "change_config", withdrawn)
    assert run(["env", "publish", "bea/geo"]) == ExitCode.DONE
    assert (machine.layout.published / "bea/geo.lock").read_text() == lock_text(LOCK)


def test_of_many_channels_the_hosts_are_told_and_none_is_hidden() -> None:
    package = LOCK.conda[0]
    urls = [f"https://c.example/forge-{number}{'x' * 200}/linux-64/a-1-0.conda" for number in range(9)]
    urls.append("https://zz.evil.example/forge/linux-64/b-1-0.conda")
    lock = replace(LOCK, conda=tuple(replace(package, url=url) for url in urls), pip=())
    assert published.origins(lock_text(lock).encode()) == ["c.example", "zz.evil.example"]


HIDING = ["conda.anaconda.org%2Fforge@127.0.0.1:8099", "conda.anaconda.org\\.evil.example", "[conda", "evil.example?conda.org"]


@pytest.mark.parametrize("host", HIDING)
def test_an_address_that_hides_its_host_is_offered_to_nobody(host: str) -> None:
    hidden = f"https://{host}/forge/linux-64/a-1-0.conda"
    assert published.unchecked(replace(LOCK, conda=(replace(LOCK.conda[0], url=hidden),))) == [hidden]
    plain = "http://10.0.0.1:8099/forge/linux-64/a-1-0.conda"
    assert published.unchecked(replace(LOCK, conda=(replace(LOCK.conda[0], url=plain),))) == []


def test_what_pypi_and_channels_have_is_offered() -> None:
    pins = (f"six==1.0{SHA}", f"numpy[all]==2.1.0rc1+x ; python_version >= '3.9'{SHA}{SHA}")
    assert published.unchecked(Lock(manager="uv", platform="linux-64", conda=LOCK.conda, pip=pins)) == []
    strange = CondaPackage("a", "1", "0", "https://x.example/\x1b[2K/noarch/a-1-0.conda", "b" * 64)
    assert published.unchecked(Lock(manager="conda", platform="linux-64", conda=(strange,))) == [strange.url]
