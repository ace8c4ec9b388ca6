"""An environment: what is asked for, built aside by a job, proven by a cell, marked last."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.host.disk_use import free_space
from hubd.host.host import Running
from hubd.layout import Layout
from hubd.resources.base import Forecast, Memo, Progress, Resource, Step
from hubd.resources.generation import MARK, Asked, Generation, Generations, remover
from hubd.resources.job import LANE, SeenJob, failure_of, is_due, observe_job, start_job
from hubd.resources.saved_lock import difference_from, saved_lock
from hubd.tools import git
from hubd.tools.build_forecast import BuildForecast, asked_change, solved_change
from hubd.tools.job_limits import USUAL, JobLimits
from hubd.tools.lock import LONGEST_LOCK, SAVED, parse_lock
from hubd.tools.lock_difference import by_another
from hubd.tools.notebook import Notebook
from hubd.tools.solved import Solved
from hubd.words import counted

# What stands in the mark instead of a digest where what is frozen was built again from its own lock.
FROM_ITS_LOCK = "what is frozen"
NOTHING = Notebook("")
NOBODY = Running()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where what is asked for is written. kind: lock or file. place: as the config names it. sha256: of its text.

    text: a lock's own; empty for what the build has to fetch first. channels: whether those of a file count.
    url, commit: of the git repository that the place is in; empty for none.
    """

    kind: str
    place: str
    sha256: str = ""
    text: str = ""
    channels: bool = True
    url: str = ""
    commit: str = ""

    @property
    def content(self) -> tuple[str, ...]:
        """What changes when something else is behind it. A commit is the same wherever its repository has moved to."""
        return (self.kind, self.sha256, str(self.channels), *((self.commit, self.place) if self.commit else ()))

    @property
    def told(self) -> str:
        """Where it is, for messages."""
        return git.told(self.place, self.url, self.commit) if self.commit else self.place


@dataclass(frozen=True, slots=True)
class SeenEnvironment:
    """job: how its build is. lost: what is gone of the newest build. present: the generation in use, where a build is to begin.

    locked: the difference in versions from that one, where a lock says what will be built. running: what runs from it.
    free: bytes on the disk.
    """

    job: SeenJob
    lost: str = ""
    present: Generation | None = None
    locked: str = ""
    running: Running = NOBODY
    free: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Resource):
    """A generation of what is asked for, whole and proven; `Switch` puts it in place.

    generations: where they are. held: the number of an older one that was chosen instead; 0 for what is asked for.
    after: see `Asked`.
    packages: as the manager writes them. pip: as pip writes them, from PyPI. source: a lock or a file instead of packages.
    refused: what is wrong with that, or with the notebook. frozen: whether any generation will do. manager: conda, rattler or uv.
    requirements: a hash-locked list instead of packages.
    drop: what of the installed files is taken out again. programs: what must be in its `bin` besides the interpreter.
    cache: see `start_job`. limits: of the build; what is built does not depend on them.
    conda: the prefix of conda or mamba, or the program itself.
    smoke: the language whose kernel must run `notebook` before a build counts; empty: none.
    smoke_time: how long that may take, seconds.
    """

    kind = "environment"
    lane = LANE

    environment: str
    generations: Generations
    held: int = 0
    after: int = 0
    manager: str
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    source: Source | None = None
    refused: HubdError | None = None
    frozen: bool = False
    requirements: Path | None = None
    requirements_digest: str = ""
    channels: tuple[str, ...] = ()
    conda: Path | None = None
    smoke: str = "python"
    notebook: Notebook = NOTHING
    smoke_time: int = 300
    drop: tuple[str, ...] = ()
    cache: str = "environments"
    programs: tuple[str, ...] = ()
    limits: JobLimits = USUAL

    @property
    def name(self) -> str:
        return self.environment

    @property
    def digest(self) -> str:
        """Twelve digits that change when anything that is asked for changes."""
        asked: list[object] = [self.manager, sorted(self.packages), self.requirements_digest, list(self.channels)]
        source = self.source
        asked += [sorted(self.pip), list(source.content) if source else []]
        asked += [self.smoke, [(cell.source, cell.tags) for cell in self.notebook.cells], list(self.drop)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]

    def is_passed_over(self, built_for: str) -> bool:
        """Whether something else is asked for than what is in use, and not built, as it is frozen. built_for: its mark's digest.

        Of one that was built again from its lock nobody knows, nor where what is asked for cannot be read.
        """
        unknown = self.held or self.refused or built_for in ("", FROM_ITS_LOCK)
        return self.frozen and not unknown and built_for != self.digest

    @property
    def asked(self) -> Asked:
        """What makes a generation the right one."""
        programs = ("R" if self.smoke == "R" else "python", *self.programs)
        return Asked(digest=self.digest, held=self.held, after=self.after, frozen=self.frozen, programs=programs)

    @property
    def job(self) -> str:
        return f"env-{self.environment}"

    def observe(self, host: Host) -> SeenEnvironment:
        lost = [each.lost(self.asked.programs) for each in self.generations.right(self.asked)]
        whole = "" in lost
        job = observe_job(host, self.job, complete=whole, digest=self.digest, limits=self.limits)
        seen = SeenEnvironment(job, lost="" if whole else next(iter(lost), ""))
        return self._with_present(host, seen) if self._is_to_begin(seen) else seen

    def _is_to_begin(self, seen: SeenEnvironment) -> bool:
        return not (seen.job.complete or seen.job.going or self.refused) and is_due(seen.job)

    def _with_present(self, host: Host, seen: SeenEnvironment) -> SeenEnvironment:
        """What a plan tells of a build: looked at only where there is one to begin."""
        present = self.generations.current()
        if present is None:
            return seen
        text = self.source.text if self.source and self.source.kind == "lock" else ""
        return replace(
            seen, present=present, locked=difference_from(present, text, self.manager) if text else "",
            running=host.running_from(present.path), free=free_space(self.generations.folder),
        )  # fmt: skip

    def forecast(self, seen: SeenEnvironment) -> Forecast | None:
        if seen.present is None:
            return None
        told = self._foretold(seen)
        return Forecast(told.says, told.told)

    def forecast_solved(self, host: Host, solved: Solved | None, *, unsolved: str = "") -> Forecast:
        """The forecast of a build that was solved beforehand, of a first one, too. unsolved: why that could not be."""
        seen = self._with_present(host, SeenEnvironment(SeenJob()))
        before = None
        with contextlib.suppress(HubdError):
            before = saved_lock(seen.present) if seen.present else None
        asked = (*self.packages, *self.pip)
        change = solved_change(before, solved, manager=self.manager, first=asked) if solved else None
        told = replace(self._foretold(seen), solved=change, unsolved=unsolved)
        return Forecast(told.says, told.told)

    def _foretold(self, seen: SeenEnvironment) -> BuildForecast:
        present = seen.present
        if present is None:
            return BuildForecast(environment=self.environment, generation=0)
        # What a lock, a file behind an address or a locked list asks for is not written here.
        known = present.packages is not None and not self.source and self.requirements is None
        return BuildForecast(
            environment=self.environment, generation=present.number, managers=by_another(present.manager, self.manager),
            asked=asked_change(present.packages or (), (*self.packages, *self.pip)) if known else None, locked=seen.locked,
            kernels=seen.running.kernels, others=seen.running.others, disk=present.size, free=seen.free,
        )  # fmt: skip

    def steps(self, seen: SeenEnvironment) -> tuple[Step, ...]:
        if not self._is_to_begin(seen):
            return ()
        count = len(self.packages) + len(self.pip)
        what = counted(count, "package") if count else "the locked list"
        what = f"the {self.source.kind} {self.source.told}" if self.source else what
        return (Step(f"build {self.environment} with {self.manager} from {what}{_again(seen)}", self._start),)

    def progress(self, seen: SeenEnvironment) -> Progress | None:
        if seen.job.complete:
            return None
        if seen.job.going:
            return Progress(f"building: {seen.job.going}", job=self.job)
        if self.refused:
            return Progress("refused", self.refused)
        if seen.job.failure and not is_due(seen.job):
            return Progress("failed", self._told(failure_of(seen.job, f"hubd logs job-{self.job}")))
        return None

    def memo(self) -> Memo | None:
        return {"folder": str(self.generations.folder), "label": self.generations.label}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        # A label means that the folder is shared with other things.
        return None if memo["label"] else NoEnvironment(folder=Path(memo["folder"]))

    def known_lock(self) -> str:
        """The lock that a build would be made from, as far as it is on this machine; empty where it is solved anew."""
        kept = self._kept()
        return kept or (self.source.text if self.source and self.source.kind == "lock" else "")

    def solve(self, host: Host, job: str) -> None:
        """Start a job that asks the manager what a build would install. It makes no generation."""
        start_job(host, job, {**self._order(host), "do": "solve"}, cache=self.cache, writable=(), limits=self.limits)

    def _start(self, host: Host) -> None:
        number = self.generations.next()
        prefix = self.generations.path(number)
        # What a killed build left; as root, because a build ends with taking itself the right to write.
        files.clear(prefix)
        shared = self._shared(host.layout)
        order = {**self._order(host), "do": "environment", "number": number, "prefix": str(prefix), "mark": MARK,
                 "share_into": "".join(map(str, shared))}  # fmt: skip
        writable = (prefix, Path(order["pythons"]), *shared)
        start_job(host, self.job, order, cache=self.cache, writable=writable, limits=self.limits)

    def _order(self, host: Host) -> dict[str, Any]:
        """What is asked for, for the job."""
        kept = self._kept()
        source = None if kept else self.source
        return {
            "environment": self.environment,
            "digest": self.digest,
            "manager": self.manager,
            "packages": list(self.packages),
            "pip": list(self.pip),
            "built_for": FROM_ITS_LOCK if kept else self.digest,
            "lock": source.text if source else kept,
            "source": asdict(source) if source and not source.text else {},
            "requirements": str(self.requirements or ""),
            "channels": list(self.channels),
            "conda": str(self.conda or ""),
            "uv": str(host.layout.hub / "bin/uv"),
            # Interpreters that uv fetches, one folder for each cache and for the same reason.
            "pythons": str(host.layout.envs / f".pythons-{self.cache}"),
            "smoke": self.smoke,
            "notebook": self.notebook.path,
            # Its cells and not its path: the account that builds need not be able to read it.
            "cells": [{"source": cell.source, "tags": cell.tags} for cell in self.notebook.cells],
            "smoke_time": self.smoke_time,
            "drop": list(self.drop),
        }

    def _shared(self, layout: Layout) -> tuple[Path, ...]:
        """The folder in which people's conda finds the packages of this build; none where it has no use for these."""
        beside = layout.package_cache(self.cache).parent == layout.packages.parent
        return (layout.packages,) if self.manager == "conda" and beside else ()

    def _told(self, error: HubdError) -> HubdError:
        """The failure with the environment's name, which jobs leave to whoever asked."""
        # What was seen of a job from outside begins with its name; no other message has that of the environment as such.
        _, job, rest = error.what.partition(f"{self.job} ")
        ended = job and error.what.startswith(job)
        what = f"the build of {self.environment} {rest}" if ended else f"{self.environment} is not built: {error.what}"
        return HubdError(what, why=error.why, fix=error.fix, retry=error.retry)

    def _kept(self) -> str:
        """The lock of what is frozen and has to be built again; empty where nothing is, or where it cannot be read."""
        generations = self.generations
        numbers = (generations.switched_on(), *(each.number for each in generations.finished())) if self.frozen else ()
        for number in filter(None, numbers):
            with contextlib.suppress(HubdError, UnicodeDecodeError):
                text = (files.read(generations.path(number) / SAVED, follow=False, most=LONGEST_LOCK) or b"").decode()
                parse_lock(text)
                return text
        return ""


def _again(seen: SeenEnvironment) -> str:
    if seen.lost:
        return f" again, as its {seen.lost} is gone"
    what = (seen.job.failure or {}).get("what")
    return f" again, as {what}" if what else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEnvironment(Resource):
    """An environment that is no longer declared: removed once no process runs from it."""

    kind = "no-environment"

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder)

    def observe(self, host: Host) -> int | None:
        """None where it is gone, else how many processes use it."""
        return None if files.look(self.folder) is None else host.processes_using(self.folder)

    def steps(self, seen: int | None) -> tuple[Step, ...]:
        return (Step(f"remove the environment {self.folder}", remover(self.folder)),) if seen == 0 else ()

    def progress(self, seen: int | None) -> Progress | None:
        if not seen:
            return None
        use, end = ("process still uses", "it ends") if seen == 1 else ("processes still use", "they end")
        return Progress(f"{seen} {use} {self.folder}; it is removed when {end}")
