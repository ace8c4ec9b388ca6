"""Conda itself, and the choice between conda and uv that is made once and recorded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files, reach
from hubd.layout import BUILD_ACCOUNT, UNSEEN_BY_BUILDS
from hubd.resources.base import Forecast, Progress, Resource, Step
from hubd.resources.generation import Generations
from hubd.resources.job import LANE, SeenJob, failure_of, is_due, observe_job, start_job
from hubd.tools.conda import program
from hubd.tools.job_limits import USUAL, JobLimits
from hubd.words import named

CHOICE = "environment-manager"
MANAGERS = ("conda", "uv")
PROBE_LIMIT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conda(Resource):
    """An installed conda at `prefix`, from an installer whose checksum is known."""

    kind = "conda"
    lane = LANE

    prefix: Path
    url: str
    sha256: str
    limits: JobLimits = USUAL

    @property
    def name(self) -> str:
        return str(self.prefix)

    def observe(self, host: Host) -> SeenJob:
        # conda-meta/history is conda's own completion mark.
        complete = (self.prefix / "conda-meta/history").exists() and (self.prefix / "bin/conda").exists()
        return observe_job(host, "conda", complete=complete, digest=self.sha256, limits=self.limits)

    def steps(self, seen: SeenJob) -> tuple[Step, ...]:
        if seen.complete or seen.going or not is_due(seen):
            return ()
        return (Step(f"install conda from {self.url}", self._start),)

    def progress(self, seen: SeenJob) -> Progress | None:
        if seen.going:
            return Progress(f"installing: {seen.going}", job="conda")
        if seen.failure and not seen.complete and not is_due(seen):
            return Progress("failed", failure_of(seen, "hubd logs job-conda"))
        return None

    def _start(self, host: Host) -> None:
        spec = {
            "do": "conda",
            "digest": self.sha256,
            "prefix": str(self.prefix),
            "url": self.url,
            "sha256": self.sha256,
        }
        start_job(host, "conda", spec, cache="conda", writable=(self.prefix,), limits=self.limits)


@dataclass(frozen=True, slots=True)
class SeenChoice:
    """made: whether it is recorded. built: while it is not, which manager built what people have, by environment."""

    made: bool
    built: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerChoice(Resource):
    """Whether environments with `manager: auto` use conda or uv: found out once, recorded, never changed by itself.

    probes: what must be reachable for conda to be chosen: the installer and the first channel. decided: the environments that
    go by it.
    """

    kind = "choice"
    decides = True

    probes: tuple[str, ...]
    decided: tuple[tuple[str, Generations], ...] = ()

    @property
    def name(self) -> str:
        return CHOICE

    def observe(self, host: Host) -> SeenChoice:
        if self._is_made(host):
            return SeenChoice(made=True)
        current = {name: generations.current() for name, generations in self.decided}
        return SeenChoice(made=False, built={name: each.manager for name, each in current.items() if each})

    def _is_made(self, host: Host) -> bool:
        # What cannot be read is no choice, as for those who go by it.
        try:
            said = json.loads(files.read(host.layout.facts / f"{CHOICE}.json") or b"{}")
        except (ValueError, HubdError):
            return False
        return isinstance(said, dict) and said.get("manager") in MANAGERS

    def steps(self, seen: SeenChoice) -> tuple[Step, ...]:
        return () if seen.made else (Step("find out whether conda can be had, else use uv", self._choose),)

    def forecast(self, seen: SeenChoice) -> Forecast | None:
        """What is built anew where it comes out otherwise than before."""
        says = []
        for before, after in (MANAGERS, MANAGERS[::-1]):
            names = [name for name, manager in seen.built.items() if manager == before]
            if names:
                are = "is" if len(names) == 1 else "are"
                says.append(f"if it comes to {after}, {named(names)}, built by {before}, {are} built anew")
        return Forecast(tuple(says), {"built_by": dict(seen.built)}) if says else None

    def _choose(self, host: Host) -> None:
        silent = [(url, why) for url in self.probes if (why := host.web.reachable(url, timeout=PROBE_LIMIT))]
        manager = "uv" if silent else "conda"
        why = f"{silent[0][0]} could not be reached ({silent[0][1]})" if silent else "its installer and channel answer"
        host.say(f"environments with `manager: auto` use {manager}: {why}")
        fact: dict[str, Any] = {"manager": manager, "why": why, "at": time.strftime("%Y-%m-%d %H:%M")}
        files.write_atomic(host.layout.facts / f"{CHOICE}.json", json.dumps(fact).encode(), mode=0o600)


@dataclass(frozen=True, slots=True)
class SeenConda:
    """program: what is driven; empty where there is none. closed: what keeps the account that builds from it."""

    program: str = ""
    closed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingConda(Resource):
    """A conda or mamba that somebody else installed and looks after.

    path: its prefix, or the program itself.
    """

    kind = "existing-conda"

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def observe(self, host: Host) -> SeenConda:
        found = program(self.path, files.is_program)
        if found is None:
            return SeenConda()
        real = Path(os.path.realpath(found))
        hidden = next((each for each in UNSEEN_BY_BUILDS if each in real.parents), None)
        closed = hidden or reach.closed_to(found, BUILD_ACCOUNT)
        return SeenConda(program=str(found), closed=str(closed or ""))

    def steps(self, seen: SeenConda) -> tuple[Step, ...]:
        return ()

    def progress(self, seen: SeenConda) -> Progress | None:
        if seen.program and not seen.closed:
            return None
        if seen.program:
            why = f"the account that builds, {BUILD_ACCOUNT}, gets no further than {seen.closed}"
            fix = "Put it where everybody may run it, such as below /opt, and correct conda.path in config.yaml."
            return Progress("missing", HubdError(f"builds cannot run {seen.program}", why=why, fix=fix))
        why = "conda.path names it, and neither conda, mamba nor micromamba is there"
        fix = "Correct conda.path in config.yaml (a prefix, or the program itself), or remove it so that hubd installs Miniconda."
        return Progress("missing", HubdError(f"there is no conda at {self.path}", why=why, fix=fix))
