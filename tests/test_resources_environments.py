"""Jobs and what they make: environments, conda, the choice between managers, and clearing up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners

from hubd.errors import HubdError
from hubd.host.init import UnitState
from hubd.resources import job as jobs
from hubd.resources.conda import Conda, ExistingConda, ManagerChoice
from hubd.resources.environment import Environment, NoEnvironment, SeenEnvironment
from hubd.resources.generation import MARK, Generations
from hubd.resources.job import SeenJob, failure_of, is_due, observe_job, phases, start_job

FAILURE = {"what": "no such package", "why": "nunpy", "ended": 1000, "tries": 1}


@pytest.fixture
def folder(host: FakeHost) -> Path:
    host.layout.reports.mkdir(parents=True)
    host.layout.jobs.mkdir()
    return host.layout.reports


def placed(folder: Path) -> Generations:
    return Generations(folder=folder, link=folder / "current")


def environment(**options: Any) -> Environment:
    usual = {"environment": "science", "generations": placed(Path("/x/envs/science")), "manager": "uv", "packages": ("numpy",)}
    return Environment(**{**usual, **options})  # type: ignore[arg-type]


DIGEST = [
    ({}, True),
    # What does not change what is built builds nothing anew.
    ({"needs": ("x:y",), "touches": "all"}, True),
    ({"conda": Path("/elsewhere")}, True),
    ({"held": 3}, False),
    ({"packages": ("numpy", "scipy")}, False),
    ({"manager": "conda"}, False),
    ({"channels": ("conda-forge",)}, False),
    ({"requirements_digest": "abc"}, False),
    ({"smoke": "R"}, False),
]


@pytest.mark.parametrize(("options", "same"), DIGEST)
def test_what_is_asked_for_is_told_apart(options: dict[str, Any], same: bool) -> None:
    assert (environment(**options).asked == environment().asked) is same


def test_the_order_of_packages_does_not_matter_and_that_of_channels_does() -> None:
    assert environment(packages=("a", "b")).digest == environment(packages=("b", "a")).digest
    assert environment(channels=("a", "b")).digest != environment(channels=("b", "a")).digest


SEEN = [
    # seen, steps, what it waits for, whether that is an error
    (SeenJob(complete=True), 0, "", False),
    (SeenJob(), 1, "", False),
    (SeenJob(going="solving"), 0, "building: solving", False),
    (SeenJob(failure=FAILURE, now=1001), 0, "failed", True),
    (SeenJob(failure=FAILURE, now=1301), 1, "", False),
    # While a retry goes on the last failure is history.
    (SeenJob(going="solving", failure=FAILURE, now=1001), 0, "building: solving", False),
]


@pytest.mark.parametrize(("seen", "steps", "waits", "error"), SEEN)
def test_environment(seen: SeenJob, steps: int, waits: str, error: bool) -> None:
    wish = environment()
    assert len(wish.steps(SeenEnvironment(seen))) == steps
    progress = None if steps else wish.progress(SeenEnvironment(seen))
    assert (progress.say if progress else "") == waits
    assert (progress is not None and progress.error is not None) is error


DUE = [
    # tries, seconds since, due
    (1, 299, False),
    (1, 300, True),
    (2, 599, False),
    (2, 600, True),
    (3, 1199, False),
    (10, 21599, False),
    (10, 21600, True),
    (99, 21600, True),
    (0, 299, False),
    (0, 300, True),
    (-5, 300, True),
    (1, -1, True),
]


@pytest.mark.parametrize(("tries", "passed", "due"), DUE)
def test_when_a_failed_job_is_tried_again(tries: int, passed: float, due: bool) -> None:
    assert is_due(SeenJob(failure={"tries": tries, "ended": 5000}, now=5000 + passed)) is due


@pytest.mark.parametrize(
    "nonsense",
    [{"tries": "many", "ended": "never"}, {}, {"tries": None, "ended": []}, {"tries": float("inf"), "ended": float("nan")}],
)
def test_a_report_of_nonsense_does_not_hold_a_job_forever(nonsense: dict[str, Any]) -> None:
    assert is_due(SeenJob(failure=nonsense, now=5000))


def test_the_failure_tells_what_the_job_said() -> None:
    error = failure_of(SeenJob(failure=FAILURE), "Read the log.")
    assert (error.what, error.why, error.fix) == ("no such package", "nunpy", "Read the log.")
    assert failure_of(SeenJob(), "x").what == "the job failed"


REMOVED = {
    "what": "env-a left nothing", "why": "what it made is not there any more", "ended": 0, "tries": 0, "retry": True,
}  # fmt: skip
REPORTS: list[tuple[Any, bool, SeenJob]] = [
    # report, whether its unit runs, seen
    (None, False, SeenJob()),
    (None, True, SeenJob(going="starting")),
    ({"state": "running", "phase": "solving"}, True, SeenJob(going="solving")),
    # It ended well, and what it made was removed.
    ({"state": "done"}, False, SeenJob(failure=REMOVED)),
    ({"state": "failed", "what": "x"}, False, SeenJob(failure={"state": "failed", "what": "x"})),
    # Killed: it may be tried at once.
    (
        {"state": "running", "phase": "solving"},
        False,
        SeenJob(failure={"what": "env-a was killed", "why": "it ended without a word", "ended": 0, "tries": 0, "retry": True}),
    ),
    ("garbage", False, SeenJob()),
    ([1], False, SeenJob()),
    ("deep", False, SeenJob()),
]


@pytest.mark.parametrize(("report", "runs", "seen"), REPORTS)
def test_what_is_seen_of_a_job(host: FakeHost, folder: Path, report: Any, runs: bool, seen: SeenJob) -> None:
    if report is not None:
        (folder / "env-a.json").write_text(
            {"garbage": "{", "deep": "[" * 100_000}.get(report) if isinstance(report, str) else json.dumps(report)
        )
    if runs:
        host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "active")
    found = observe_job(host, "env-a", complete=False)
    assert (found.complete, found.going, found.failure) == (seen.complete, seen.going, seen.failure)
    if found.failure and found.failure.get("ended") == 0:
        assert is_due(found)


KILLED = [(1, 1, True), (2, 1, True), (3, 1, False), (3, 300, True), (4, 599, False), (4, 600, True)]


@pytest.mark.parametrize("state", ["running", "done"])
@pytest.mark.parametrize(("tries", "passed", "due"), KILLED)
def test_a_job_that_is_always_killed_or_never_of_use_is_not_started_for_ever(
    host: FakeHost, folder: Path, tries: int, passed: int, due: bool, state: str
) -> None:
    # A machine with too little memory would be busy with nothing else.
    (folder / "env-a.json").write_text(json.dumps({"state": state, "tries": tries, "at": host.now - passed}))
    assert is_due(observe_job(host, "env-a", complete=False)) is due


def test_a_job_that_never_comes_to_a_report_is_not_started_for_ever(host: FakeHost, folder: Path, owners: Owners) -> None:
    # No memory for it to begin, or a build that removes its report.
    for tries in range(3):
        assert is_due(observe_job(host, "env-a", complete=False, digest="d"))
        start_job(host, "env-a", {"digest": "d"}, cache="geo", writable=())
        assert json.loads((host.layout.jobs / "env-a.json").read_text())["tries"] == tries
        host.init.units.clear()
    seen = observe_job(host, "env-a", complete=False, digest="d")
    assert (is_due(seen), failure_of(seen, "").what) == (False, "env-a was killed")
    host.now += 300
    assert is_due(observe_job(host, "env-a", complete=False, digest="d"))
    host.now -= 300
    # Another wish, and somebody who asks, are not kept waiting.
    assert is_due(observe_job(host, "env-a", complete=False, digest="other"))
    jobs.forget_failures(host)
    assert observe_job(host, "env-a", complete=False, digest="d") == SeenJob(now=host.now)


def test_a_finished_product_costs_no_question(host: FakeHost) -> None:
    host.init = None  # type: ignore[assignment]
    assert observe_job(host, "env-a", complete=True) == SeenJob(complete=True)


def test_a_report_that_is_a_link_is_not_followed(host: FakeHost, folder: Path) -> None:
    # The build account owns that folder; hubd reads as root.
    secret = host.layout.state / "secret"
    secret.write_text('{"state": "failed", "what": "the secret"}')
    (folder / "env-a.json").symlink_to(secret)
    assert observe_job(host, "env-a", complete=False).failure is None


def test_asking_lets_failed_and_killed_jobs_be_tried_again_and_leaves_running_ones(host: FakeHost, folder: Path) -> None:
    for name, state in (("failed", "failed"), ("killed", "running"), ("runs", "running"), ("done", "done")):
        (folder / f"{name}.json").write_text(json.dumps({"state": state}))
        (host.layout.jobs / f"{name}.json").touch()
    host.init.units["hubd-job-runs.service"] = UnitState("hubd-job-runs.service", True, "active")
    jobs.forget_failures(host)
    assert os.listdir(folder) == os.listdir(host.layout.jobs) == ["runs.json"]


def test_what_else_lies_among_the_reports_is_not_even_looked_at(host: FakeHost, folder: Path) -> None:
    # Builds may write there: a folder of that name, names that no job has.
    (folder / "a.json").mkdir()
    for name in ("b.json", "../b.json", "\x1b[2J.json", "-x.json"):
        (folder / name).write_text('{"state": "failed"}')
    (host.layout.jobs / "a.json").touch()
    jobs.forget_failures(host)
    assert sorted(os.listdir(folder)) == sorted({"b.json", "\x1b[2J.json", "-x.json"})
    assert phases(host, ["a"]) == {}


TEXTS_OF_A_BUILD = [
    ("no such package", "no such package"),
    ("naïve – 中文, ñ and 'quotes'", "naïve – 中文, ñ and 'quotes'"),
    ("two\nlines\tand a tab", "two lines and a tab"),
    ("\x1b[31mred\x1b[0m \x1b]0;a title\x07bell\x07", "red bell"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x9b31mx\x00\x7f", "link 31mx"),
    ("half \ud800 and turned \u202egnp.exe", "half  and turned gnp.exe"),
    ("x" * 601, "x" * 599 + "…"),
    ("x" * 600, "x" * 600),
]


@pytest.mark.parametrize(("said", "told"), TEXTS_OF_A_BUILD)
@pytest.mark.parametrize("key", ["what", "why", "fix"])
def test_the_words_of_a_build_are_made_safe_for_a_screen(host: FakeHost, folder: Path, key: str, said: str, told: str) -> None:
    # The packages that are built run code of their own, which can write this file.
    (folder / "env-a.json").write_text(json.dumps({"state": "failed", key: said}))
    failure = observe_job(host, "env-a", complete=False).failure
    assert failure is not None
    assert failure[key] == told


def test_a_phase_is_made_safe_too(host: FakeHost, folder: Path) -> None:
    (folder / "env-a.json").write_text(json.dumps({"state": "running", "phase": "\x1b[2Jsolving" + "!" * 9999}))
    host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "active")
    going = observe_job(host, "env-a", complete=False).going
    assert (going[:8], len(going)) == ("solving!", 600)
    assert phases(host, ["env-a", "env-b"]) == {"env-a": going}


ODD = [
    {"tries": 10**400, "ended": 10**400, "at": 10**400},
    {"tries": -(10**400), "ended": -1, "at": -1},
    {"tries": float("nan"), "ended": float("-inf"), "at": float("inf")},
    {"tries": [3], "ended": {"a": 1}, "at": None, "what": 7, "why": ["x"], "fix": None},
    {"digest": ["d"], "what": {}, "why": True},
]


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("odd", ODD)
def test_numbers_and_types_that_make_no_sense_hurt_nobody(
    host: FakeHost, folder: Path, owners: Owners, odd: dict[str, Any], state: str
) -> None:
    (folder / "env-a.json").write_text(json.dumps({"state": state, "digest": "d", **odd}))
    seen = observe_job(host, "env-a", complete=False, digest="d")
    assert is_due(seen)
    assert not environment().steps(SeenEnvironment(seen))[0].say.endswith(("7", "{}"))
    json.dumps(failure_of(seen, "x").what).encode("ascii")
    start_job(host, "env-a", {"digest": "d"}, cache="geo", writable=())
    assert json.loads((host.layout.jobs / "env-a.json").read_text())["tries"] == 0


def test_a_report_names_no_other_job(host: FakeHost, folder: Path) -> None:
    (folder / "env-a.json").write_text(json.dumps({"state": "running", "job": "../../etc/passwd", "tries": 9}))
    failure = observe_job(host, "env-a", complete=False).failure
    assert failure is not None
    assert failure["what"] == "env-a was killed"


def test_a_report_without_end_is_none(host: FakeHost, folder: Path) -> None:
    (folder / "env-a.json").write_bytes(b'{"state": "failed", "what": "' + b"x" * jobs.LONGEST_REPORT + b'"}')
    assert observe_job(host, "env-a", complete=False).failure is None


def test_a_pipe_or_a_folder_in_the_place_of_a_report_keeps_nobody_waiting(
    host: FakeHost, folder: Path, owners: Owners
) -> None:
    os.mkfifo(folder / "env-a.json")
    (folder / "env-b.json").mkdir()
    (folder / "env-b.json/x").touch()
    (folder / "env-c.json").symlink_to(host.layout.state)
    for job in ("env-a", "env-b", "env-c"):
        assert observe_job(host, job, complete=False) == SeenJob(now=host.now)
        start_job(host, job, {"digest": "d"}, cache="geo", writable=())
    # Else the job could not tell how it went.
    assert os.listdir(folder) == []
    assert host.layout.state.is_dir()


def test_jobs_under_way_by_name(host: FakeHost, folder: Path) -> None:
    for name, state in (("a", "running"), ("b", "running"), ("c", "done")):
        (folder / f"{name}.json").write_text(json.dumps({"state": state, "phase": "solving"}))
    host.init.units["hubd-job-a.service"] = UnitState("hubd-job-a.service", True, "active")
    # One that hides its report is under way all the same.
    host.init.units["hubd-job-d.service"] = UnitState("hubd-job-d.service", True, "activating")
    assert phases(host, ["a", "b", "c", "d"]) == {"a": "solving", "d": "starting"}


def test_a_job_never_runs_as_root_and_writes_only_where_it_must(host: FakeHost, folder: Path, owners: Owners) -> None:
    prefix = host.layout.envs / "science/abc"
    start_job(host, "env-science", {"digest": "d", "prefix": str(prefix)}, cache="geo", writable=(prefix,))
    program = host.init.started["hubd-job-env-science.service"]
    properties = dict(program.properties)
    assert program.user == "hubd-build"
    assert not program.restart and not program.install
    assert set(properties["ReadWritePaths"].split()) == {str(prefix), f"{host.layout.cache}/geo", str(host.layout.reports)}
    assert "ReadOnlyPaths" not in properties
    assert str(host.layout.secrets) in properties["InaccessiblePaths"]
    assert (properties["NoNewPrivileges"], properties["ProtectSystem"], properties["ProtectHome"]) == ("yes", "strict", "yes")
    spec = json.loads(Path(program.argv[-1]).read_text())
    assert spec["tries"] == 0
    assert spec["result"] == str(folder / "env-science.json")
    from hubd.host import files

    seen, parent = files.look(prefix), files.look(prefix.parent)
    assert seen is not None and parent is not None
    assert (seen.owner, parent.owner != "hubd-build") == ("hubd-build", True)
    spec_file = files.look(Path(program.argv[-1]))
    assert spec_file is not None
    assert (spec_file.mode, spec_file.group) == (0o640, "hubd-build")


def test_tries_are_counted_for_the_same_wish_only(host: FakeHost, folder: Path, owners: Owners) -> None:
    (folder / "env-a.json").write_text(json.dumps({"state": "failed", "digest": "d", "tries": 3}))
    for digest, tries in (("d", 3), ("other", 0)):
        start_job(host, "env-a", {"digest": digest}, cache="geo", writable=())
        assert json.loads((host.layout.jobs / "env-a.json").read_text())["tries"] == tries


def finish(wish: Environment, number: int, **told: Any) -> Path:
    """Put a generation there, as a build leaves it."""
    path = wish.generations.path(number)
    path.mkdir(parents=True, exist_ok=True)
    (path / MARK).write_text(json.dumps({"digest": wish.digest, "number": number, **told}))
    return path


def test_the_mark_is_what_counts(host: FakeHost, tmp_path: Path, folder: Path) -> None:
    wish = environment(generations=placed(tmp_path / "envs/science"))
    prefix = wish.generations.path(1)
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").touch(mode=0o755)
    assert len(wish.steps(wish.observe(host))) == 1
    finish(wish, 1, digest="something else")
    assert len(wish.steps(wish.observe(host))) == 1
    finish(wish, 1)
    assert wish.steps(wish.observe(host)) == ()
    assert wish.progress(wish.observe(host)) is None


def test_each_build_has_a_number_of_its_own_and_a_clean_folder(
    host: FakeHost, folder: Path, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.layout.envs.mkdir()
    host.layout.cache.mkdir()
    wish = environment(generations=placed(host.layout.envs / "science"))
    finish(wish, 4, digest="older")
    # Killed in the middle, and what was switched on and is gone: its kernels may still run.
    (wish.generations.path(7) / "half").mkdir(parents=True)
    wish.generations.switch(6)
    for step in wish.steps(wish.observe(host)):
        step.do(host)
    spec = json.loads((host.layout.jobs / "env-science.json").read_text())
    assert (spec["number"], spec["prefix"]) == (7, str(wish.generations.path(7)))
    assert os.listdir(wish.generations.path(7)) == []
    assert (wish.generations.path(4) / MARK).exists()


def test_who_went_back_gets_the_older_one_and_nothing_is_built(host: FakeHost, tmp_path: Path, folder: Path) -> None:
    wish = environment(generations=placed(tmp_path / "envs/science"))
    program(finish(wish, 2, digest="older"), "python")
    assert len(wish.steps(wish.observe(host))) == 1
    back = replace(wish, held=2)
    assert back.steps(back.observe(host)) == ()
    assert back.generations.chosen(back.asked) == 2
    # Where that is gone, what is asked for is built after all.
    gone = replace(wish, held=1)
    assert len(gone.steps(gone.observe(host))) == 1


def program(prefix: Path, name: str) -> Path:
    """A program by a link, as managers place them."""
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    path = prefix / "bin" / name
    (prefix / f"the-{name}").touch(mode=0o755)
    path.symlink_to(f"../the-{name}")
    return path


BROKEN: list[tuple[str, Callable[[Path], object]]] = [
    ("removed", Path.unlink),
    ("a link to nowhere", lambda path: path.resolve().unlink()),
    ("a link to itself", lambda path: (path.unlink(), path.symlink_to(path.name))),
    ("not executable", lambda path: path.chmod(0o644)),
    ("a folder", lambda path: (path.unlink(), path.mkdir())),
]
LANGUAGES: list[tuple[dict[str, Any], str]] = [
    ({"smoke": "python"}, "python"),
    ({"smoke": "R"}, "R"),
    ({"smoke": "", "programs": ("jupyterhub-singleuser",)}, "python"),
    ({"smoke": "", "programs": ("jupyterhub-singleuser",)}, "jupyterhub-singleuser"),
]


@pytest.mark.parametrize(("options", "name"), LANGUAGES)
@pytest.mark.parametrize(("how", "harm"), BROKEN)
def test_an_environment_whose_interpreter_is_gone_is_built_again(
    host: FakeHost, tmp_path: Path, folder: Path, how: str, harm: Callable[[Path], object], options: dict[str, Any], name: str
) -> None:
    wish = environment(generations=placed(tmp_path / "envs/science"), **options)
    needed = ("R",) if wish.smoke == "R" else ("python", *wish.programs)
    paths = {each: program(finish(wish, 1), each) for each in needed}
    (folder / "env-science.json").write_text(json.dumps({"state": "done", "digest": wish.digest}))
    assert wish.steps(wish.observe(host)) == ()
    harm(paths[name])
    (step,) = wish.steps(wish.observe(host))
    assert step.say == f"build science with uv from 1 packages again, as its bin/{name} is gone"
    assert host.commands.ran == []


@pytest.mark.parametrize(("seen", "steps"), [((0), 1), (2, 0), (None, 0)])
def test_no_environment(seen: int | None, steps: int) -> None:
    gone = NoEnvironment(folder=Path("/x"))
    assert len(gone.steps(seen)) == steps
    assert (gone.progress(seen) is not None) is (seen == 2)


def test_removing_an_environment_leaves_its_neighbours(host: FakeHost, tmp_path: Path) -> None:
    for name in ("science", "science2"):
        (tmp_path / name / "abc").mkdir(parents=True)
    gone = Environment.gone({"folder": str(tmp_path / "science"), "label": ""})
    assert gone is not None
    gone.steps(gone.observe(host))[0].do(host)
    assert os.listdir(tmp_path) == ["science2"] or sorted(os.listdir(tmp_path)) == ["science2"]
    assert gone.observe(host) is None


def conda(tmp_path: Path) -> Conda:
    return Conda(prefix=tmp_path / "conda", url="https://x/m.sh", sha256="0" * 64)


def test_conda_is_there_when_its_own_mark_is(host: FakeHost, tmp_path: Path, folder: Path) -> None:
    wish = conda(tmp_path)
    assert [step.say for step in wish.steps(wish.observe(host))] == ["install conda from https://x/m.sh"]
    (wish.prefix / "conda-meta").mkdir(parents=True)
    (wish.prefix / "conda-meta/history").touch()
    assert len(wish.steps(wish.observe(host))) == 1
    (wish.prefix / "bin").mkdir()
    (wish.prefix / "bin/conda").touch()
    assert wish.steps(wish.observe(host)) == ()
    assert wish.progress(wish.observe(host)) is None


@pytest.mark.parametrize(
    ("seen", "steps", "error"),
    [
        (SeenJob(going="downloading"), 0, False),
        (SeenJob(failure=FAILURE, now=1001), 0, True),
        (SeenJob(failure=FAILURE, now=9999), 1, False),
    ],
)
def test_conda_under_way(tmp_path: Path, seen: SeenJob, steps: int, error: bool) -> None:
    wish = conda(tmp_path)
    assert len(wish.steps(seen)) == steps
    progress = wish.progress(seen)
    assert (progress is not None and progress.error is not None) is error


def test_somebody_elses_conda_is_only_looked_at(host: FakeHost, tmp_path: Path) -> None:
    wish = ExistingConda(prefix=tmp_path)
    progress = wish.progress(wish.observe(host))
    assert wish.steps(False) == () and progress is not None and isinstance(progress.error, HubdError)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/conda").touch()
    assert wish.progress(wish.observe(host)) is None


@pytest.mark.parametrize(("down", "manager"), [({}, "conda"), ({"https://a": "no route"}, "uv"), ({"https://b": "404"}, "uv")])
def test_the_choice_is_made_once_said_and_recorded(host: FakeHost, down: dict[str, str], manager: str) -> None:
    host.layout.facts.mkdir(parents=True)
    host.web.down = down
    wish = ManagerChoice(probes=("https://a", "https://b"))
    wish.steps(wish.observe(host))[0].do(host)
    fact = json.loads((host.layout.facts / "environment-manager.json").read_text())
    assert fact["manager"] == manager
    assert all(why in fact["why"] for why in down.values())
    assert f"use {manager}" in host.said[0]
    assert wish.steps(wish.observe(host)) == ()
    assert wish.decides


def test_environments_and_their_cache_are_one_mount_with_all_others_closed(host: FakeHost, folder: Path, owners: Owners) -> None:
    envs = host.layout.envs
    for each in ("geo/1", "geo/2", "science/1", ".pythons-server", "an odd name"):
        (envs / each).mkdir(parents=True)
    prefix, pythons = envs / "geo/3", envs / ".pythons-environments"
    start_job(host, "env-geo", {"digest": "d"}, cache="environments", writable=(prefix, pythons))
    properties = dict(host.init.started["hubd-job-env-geo.service"].properties)
    assert properties["ReadWritePaths"].split() == [str(envs), str(host.layout.reports)]
    closed = {f"-{envs / each}" for each in (".pythons-server", "geo/1", "geo/2", "science")}
    assert set(properties["ReadOnlyPaths"].split()) == closed
    assert (envs / ".cache").stat().st_mode & 0o777 == 0o700
