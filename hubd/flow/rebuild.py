"""Building an environment anew although there is a generation of what is asked for: the wish is recorded, passes do the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hubd.errors import ExitCode, HubdError
from hubd.flow.environment_states import told, trouble_of
from hubd.flow.environments import changed, chosen_environment, observed
from hubd.host import Host
from hubd.resources import choices
from hubd.resources.job import forget_failures
from hubd.words import to_build_anew


@dataclass(frozen=True, slots=True)
class BuildAsked:
    """A build that somebody asked for. before: the generation that was switched on."""

    name: str
    job: str
    before: int


def ask(host: Host, name: str) -> BuildAsked:
    """Record that the generations there are do not count any more, which ends a rollback. Raises HubdError."""
    layout = host.layout
    with choices.deciding(layout):
        environment = chosen_environment(host, name)
        if environment.frozen:
            fix = to_build_anew(name, frozen=True)
            raise HubdError(f"{name} is frozen", why="config.yaml says that it stays as it was built", fix=fix)
        generations = environment.generations
        entry = {"after": generations.next() - 1, "digest": environment.digest}
        choices.write(layout, choices.REBUILDS, {**choices.read(layout, choices.REBUILDS), name: entry})
        back = choices.read(layout, choices.ROLLBACKS)
        if back.pop(name, None):
            choices.write(layout, choices.ROLLBACKS, back)
    # It failed or was done before; neither is a reason not to build.
    forget_failures(host, only=environment.job)
    return BuildAsked(name, environment.job, generations.switched_on())


def came_out(host: Host, asked: BuildAsked) -> tuple[ExitCode, dict[str, Any]]:
    """How it is after the passes, as JSON values; FAILED where the build failed."""
    seen = observed(host, asked.name)
    trouble = trouble_of(seen)
    words = {"what": trouble.what, "why": trouble.why, "fix": trouble.fix} if trouble else None
    difference = changed(host.layout, asked.name, asked.before, seen.current)
    found = {**told(seen), "before": asked.before, "difference": difference, "trouble": words}
    return ExitCode.FAILED if trouble else ExitCode.DONE, found
