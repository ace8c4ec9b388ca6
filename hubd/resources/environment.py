"""An environment: what is asked for, built aside by a job, proven by a cell, marked last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hubd.host import Host, files
from hubd.resources.base import Memo, Progress, Resource, Step
from hubd.resources.generation import MARK, Asked, Generations, remover
from hubd.resources.job import SeenJob, failure_of, is_due, observe_job, start_job


@dataclass(frozen=True, slots=True)
class SeenEnvironment:
    """job: how its build is. lost: what is gone of the newest build."""

    job: SeenJob
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Resource):
    """A generation of what is asked for, whole and proven; `Switch` puts it in place.

    generations: where they are. held: the number of an older one that was chosen instead; 0 for what is asked for.
    packages: as the manager writes them. requirements: a hash-locked list instead of packages. manager: conda, rattler or uv.
    drop: what of the installed files is taken out again. programs: what must be in its `bin` besides the interpreter.
    cache: see `start_job`.
    conda: conda's own prefix. smoke: the language whose kernel must run a cell before a build counts; empty: none.
    """

    kind = "environment"

    environment: str
    generations: Generations
    held: int = 0
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

    @property
    def name(self) -> str:
        return self.environment

    @property
    def digest(self) -> str:
        """Twelve digits that change when anything that is asked for changes."""
        asked = [self.manager, sorted(self.packages), self.requirements_digest, list(self.channels), self.smoke, list(self.drop)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]

    @property
    def asked(self) -> Asked:
        """What makes a generation the right one."""
        programs = ("R" if self.smoke == "R" else "python", *self.programs)
        return Asked(digest=self.digest, held=self.held, programs=programs)

    @property
    def job(self) -> str:
        return f"env-{self.environment}"

    def observe(self, host: Host) -> SeenEnvironment:
        lost = [each.lost(self.asked.programs) for each in self.generations.right(self.asked)]
        whole = "" in lost
        job = observe_job(host, self.job, complete=whole, digest=self.digest)
        return SeenEnvironment(job, lost="" if whole else next(iter(lost), ""))

    def steps(self, seen: SeenEnvironment) -> tuple[Step, ...]:
        if seen.job.complete or seen.job.going or not is_due(seen.job):
            return ()
        what = f"{len(self.packages)} packages" if self.packages else "the locked list"
        return (Step(f"build {self.environment} with {self.manager} from {what}{_again(seen)}", self._start),)

    def progress(self, seen: SeenEnvironment) -> Progress | None:
        if seen.job.complete:
            return None
        if seen.job.going:
            return Progress(f"building: {seen.job.going}", job=self.job)
        if seen.job.failure and not is_due(seen.job):
            return Progress("failed", failure_of(seen.job, f"hubd logs job-{self.job}"))
        return None

    def memo(self) -> Memo | None:
        return {"folder": str(self.generations.folder), "label": self.generations.label}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        # A label means that the folder is shared with other things.
        return None if memo["label"] else NoEnvironment(folder=Path(memo["folder"]))

    def _start(self, host: Host) -> None:
        number = self.generations.next()
        prefix = self.generations.path(number)
        # What a killed build left; as root, because a build ends with taking itself the right to write.
        files.remove_tree(prefix)
        # Interpreters that uv fetches, one folder for each cache and for the same reason.
        pythons = host.layout.envs / f".pythons-{self.cache}"
        spec = {
            "do": "environment",
            "digest": self.digest,
            "number": number,
            "prefix": str(prefix),
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
        start_job(host, self.job, spec, cache=self.cache, writable=(prefix, pythons))


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
        return Progress(f"{seen} processes still use {self.folder}; it is removed when they end") if seen else None
