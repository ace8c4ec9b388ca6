"""Who looks through the files of environments, when, and how passes and commands come to tell of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.flow import hand_edits
from hubd.flow.environments import whole
from hubd.flow.hand_edits import EVERY, look_at, look_at_next
from hubd.flow.status import exit_code
from hubd.host import manifest
from hubd.resources.choices import read
from hubd.resources.generation import MARK
from hubd.resources.untouched import FACT, Noted, noted

NOW = 1_700_000_000.0


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    host.now = NOW
    machine = Machine(host, owners, monkeypatch)
    machine.begin()
    seal(machine, "science")
    return machine


def seal(machine: Machine, name: str, number: int = 1) -> Path:
    """As a build leaves it; gives a file in it."""
    prefix = machine.layout.envs / name / str(number)
    (prefix / "share").mkdir()
    for each in ("data", "more"):
        (prefix / "share" / each).write_text("built")
    manifest.write(prefix, without=(MARK,))
    return prefix / "share/data"


def edit(path: Path, seconds: float = 7300) -> None:
    path.write_text("by hand")
    os.utime(path, (NOW - seconds, NOW - seconds))


def told(machine: Machine) -> list[str]:
    """What a pass fails at."""
    return [str(each.error) for each in machine.make().outcomes if each.error]


def test_what_was_found_is_told_by_passes_until_it_is_mended(machine: Machine) -> None:
    data = machine.layout.envs / "science/1/share/data"
    edit(data)
    assert told(machine) == [], "a pass looks at a handful of folders"
    assert look_at(machine.host, "science")
    assert told(machine) == [
        "science was changed by hand: share/data of its generation 1 was changed 2 hours ago, after the build"
    ]  # fmt: skip
    edit(data.with_name("more"))
    assert look_at(machine.host, "science"), "there is news"
    assert told(machine)[0].endswith(", after the build, and 1 more")
    assert not look_at(machine.host, "science"), "it is known"
    found = whole(machine.host, "science")
    assert (found["state"], found["trouble"]["fix"]) == ("changed by hand", "To build it anew: hubd env build science")
    for path in (data, data.with_name("more")):
        path.write_text("built")
    manifest.write(data.parents[1], without=(MARK,))
    assert look_at(machine.host, "science"), "that it is as it was is news, too"
    assert told(machine) == []


def test_an_edit_of_a_file_that_others_share_is_told_of_them_too(machine: Machine) -> None:
    machine.write(CONFIG.replace("  science:", "  geo: {packages: [ipykernel], manager: uv}\n  maths: {manager: uv}\n  science:"))
    machine.settle()
    data = machine.layout.envs / "science/1/share/data"
    for name in ("geo", "maths"):
        other = seal(machine, name)
        if name == "geo":
            other.unlink()
            other.hardlink_to(data)
            manifest.write(other.parents[1], without=(MARK,))
    edit(data)
    assert look_at(machine.host, "science")
    assert sorted(line.partition(":")[0] for line in told(machine)) == ["geo was changed by hand", "science was changed by hand"]
    assert not look_at(machine.host, "science"), "it is known of both"


def test_another_generation_has_nothing_of_it(machine: Machine) -> None:
    edit(machine.layout.envs / "science/1/share/data")
    look_at(machine.host, "science")
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    assert told(machine) == []
    seal(machine, "science", 2)
    assert not look_at(machine.host, "science")


def test_one_after_the_other_has_its_turn(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write(CONFIG + "  geo: {packages: [ipykernel], manager: uv}\n")
    machine.settle()
    edit(seal(machine, "geo"))
    looked: list[str] = []
    difference = manifest.difference

    def look(path: Path, **options: Any) -> manifest.Difference | None:
        looked.append(path.parent.name)
        return difference(path, **options)

    monkeypatch.setattr(manifest, "difference", look)
    host = machine.host
    assert [look_at_next(host) for _ in range(3)] == ["geo", "", ""]
    assert looked == ["geo", "science"], "each once"
    host.now += EVERY - 1
    look_at_next(host)
    assert len(looked) == 2
    host.now += 1
    assert [look_at_next(host) for _ in range(3)] == ["", "", ""]
    assert looked == ["geo", "science", "geo", "science"]
    host.now -= 10 * EVERY
    look_at_next(host)
    assert len(looked) == 5, "the clock was set back"


def test_what_is_no_environment_is_not_looked_at(machine: Machine) -> None:
    for name in ("", ".cache", "..", "science/..", "there-is-none", "../envs/science"):
        assert not look_at(machine.host, name)
    assert read(machine.layout, FACT) == {}
    shutil.rmtree(machine.layout.envs)
    assert look_at_next(machine.host) == ""


def test_one_that_cannot_be_looked_at_is_told_and_keeps_no_other_from_its_turn(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write(CONFIG.replace("environments:\n", "environments:\n  art: {packages: [ipykernel], manager: uv}\n"))
    machine.settle()
    seal(machine, "art")
    look = manifest.difference

    def difference(folder: Path, **options: Any) -> manifest.Difference | None:
        if "/art/" in f"{folder}":
            raise OSError(36, "File name too long")
        return look(folder, **options)

    monkeypatch.setattr(hand_edits.manifest, "difference", difference)
    (machine.layout.envs / "unfinished").mkdir()
    assert look_at_next(machine.host) == "art"
    machine.host.now += 300
    assert look_at_next(machine.host) == ""
    assert read(machine.layout, FACT).keys() == {"art", "science"}, "the next one had its turn"
    (error,) = told(machine)
    assert "art was changed by hand" in error and "a path of its generation 1 was too long to look at" in error


def test_one_that_is_gone_is_forgotten(machine: Machine) -> None:
    machine.write(CONFIG + "  geo: {packages: [ipykernel], manager: uv}\n")
    machine.settle()
    look_at(machine.host, "geo")
    shutil.rmtree(machine.layout.envs / "geo")
    look_at(machine.host, "science")
    assert read(machine.layout, FACT).keys() == {"science"}


def test_without_a_list_there_is_nothing_to_tell(machine: Machine) -> None:
    (machine.layout.envs / "science/1" / manifest.NAME).unlink()
    edit(machine.layout.envs / "science/1/share/data")
    assert not look_at(machine.host, "science")


def test_whoever_may_note_nothing_does_not_look(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.host.manifest.difference", lambda *_, **__: pytest.fail("it looked"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not look_at(machine.host, "science")


def test_what_is_switched_off_meanwhile_is_not_told_of(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(path: Path, **_: Any) -> manifest.Difference:
        shutil.rmtree(path)
        return manifest.Difference("bin", "removed")

    monkeypatch.setattr(manifest, "difference", slow)
    assert not look_at(machine.host, "science")
    assert read(machine.layout, FACT) == {}


def test_an_idle_pass_does_not_look_through_anything(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at(machine.host, "science")
    monkeypatch.setattr("hubd.host.manifest._lines", lambda *_: pytest.fail("it looked"))
    assert exit_code(machine.make()) == 0
    assert hand_edits.look_at_next(machine.host) == ""


FOUND = {"path": "a", "what": "changed", "at": 5, "more": 0}
ENTRIES: list[tuple[Any, Noted | None]] = [
    ({"generation": 3, "built": 7.5, "found": FOUND, "at": 1}, Noted(3, 7.5, "a", "changed", 5, 0)),
    ({"generation": 3, "built": 7, "found": {**FOUND, "path": "x\x1b[2Jy\n"}}, Noted(3, 7.0, "xy", "changed", 5, 0)),
    ({"generation": 3, "built": 7, "found": None}, None),
    ({"generation": 3, "built": 7, "found": {**FOUND, "path": 7}}, None),
    ({"generation": "3", "built": 7, "found": FOUND}, None),
    ({"found": FOUND}, None),
    ("x", None),
    (None, None),
]


@pytest.mark.parametrize(("entry", "found"), ENTRIES)
def test_what_is_noted_is_taken_with_care(entry: Any, found: Noted | None) -> None:
    assert noted(json.loads(json.dumps(entry))) == found
