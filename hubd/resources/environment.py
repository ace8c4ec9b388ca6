"""An environment generation: built aside by a job, proven by a cell, marked last; and the clearing of old ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Memo, Progress, Resource, Step
from hubd.resources.job import LANE, SeenJob, failure_of, is_due, observe_job, start_job
from hubd.tools.job_limits import USUAL, JobLimits

MARK = ".hubd-complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Resource):
    """One generation of an environment, at its final path: prefixes do not move.

    folder: holds the generations. label: what its generations are called before the digest.
    packages: as the manager writes them. requirements: a hash-locked list instead of packages. manager: conda or uv.
    drop: what of the installed files is taken out again. programs: what must be in its `bin` besides the interpreter.
    cache: see `start_job`. limits: of the build; what is built does not depend on them.
    conda: conda's own prefix. smoke: the language whose kernel must run a cell before the generation counts; empty: none.
    """

    kind = "environment"
    lane = LANE

    environment: str
    folder: Path
    label: str = ""
    manager: str
    packages: tuple[str, ...] = ()
    requirements: Path | None = None
    requirements_digest: str = ""
    channels: tuple[str, ...] = ()
    conda: Path | None = None
    smoke: str = "python"
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
        asked = [self.manager, sorted(self.packages), self.requirements_digest, list(self.channels), self.smoke, list(self.drop)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]

    @property
    def prefix(self) -> Path:
        return self.folder / f"{self.label}{self.digest}"

    @property
    def job(self) -> str:
        return f"env-{self.environment}"

    def observe(self, host: Host) -> SeenJob:
        marked = files.look(self.prefix / MARK, names=False) is not None
        lost = self._lost() if marked else ""
        seen = observe_job(host, self.job, complete=marked and not lost, digest=self.digest, limits=self.limits)
        return replace(seen, lost=lost)

    def _lost(self) -> str:
        """The first program that is no longer there; a package that somebody removes by hand is not noticed."""
        names = ("R" if self.smoke == "R" else "python", *self.programs)
        return next((f"bin/{name}" for name in names if not files.is_program(self.prefix / "bin" / name)), "")

    def steps(self, seen: SeenJob) -> tuple[Step, ...]:
        if seen.complete or seen.going or not is_due(seen):
            return ()
        what = f"{len(self.packages)} packages" if self.packages else "the locked list"
        again = f" again, as {seen.failure['what']}" if seen.failure and seen.failure.get("what") else ""
        again = f" again, as its {seen.lost} is gone" if seen.lost else again
        return (Step(f"build {self.environment} with {self.manager} from {what}{again}", self._start),)

    def progress(self, seen: SeenJob) -> Progress | None:
        if seen.complete:
            return None
        if seen.going:
            return Progress(f"building: {seen.going}", job=self.job)
        if seen.failure and not is_due(seen):
            return Progress("failed", failure_of(seen, f"hubd logs job-{self.job}"))
        return None

    def memo(self) -> Memo | None:
        return {"folder": str(self.folder), "label": self.label}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        # A label means that the folder is shared with other things.
        return None if memo["label"] else NoEnvironment(folder=Path(memo["folder"]))

    def _start(self, host: Host) -> None:
        # Interpreters that uv fetches, one folder for each cache and for the same reason.
        pythons = host.layout.envs / f".pythons-{self.cache}"
        spec = {
            "do": "environment",
            "digest": self.digest,
            "prefix": str(self.prefix),
            "manager": self.manager,
            "packages": list(self.packages),
            "requirements": str(self.requirements or ""),
            "channels": list(self.channels),
            "conda": str(self.conda or ""),
            "uv": str(host.layout.hub / "bin/uv"),
            "pythons": str(pythons),
            "smoke": self.smoke,
            "drop": list(self.drop),
            "mark": MARK,
        }
        start_job(host, self.job, spec, cache=self.cache, writable=(self.prefix, pythons), limits=self.limits)


@dataclass(frozen=True, slots=True)
class SeenGenerations:
    """surplus: generations that nobody needs. used: of those, the ones a process still runs from."""

    surplus: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations(Resource):
    """Old generations are cleared: all but the newest `keep` besides the current one, and never one in use."""

    kind = "generations"

    folder: Path
    current: str
    label: str = ""
    keep: int = 1

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.label}"

    def observe(self, host: Host) -> SeenGenerations:
        names = [name for name in files.children(self.folder) if self._is_old(name)]
        if len(names) <= self.keep and all((self.folder / name / MARK).exists() for name in names):
            return SeenGenerations()
        complete = [name for name in names if (self.folder / name / MARK).exists()]
        newest = sorted(complete, key=lambda name: (self.folder / name / MARK).stat().st_mtime)[-self.keep :]
        surplus = tuple(name for name in names if name not in newest)
        return SeenGenerations(surplus, tuple(name for name in surplus if host.processes_using(self.folder / name)))

    def steps(self, seen: SeenGenerations) -> tuple[Step, ...]:
        return tuple(
            Step(f"remove the old generation {self.folder / name}", _remove(self.folder / name))
            for name in seen.surplus
            if name not in seen.used
        )

    def _is_old(self, name: str) -> bool:
        return name.startswith(self.label) and name != self.current and not name.startswith(".")


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
        return (Step(f"remove the environment {self.folder}", _remove(self.folder)),) if seen == 0 else ()

    def progress(self, seen: int | None) -> Progress | None:
        return Progress(f"{seen} processes still use {self.folder}; it is removed when they end") if seen else None


def _remove(path: Path) -> Callable[[Host], None]:
    return lambda host: files.remove_tree(path)
