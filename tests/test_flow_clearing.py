"""`hubd env gc`: what nobody needs goes, what is in use stays and is named, and caches are cleaned by their managers."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCommands, FakeHost, Owners
from machine import CONFIG, Machine

from hubd.cli.env_gc import gc_lines
from hubd.cli.main import run
from hubd.daemon.control import Control
from hubd.daemon.passes import Passes
from hubd.errors import ExitCode, HubdError
from hubd.flow.clearing import came_out, clear
from hubd.flow.rollback import decide
from hubd.host import files
from hubd.host.init import UnitState
from hubd.host.locks import holder
from hubd.host.sockets import Peer
from hubd.jobs.run import run as run_job
from hubd.resources.generation import MARK
from hubd.resources.job import order_path, result_path
from hubd.tools.lock import SAVED, Lock, lock_text

GONE = ".3.0123456789ab.hubd-gone"


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which everything is right, with three generations of science, and one in the package cache."""
    made = Machine(host, owners, monkeypatch)
    made.begin(*(CONFIG.replace("ipykernel", packages) for packages in ("ipykernel", "ipykernel, numpy", "ipykernel, scipy")))
    made.layout.package_cache("environments").mkdir(parents=True, exist_ok=True)
    return made


def fill(path: Path, size: int = 50_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def cleared(machine: Machine, *, act: bool = True) -> tuple[dict[str, Any], list[str]]:
    """What is told, and the events."""
    work, events = clear(machine.host, act=act), []
    while True:
        try:
            events.append(next(work).say)
        except StopIteration as ended:
            return ended.value, events


def keep_none(machine: Machine) -> None:
    """From now on no older generation is kept; no pass has been made since."""
    machine.write(CONFIG.replace("ipykernel", "ipykernel, scipy") + "    keep: 0\n")


def there(machine: Machine) -> list[str]:
    return sorted(name for name in files.children(machine.layout.envs / "science") if name != "current")


def test_old_generations_go_and_one_in_use_stays_and_is_named(machine: Machine) -> None:
    science = machine.layout.envs / "science"
    fill(science / "1/lib/x")
    assert cleared(machine)[0]["removed"] == [], "those that `keep` asks for are needed"
    keep_none(machine)
    machine.host.processes[science / "2"] = 3
    told, events = cleared(machine)
    assert there(machine) == ["2", "3"]
    assert events == [f"remove the old generation {science / '1'}"]
    assert told["freed"] >= 50_000
    assert told["kept"] == [{"environment": "science", "path": str(science / "2"), "programs": 3}]
    assert (told["spare"], came_out(told)[0]) == ([], ExitCode.DONE)


def test_what_is_kept_to_go_back_to_is_named_with_its_size(machine: Machine) -> None:
    fill(machine.layout.envs / "science/1/lib/x")
    (spare,) = cleared(machine)[0]["spare"]
    assert (spare["environment"], spare["generations"], spare["option"]) == ("science", [2, 1], "environments.science.keep")
    assert spare["own"] >= 50_000


def test_the_lock_of_what_was_offered_once_stays_and_is_named(machine: Machine) -> None:
    for name in ("geo", "geo@maps", "old"):
        fill(machine.layout.published / f"bea/{name}.lock")
    entries = "".join(f"  {name}: {{publish: {{owner: bea, environment: geo{more}}}}}\n"
                      for name, more in (("geo", ""), ("maps", ", entry: maps")))  # fmt: skip
    machine.write(CONFIG + entries)
    old = machine.layout.published / "bea/old.lock"
    said = f"stays: {old}, for an entry that comes back into config.yaml; else: rm {old}"
    for act in (False, True):
        assert said in cleared(machine, act=act)[0]["notes"]
    assert old.exists()
    more = machine.layout.published / "bea/older.lock"
    fill(more)
    assert any(note.endswith(f"; else: rm {old} {more}") for note in cleared(machine)[0]["notes"]), "all of them go by it"
    more.unlink()
    old.unlink()
    assert not any("comes back" in note for note in cleared(machine)[0]["notes"])

def test_a_look_changes_nothing(machine: Machine) -> None:
    keep_none(machine)
    fill(machine.layout.envs / "science/1/lib/x")
    before = there(machine)
    told, events = cleared(machine, act=False)
    assert (there(machine), events, told["freed"]) == (before, [], 0)
    assert [Path(each["path"]).name for each in told["removed"]] == ["1", "2"]
    assert told["together"] >= 50_000
    assert [each["after"] for each in told["caches"]] == [None, None]
    assert "hubd-job-clean-environments.service" not in machine.host.init.started


def test_what_two_old_generations_share_is_free_when_both_go(machine: Machine) -> None:
    keep_none(machine)
    shared = fill(machine.layout.envs / "science/1/x", 400_000)
    os.link(shared, machine.layout.envs / "science/2/x")
    assert cleared(machine)[0]["freed"] >= 400_000


def test_a_program_that_begins_while_sizes_are_counted_keeps_its_generation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_none(machine)
    first = machine.layout.envs / "science/1"
    counted = sys.modules["hubd.flow.clearing"].disk_use

    def begins(folders: Any) -> Any:
        machine.host.processes[first] = 1
        return counted(folders)

    monkeypatch.setattr("hubd.flow.clearing.disk_use", begins)
    told, _ = cleared(machine)
    assert there(machine) == ["1", "3"]
    assert [each["gone"] for each in told["removed"]] == [False, True]
    assert came_out(told)[0] == ExitCode.FAILED


def test_a_program_that_ends_meanwhile_was_named_and_its_generation_goes_next_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_none(machine)
    first = machine.layout.envs / "science/1"
    machine.host.processes[first] = 1
    counted = sys.modules["hubd.flow.clearing"].disk_use
    monkeypatch.setattr("hubd.flow.clearing.disk_use", lambda paths: (machine.host.processes.clear(), counted(paths))[1])
    told, _ = cleared(machine)
    assert (there(machine), [each["gone"] for each in told["removed"]]) == (["1", "3"], [True])
    assert [each["path"] for each in told["kept"]] == [str(first)]


def test_what_somebody_just_went_back_to_stays_until_a_pass_switched(machine: Machine) -> None:
    decide(machine.host, "science", to=1)
    machine.write(CONFIG.replace("ipykernel", "ipykernel, scipy") + "    keep: 0\n")
    told, _ = cleared(machine)
    assert there(machine) == ["1", "2", "3"]
    assert told["notes"] == ["science is left alone: it waits for another generation to be switched on"]


def test_leftovers_of_killed_work_go_and_those_of_a_build_under_way_stay(machine: Machine) -> None:
    science = machine.layout.envs / "science"
    for path in (science / GONE / "x", machine.layout.envs / GONE / "x", machine.layout.versions / ".s.0123456789ab.hubd-gone/x"):
        fill(path)
    (science / ".mine").mkdir()
    (science / "4").mkdir()
    machine.host.init.units["hubd-job-env-science.service"] = UnitState("x", True, "active", "running", 7)
    told, events = cleared(machine)
    assert (there(machine), len(told["removed"])) == ([".mine", "1", "2", "3", "4"], 3)
    assert events[0].endswith("left by work that was killed")
    assert told["freed"] >= 150_000
    machine.host.init.units.clear()
    cleared(machine)
    assert there(machine) == [".mine", "1", "2", "3"]


def test_one_that_is_not_declared_any_more_and_in_use_is_named(machine: Machine) -> None:
    machine.write(CONFIG.replace("science", "other"))
    machine.host.processes[machine.layout.envs / "science"] = 2
    told, _ = cleared(machine)
    assert told["kept"] == [{"environment": "", "path": str(machine.layout.envs / "science"), "programs": 2}]
    assert there(machine) == ["1", "2", "3"]


def test_one_that_cannot_be_removed_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_none(machine)

    def refuse(path: Path) -> None:
        if path.name == "1":
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files, "remove_tree", refuse)
    told, _ = cleared(machine)
    assert any("science/1 could not be removed: Operation not permitted" in note for note in told["notes"])
    assert came_out(told)[0] == ExitCode.FAILED


def test_caches_are_cleaned_by_a_job_of_the_build_account(machine: Machine) -> None:
    old = fill(machine.layout.package_cache("environments") / "uv/old")
    shared = fill(machine.layout.package_cache("environments") / "uv/used")
    os.link(shared, machine.layout.envs / "science/3/used")
    machine.cleaned = lambda cache: old.unlink(missing_ok=True)
    told, _ = cleared(machine)
    job = machine.host.init.started["hubd-job-clean-environments.service"]
    assert job.user == "hubd-build"
    cache = next(each for each in told["caches"] if each["cache"] == "environments")
    assert cache["before"] - cache["after"] >= 50_000
    assert 50_000 <= told["freed"] < 100_000, "what a generation shares is not free"
    assert not order_path(machine.layout, "clean-environments").exists(), "the next pass has nothing to clear away"
    assert machine.settle().plan.gaps == ()


def test_it_is_said_that_no_package_goes_while_nobody_can_tell_which_are_needed(machine: Machine) -> None:
    fill(machine.layout.package_cache("environments") / "uv/x")
    note = f"no package of PyPI goes from {machine.layout.package_cache('environments')}: a generation does not tell which it has"
    text = lock_text(Lock(manager="uv", platform="linux-64", python="3.12", pip=(f"numpy==2.4 --hash=sha256:{'a' * 64}",)))
    for number in (1, 2, 3):
        (machine.layout.envs / f"science/{number}" / SAVED).write_text(text)
    assert note not in cleared(machine)[0]["notes"]
    (machine.layout.envs / "science/2" / SAVED).unlink()
    assert note in cleared(machine)[0]["notes"]


def test_a_cache_that_a_build_uses_is_left_alone(machine: Machine) -> None:
    machine.slow = True
    machine.write(CONFIG.replace("ipykernel", "ipykernel, dask"))
    machine.make()
    told, _ = cleared(machine, act=False)
    assert any("envs/.cache is left alone: env-science uses it" in note for note in told["notes"])
    assert [each["cache"] for each in told["caches"]] == ["server"]


def test_a_cache_that_is_a_link_is_not_looked_into(machine: Machine, tmp_path: Path) -> None:
    cache = machine.layout.package_cache("environments")
    cache.rename(tmp_path / "away")
    cache.symlink_to(tmp_path / "away")
    assert [each["cache"] for each in cleared(machine)[0]["caches"]] == ["server"]


def test_a_cleaning_that_fails_is_told_with_its_reason(machine: Machine) -> None:
    fill(machine.layout.package_cache("environments") / "uv/old")
    report = {"state": "failed", "what": "uv could not clean its cache", "why": "no"}
    machine.host.init.on_run = lambda program: (
        result_path(machine.layout, program.name[9:-8]).write_text(json.dumps(report)),
        machine.host.init.units.pop(program.name),
    )
    told, _ = cleared(machine)
    assert any("was not cleaned to the end: uv could not clean its cache: no" in note for note in told["notes"])
    assert came_out(told)[0] == ExitCode.FAILED
    machine.host.init.on_run = lambda program: machine.host.init.units.pop(program.name)
    assert any("ended without a word" in note for note in cleared(machine)[0]["notes"])
    machine.host.init.broken["hubd-job-clean-environments.service"] = HubdError("systemd says no")
    told, _ = cleared(machine)
    assert any("could not be cleaned: systemd says no" in note for note in told["notes"])
    assert came_out(told)[0] == ExitCode.FAILED


def test_the_daemon_tells_what_it_does_and_how_it_came_out(machine: Machine) -> None:
    keep_none(machine)
    control = Control(Passes(lambda: machine.host, lock_wait=0), lambda: machine.host, lambda reason: None, {})
    *events, last = control.answer({"do": "clear", "act": True}, Peer(1, 0))
    assert [each["event"]["kind"] for each in events if "event" in each] == ["step", "step"]
    assert (last["code"], last["done"]["acted"]) == (ExitCode.DONE, True)
    machine.write("limits: {memry: 1G}\n")
    *_, last = control.answer({"do": "clear", "act": True}, Peer(1, 0))
    assert last["code"] == ExitCode.CONFIG_INVALID
    assert holder(machine.layout.lock) is None, "nobody is to think that a pass was killed"


def test_the_command(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hubd.host.local_host", lambda layout, **options: machine.host)
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: machine.layout)
    monkeypatch.setattr("hubd.cli.env_gc.daemon_answers", lambda layout: False)
    keep_none(machine)
    machine.host.processes[machine.layout.envs / "science/2"] = 1
    assert run(["env", "gc", "--dry-run"]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert "would go: science, generation 1: " in told
    assert "stays: science, generation 2, as 1 program uses it" in told
    assert "Nothing was changed: hubd env gc" in told
    assert run(["env", "gc", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["removed"][0]["gone"] is True
    assert run(["env", "gc"]) == ExitCode.DONE
    assert "There was nothing to free." in capsys.readouterr().out
    machine.write("limits: {memry: 1G}\n")
    assert run(["env", "gc"]) == ExitCode.CONFIG_INVALID


def test_the_words() -> None:
    removed = [{"environment": "geo", "path": "/e/geo/1", "own": 2_000_000, "gone": True},
               {"environment": "", "path": f"/e/{GONE}", "own": 0, "gone": False}]  # fmt: skip
    caches = [{"cache": "a", "path": "/c/a", "before": 3_000_000, "after": 1_000_000, "shared": 2_500_000_000}]
    spare = [{"environment": "geo", "generations": [3, 2], "own": 500_000_000, "option": "environments.geo.keep"},
             {"environment": "server", "generations": [1], "own": 5_000_000, "option": ""}]  # fmt: skip
    found = {"acted": True, "freed": 4_000_000, "removed": removed, "kept": [], "spare": spare, "caches": caches,
             "notes": ["well"]}  # fmt: skip
    rest = ["  what stays there is for the next build, which need not download it again: packages that generations consist of,",
            "  and indexes of channels and of PyPI",
            "stays: geo, generations 3, 2: 500 MB, to go back to (environments.geo.keep says how many)",
            "stays: server, generation 1: 5.0 MB, to go back to", "well"]  # fmt: skip
    shared = "of its own; 2.5 GB more are files of generations, too"
    assert list(gc_lines(found)) == [
        "geo, generation 1: 2.0 MB", f"package cache /c/a: 3.0 MB → 1.0 MB {shared}", *rest, "Freed 4.0 MB.",
    ]  # fmt: skip
    found |= {"acted": False, "together": 2_000_000, "removed": [], "caches": [{**caches[0], "after": None, "shared": 0}]}
    assert list(gc_lines(found)) == [
        "package cache /c/a: 3.0 MB of its own, of which some may go", *rest[2:],
        "2.0 MB would be free, besides the caches. Nothing was changed: hubd env gc",
    ]  # fmt: skip


# ---------------------------------------------------------------- the job


def clean_job(folder: Path, **change: Any) -> tuple[int, dict[str, Any], FakeCommands]:
    commands, cache, report = FakeCommands(), folder / "cache", folder / "report.json"
    commands.answers.update(change.pop("answers", {}))
    spec = {"do": "clean", "job": "clean-x", "digest": "clean", "cache": str(cache), "conda": "/c", "uv": "/u/uv",
            "needed": None, "pythons": "/p", "result": str(report),
            "limits": {"memory": None, "cpu": None, "time": 60}, **change}  # fmt: skip
    code = run_job(spec, commands=commands)  # type: ignore[arg-type]
    return code, json.loads(report.read_text()), commands


UV = ("/u/uv", "cache", "prune")
CONDA = ("/c/bin/conda", "clean", "--json", "--yes", "--packages", "--tarballs")
PARTS = [(("uv",), "/c", [UV]), (("conda-pkgs",), "/c", [CONDA]), (("uv", "conda-pkgs"), "", [UV]), ((), "/c", [])]


@pytest.mark.parametrize(("parts", "conda", "ran"), PARTS)
def test_each_manager_cleans_its_part(tmp_path: Path, parts: tuple[str, ...], conda: str, ran: list[tuple[str, ...]]) -> None:
    for part in ("", *parts):
        (tmp_path / "cache" / part).mkdir()
    code, told, commands = clean_job(tmp_path, conda=conda)
    assert (code, told["state"], commands.ran) == (0, "done", ran)
    environments = [dict(each["environment"]) for each in commands.options]
    where = {"UV_CACHE_DIR": str(tmp_path / "cache/uv"), "CONDA_PKGS_DIRS": str(tmp_path / "cache/conda-pkgs")}
    assert all(where.items() & each.items() and each["HOME"] == str(tmp_path / "cache") for each in environments)


def test_what_no_environment_links_to_goes_where_there_is_only_mamba(tmp_path: Path) -> None:
    program, cache = tmp_path / "bin/micromamba", tmp_path / "cache/conda-pkgs"
    program.parent.mkdir()
    program.touch(mode=0o755)
    for shelf in ("", "conda-forge/noarch/"):
        for name in ("used-1-0", "unused-1-0"):
            (cache / f"{shelf}{name}/info").mkdir(parents=True)
            (cache / f"{shelf}{name}/info/index.json").touch()
            (cache / f"{shelf}{name}.conda").touch()
        (tmp_path / f"generation{shelf.count('/')}").hardlink_to(cache / f"{shelf}used-1-0/info/index.json")
    (cache / "cache").mkdir()
    (cache / "cache/index.json").touch()
    code, told, commands = clean_job(tmp_path, conda=str(program))
    assert (code, told["state"], commands.ran) == (0, "done", []), "mamba itself would take everything"
    left = sorted(str(path.relative_to(cache)) for path in cache.rglob("*.json"))
    assert left == ["cache/index.json", "conda-forge/noarch/used-1-0/info/index.json", "used-1-0/info/index.json"]
    assert not list(cache.rglob("*.conda")) and not list(cache.rglob("unused*"))


def test_what_a_manager_without_a_command_for_it_left_goes_too(tmp_path: Path) -> None:
    """rattler is a library; and of a conda that is gone only the packages are there."""
    for part in ("rattler/pkgs", "conda-pkgs"):
        for name in ("used-1-0", "unused-1-0"):
            fill(tmp_path / f"cache/{part}/{name}/info/index.json", 10)
            (tmp_path / f"cache/{part}/{name}.lock").touch()
        (tmp_path / f"generation-{part[:5]}").hardlink_to(tmp_path / f"cache/{part}/used-1-0/info/index.json")
    code, told, commands = clean_job(tmp_path, conda="")
    assert (code, told["state"], commands.ran) == (0, "done", [])
    for part in ("rattler/pkgs", "conda-pkgs"):
        left = [name for name in files.children(tmp_path / "cache" / part) if not name.endswith(".lock")]
        assert left == ["used-1-0"], part


NEEDED = [
    (["Typing.Extensions", "numpy"], ["scipy", "six"]),
    ([], ["numpy", "scipy", "six", "typing-extensions"]),
    (None, None),
]


@pytest.mark.parametrize(("needed", "cleaned"), NEEDED)
def test_uv_gives_up_packages_that_no_generation_has(tmp_path: Path, needed: list[str] | None, cleaned: list[str] | None) -> None:
    for name in ("numpy", "scipy", "six", "typing-extensions", "-rf", "X"):
        (tmp_path / "cache/uv/wheels-v9/pypi" / name).mkdir(parents=True)
    code, _, commands = clean_job(tmp_path, needed=needed)
    assert (code, commands.ran) == (0, [*([("/u/uv", "cache", "clean", *cleaned)] if cleaned else []), UV])


def test_what_generations_have_is_read_from_their_locks(machine: Machine) -> None:
    def order() -> Any:
        spec: dict[str, Any] = {}

        def keep(program: Any) -> None:
            spec.update(json.loads(Path(program.argv[-1]).read_text()) if "environments" in program.name else {})
            machine.host.init.units.pop(program.name)

        machine.host.init.on_run = keep
        cleared(machine)
        return spec["needed"]

    (machine.layout.package_cache("environments") / "uv").mkdir()
    assert order() is None, "a generation without a lock may need anything"
    for number, name in ((1, "numpy"), (2, "scipy"), (3, "six")):
        pins = (f"{name}==1 --hash=sha256:{'a' * 64}",)
        lock = Lock(manager="uv", platform="linux-64", python="3.12", pip=pins)
        (machine.layout.envs / f"science/{number}" / SAVED).write_text(lock_text(lock))
    assert order() == ["numpy", "scipy", "six"]


def test_what_people_have_of_packages_goes_with_the_last_generation_that_consists_of_it(machine: Machine) -> None:
    cache, packages = machine.layout.package_cache("environments"), machine.layout.packages
    for number, manager in ((1, "conda"), (2, "rattler"), (3, "conda")):
        (machine.layout.envs / f"science/{number}/conda-meta").mkdir()
        (machine.layout.envs / f"science/{number}/conda-meta/p{number}-1-0.json").touch()
        mark = machine.layout.envs / f"science/{number}" / MARK
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "manager": manager}))
    for name in ("p1-1-0", "p3-1-0"):
        fill(cache / "conda-pkgs" / name / "lib/x")
        (packages / name).mkdir(parents=True)
        os.link(cache / "conda-pkgs" / name / "lib/x", packages / name / "x")
    orders: list[Any] = []
    finish = machine.host.init.on_run

    def keep(program: Any) -> None:
        orders.append(json.loads(Path(program.argv[-1]).read_text()))
        finish(program)

    machine.host.init.on_run = keep
    machine.cleaned = lambda path: [files.clear(each) for each in (packages / "p1-1-0", path / "conda-pkgs/p1-1-0")]
    machine.write(CONFIG.replace("ipykernel", "ipykernel, scipy") + "    keep: 1\n")
    told, _ = cleared(machine)
    order = next(each for each in orders if each["job"] == "clean-environments")
    assert (order["share_into"], order["unpacked"]) == (str(packages), ["p3-1-0"])
    assert next(each for each in orders if each["job"] == "clean-server")["share_into"] == ""
    found = next(each for each in told["caches"] if each["cache"] == "environments")
    assert 100_000 <= found["before"] < 150_000, "files with two names, both of which go"
    assert found["before"] - found["after"] >= 50_000


def test_people_have_nothing_more_of_a_package_before_conda_looks_for_those_that_nobody_uses(tmp_path: Path) -> None:
    name = tmp_path / "cache/conda-pkgs/old-1-0/info"
    fill(name)
    (tmp_path / "packages/old-1-0").mkdir(parents=True)
    os.link(name, tmp_path / "packages/old-1-0/info")
    names = {}
    answers = {CONDA[:2]: lambda argv: names.update(left=name.stat().st_nlink)}
    code, _, _ = clean_job(tmp_path, answers=answers, share_into=str(tmp_path / "packages"), unpacked=[])
    assert (code, names) == (0, {"left": 1})


FAILURES = [(UV, "uv could not clean its cache"), (CONDA[:2], "conda could not clean its package cache")]


@pytest.mark.parametrize(("argv", "what"), FAILURES)
def test_a_manager_that_fails_is_told(tmp_path: Path, argv: tuple[str, ...], what: str) -> None:
    for part in ("uv", "conda-pkgs"):
        (tmp_path / "cache" / part).mkdir(parents=True)
    code, told, _ = clean_job(tmp_path, answers={argv: 2})
    assert (code, told["what"], told["why"]) == (1, what, "it went wrong")


def test_what_a_killed_fetch_of_a_repository_left_goes_with_the_cleaning(tmp_path: Path) -> None:
    (tmp_path / "cache/repository-env-a/copy").mkdir(parents=True)
    (tmp_path / "cache/repository-env-a.lock").touch()
    assert clean_job(tmp_path)[0] == 0
    assert not list((tmp_path / "cache").glob("repository*"))


def test_while_a_build_holds_the_cache_nothing_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "cache/uv").mkdir(parents=True)
    with (tmp_path / "cache/build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, told, commands = clean_job(tmp_path)
    assert (code, told["why"], commands.ran) == (1, "a build uses it at this moment", [])


def test_a_leftover_among_generations_is_told_and_removed_once(machine: Machine) -> None:
    fill(machine.layout.envs / "science" / GONE / "x")
    told, _ = cleared(machine)
    assert [each["gone"] for each in told["removed"]] == [True]
    assert came_out(told)[0] == ExitCode.DONE
