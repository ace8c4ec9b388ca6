"""Jobs and what they make: environments, conda, the choice between managers, and clearing up."""

from __future__ import annotations

import json
import os
import pwd
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost, Owners

from hubd.errors import HubdError
from hubd.host import files, reach
from hubd.host.init import UnitState
from hubd.resources import job as jobs
from hubd.resources.conda import Conda, ExistingConda, ManagerChoice, SeenConda
from hubd.resources.environment import Environment, NoEnvironment, SeenEnvironment, Source
from hubd.resources.generation import MARK, Generations
from hubd.resources.job import SeenJob, failure_of, is_due, last_line, observe_job, phases, start_job
from hubd.resources.job_report import LONGEST_REPORT
from hubd.resources.reports import Reports
from hubd.tools.job_limits import USUAL, JobLimits
from hubd.tools.notebook import Cell, Notebook
from hubd.tools.program import Program

FAILURE = {"what": "no such package", "why": "nunpy", "ended": 1000, "tries": 1}


@pytest.fixture
def folder(host: FakeHost) -> Path:
    host.layout.reports.mkdir(parents=True)
    host.layout.jobs.mkdir()
    return host.layout.reports


def tried(host: FakeHost, job: str, report: Any = None, *, digest: str = "d", limits: JobLimits = USUAL, **order: Any) -> Path:
    """A job that was started and left this report: a mapping, or the text of the file. Gives the place of the report."""
    said = report if isinstance(report, dict) else {}
    sane = {key: value for key, value in said.items() if isinstance(value, int | float) and abs(value) < 10**11}
    started = {"tries": max(1, sane.get("tries", 1)) - 1, "at": sane.get("ended", sane.get("at", host.now))}
    whole = {"digest": digest, "limits": asdict(limits), **started, **order}
    (host.layout.jobs / f"{job}.json").write_text(json.dumps(whole))
    path = jobs.result_path(host.layout, job)
    path.parent.mkdir(exist_ok=True)
    if report is not None:
        path.write_text(report if isinstance(report, str) else json.dumps({"digest": digest, **report}))
    return path


def seen_of(host: FakeHost, job: str = "env-a", limits: JobLimits = USUAL) -> SeenJob:
    return observe_job(host, job, complete=False, digest="d", limits=limits)


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
    ({"limits": JobLimits(memory=2**30, cpu=1, time=60)}, True),
    ({"held": 3}, False),
    ({"after": 3}, False),
    ({"packages": ("numpy", "scipy")}, False),
    ({"manager": "conda"}, False),
    ({"channels": ("conda-forge",)}, False),
    ({"requirements_digest": "abc"}, False),
    ({"smoke": "R"}, False),
    ({"pip": ("cowsay",)}, False),
    ({"source": Source(kind="lock", place="a.lock", sha256="a")}, False),
    ({"frozen": True}, False),
    ({"smoke_time": 7}, True),
    ({"notebook": Notebook("elsewhere.ipynb")}, True),
    ({"notebook": Notebook("", (Cell("import numpy"),))}, False),
]


def test_a_lock_is_known_by_what_is_in_it_wherever_that_is() -> None:
    here = environment(source=Source(kind="lock", place="a.lock", sha256="abc", text="manager: uv"))
    there = environment(source=Source(kind="lock", place="https://x.example/b.lock", sha256="abc"))
    assert here.digest == there.digest
    assert here.digest != environment(source=Source(kind="lock", place="a.lock", sha256="abd", text="manager: conda")).digest


def test_a_file_of_a_repository_is_known_by_its_commit_and_path_wherever_the_repository_is() -> None:
    def digest(**change: str) -> str:
        asked = {"kind": "file", "place": "e/r.yml", "url": "https://x.example/course", "commit": "a" * 40}
        return environment(source=Source(**{**asked, **change})).digest  # type: ignore[arg-type]

    assert digest() == digest(url="https://moved.example/course")
    assert len({digest(), digest(commit="b" * 40), digest(place="r.yml"), digest(kind="lock")}) == 4


def test_what_was_built_before_there_were_repositories_is_right_as_it_is() -> None:
    assert Source(kind="lock", place="a.lock", sha256="abc").content == ("lock", "abc", "True")


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


TOLD = [
    # the name, what its job says, what is told
    ("science", "no numpyy", "science is not built: no numpyy"),
    ("a", "a package is not in the channels", "a is not built: a package is not in the channels"),
    ("r", "the kernel does not start", "r is not built: the kernel does not start"),
    ("geo", "env-geo was killed", "the build of geo was killed"),
    ("geo", "env-geo2 was killed", "geo is not built: env-geo2 was killed"),
]


@pytest.mark.parametrize(("name", "what", "told"), TOLD)
def test_a_failure_names_its_environment(name: str, what: str, told: str) -> None:
    seen = SeenEnvironment(SeenJob(failure={**FAILURE, "what": what}, now=1001))
    progress = environment(environment=name).progress(seen)
    assert progress and progress.error and progress.error.what == told


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


RARELY = [
    # what a failure says of a retry, hours since, due
    (False, 23.9, False),
    (False, 24, True),
    (False, -1, True),
    (True, 0.1, True),
    # What a build makes up is no answer.
    ("false", 0.1, True),
    (0, 0.1, True),
    (None, 0.1, True),
]


@pytest.mark.parametrize(("retry", "hours", "due"), RARELY)
def test_what_the_same_again_cannot_mend_is_tried_once_a_day(
    host: FakeHost, folder: Path, retry: Any, hours: float, due: bool
) -> None:
    tried(host, "env-a", {"state": "failed", "tries": 1, "ended": host.now - 3600 * hours, "retry": retry})
    assert is_due(seen_of(host)) is due
    assert ("retry" in (seen_of(host).failure or {})) is isinstance(retry, bool)
    tried(host, "env-a", {"state": "failed", "tries": 99, "ended": host.now - 3600 * hours, "retry": retry})
    assert is_due(seen_of(host)) is (due and hours != 0.1)


def test_what_is_tried_rarely_says_so(host: FakeHost, folder: Path) -> None:
    failed = {"state": "failed", "ended": host.now, "what": "no nunpy", "retry": False}
    tried(host, "env-a", {**failed, "fix": "Correct the name."})
    error = failure_of(seen_of(host), "x")
    assert (error.fix, error.retry) == ("Correct the name. hubd tries again within a day, or at once by `hubd apply`.", False)
    assert failure_of(SeenJob(failure=failed), "hubd logs x").fix.endswith("`hubd apply`. hubd logs x")
    tried(host, "env-a", {**failed, "fix": "Correct the name.", "retry": True})
    error = failure_of(seen_of(host), "x")
    assert (error.fix, error.retry) == ("Correct the name.", True)
    # Something else is asked for, or somebody asks.
    tried(host, "env-a", failed)
    assert not is_due(seen_of(host))
    assert is_due(observe_job(host, "env-a", complete=False, digest="other"))
    jobs.forget_failures(host)
    assert is_due(seen_of(host))


MADE_UP = [
    # what is built writes, when hubd takes it to have ended (seconds since the start)
    ({"ended": 60}, 60),
    ({"ended": 10**11}, 0),
    ({"ended": -10**6}, 0),
    ({"ended": "never"}, 0),
    ({}, 0),
]


@pytest.mark.parametrize(("report", "ended"), MADE_UP)
@pytest.mark.parametrize("tries", [0, 7, 10**11])
def test_no_report_makes_a_job_be_tried_without_a_rest_or_never_again(
    host: FakeHost, folder: Path, report: dict[str, Any], ended: int, tries: int
) -> None:
    started = host.now
    when = {key: started + value if isinstance(value, int) else value for key, value in report.items()}
    tried(host, "env-a", {"state": "failed", "what": "x", "tries": tries, **when}, at=started, **{"tries": 1})
    for later, due in ((61, False), (ended + 599, False), (ended + 600, True)):
        host.now = started + later
        assert is_due(seen_of(host)) is due
    host.now = started - 1
    assert is_due(seen_of(host)), "the clock was set back"


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
KILLED_ONCE = {"what": "env-a was killed", "why": "it ended without a word", "ended": 0, "tries": 0, "retry": True}
REPORTS: list[tuple[Any, bool, SeenJob]] = [
    # report, whether its unit runs, seen
    (None, False, SeenJob()),
    (None, True, SeenJob(going="starting")),
    ({"state": "running", "phase": "solving"}, True, SeenJob(going="solving")),
    # It ended well, and what it made was removed.
    ({"state": "done"}, False, SeenJob(failure=REMOVED)),
    # Killed: it may be tried at once.
    (
        {"state": "running", "phase": "solving"},
        False,
        SeenJob(failure=KILLED_ONCE),
    ),
    # What is no report says as much as none.
    ("{", False, SeenJob(failure=KILLED_ONCE)),
    ("[1]", False, SeenJob(failure=KILLED_ONCE)),
    ("[" * 100_000, False, SeenJob(failure=KILLED_ONCE)),
]


@pytest.mark.parametrize(("report", "runs", "seen"), REPORTS)
def test_what_is_seen_of_a_job(host: FakeHost, folder: Path, report: Any, runs: bool, seen: SeenJob) -> None:
    if report is not None:
        tried(host, "env-a", report)
    if runs:
        host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "active")
    found = seen_of(host)
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
    tried(host, "env-a", {"state": state, "tries": tries, "at": host.now - passed})
    assert is_due(seen_of(host)) is due


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
    assert observe_job(host, "env-a", complete=True, digest="d") == SeenJob(complete=True)


def test_a_report_that_is_a_link_is_not_followed(host: FakeHost, folder: Path) -> None:
    # The build account owns that folder; hubd reads as root.
    secret = host.layout.state / "secret"
    secret.write_text('{"state": "failed", "digest": "d", "what": "the secret"}')
    tried(host, "env-a").symlink_to(secret)
    assert seen_of(host).failure == KILLED_ONCE


def test_asking_lets_failed_and_killed_jobs_be_tried_again_and_leaves_running_ones(host: FakeHost, folder: Path) -> None:
    for name, state in (("failed", "failed"), ("killed", "running"), ("runs", "running"), ("done", "done")):
        tried(host, name, {"state": state})
    host.init.units["hubd-job-runs.service"] = UnitState("hubd-job-runs.service", True, "active")
    jobs.forget_failures(host)
    assert (os.listdir(folder), jobs.orders(host.layout)) == (["runs"], ("runs",))


def test_a_job_that_is_just_being_started_is_not_forgotten(host: FakeHost, folder: Path, owners: Owners) -> None:
    forgets = threading.Thread(target=jobs.forget_failures, args=(host,))

    def asked_meanwhile(program: Program) -> None:
        running = host.init.units.pop(program.name)
        forgets.start()
        forgets.join(0.2)
        host.init.units[program.name] = running

    host.init.on_run = asked_meanwhile
    start_job(host, "env-a", {"digest": "d"}, cache="geo", writable=())
    forgets.join()
    assert (os.listdir(folder), jobs.orders(host.layout)) == (["env-a"], ("env-a",))


def test_what_else_lies_among_the_reports_is_not_even_looked_at(host: FakeHost, folder: Path) -> None:
    # In an older hub builds could write there.
    for name in ("b.json", "../b.json", "\x1b[2J.json", "-x.json"):
        (folder / name).write_text('{"state": "failed"}')
    tried(host, "a").mkdir()
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
    tried(host, "env-a", {"state": "failed", key: said})
    failure = seen_of(host).failure
    assert failure is not None
    assert failure[key] == told


def test_a_phase_is_made_safe_too(host: FakeHost, folder: Path) -> None:
    tried(host, "env-a", {"state": "running", "phase": "\x1b[2Jsolving" + "!" * 9999})
    host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "active")
    going = seen_of(host).going
    assert (going[:8], len(going)) == ("solving!", 600)
    assert phases(host, ["env-a", "env-b"]) == {"env-a": going}


ODD = [
    {"tries": 10**400, "ended": 10**400, "at": 10**400},
    {"tries": -(10**400), "ended": -1, "at": -1},
    {"tries": float("nan"), "ended": float("-inf"), "at": float("inf")},
    {"tries": [3], "ended": {"a": 1}, "at": None, "what": 7, "why": ["x"], "fix": None},
    {"what": {}, "why": True},
]


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("odd", ODD)
def test_numbers_and_types_that_make_no_sense_hurt_nobody(
    host: FakeHost, folder: Path, owners: Owners, odd: dict[str, Any], state: str
) -> None:
    tried(host, "env-a", {"state": state, **odd})
    order = json.loads((host.layout.jobs / "env-a.json").read_text())
    (host.layout.jobs / "env-a.json").write_text(json.dumps({**order, "at": host.now, "tries": 0}))
    seen = seen_of(host)
    assert is_due(seen) is (state == "running"), "one that failed waits for its turn"
    seen = replace(seen, now=host.now + 300)
    assert not environment().steps(SeenEnvironment(seen))[0].say.endswith(("7", "{}"))
    json.dumps(failure_of(seen, "x").what).encode("ascii")
    start_job(host, "env-a", {"digest": "d"}, cache="geo", writable=())
    assert json.loads((host.layout.jobs / "env-a.json").read_text())["tries"] == 1


def test_a_report_names_no_other_job(host: FakeHost, folder: Path) -> None:
    tried(host, "env-a", {"state": "running", "job": "../../etc/passwd", "tries": 9})
    failure = seen_of(host).failure
    assert failure is not None
    assert failure["what"] == "env-a was killed"


def test_a_report_without_end_is_none(host: FakeHost, folder: Path) -> None:
    tried(host, "env-a", {"state": "failed", "what": "x" * LONGEST_REPORT})
    assert seen_of(host).failure == KILLED_ONCE


def test_a_pipe_or_a_folder_in_the_place_of_a_report_keeps_nobody_waiting(host: FakeHost, folder: Path, owners: Owners) -> None:
    os.mkfifo(tried(host, "env-a"))
    tried(host, "env-b").mkdir()
    (jobs.result_path(host.layout, "env-b") / "x").touch()
    tried(host, "env-c").symlink_to(host.layout.state)
    for job in ("env-a", "env-b", "env-c"):
        seen = seen_of(host, job)
        assert seen.failure is not None and seen.failure["what"] == f"{job} was killed"
        start_job(host, job, {"digest": "d"}, cache="geo", writable=())
        # Else the job could not tell how it went.
        assert os.listdir(folder / job) == []
    assert host.layout.state.is_dir()


IN_THE_WAY: list[tuple[str, Callable[[Path], object]]] = [
    ("a report of an older hub", Path.touch),
    ("a pipe", os.mkfifo),
    ("a link", lambda path: path.symlink_to(path.parent.parent)),
    ("a folder of somebody's", lambda path: (path.mkdir(mode=0o777), (path / "x").mkdir())),
]


@pytest.mark.parametrize(("what", "lay"), IN_THE_WAY)
def test_each_job_starts_with_an_empty_folder_of_its_own(
    host: FakeHost, folder: Path, owners: Owners, what: str, lay: Callable[[Path], object]
) -> None:
    lay(folder / "env-a")
    start_job(host, "env-a", {"digest": "d"}, cache="geo", writable=())
    found = files.look(folder / "env-a")
    assert found is not None
    assert (found.kind, found.mode, found.owner, found.group) == ("directory", 0o700, "hubd-build", "hubd-build")
    assert os.listdir(folder / "env-a") == []
    assert sorted(os.listdir(host.layout.state)) == ["jobs", "reports"]


def test_jobs_under_way_by_name(host: FakeHost, folder: Path) -> None:
    for name, state in (("a", "running"), ("b", "running"), ("c", "done")):
        tried(host, name, {"state": state, "phase": "solving"})
    host.init.units["hubd-job-a.service"] = UnitState("hubd-job-a.service", True, "active")
    # One that hides its report is under way all the same.
    host.init.units["hubd-job-d.service"] = UnitState("hubd-job-d.service", True, "activating")
    assert phases(host, ["a", "b", "c", "d"]) == {"a": "solving", "d": "starting"}
    tried(host, "a", {"state": "running", "phase": "solving", "line": "\x1b[2J + numpy"})
    assert (last_line(host.layout, "a"), last_line(host.layout, "d")) == ("+ numpy", "")


def test_a_job_never_runs_as_root_and_writes_only_where_it_must(host: FakeHost, folder: Path, owners: Owners) -> None:
    prefix = host.layout.envs / "science/abc"
    start_job(host, "env-science", {"digest": "d", "prefix": str(prefix)}, cache="geo", writable=(prefix,))
    program = host.init.started["hubd-job-env-science.service"]
    properties = dict(program.properties)
    assert program.user == "hubd-build"
    assert not program.restart and not program.install
    assert set(properties["ReadWritePaths"].split()) == {str(prefix), f"{host.layout.cache}/geo", f"{folder}/env-science"}
    assert "ReadOnlyPaths" not in properties
    assert str(host.layout.secrets) in properties["InaccessiblePaths"]
    assert (properties["NoNewPrivileges"], properties["ProtectSystem"], properties["ProtectHome"]) == ("yes", "strict", "yes")
    spec = json.loads(Path(program.argv[-1]).read_text())
    assert spec["tries"] == 0
    assert spec["result"] == str(folder / "env-science/report.json")
    seen, parent = files.look(prefix), files.look(prefix.parent)
    assert seen is not None and parent is not None
    assert (seen.owner, parent.owner != "hubd-build") == ("hubd-build", True)
    spec_file = files.look(Path(program.argv[-1]))
    assert spec_file is not None
    assert (spec_file.mode, spec_file.group) == (0o640, "hubd-build")


def test_tries_are_counted_for_the_same_wish_only(host: FakeHost, folder: Path, owners: Owners) -> None:
    less = JobLimits(time=60)
    for digest, limits, tries in (("d", USUAL, 3), ("other", USUAL, 0), ("d", less, 0)):
        tried(host, "env-a", {"state": "failed", "tries": 3})
        start_job(host, "env-a", {"digest": digest}, cache="geo", writable=(), limits=limits)
        assert json.loads((host.layout.jobs / "env-a.json").read_text())["tries"] == tries


def limited(kind: str, folder: Path, limits: JobLimits) -> Environment | Conda:
    return environment(generations=placed(folder / "e"), limits=limits) if kind == "environment" else conda(folder, limits=limits)


LIMITED = [
    (USUAL, {"MemoryMax": "infinity", "CPUQuota": "", "RuntimeMaxSec": "7200"}),
    (
        JobLimits(memory=2**30, cpu=1.5, time=60),
        {"MemoryMax": "1073741824", "MemorySwapMax": "0", "CPUQuota": "150%", "RuntimeMaxSec": "60"},
    ),
]


@pytest.mark.parametrize(("limits", "properties"), LIMITED)
@pytest.mark.parametrize("kind", ["environment", "conda"])
def test_the_limits_of_a_build_are_those_of_its_unit(
    host: FakeHost, tmp_path: Path, folder: Path, owners: Owners, kind: str, limits: JobLimits, properties: dict[str, str]
) -> None:
    wish = limited(kind, tmp_path, limits)
    wish.steps(wish.observe(host))[0].do(host)
    (program,) = host.init.started.values()
    assert program.remembered
    assert {**properties, "OOMScoreAdjust": "500"}.items() <= dict(program.properties).items()
    assert ("MemorySwapMax" in dict(program.properties)) == (limits.memory is not None)
    assert json.loads(Path(program.argv[-1]).read_text())["limits"]["time"] == limits.time


def test_a_build_that_runs_is_left_alone_when_its_limits_change(host: FakeHost, folder: Path) -> None:
    tried(host, "env-science", {"state": "running", "phase": "solving"}, digest=environment().digest)
    host.init.units["hubd-job-env-science.service"] = UnitState("hubd-job-env-science.service", True, "active")
    wish = environment(limits=JobLimits(time=60))
    assert (wish.steps(wish.observe(host)), wish.observe(host).job.going) == ((), "solving")


SMALL = JobLimits(memory=2**30, cpu=1, time=5400)
OVERRUN = [
    # how systemd calls it, the limits, what is told, and what to do about it
    ("timeout", SMALL, "env-a took longer than builds.time (1 h 30 min)", "hubd config set builds.time 3h"),
    ("timeout", USUAL, "env-a took longer than builds.time (2 h)", "hubd config set builds.time 4h"),
    ("oom-kill", SMALL, "env-a needed more than builds.memory (1G)", "hubd config set builds.memory 2G"),
    ("oom-kill", USUAL, "env-a ran out of memory", "Give the machine more memory"),
    ("signal", SMALL, "env-a was killed", ""),
    ("exit-code", SMALL, "env-a was killed", ""),
]


@pytest.mark.parametrize(("result", "limits", "what", "fix"), OVERRUN)
def test_a_build_that_met_a_limit_is_told_so_with_the_cure(
    host: FakeHost, folder: Path, result: str, limits: JobLimits, what: str, fix: str
) -> None:
    tried(host, "env-a", {"state": "running", "phase": "solving", "tries": 1}, limits=limits, at=host.now)
    host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "failed", result=result)
    error = failure_of(seen_of(host, limits=limits), "")
    assert (error.what, fix in error.fix) == (what, True)
    assert error.why == ("it was ended while solving" if fix else "it ended without a word")


def test_a_build_that_said_why_it_failed_before_what_it_left_was_ended_is_told_as_it_said(host: FakeHost, folder: Path) -> None:
    said = {"state": "failed", "what": "its notebook fails", "at": host.now, "ended": host.now, "retry": False}
    tried(host, "env-a", said, limits=SMALL, at=host.now)
    host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "failed", result="timeout")
    assert failure_of(seen_of(host, limits=SMALL), "").what == "its notebook fails"
    host.now += 600
    assert not is_due(seen_of(host, limits=SMALL))


def test_a_build_that_took_too_long_is_tried_again_later_and_at_once_with_other_limits(host: FakeHost, folder: Path) -> None:
    # Its last words may be as old as the limit is long.
    tried(host, "env-a", {"state": "running", "at": host.now}, limits=SMALL, at=host.now)
    host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "failed", result="timeout")
    host.now += SMALL.time + 299
    assert not is_due(seen_of(host, limits=SMALL))
    assert seen_of(host, limits=USUAL) == SeenJob(now=host.now)
    host.now += 1
    assert is_due(seen_of(host, limits=SMALL))


@pytest.mark.parametrize("kind", ["environment", "conda"])
def test_a_failure_counts_within_the_limits_that_it_happened_in(host: FakeHost, folder: Path, tmp_path: Path, kind: str) -> None:
    def wish(limits: JobLimits) -> Environment | Conda:
        return limited(kind, tmp_path, limits)

    job, digest = ("env-science", environment().digest) if kind == "environment" else ("conda", "0" * 64)
    tried(host, job, {"state": "failed", "ended": host.now}, digest=digest, limits=SMALL)
    assert [len(wish(limits).steps(wish(limits).observe(host))) for limits in (SMALL, USUAL)] == [0, 1]


def stray(path: Path, how: str) -> None:
    {"file": Path.touch, "folder": Path.mkdir, "link": lambda each: each.symlink_to("/"), "pipe": os.mkfifo}[how](path)


STRAYS = [
    ("env-a.json", "file"), (".env-a.json.0123.hubd-new", "file"), ("\x1b[2J", "file"), ("env-gone", "folder"), ("env-b", "pipe"),
    ("env-c", "link"), (".env-a.0123.hubd-gone", "folder"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "how"), STRAYS)
def test_what_is_no_report_of_a_job_is_cleared_away(host: FakeHost, folder: Path, tmp_path: Path, name: str, how: str) -> None:
    tried(host, "env-a", {"state": "failed"}, prefix=str(tmp_path))
    stray(folder / name, how)
    wish = Reports()
    (step,) = wish.steps(wish.observe(host))
    assert step.say == "clear away 1 reports and orders that no build needs"
    step.do(host)
    assert (os.listdir(folder), os.listdir(host.layout.jobs)) == (["env-a"], ["env-a.json"])
    assert wish.steps(wish.observe(host)) == ()


def test_what_is_in_the_place_of_a_jobs_folder_is_cleared_away(host: FakeHost, folder: Path, tmp_path: Path) -> None:
    tried(host, "env-a", prefix=str(tmp_path)).parent.rmdir()
    (folder / "env-a").symlink_to("/")
    wish = Reports()
    wish.steps(wish.observe(host))[0].do(host)
    assert (os.listdir(folder), os.listdir(host.layout.jobs)) == ([], ["env-a.json"])


@pytest.mark.parametrize(("there", "runs", "kept"), [(True, False, True), (False, True, True), (False, False, False)])
def test_a_job_without_its_product_is_no_more(
    host: FakeHost, folder: Path, tmp_path: Path, there: bool, runs: bool, kept: bool
) -> None:
    tried(host, "env-a", {"state": "failed"}, prefix=str(tmp_path / "envs/a"))
    if there:
        (tmp_path / "envs/a").mkdir(parents=True)
    if runs:
        host.init.units["hubd-job-env-a.service"] = UnitState("hubd-job-env-a.service", True, "activating")
    wish = Reports()
    for step in wish.steps(wish.observe(host)):
        step.do(host)
    assert [os.listdir(each) for each in (folder, host.layout.jobs)] == ([["env-a"], ["env-a.json"]] if kept else [[], []])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"prefix": 7}', '{"prefix": ""}'])
def test_an_order_that_names_no_product_goes(host: FakeHost, folder: Path, text: str) -> None:
    (host.layout.jobs / "env-a.json").write_text(text)
    wish = Reports()
    assert wish.observe(host) == (host.layout.jobs / "env-a.json",)


def test_reports_are_not_cleared_while_jobs_are_started() -> None:
    # A folder that was just made for a job would be taken for one that nobody needs.
    assert Reports.lane == Environment.lane == Conda.lane != ""


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


SOURCES = [
    # source, lock and source in the specification, words of the step
    (None, "", {}, "from 2 packages"),
    (Source(kind="lock", place="a.lock", sha256="a", text="manager: uv"), "manager: uv", {}, "from the lock a.lock"),
    (
        Source(kind="file", place="https://x.example/a.yml", sha256="a", channels=False),
        "",
        {"kind": "file", "place": "https://x.example/a.yml", "sha256": "a", "text": "", "channels": False, "url": "",
         "commit": ""},
        "from the file https://x.example/a.yml",
    ),
    (
        Source(kind="lock", place="e/a.lock", url="https://x.example/course", commit="ab" * 20),
        "",
        {"kind": "lock", "place": "e/a.lock", "sha256": "", "text": "", "channels": True, "url": "https://x.example/course",
         "commit": "ab" * 20},
        "from the lock e/a.lock of https://x.example/course at abababababab",
    ),
]


@pytest.mark.parametrize(("source", "lock", "fetched", "say"), SOURCES)
def test_what_a_build_is_told_of_a_lock_or_a_file(
    host: FakeHost, folder: Path, owners: Owners, source: Source | None, lock: str, fetched: dict[str, Any], say: str
) -> None:
    host.layout.envs.mkdir()
    host.layout.cache.mkdir()
    wish = environment(generations=placed(host.layout.envs / "science"), source=source, pip=("cowsay",))
    (step,) = wish.steps(wish.observe(host))
    assert say in step.say
    step.do(host)
    spec = json.loads((host.layout.jobs / "env-science.json").read_text())
    assert (spec["lock"], spec["source"], spec["pip"]) == (lock, fetched, ["cowsay"])


def test_what_cannot_be_used_is_refused_and_the_old_one_goes_on(host: FakeHost, folder: Path, tmp_path: Path) -> None:
    refused = HubdError("a.lock cannot be used", why="line 1")
    wish = environment(generations=placed(tmp_path / "envs/science"), refused=refused)
    program(finish(wish, 1, digest="older"), "python")
    seen = wish.observe(host)
    assert wish.steps(seen) == ()
    progress = wish.progress(seen)
    assert progress is not None and progress.error is refused
    assert wish.generations.finished()[0].number == 1


def test_a_frozen_one_stays_whatever_is_asked_for(host: FakeHost, folder: Path, tmp_path: Path) -> None:
    wish = environment(generations=placed(tmp_path / "envs/science"), frozen=True, packages=("python=2.7",))
    # Without any it is built once.
    assert len(wish.steps(wish.observe(host))) == 1
    first = program(finish(wish, 1, digest="older"), "python")
    program(finish(wish, 2, digest="newer"), "python")
    wish.generations.switch(1)
    assert wish.steps(wish.observe(host)) == ()
    assert wish.generations.chosen(wish.asked) == 1
    # Nothing newer is taken while the one in use is whole; and the very one that is asked for goes before all.
    first.unlink()
    assert wish.generations.chosen(wish.asked) == 2
    wish.generations.switch(2)
    program(finish(wish, 3), "python")
    assert wish.generations.chosen(wish.asked) == 3


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
    tried(host, "env-science", {"state": "done"}, digest=wish.digest)
    assert wish.steps(wish.observe(host)) == ()
    harm(paths[name])
    (step,) = wish.steps(wish.observe(host))
    assert step.say == f"build science with uv from 1 package again, as its bin/{name} is gone"
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


def conda(tmp_path: Path, limits: JobLimits = USUAL) -> Conda:
    return Conda(prefix=tmp_path / "conda", url="https://x/m.sh", sha256="0" * 64, limits=limits)


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


@pytest.fixture
def below_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folders above that of a test, which are often closed, do not count."""
    monkeypatch.setattr(reach, "closed_to", partial(reach.closed_to, below=tmp_path))


@pytest.mark.usefixtures("below_open")
@pytest.mark.parametrize("program", ["bin/conda", "bin/mamba", "bin/micromamba"])
def test_somebody_elses_conda_is_only_looked_at(host: FakeHost, tmp_path: Path, program: str) -> None:
    for path in (tmp_path, tmp_path / program):
        wish = ExistingConda(path=path)
        progress = wish.progress(wish.observe(host))
        assert wish.steps(SeenConda()) == () and progress is not None and isinstance(progress.error, HubdError)
        assert progress.error.what == f"there is no conda at {path}"
        assert "neither conda, mamba nor micromamba" in progress.error.why and "conda.path" in progress.error.fix
    (tmp_path / "bin").mkdir()
    (tmp_path / program).touch()
    assert wish.observe(host) == SeenConda(), "a file that nobody may run"
    (tmp_path / program).chmod(0o755)
    for path in (tmp_path, tmp_path / program):
        wish = ExistingConda(path=path)
        assert wish.progress(wish.observe(host)) is None


@pytest.mark.usefixtures("below_open")
def test_a_conda_that_builds_cannot_reach_is_told_before_a_build_is_tried(
    host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, link = tmp_path / "tools/bin/micromamba", tmp_path / "mamba"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    link.symlink_to(program)

    def closed(path: Path = program) -> str:
        wish = ExistingConda(path=path)
        progress = wish.progress(seen := wish.observe(host))
        assert bool(seen.closed) is (progress is not None), seen
        if progress and isinstance(progress.error, HubdError):
            told = (f"builds cannot run {path}", f"the account that builds, hubd-build, gets no further than {seen.closed}")
            assert (progress.error.what, progress.error.why) == told
        return seen.closed

    assert closed() == closed(link) == ""
    (tmp_path / "shut").mkdir(mode=0o700)
    (tmp_path / "shut/mamba").symlink_to(program)
    assert closed(tmp_path / "shut/mamba") == str(tmp_path / "shut")
    program.chmod(0o750)
    assert closed() == str(program)
    program.chmod(0o755)
    (tmp_path / "tools").chmod(0o700)
    assert closed() == closed(link) == str(tmp_path / "tools")
    me = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda name: me)
    assert closed() == "", "it is that account's own"
    monkeypatch.setattr("hubd.resources.conda.UNSEEN_BY_BUILDS", (tmp_path / "tools",))
    assert closed(link) == str(tmp_path / "tools"), "whatever its mode is"


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


@pytest.mark.parametrize("damaged", ["", "{", "[1]", "{}", '{"manager": "pip"}', '{"manager": 7}'])
def test_a_damaged_choice_is_made_again(host: FakeHost, damaged: str) -> None:
    host.layout.facts.mkdir(parents=True)
    (host.layout.facts / "environment-manager.json").write_text(damaged)
    wish = ManagerChoice(probes=("https://a",))
    (step,) = wish.steps(wish.observe(host))
    step.do(host)
    assert wish.steps(wish.observe(host)) == ()


def test_environments_and_their_cache_are_one_mount_with_all_others_closed(host: FakeHost, folder: Path, owners: Owners) -> None:
    envs = host.layout.envs
    for each in ("geo/1", "geo/2", "science/1", ".pythons-server", "an odd name"):
        (envs / each).mkdir(parents=True)
    prefix, pythons = envs / "geo/3", envs / ".pythons-environments"
    start_job(host, "env-geo", {"digest": "d"}, cache="environments", writable=(prefix, pythons))
    properties = dict(host.init.started["hubd-job-env-geo.service"].properties)
    assert properties["ReadWritePaths"].split() == [str(envs), f"{folder}/env-geo"]
    closed = {f"-{envs / each}" for each in (".pythons-server", "geo/1", "geo/2", "science")}
    assert set(properties["ReadOnlyPaths"].split()) == closed
    assert (envs / ".cache").stat().st_mode & 0o777 == 0o700


SHARED = [("conda", "environments", True), ("rattler", "environments", False), ("conda", "server", False)]


@pytest.mark.parametrize(("manager", "cache", "shared"), SHARED)
def test_packages_of_conda_are_left_for_people(
    host: FakeHost, folder: Path, owners: Owners, manager: str, cache: str, shared: bool
) -> None:
    packages = host.layout.envs / ".packages"
    wish = environment(generations=placed(host.layout.envs / "science"), manager=manager, cache=cache)
    (step,) = wish.steps(wish.observe(host))
    step.do(host)
    spec = json.loads((host.layout.jobs / "env-science.json").read_text())
    assert spec["share_into"] == (str(packages) if shared else "")
    assert packages.exists() == shared
    if shared:
        found = files.look(packages)
        assert found and (found.mode, found.owner) == (0o755, "hubd-build")
        properties = dict(host.init.started["hubd-job-env-science.service"].properties)
        assert str(packages) not in properties.get("ReadOnlyPaths", "")


@pytest.mark.parametrize("lost", ["its interpreter", "its mark"])
def test_a_frozen_one_that_is_broken_is_built_again_from_its_own_lock(
    host: FakeHost, folder: Path, owners: Owners, lost: str
) -> None:
    lock = "manager: uv\nplatform: linux-64\npython: '3.11'\npip:\n  - 'six==1.0 --hash=sha256:" + "0" * 64 + "'\n"
    wish = environment(generations=placed(host.layout.envs / "science"), frozen=True, packages=("changed",))
    interpreter = program(finish(wish, 1, digest="older"), "python")
    (wish.generations.path(1) / ".hubd-lock.yaml").write_text(lock)
    wish.generations.switch(1)
    (interpreter if lost == "its interpreter" else wish.generations.path(1) / MARK).unlink()
    (step,) = wish.steps(wish.observe(host))
    step.do(host)
    spec = json.loads((host.layout.jobs / "env-science.json").read_text())
    assert (spec["lock"], spec["number"], spec["built_for"]) == (lock, 2, "what is frozen")
    # It counts as what is frozen, and when it is frozen no more something else is asked for.
    host.init.units.clear()
    program(finish(wish, 2, digest="what is frozen"), "python")
    assert wish.steps(wish.observe(host)) == ()
    assert wish.generations.chosen(wish.asked) == 2
    assert replace(wish, frozen=False).generations.chosen(replace(wish, frozen=False).asked) == 0


def test_a_frozen_one_without_a_lock_is_built_from_what_is_asked_for(host: FakeHost, folder: Path, owners: Owners) -> None:
    wish = environment(generations=placed(host.layout.envs / "science"), frozen=True)
    (step,) = wish.steps(wish.observe(host))
    step.do(host)
    spec = json.loads((host.layout.jobs / "env-science.json").read_text())
    assert (spec["lock"], spec["built_for"]) == ("", wish.digest)
