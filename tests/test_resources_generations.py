"""Generations: what their marks say, which one is switched on and offered as a kernel, and when old ones are cleared."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.errors import HubdError
from hubd.host.init import UnitState
from hubd.resources.generation import MARK, Asked, Generation, Generations, OldGenerations, SeenOld
from hubd.resources.kernel import Kernel
from hubd.resources.switch import SeenSwitch, Switch
from hubd.resources.untouched import Untouched


@pytest.fixture
def science(tmp_path: Path) -> Generations:
    return Generations(folder=tmp_path / "science", link=tmp_path / "science/current")


def finish(generations: Generations, number: int, digest: str = "d", **told: Any) -> Path:
    """A generation as a build leaves it."""
    path = generations.path(number)
    (path / "bin").mkdir(parents=True)
    (path / "bin/python").touch(mode=0o755)
    (path / MARK).write_text(json.dumps({"digest": digest, "manager": "uv", "built": 5, **told}))
    return path


MARKS: list[tuple[str, Any]] = [
    # what a mark holds, the digest, manager, time and variables that are taken from it; None: it is no generation
    ('{"digest": "d", "manager": "uv", "built": 7, "activation": {"A": "b"}}', ("d", "uv", 7.0, {"A": "b"})),
    ("{}", ("", "", 0.0, {})),
    ('{"digest": 7, "manager": null, "built": "x", "activation": []}', ("", "", 0.0, {})),
    ('{"built": -1, "activation": {"A": 1, "B C": "x", "": "x", "D": "\\u0000", "E": ""}}', ("", "", 0.0, {"E": ""})),
    ('{"built": 1e300}', ("", "", 0.0, {})),
    ("", None),
    ("{", None),
    ("[1]", None),
    ("[" * 100_000, None),
    ('{"digest": "' + "x" * 300_000 + '"}', None),
]


@pytest.mark.parametrize(("text", "read"), MARKS)
def test_what_a_mark_says_is_taken_with_care(science: Generations, text: str, read: Any) -> None:
    # Builds run other people's code, which writes what it likes.
    path = science.path(1)
    path.mkdir(parents=True)
    (path / MARK).write_text(text)
    found = science.read(1)
    assert (found and (found.digest, found.manager, found.built, dict(found.activation))) == read


FOLDERS: list[tuple[Any, dict[str, int]]] = [
    ({"bin": 5, "lib/python3.11/site-packages": 2**62}, {"bin": 5, "lib/python3.11/site-packages": 2**62}),
    ({"/etc": 1, "../x": 1, "a/../../x": 1, "a\0": 1, "b": "5", "c": None, "d": 1.5, "e": 2}, {"e": 2}),
    ({str(number): number for number in range(51)}, {}),
    ([1], {}),
    (None, {}),
]


NOTED: list[tuple[Any, Any, tuple[Any, int]]] = [
    (["numpy=2", "x\x1b[2J\n"], 5, (("numpy=2", "x"), 5)),
    ([], 0, ((), 0)),
    (None, None, (None, 0)),
    ("numpy", "5", (None, 0)),
    (["numpy", 7], -1, (None, 0)),
    (["x"] * 5001, 10**15, (None, 0)),
    (["y" * 300], 1.5, (("y" * 199 + "…",), 0)),
]


@pytest.mark.parametrize(("packages", "size", "read"), NOTED)
def test_what_a_mark_says_of_packages_and_size_is_taken_with_care(
    science: Generations, packages: Any, size: Any, read: tuple[Any, int]
) -> None:
    finish(science, 1, packages=packages, size=size)
    found = science.read(1)
    assert found is not None and (found.packages, found.size) == read


@pytest.mark.parametrize(("said", "read"), FOLDERS)
def test_only_folders_inside_are_looked_at(science: Generations, said: Any, read: dict[str, int]) -> None:
    finish(science, 1, sealed=said)
    found = science.read(1)
    assert found is not None and found.sealed == read


def test_a_change_by_hand_is_told(host: FakeHost, science: Generations) -> None:
    wish = Untouched(environment="science", generations=science, programs=("python",))
    assert wish.progress(wish.observe(host)) is None, "nothing is built"
    prefix = finish(science, 3)
    packages = prefix / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    os.utime(packages, (1000, 1000))
    sealed = {"bin": (prefix / "bin").stat().st_mtime_ns, "lib/python3.11/site-packages": packages.stat().st_mtime_ns}
    (prefix / MARK).write_text(json.dumps({"digest": "d", "sealed": sealed}))
    science.switch(3)
    assert wish.progress(wish.observe(host)) is None
    (packages / "x").touch()
    host.now = packages.stat().st_mtime + 7300
    told = wish.progress(wish.observe(host))
    assert told is not None and told.error is not None
    where = "lib/python3.11/site-packages of its generation 3"
    assert str(told.error) == f"science was changed by hand: {where} was changed 2 hours ago, after the build"
    assert told.error.fix == "To build it anew: hubd env build science"
    assert wish.steps(wish.observe(host)) == ()
    (packages / "x").unlink()
    packages.rmdir()
    told = wish.progress(wish.observe(host))
    assert told is not None and f"{where} is gone" in str(told.error)
    # What is built anew in any case needs no word.
    (prefix / "bin/python").unlink()
    assert wish.progress(wish.observe(host)) is None


def test_a_mark_that_is_a_link_is_not_followed(science: Generations, tmp_path: Path) -> None:
    science.path(1).mkdir(parents=True)
    (tmp_path / "elsewhere").write_text('{"digest": "d"}')
    (science.path(1) / MARK).symlink_to(tmp_path / "elsewhere")
    assert science.read(1) is None


def test_only_numbers_are_generations(science: Generations) -> None:
    for name in ("10", "9", "007", "0", "-1", "x", "1x", ".1", "9999999999"):
        (science.folder / name).mkdir(parents=True)
        (science.folder / name / MARK).write_text("{}")
    assert [each.number for each in science.finished()] == [10, 9]


def test_the_switch_is_one_link_and_only_one_to_a_generation_counts(science: Generations, tmp_path: Path) -> None:
    finish(science, 3)
    assert (science.switched_on(), science.current()) == (0, None)
    science.switch(3)
    assert os.readlink(science.link) == "3"
    current = science.current()
    assert isinstance(current, Generation) and current.path == science.path(3)
    science.link.unlink()
    for target in ("../elsewhere/3", "/3", "x", "3/bin"):
        science.link.symlink_to(target)
        assert science.switched_on() == 0, target
        science.link.unlink()
    science.switch(8)
    assert (science.switched_on(), science.current(), science.next()) == (8, None, 9)


def test_a_switch_elsewhere_points_into_the_folder(tmp_path: Path) -> None:
    server = Generations(folder=tmp_path / "versions", label="server-", link=tmp_path / "server")
    (tmp_path / "versions").mkdir()
    server.switch(2)
    assert (os.readlink(server.link), server.switched_on()) == ("versions/server-2", 2)


CHOICES = [
    # generations by number with their digests, of those the broken ones, the one gone back to, chosen
    ({1: "d"}, (), 0, 1),
    ({1: "d", 2: "d"}, (), 0, 2),
    ({1: "d", 2: "other"}, (), 0, 1),
    ({1: "d", 2: "d"}, (2,), 0, 1),
    ({1: "other"}, (), 0, 0),
    ({}, (), 0, 0),
    ({1: "older", 2: "d"}, (), 1, 1),
    ({1: "older", 2: "d"}, (1,), 1, 2),
    ({2: "d"}, (), 1, 2),
]


@pytest.mark.parametrize(("there", "broken", "held", "chosen"), CHOICES)
def test_which_generation_is_the_right_one(
    science: Generations, there: dict[int, str], broken: tuple[int, ...], held: int, chosen: int
) -> None:
    for number, digest in there.items():
        finish(science, number, digest)
    for number in broken:
        (science.path(number) / "bin/python").unlink()
    assert science.chosen(Asked(digest="d", held=held, programs=("python",))) == chosen


def switch(generations: Generations, **asked: Any) -> Switch:
    return Switch(environment="science", generations=generations, asked=Asked(digest="d", **asked))


SWITCHES = [
    (SeenSwitch(current=2, chosen=2), []),
    (SeenSwitch(current=0, chosen=1), ["switch science to its generation 1"]),
    (SeenSwitch(current=1, chosen=2), ["switch science to its generation 2"]),
    (SeenSwitch(current=1, chosen=2, used=1),
     ["switch science to its generation 2; 1 program that runs keeps generation 1 until the end"]),
    (SeenSwitch(current=1, chosen=0, used=9),
     ["switch science to what is built; 9 programs that run keep generation 1 until the end"]),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "steps"), SWITCHES)
def test_what_a_switch_says(seen: SeenSwitch, steps: list[str]) -> None:
    assert [step.say for step in switch(Generations(folder=Path("/x"), link=Path("/x/current"))).steps(seen)] == steps


def test_a_switch_goes_to_what_is_right_at_that_moment(host: FakeHost, science: Generations) -> None:
    wish = switch(science)
    (step,) = wish.steps(wish.observe(host))
    with pytest.raises(HubdError, match="nothing is built for it yet"):
        step.do(host)
    finish(science, 1)
    step.do(host)
    assert wish.observe(host) == SeenSwitch(1, 1)
    finish(science, 2)
    host.processes[science.path(1)] = 3
    assert wish.observe(host) == SeenSwitch(1, 2, used=3)


def kernel(generations: Generations, tmp_path: Path) -> Kernel:
    (tmp_path / "kernels").mkdir(exist_ok=True)
    return Kernel(
        environment="science", generations=generations, folder=tmp_path / "kernels/science", title="Science", language="python"
    )


def test_a_debugger_is_offered_only_where_there_is_one(host: FakeHost, science: Generations, tmp_path: Path) -> None:
    wish = kernel(science, tmp_path)
    for number, modules in ((1, "lib/python2.7/site-packages/ipykernel"), (2, "lib/python3.12/site-packages/debugpy")):
        finish(science, number)
        (science.path(number) / modules).mkdir(parents=True)
        science.switch(number)
        (step,) = wish.steps(wish.observe(host))
        step.do(host)
        spec = json.loads((tmp_path / "kernels/science/kernel.json").read_text())
        assert spec["metadata"] == {"debugger": number == 2}, modules


def test_a_kernel_follows_the_switch(host: FakeHost, science: Generations, tmp_path: Path) -> None:
    wish = kernel(science, tmp_path)
    (step,) = wish.steps(wish.observe(host))
    assert step.say == "offer the kernel science to everybody"
    with pytest.raises(HubdError, match="nothing is built for it yet"):
        step.do(host)
    finish(science, 1, activation={"PROJ_DATA": "/x/share/proj", "PRICE": "$5"})
    science.switch(1)
    step.do(host)
    assert wish.steps(wish.observe(host)) == ()
    spec = json.loads((tmp_path / "kernels/science/kernel.json").read_text())
    prefix = science.path(1)
    assert spec["argv"][:3] == [f"{prefix}/bin/python", "-m", "ipykernel_launcher"]
    assert (spec["display_name"], spec["env"]["PROJ_DATA"]) == ("Science", "/x/share/proj")
    # jupyter_client would put a variable of the server in its place.
    assert spec["env"]["PRICE"] == "$$5"
    assert spec["env"]["PATH"].startswith(f"{prefix}/bin:")
    finish(science, 2)
    assert wish.steps(wish.observe(host)) == (), "not before it is switched on"
    science.switch(2)
    (step,) = wish.steps(wish.observe(host))
    assert step.say == "offer the kernel science of generation 2 to everybody"
    # Nothing switched on any more: what is offered is left alone by the plan of a kernel that has no environment.
    gone = Kernel.gone(wish.memo() or {})
    assert gone is not None
    gone.steps(gone.observe(host))[0].do(host)
    assert not wish.path.exists()


OLD = [
    # generations that are there (negative: not finished), switched on, in use, whether a build runs, surplus
    ((3,), 3, (), False, ()),
    ((1, 2, 3), 3, (), False, ()),
    ((1, 2, 3, 4), 4, (), False, ("1",)),
    ((1, 2, 3, 4), 2, (), False, ("1",)),
    ((3, -4), 3, (), False, ("4",)),
    ((3, -4), 3, (), True, ()),
    ((1, 2, 3, 4, -5), 4, (), True, ("1",)),
    ((1, 2, 3, 4, 5), 5, (1,), False, ("1", "2")),
    ((), 0, (), False, ()),
]


@pytest.mark.parametrize(("there", "current", "used", "builds", "surplus"), OLD)
def test_old_generations(
    host: FakeHost, science: Generations, there: tuple[int, ...], current: int, used: tuple[int, ...], builds: bool, surplus: Any
) -> None:
    for number in there:
        path = finish(science, abs(number))
        if number < 0:
            (path / MARK).unlink()
    if current:
        science.switch(current)
    if builds:
        host.init.units["hubd-job-env-science.service"] = UnitState("hubd-job-env-science.service", True, "active")
    host.processes = {science.path(number): 1 for number in used}
    wish = OldGenerations(generations=science, job="env-science")
    assert wish.observe(host) == SeenOld(surplus, tuple(map(str, used)))
    for step in wish.steps(wish.observe(host)):
        step.do(host)
    left = {str(abs(number)) for number in there} - (set(surplus) - set(map(str, used)))
    assert set(os.listdir(science.folder) if there else ()) - {"current"} == left


def test_what_is_beside_them_is_not_ours(host: FakeHost, tmp_path: Path) -> None:
    server = Generations(folder=tmp_path, label="server-", link=tmp_path / "server")
    for name in ("hub-1", "hub-2", "uv-1", ".pythons", "server-0abc", ".hub-0.ab.hubd-gone"):
        (tmp_path / name).mkdir()
    for number in (1, 2, 3):
        finish(server, number)
    server.switch(3)
    assert OldGenerations(generations=server, job="env-server", keep=1).observe(host).surplus == ("server-0abc", "server-1")


def test_what_a_killed_removal_left_and_what_is_no_folder_goes(host: FakeHost, science: Generations) -> None:
    finish(science, 1)
    science.switch(1)
    (science.folder / ".7.0a1b.hubd-gone/lib").mkdir(parents=True)
    (science.folder / "8").write_text("somebody's")
    wish = OldGenerations(generations=science, job="env-science")
    assert wish.observe(host).surplus == (".7.0a1b.hubd-gone", "8")
    for step in wish.steps(wish.observe(host)):
        step.do(host)
    assert sorted(os.listdir(science.folder)) == ["1", "current"]
