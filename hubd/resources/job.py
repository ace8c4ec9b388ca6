"""Work that takes minutes: started by one pass as a program of its own, found finished by a later one.

A job runs as the build account and never as root. It reports into a small file in a folder of its own; the product's own
completion mark is what counts. A killed job is only something that is not there yet.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.host.locks import file_lock
from hubd.layout import BUILD_ACCOUNT, Layout
from hubd.resources.job_report import number, read_json, read_report
from hubd.tools.job_limits import GIVES_WAY, USUAL, JobLimits, ran_out_of_memory, took_too_long
from hubd.tools.program import Program

FIRST_RETRY = 300.0
LAST_RETRY = 6 * 3600.0
# Where doing the same again cannot help, it is done this rarely: what a channel holds changes.
RARE_RETRY = 24 * 3600.0
RARELY = "hubd tries again within a day, or at once by `hubd apply`."
# How often a killed job is tried again without a wait.
AT_ONCE = 2

# Seconds to wait until another job is started, which systemd gives up after 90.
START_WAIT = 120.0

# Builds run other people's code: no privileges, no homes, no secrets, and little of the machine while a class works.
SANDBOX = (
    ("NoNewPrivileges", "yes"), ("PrivateTmp", "yes"), ("PrivateDevices", "yes"), ("ProtectSystem", "strict"),
    # All builds are one account; by this none gets at another's files through its processes, nor sees these.
    ("PrivateUsers", "yes"),
    ("ProtectHome", "yes"), ("ProtectKernelTunables", "yes"), ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"), ("ProtectControlGroups", "yes"), ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"), ("ProtectProc", "invisible"), ("RestrictSUIDSGID", "yes"),
    ("RestrictRealtime", "yes"), ("RestrictNamespaces", "yes"), ("LockPersonality", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"), ("SystemCallArchitectures", "native"),
    ("CapabilityBoundingSet", ""), ("UMask", "0022"), *GIVES_WAY,
    # A build that failed says so itself. What systemd remembers as failed was ended from outside.
    ("KillMode", "control-group"), ("SuccessExitStatus", "1"),
    # A build that does not want to end keeps nobody waiting; one that is killed is only not there yet.
    ("TimeoutStopSec", "10"),
)  # fmt: skip


# Jobs are started one after the other, and none while reports are cleared away.
LANE = "jobs"

# What the names of jobs begin with that make nothing: whoever asked for one waits for it, and clears it away.
SOLVES = "solve-"

# How systemd calls the end of a job that met one of its limits.
OVERRUNS = {"timeout": took_too_long, "oom-kill": ran_out_of_memory}

# hubd makes no other names in its folders, and these need no quotes.
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SeenJob:
    """complete: the product is there. going: what the job does now, empty when it does not run.

    failure: how the last try ended, None when there was none. now: when this was seen, seconds since the epoch.
    """

    complete: bool = False
    going: str = ""
    failure: Mapping[str, Any] | None = None
    now: float = 0.0


def job_unit(job: str) -> str:
    """The unit a job runs as."""
    return f"hubd-job-{job}.service"


def report_folder(layout: Layout, job: str) -> Path:
    """All of the state that a job may write to. The folder that it is in is root's, so no job puts anything in its place."""
    return layout.reports / job


def result_path(layout: Layout, job: str) -> Path:
    """Where a job reports. Builders may write there, so it is read without following links."""
    return report_folder(layout, job) / "report.json"


def order_path(layout: Layout, job: str) -> Path:
    """What hubd wrote for a job when it last started it."""
    return layout.jobs / f"{job}.json"


def orders(layout: Layout) -> tuple[str, ...]:
    """The jobs that were ever started."""
    return tuple(name.removesuffix(".json") for name in files.children(layout.jobs) if name.endswith(".json"))


def product(layout: Layout, job: str) -> Path | None:
    """The folder that a job was last started for."""
    prefix = _order(layout, job).get("prefix")
    return Path(prefix) if isinstance(prefix, str) and prefix else None


def observe_job(host: Host, job: str, *, complete: bool, digest: str, limits: JobLimits = USUAL) -> SeenJob:
    """Whether a job is under way and how its last try ended; asks the machine only while the product is missing.

    digest, limits: what is wanted now; the failure of a try at something else, or within other limits, keeps nobody from
    trying this.
    """
    if complete:
        return SeenJob(complete=True)
    unit = host.init.state(job_unit(job))
    if unit.is_going:
        return SeenJob(going=_phase(read_report(result_path(host.layout, job))), now=host.clock())
    last = _last_try(host.layout, job, digest, limits, host.clock())
    if last and unit.result in OVERRUNS and not _said_why(host.layout, job, last, unit.result):
        return SeenJob(failure=_overrun(host.layout, job, last, unit.result), now=host.clock())
    said = {"running": ("was killed", "it ended without a word"), "done": ("left nothing", "what it made is not there any more")}
    state = last.get("state", "")
    failure = last if state == "failed" else _unexplained(job, last, *said[state]) if state in said else None
    return SeenJob(failure=failure, now=host.clock())


def _unexplained(job: str, last: Mapping[str, Any], what: str, why: str) -> dict[str, Any]:
    """A job that did not fail and left no product: a reboot, a full memory. Tried again at once, but not for ever."""
    beyond = max(0, number(last, "tries") - AT_ONCE)
    return {"what": f"{job} {what}", "why": why, "ended": number(last, "at") if beyond else 0, "tries": beyond, "retry": True}


def _said_why(layout: Layout, job: str, last: Mapping[str, Any], result: str) -> bool:
    """Whether a job said why it failed before its time was over: systemd ended what it left behind, and that took too long."""
    order = _order(layout, job)
    over = number(order, "at") + JobLimits(**order["limits"]).time
    return result == "timeout" and last.get("state") == "failed" and number(last, "at") < over


def _overrun(layout: Layout, job: str, last: Mapping[str, Any], result: str) -> dict[str, Any]:
    """A job that met a limit is not tried again at once: it would meet it again."""
    order = _order(layout, job)
    limits = JobLimits(**order["limits"])
    error = OVERRUNS[result](job, limits, str(last.get("phase") or ""))
    ended = number(order, "at") + limits.time if result == "timeout" else number(last, "at")
    return {"what": error.what, "why": error.why, "fix": error.fix, "ended": ended, "tries": number(order, "tries") + 1}


def is_due(seen: SeenJob) -> bool:
    """Whether a job that failed may be tried again: after 5 minutes, then twice as long each time, or after a day."""
    if seen.failure is None:
        return True
    return seen.now >= next_try(seen) or seen.now < number(seen.failure, "ended")  # the clock was set back


def next_try(seen: SeenJob) -> float:
    """When a job that failed is tried again, in seconds since the epoch; 0 where nothing failed."""
    if seen.failure is None:
        return 0.0
    tries, ended = number(seen.failure, "tries"), number(seen.failure, "ended")
    wait: float = min(FIRST_RETRY * 2 ** max(0, min(tries, 20) - 1), LAST_RETRY)
    return ended + (wait if may_help(seen.failure) else RARE_RETRY)


def may_help(failure: Mapping[str, Any]) -> bool:
    """Whether trying the same again may help; so it is taken where nothing tells."""
    return failure.get("retry") is not False


def failure_of(seen: SeenJob, fix: str) -> HubdError:
    """The error of the last try, with when it is tried again where that takes long."""
    failure = seen.failure or {}
    words = {key: str(failure.get(key) or "") for key in ("what", "why", "fix")}
    retry, fix = may_help(failure), words["fix"] or fix
    if not retry:
        fix = f"{fix} {RARELY}" if fix.endswith(".") else f"{RARELY} {fix}"
    return HubdError(words["what"] or "the job failed", why=words["why"], fix=fix, retry=retry)


def forget_failures(host: Host, only: str = "") -> None:
    """Let jobs that failed or were killed be tried again at the next pass: somebody asks for it. only: this one."""
    # By what hubd itself started, and not by what lies among the reports.
    for job in orders(host.layout):
        if only == job or not (only or job.startswith(SOLVES)):
            with _one_at_a_time(host.layout, f"forgetting how the job {job} ended"):
                if not host.init.look(job_unit(job)).is_going:
                    files.clear(report_folder(host.layout, job))
                    files.remove(order_path(host.layout, job))


def jobs_using(host: Host, cache: Path) -> tuple[str, ...]:
    """The jobs under way that were started with that package cache."""
    users = (job for job in orders(host.layout) if _order(host.layout, job).get("cache") == str(cache))
    return tuple(job for job in users if host.init.look(job_unit(job)).is_going)


def outcome_of(layout: Layout, job: str) -> HubdError | None:
    """Why a job that is over came to no good end, for one that leaves no product; None where it did."""
    report = read_report(result_path(layout, job))
    if report.get("state") == "done":
        return None
    words = {key: str(report.get(key) or "") for key in ("why", "fix")}
    return HubdError(str(report.get("what") or f"{job} ended without a word"), **words, retry=True)


def phases(host: Host, jobs: Iterable[str]) -> dict[str, str]:
    """Those of `jobs` that are under way, with what each does now."""
    going = (job for job in jobs if host.init.look(job_unit(job)).is_going)
    return {job: _phase(read_report(result_path(host.layout, job))) for job in going}


def says_it_is_over(layout: Layout, job: str) -> bool:
    """Whether a job has reported its end; its unit may be there for a moment still. Asks nothing but a small file."""
    return read_report(result_path(layout, job)).get("state") in ("done", "failed")


def last_line(layout: Layout, job: str) -> str:
    """What the program that a job runs printed last; empty where nobody noted it."""
    return str(read_report(result_path(layout, job)).get("line") or "")


def _phase(report: Mapping[str, Any]) -> str:
    return str(report.get("phase") or "starting")


def start_job(
    host: Host, job: str, spec: Mapping[str, Any], *, cache: str, writable: tuple[Path, ...], limits: JobLimits = USUAL
) -> None:
    """Start a job as the build account.

    cache: the name of its package cache. A build runs other people's code, which can change whatever lies in its cache, and
    through hard links what was installed from there: jobs that trust each other less have different ones.
    writable: all else it may change, besides its folder for reports.
    """
    layout = host.layout
    own_cache, path, report = layout.package_cache(cache), order_path(layout, job), report_folder(layout, job)
    with _one_at_a_time(layout, f"starting the job {job}"):
        tries = number(_last_try(layout, job, spec["digest"], limits, host.clock()), "tries")
        where = {"result": str(result_path(layout, job)), "cache": str(own_cache)}
        whole = {**spec, "job": job, **where, "limits": asdict(limits), "tries": tries, "at": host.clock()}
        files.write_atomic(path, json.dumps(whole, indent=1).encode(), mode=0o640, group=BUILD_ACCOUNT)
        # Nobody else gets in: whoever can open a lock in there can hold it, and all builds with it.
        _make_writable(own_cache, mode=0o700)
        for folder in writable:
            _make_writable(folder, mode=0o755)
        files.clear(report)
        files.make_directory(report, mode=0o700, owner=BUILD_ACCOUNT, group=BUILD_ACCOUNT)
        host.init.run(_program(layout, job, cache=own_cache, writable=(*writable, report), limits=limits))


def _program(layout: Layout, job: str, *, cache: Path, writable: tuple[Path, ...], limits: JobLimits) -> Program:
    return Program(
        name=job_unit(job),
        description=f"hubd job {job}",
        argv=(str(layout.hub / "bin/python"), "-m", "hubd.jobs", str(order_path(layout, job))),
        user=BUILD_ACCOUNT,
        environment=(("HOME", str(cache)),),
        environment_file=layout.state / "network.env",
        properties=(
            *SANDBOX,
            *limits.properties,
            *_reach(layout.envs, cache, writable),
            ("InaccessiblePaths", f"-{layout.secrets} -{layout.hub_state} -{layout.proxy_state}"),
        ),
        restart=False,
        install=False,
        remembered=True,
    )


def _one_at_a_time(layout: Layout, what: str) -> contextlib.AbstractContextManager[None]:
    """While a job is being started it does not run yet, and what was just made for it looks like an earlier try's."""
    return file_lock(layout.jobs / "lock", wait=START_WAIT, what=what)


def _reach(envs: Path, cache: Path, writable: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """What a job may write.

    Each path of these is a mount in its sandbox, and hard links end where a mount does: a cache among the environments is
    opened as one with them, and whatever else there is among them is closed again.
    """
    opened = (*writable, cache)
    if cache.is_relative_to(envs):
        closed = " ".join(f"-{path}" for path in _beside(envs, opened))
        yield from ((("ReadOnlyPaths", closed),) if closed else ())
        opened = (envs, *(path for path in writable if not path.is_relative_to(envs)))
    yield "ReadWritePaths", " ".join(map(str, opened))


def _beside(folder: Path, opened: tuple[Path, ...]) -> Iterator[Path]:
    """What is in a folder and neither opened nor on the way to it."""
    for path in (folder / name for name in files.children(folder) if _NAME.fullmatch(name)):
        if any(each != path and each.is_relative_to(path) for each in opened):
            yield from _beside(path, opened)
        elif path not in opened:
            yield path


def _make_writable(folder: Path, *, mode: int) -> None:
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing[1:]):
        files.make_directory(part, mode=0o755)
    files.make_directory(folder, mode=mode, owner=BUILD_ACCOUNT, group=BUILD_ACCOUNT)


def _last_try(layout: Layout, job: str, digest: str, limits: JobLimits, now: float) -> dict[str, Any]:
    """What its last try at `digest` reported; where it came to no report, what hubd wrote when it started it.

    How often it was tried, and not before when, is hubd's own to say: what is built could write any time into the report,
    and so be built without a rest, or never again.
    """
    report, order = read_report(result_path(layout, job)), _order(layout, job)
    if order.get("digest") != digest or order.get("limits") != asdict(limits):
        return {}
    tries, started = number(order, "tries") + 1, number(order, "at")
    if report.get("digest") != digest:
        return {"state": "running", "tries": tries, "at": started}
    times = {key: number(report, key) for key in ("at", "ended")}
    return {**report, "tries": tries, **{key: when if started <= when <= now else started for key, when in times.items()}}


def _order(layout: Layout, job: str) -> dict[str, Any]:
    return read_json(order_path(layout, job), most=files.MAX_READ)
