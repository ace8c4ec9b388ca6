"""What hubd owns: claimed before it is made, forgotten only when it is gone, never trusted when damaged."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.errors import HubdError
from hubd.flow import record
from hubd.flow.values import Desired, Outcome, Record, Result
from hubd.layout import Layout
from hubd.plugin_loader import Broken
from hubd.resources.account import ClosedPerson, Person
from hubd.resources.base import Resource
from hubd.resources.directory import Directory
from hubd.resources.environment import Environment
from hubd.resources.file import File, NoFile
from hubd.resources.generation import Generations
from hubd.resources.kernel import Kernel
from hubd.resources.link import Link
from hubd.resources.unit import Unit
from hubd.tools.program import Program

A, B = File(path=Path("/x/a"), content=b""), File(path=Path("/x/b"), content=b"")
OWNED = {
    "file:/x/a": {"kind": "file", "part": "one", "memo": {"path": "/x/a"}},
    "file:/x/b": {"kind": "file", "part": "two", "memo": {"path": "/x/b"}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding(Directory):
    """A choice that is still to be made."""

    kind = "deciding"
    decides = True


def wanted(*resources: Resource, broken: tuple[str, ...] = (), owner: str = "one") -> Desired:
    return Desired(resources, {each.id: owner for each in resources}, tuple(Broken(name, "it raised") for name in broken))


REMOVALS = [
    # owned, wanted, what is to go: the newest first
    ({}, wanted(A), []),
    (OWNED, wanted(A, B), []),
    (OWNED, wanted(A), ["no-file:/x/b"]),
    (OWNED, wanted(), ["no-file:/x/b", "no-file:/x/a"]),
    # A plugin that raised keeps what it owns; its neighbour does not.
    (OWNED, wanted(broken=("two",)), ["no-file:/x/a"]),
    (OWNED, wanted(broken=("one", "two")), []),
    # While a choice is to be made not all wishes are known.
    (OWNED, wanted(Deciding(path=Path("/x"))), []),
    # Something of a newer hubd is left alone.
    ({"moon:x": {"kind": "moon", "part": "one", "memo": {}}}, wanted(), []),
]


@pytest.mark.parametrize(("owned", "wishes", "gone"), REMOVALS)
def test_removals(owned: Any, wishes: Desired, gone: list[str]) -> None:
    assert [each.id for each in record.removals(Record(owned), wishes)] == gone


SCIENCE = Generations(folder=Path("/x/envs/science"), link=Path("/x/envs/science/current"))


def test_every_kind_that_can_be_owned_comes_back_from_its_memo() -> None:
    program = Program(name="x.service", description="x", argv=("/x",))
    made = [
        A,
        Link(path=Path("/x/l"), target="y"),
        Person(account="ada", homes=Path("/home")),
        Unit(unit=program),
        Environment(environment="science", generations=SCIENCE, manager="uv"),
        Kernel(environment="science", generations=SCIENCE, folder=Path("/x/k"), title="Science", language="python"),
    ]
    claimed = record.claim(Record(), wanted(*made))
    again = json.loads(json.dumps(claimed.owned))
    gone = record.removals(Record(again), wanted())
    assert [each.id for each in gone] == [
        "no-file:/x/k/kernel.json",
        "no-environment:/x/envs/science",
        "no-unit:x.service",
        "closed-person:ada",
        "no-link:/x/l",
        "no-file:/x/a",
    ]
    assert isinstance(gone[3], ClosedPerson)


def test_an_environment_in_a_shared_folder_never_takes_the_folder_along() -> None:
    generations = Generations(folder=Path("/x/versions"), label="server-", link=Path("/x/server"))
    server = Environment(environment="server", generations=generations, manager="uv")
    claimed = record.claim(Record(), wanted(server))
    assert record.removals(claimed, wanted()) == ()


def test_folders_are_never_owned() -> None:
    assert record.claim(Record(), wanted(Directory(path=Path("/x")))).owned == {}


def test_claim_keeps_what_was_owned_and_adds_what_will_be() -> None:
    before = Record({"file:/x/b": OWNED["file:/x/b"]}, {"ended": 1})
    after = record.claim(before, wanted(A))
    assert after.owned == OWNED
    assert after.last == {"ended": 1}
    assert list(before.owned) == ["file:/x/b"]


def test_a_thing_that_changed_hands_belongs_to_its_new_owner() -> None:
    assert record.claim(Record(OWNED), wanted(B, owner="three")).owned["file:/x/b"]["part"] == "three"


SETTLED = [
    # wishes, outcomes, what stays owned
    (wanted(A, B), (), ["file:/x/a", "file:/x/b"]),
    (wanted(A), (), ["file:/x/a"]),
    (wanted(A), (Outcome("no-file:/x/b", Result.FIXED),), ["file:/x/a"]),
    (wanted(A), (Outcome("no-file:/x/b", Result.FAILED),), ["file:/x/a", "file:/x/b"]),
    (wanted(A), (Outcome("no-file:/x/b", Result.HELD),), ["file:/x/a", "file:/x/b"]),
    (wanted(A), (Outcome("no-file:/x/b", Result.RUNNING),), ["file:/x/a", "file:/x/b"]),
    # What failed to be made may be there half: it is owned.
    (wanted(A, B), (Outcome("file:/x/a", Result.FAILED),), ["file:/x/a", "file:/x/b"]),
    (wanted(A, broken=("two",)), (), ["file:/x/a", "file:/x/b"]),
    # Nothing was taken away while a choice was to be made, so nothing is forgotten.
    (wanted(A, Deciding(path=Path("/x"))), (), ["file:/x/a", "file:/x/b"]),
    # An unreadable second look of a removal is no proof that it is gone.
    (wanted(), (Outcome("no-file:/x/b", Result.FAILED, error=HubdError("x")),), ["file:/x/b"]),
]


@pytest.mark.parametrize(("wishes", "outcomes", "owned"), SETTLED)
def test_settle(wishes: Desired, outcomes: tuple[Outcome, ...], owned: list[str]) -> None:
    settled = record.settle(Record(OWNED), wishes, outcomes, {"ended": 2})
    assert sorted(settled.owned) == owned
    assert settled.last == {"ended": 2}


def test_what_a_newer_hubd_owns_is_not_forgotten() -> None:
    moon = {"moon:x": {"kind": "moon", "part": "one", "memo": {}}}
    assert record.settle(Record(moon), wanted(), (), {}).owned == moon


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    return layout


def test_there_and_back(layout: Layout) -> None:
    assert record.read(layout) == Record()
    record.write(layout, Record(OWNED, {"ended": 1}))
    assert record.read(layout) == Record(OWNED, {"ended": 1})
    assert stat.S_IMODE(layout.record.stat().st_mode) == 0o600
    assert [path.name for path in layout.state.iterdir()] == ["record.json"]


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"version": 1}',
    b'{"version": 2, "owned": {}}',
    b'{"version": 1, "owned": []}',
    b'{"version": 1, "owned": {"a": 1}}',
    b'{"version": 1, "owned": {"file:/x": {"kind": "file"}}}',
    b'{"version": 1, "owned": {}, "last": []}',
    b'{"version": 1, "owned": {"file:/x": {"kind": "file", "part": "one", "memo": {}}}}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_owns_nothing_and_is_set_aside(layout: Layout, text: bytes) -> None:
    layout.record.write_bytes(text)
    found = record.read(layout)
    assert found.damaged
    assert str(layout.record) in found.damaged
    assert record.removals(found, wanted()) == ()
    record.write(layout, record.claim(found, wanted(A)))
    assert layout.record.with_suffix(".json.damaged").read_bytes() == text
    assert record.read(layout) == Record({"file:/x/a": OWNED["file:/x/a"]})


def test_a_folder_in_its_place_is_damage_too(layout: Layout) -> None:
    for earlier in (".json.damaged", ".json.damaged-2"):
        layout.record.with_suffix(earlier).write_text("old")
    layout.record.mkdir()
    (layout.record / "mine").write_text("x")
    found = record.read(layout)
    assert found.damaged
    record.write(layout, found)
    assert layout.record.is_file()
    assert (layout.record.with_suffix(".json.damaged-3") / "mine").read_text() == "x"
    assert layout.record.with_suffix(".json.damaged").read_text() == "old"


def test_a_removal_whose_thing_is_gone_already_is_right(tmp_path: Path, host: FakeHost) -> None:
    gone = NoFile(path=tmp_path / "x")
    assert gone.steps(gone.observe(host)) == ()
