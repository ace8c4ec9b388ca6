"""Accounts, groups and who the hub knows: decision tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, HubApi

from hubd.errors import CommandFailed, HubdError
from hubd.host.accounts import Account
from hubd.host.files import Found
from hubd.host.init import UnitState
from hubd.host.web import Answer
from hubd.layout import HUB_UNIT
from hubd.resources.account import ClosedPerson, HomeFolder, Person, SeenFolder, SeenPerson, SystemAccount, _who
from hubd.resources.group import Group, Members
from hubd.resources.hub_people import BATCH, HubPeople, SeenPeople

ADA = Person(account="ada", homes=Path("/home"))


def account(uid: int = 1000, *, closed: bool = False, comment: str = "made by hubd", lacks: tuple[str, ...] = ()) -> Account:
    return Account("ada", uid, uid, Path("/home/ada"), comment, closed, frozenset(lacks))


def home(kind: str = "directory", mode: int = 0o700) -> Found:
    return Found(kind, mode, "ada", "ada", 0)


PEOPLE = [
    # account, home, what is said, whether it waits for a person
    (None, None, ["make the account ada"], False),
    (account(), home(), [], False),
    (account(), home(mode=0o755), ["close the home /home/ada to others"], False),
    (account(), None, ["make the home /home/ada"], False),
    (account(closed=True), home(), ["open the account ada again"], False),
    (account(closed=True), home(mode=0o711), ["open the account ada again", "close the home /home/ada to others"], False),
    # A useradd that was killed wrote some of its files.
    (account(lacks=("group",)), None, ["complete the account ada, which was half made", "make the home /home/ada"], False),
    (account(lacks=("group", "shadow")), home(), ["complete the account ada, which was half made"], False),
    # Somebody's home on another disk, by a link, is left as it is.
    (account(), home("link", 0o777), [], False),
    # Taken over as it was.
    (account(comment="Ada Lovelace"), home(), [], False),
    # An account of the system is never touched.
    (account(uid=999), home(mode=0o755), [], True),
    (account(uid=0, closed=True), home(mode=0o755), [], True),
]


@pytest.mark.parametrize(("seen", "lies", "said", "stuck"), PEOPLE)
def test_person(seen: Account | None, lies: Found | None, said: list[str], stuck: bool) -> None:
    assert [step.say for step in ADA.steps(SeenPerson(seen, lies))] == said
    progress = ADA.progress(SeenPerson(seen, lies))
    assert (progress is not None and progress.error is not None) is stuck


HALF_MADE = [
    (("group",), [("groupadd", "--gid", "1000", "--", "ada")]),
    (("shadow",), [("pwconv",)]),
    (("group", "shadow"), [("groupadd", "--gid", "1000", "--", "ada"), ("pwconv",)]),
]


@pytest.mark.parametrize(("lacks", "argvs"), HALF_MADE)
def test_what_is_missing_of_an_account_is_added(host: FakeHost, lacks: tuple[str, ...], argvs: list[tuple[str, ...]]) -> None:
    ADA.steps(SeenPerson(account(lacks=lacks), home()))[0].do(host)
    assert host.commands.ran == argvs
    assert host.accounts.forgotten
    service = SystemAccount(account="ada", home=Path("/x"))
    service.steps(account(lacks=lacks))[0].do(host)
    assert host.commands.ran == argvs * 2


CLOSED = [
    (None, []),
    (account(), ["close the account ada; its home stays"]),
    (account(closed=True), []),
    # One that was there before hubd keeps what it had without hubd.
    (account(comment="Ada Lovelace"), []),
    (account(comment=""), []),
]


@pytest.mark.parametrize(("seen", "said"), CLOSED)
def test_somebody_no_longer_on_the_list(seen: Account | None, said: list[str]) -> None:
    gone = Person.gone(ADA.memo() or {})
    assert gone == ClosedPerson(account="ada")
    assert [step.say for step in gone.steps(seen)] == said


def test_accounts_are_looked_at_anew_after_a_change_even_if_it_failed(host: FakeHost) -> None:
    ADA.steps(SeenPerson(None, None))[0].do(host)
    assert (host.commands.ran[0][0], host.accounts.forgotten) == ("useradd", 1)
    host.commands.answers["useradd",] = 9
    with pytest.raises(CommandFailed):
        ADA.steps(SeenPerson(None, None))[0].do(host)
    assert host.accounts.forgotten == 2


def test_a_folder_in_a_home_is_made_by_its_owner_and_never_by_root(host: FakeHost, tmp_path: Path) -> None:
    host.accounts.add("ada", os.geteuid(), home=tmp_path)
    wish = HomeFolder(account="ada", folder="notebooks")
    assert wish.observe(host) == SeenFolder()
    wish.steps(SeenFolder())[0].do(host)
    assert host.commands.ran == [("mkdir", "-p", "-m", "0700", "--", f"{tmp_path}/notebooks")]
    assert host.commands.options[0]["user"] == "ada"
    # Whatever somebody put there is theirs.
    (tmp_path / "notebooks").symlink_to("/nowhere")
    assert wish.steps(wish.observe(host)) == ()


def test_a_home_of_an_earlier_account_is_told_and_not_touched(host: FakeHost, tmp_path: Path) -> None:
    # Somebody removed the account without its home; the one made anew has the next free number.
    home = tmp_path / "ada"
    home.mkdir(mode=0o700)
    host.accounts.add("ada", 3_999_999_999, home=home)
    wish = HomeFolder(account="ada", folder="notebooks")
    for there in (False, True):
        seen = wish.observe(host)
        assert wish.steps(seen) == ()
        progress = wish.progress(seen)
        assert progress is not None and progress.error is not None
        assert progress.error.what == "the home of ada is not ada's"
        assert f"{home} belongs to " in progress.error.why and "ada is the number 3999999999" in progress.error.why
        assert f"chown -R -h ada: {home} " in progress.error.fix and f"mv {home} {home}.old" in progress.error.fix
        if not there:
            (home / "notebooks").mkdir()
    assert host.commands.ran == []
    assert home.stat().st_uid == os.geteuid()
    # A home elsewhere, by a link, is somebody's own arrangement.
    (tmp_path / "link").symlink_to(home)
    host.accounts.add("ada", 3_999_999_999, home=tmp_path / "link")
    assert wish.progress(wish.observe(host)) is None


@pytest.mark.parametrize(("uid", "told"), [(0, "root (number 0)"), (3_999_999_998, "the number 3999999998, which is no account")])
def test_whose_home_it_is_instead(uid: int, told: str) -> None:
    assert _who(uid) == told


def test_a_system_account(host: FakeHost) -> None:
    wish = SystemAccount(account="hubd-hub", home=Path("/x"))
    wish.steps(wish.observe(host))[0].do(host)
    assert host.commands.ran[0][:2] == ("useradd", "--system")
    host.accounts.add("hubd-hub", 120)
    assert wish.steps(wish.observe(host)) == ()
    assert wish.memo() is None


MEMBERS = [
    # there, wanted, said
    (None, "ab", "add a, b to the group g (a gift)"),
    ("", "ab", "add a, b to the group g (a gift)"),
    ("ab", "ab", None),
    ("a", "ab", "add b to the group g (a gift)"),
    ("abc", "ab", "take c out of the group g (a gift)"),
    ("ac", "ab", "add b to and take c out of the group g (a gift)"),
    (None, "", "set the members of the group g (a gift)"),
    ("a", "", "take a out of the group g (a gift)"),
]


@pytest.mark.parametrize(("there", "wanted", "said"), MEMBERS)
def test_members(host: FakeHost, there: str | None, wanted: str, said: str | None) -> None:
    if there is not None:
        host.accounts.groups["g"] = frozenset(there)
    for name in wanted:
        host.accounts.add(name)
    wish = Members(group="g", members=frozenset(wanted), gives="a gift")
    steps = wish.steps(wish.observe(host))
    assert [step.say for step in steps] == ([said] if said else [])
    for step in steps:
        step.do(host)
        assert host.commands.ran == [("gpasswd", "--members", ",".join(sorted(wanted)), "g")]


def test_a_name_without_an_account_keeps_nobodys_rights_as_they_were(host: FakeHost) -> None:
    host.accounts.groups["g"] = frozenset(("a", "gone"))
    for name in ("a", "b"):
        host.accounts.add(name)
    wish = Members(group="g", members=frozenset(("a", "b", "bad")))
    (step,) = wish.steps(wish.observe(host))
    with pytest.raises(HubdError, match="bad cannot be in the group g"):
        step.do(host)
    assert host.commands.ran == [("gpasswd", "--members", "a,b", "g")]


def test_group(host: FakeHost) -> None:
    wish = Group(group="g")
    assert len(wish.steps(wish.observe(host))) == 1
    host.accounts.groups["g"] = frozenset()
    assert wish.steps(wish.observe(host)) == ()


@pytest.fixture(autouse=True)
def hub_listens(host: FakeHost) -> None:
    host.listening[1] = frozenset({0})
    host.init.units[HUB_UNIT] = UnitState(HUB_UNIT, active="active")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret\n")
    return path


def people(token: Path, users: dict[str, bool], groups: dict[str, frozenset[str]] | None = None) -> HubPeople:
    return HubPeople(api="http://127.0.0.1:1/hub/api", token=token, users=users, groups=groups or {})


HUB = [
    # known users, wanted users, known groups, wanted groups, said
    ({}, {}, {}, {}, []),
    ({"a": False}, {"a": False}, {"g": "a"}, {"g": "a"}, []),
    ({}, {"a": True, "b": False, "c": False}, {}, {}, ["let a sign in as hub admins", "let b, c sign in as people"]),
    ({"a": True}, {"a": False}, {}, {}, ["take hub admin from a"]),
    ({"a": False}, {"a": True}, {}, {}, ["make a a hub admin"]),
    ({"a": True, "x": True}, {"a": True}, {}, {}, ["take x off the hub: no sign-in, server stopped"]),
    ({"a": False}, {"a": False}, {}, {"g": "a"}, ["make the hub group g", "add a to the hub group g"]),
    ({"a": False}, {"a": False}, {}, {"g": ""}, ["make the hub group g"]),
    (
        {"a": False, "b": False},
        {"a": False, "b": False},
        {"g": "a"},
        {"g": "b"},
        ["add b to the hub group g", "take a out of the hub group g"],
    ),
    ({}, {}, {"old": ""}, {}, ["remove the hub group old"]),
    # Who is taken off the hub is out of its groups: the hub refuses to be asked for a name it does not know.
    ({"a": False, "b": False}, {"a": False}, {"g": "ab"}, {"g": "a"}, ["take b off the hub: no sign-in, server stopped"]),
]


@pytest.mark.parametrize(("known", "wanted", "groups", "wishes", "said"), HUB)
def test_who_the_hub_knows(
    host: FakeHost,
    token: Path,
    known: dict[str, bool],
    wanted: dict[str, bool],
    groups: dict[str, str],
    wishes: dict[str, str],
    said: list[str],
) -> None:
    known, there = dict(known), {name: set(members) for name, members in groups.items()}
    host.web.answer = HubApi(known, there)
    wish = people(token, wanted, {name: frozenset(members) for name, members in wishes.items()})
    steps = wish.steps(wish.observe(host))
    assert [step.say for step in steps] == said
    for step in steps:
        step.do(host)
    assert known == wanted
    assert there == {name: set(members) for name, members in wishes.items()}
    assert {tuple(header.items()) for header in host.web.headers} == {(("Authorization", "token secret"),)}
    assert wish.steps(wish.observe(host)) == ()


@pytest.mark.parametrize("count", [0, 999, 1000, 1001, 5000])
def test_all_pages_are_read(host: FakeHost, token: Path, count: int) -> None:
    users = {f"u{number}": False for number in range(count)}
    host.web.answer = HubApi(dict(users), {})
    seen = people(token, users).observe(host)
    assert seen.users == users


def test_a_course_is_let_in_in_batches(host: FakeHost, token: Path) -> None:
    users = {f"u{number:04}": False for number in range(BATCH * 2 + 1)}
    steps = people(token, users).steps(SeenPeople())
    assert len(steps) == 3
    assert len(steps[0].say) < 200
    known: dict[str, bool] = {}
    host.web.answer = HubApi(known, {})
    for step in steps:
        step.do(host)
    assert known == users


ANSWERS: list[tuple[Answer, str]] = [
    (Answer(0, why="Connection refused"), "Connection refused"),
    (Answer(403, json.dumps({"message": "no token"}).encode()), "no token"),
    (Answer(500, b"<html>"), "it answered 500"),
    (Answer(502, b"[]"), "it answered 502"),
    (Answer(502, b"[" * 100_000), "it answered 502"),
    (Answer(400, json.dumps({"message": "\x1b[2Jno\ud800" + "!" * 9999}).encode()), "no!!!"),
]


@pytest.mark.parametrize(("answer", "why"), ANSWERS)
def test_a_hub_that_cannot_be_asked_fails_and_is_asked_again(host: FakeHost, token: Path, answer: Answer, why: str) -> None:
    host.web.answer = lambda method, url, body: answer
    wish = people(token, {"a": True})
    seen = wish.observe(host)
    assert wish.steps(seen) == ()
    progress = wish.progress(seen)
    assert progress is not None and progress.error is not None
    assert why in progress.error.why
    assert progress.error.retry
    assert "secret" not in progress.error.why
    assert progress.error.why.isprintable() and len(progress.error.why) < 700


@pytest.mark.parametrize("name", ["jane doe", "zoë", "a/b", "../x", "a?b#c", "\x1b[2Jx\r\n", "half \ud800"])
def test_whatever_somebody_is_called_on_the_hub_can_be_taken_off(host: FakeHost, token: Path, name: str) -> None:
    # A hub admin may add people and groups on the hub's pages, under any name.
    users, groups = {name: False}, {name: set[str]()}
    host.web.answer = HubApi(users, groups)
    wish = people(token, {})
    for step in wish.steps(wish.observe(host)):
        assert step.say.isprintable()
        step.do(host)
    assert (users, groups) == ({}, {})
    for _, url, _ in host.web.asked:
        assert url.isascii() and url.isprintable() and " " not in url


@pytest.mark.parametrize("body", [b"not json", b"{}", b'[{"nam": 1}]', b'"x"', b""])
def test_nonsense_from_the_hub_is_no_traceback(host: FakeHost, token: Path, body: bytes) -> None:
    host.web.answer = lambda method, url, asked: Answer(200, body)
    seen: Any = people(token, {"a": True}).observe(host)
    assert seen.why


@pytest.mark.parametrize("folder", ["/", "/home", "/srv/shared", "/home/../srv", "/nonexistent"])
def test_a_home_that_is_no_home_is_never_closed_or_made(folder: str) -> None:
    there = Account("ada", 1000, 1000, Path(folder), "a service", False)
    for lies in (None, home(mode=0o755)):
        assert ADA.steps(SeenPerson(there, lies)) == ()
        progress = ADA.progress(SeenPerson(there, lies))
        assert progress and progress.error and folder in progress.error.why


STRANGERS = [({1001}, "free while the hub was stopped"), ({0, 1001}, "free while the hub was stopped"), (set(), "nobody listens")]


@pytest.mark.parametrize(("listening", "why"), STRANGERS)
def test_the_token_is_told_to_nobody_but_the_hub(host: FakeHost, token: Path, listening: set[int], why: str) -> None:
    host.listening[1] = frozenset(listening)
    seen = people(token, {"ada": True}).observe(host)
    assert why in seen.why
    assert not host.web.asked


@pytest.mark.parametrize("active", ["inactive", "failed", "activating"])
def test_a_hub_that_does_not_run_is_not_asked(host: FakeHost, token: Path, active: str) -> None:
    """Where systemd holds its port a connection would be taken, and wait."""
    host.init.units[HUB_UNIT] = UnitState(HUB_UNIT, active=active)
    seen = people(token, {"ada": True}).observe(host)
    assert "jupyterhub.service does not run" in seen.why
    assert not host.web.asked
