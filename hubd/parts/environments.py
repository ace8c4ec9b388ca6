"""Environments: each built aside as a generation, offered as a kernel once it is proven, its old ones cleared."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hubd.config import model
from hubd.config.checks import NO_R
from hubd.config.path import dotted
from hubd.errors import HubdError
from hubd.hooks import Notice, Wanted, hookimpl
from hubd.layout import ADMINS, EVERYONE
from hubd.parts.written import Written, outlived, written
from hubd.resources.base import Resource
from hubd.resources.choices import REBUILDS, ROLLBACKS, EndedChoices
from hubd.resources.conda import CHOICE, Conda, ExistingConda, ManagerChoice
from hubd.resources.directory import Directory
from hubd.resources.environment import Environment
from hubd.resources.generation import Generations, OldGenerations
from hubd.resources.kernel import Kernel
from hubd.resources.package import Packages
from hubd.resources.switch import Switch
from hubd.resources.untouched import FACT as HAND_EDITS
from hubd.resources.untouched import Untouched, noted
from hubd.tools.conda import platform as platform_word
from hubd.tools.job_limits import JobLimits
from hubd.tools.lock import unfit
from hubd.words import PASSED_OVER, to_build_anew

# Those that install from conda's channels.
WITH_CHANNELS = ("conda", "rattler")

# Audiences in plain words; the others are groups.
AUDIENCES = {EVERYONE: "everybody", ADMINS: "admins"}

# bootstrap.py installs it as well, and somebody may have removed it since then.
GIT = Packages(label="git", packages=("git",))

CHANNEL_ADDRESS = "https://conda.anaconda.org/{}/noarch/repodata.json.zst"


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    environments = wanted.config.environments
    managers = {name: manager_of(wanted, each) for name, each in environments.items()}
    yield from _audiences(wanted)
    if "auto" in managers.values():
        decided = tuple((name, _generations(wanted, name)) for name, manager in managers.items() if manager == "auto")
        yield ManagerChoice(probes=_probes(wanted), decided=decided, needs=(f"directory:{wanted.layout.facts}",))
    if "conda" in managers.values():
        yield _conda(wanted)
    if any(each.git for each in environments.values()):
        yield GIT
    digests = dict.fromkeys(environments, "")
    for name, each in environments.items():
        if managers[name] != "auto":
            environment = environment_of(wanted, name, each, managers[name])
            # What is refused may be asked for again as before: a lock that cannot be read at this moment, for one.
            digests[name] = "" if environment.refused else environment.digest
            yield from _environment(wanted, environment, each)
    facts = f"directory:{wanted.layout.facts}"
    yield EndedChoices(fact=REBUILDS, key="digest", digests=tuple(digests.items()), needs=(facts,))
    # What is frozen is not built for anything else, which so ends nothing.
    digests |= {name: "" for name, each in environments.items() if each.frozen}
    yield EndedChoices(fact=ROLLBACKS, key="instead_of", digests=tuple(digests.items()), needs=(facts,))


def manager_of(wanted: Wanted, environment: model.Environment) -> str:
    """conda, rattler or uv; auto while that has not been found out. A lock of uv's is uv's in any case."""
    if environment.manager != "auto":
        return environment.manager
    lock = written(wanted, environment).lock
    if lock:
        return (lock.manager if lock.manager in WITH_CHANNELS else "conda") if lock.conda else "uv"
    if wanted.config.conda.path:
        return "conda"
    return str(wanted.facts.get(CHOICE, {}).get("manager", "auto"))


def environment_of(wanted: Wanted, name: str, each: model.Environment, manager: str) -> Environment:
    """The generation that is wanted of an environment."""
    layout = wanted.layout
    generations = _generations(wanted, name)
    conda = (conda_prefix(wanted),) if manager == "conda" else ()
    asked = written(wanted, each)
    environment = Environment(
        environment=name,
        generations=generations,
        manager=manager,
        packages=asked.packages,
        pip=asked.pip,
        source=asked.source,
        refused=asked.refused or _unfit(name, each, asked, manager),
        frozen=each.frozen,
        channels=asked.channels if manager in WITH_CHANNELS else (),
        conda=conda[0] if conda else None,
        smoke=each.kernel.language,
        limits=job_limits(wanted),
        notebook=asked.notebook,
        smoke_time=each.smoke_time,
        needs=(
            f"directory:{layout.envs}",
            f"directory:{layout.cache}",
            f"directory:{layout.reports}",
            *((_conda(wanted).id,) if conda else ()),
            *((GIT.id,) if each.git else ()),
        ),
    )
    if manager == "uv" and each.kernel.language == "R" and not environment.refused:
        fix = f"Have it built by another manager: {_set_manager(name, 'rattler')}   (or conda)"
        refused = HubdError(f"uv cannot install {NO_R}", why="it needs a conda channel", fix=fix)
        environment = replace(environment, refused=refused)
    return replace(environment, held=rolled_back(wanted, environment), after=built_anew(wanted, environment))


def _generations(wanted: Wanted, name: str) -> Generations:
    folder = wanted.layout.envs / name
    return Generations(folder=folder, link=folder / "current")


def _unfit(name: str, each: model.Environment, asked: Written, manager: str) -> HubdError | None:
    """Why nothing can be built from the lock that is written; of what is frozen another one may be built again."""
    problem = unfit(asked.lock, manager, platform_word()) if asked.lock and not each.frozen else None
    if problem is None:
        return None
    return HubdError(f"{name} cannot be built from {each.lock_place}: {problem.what}", why=problem.why, fix=problem.fix)


def _environment(wanted: Wanted, environment: Environment, each: model.Environment) -> Iterable[Resource]:
    name, generations = environment.name, environment.generations
    switch = Switch(
        environment=name, generations=generations, asked=environment.asked, needs=(environment.id,),
        touches=f"running kernels of {name} go on with what they have",
    )  # fmt: skip
    kernels = tuple(_kernel(wanted, each, switch, audience) for audience in each.audience)
    yield from (environment, switch, *kernels)
    yield OldGenerations(
        generations=generations, job=environment.job, asked=environment.asked, keep=each.keep,
        needs=(switch.id, *(kernel.id for kernel in kernels)),
    )  # fmt: skip
    yield Untouched(
        environment=name, generations=generations, programs=environment.asked.programs,
        found=noted(wanted.facts.get(HAND_EDITS, {}).get(name)), frozen=each.frozen, needs=(switch.id,),
    )  # fmt: skip


def _kernel(wanted: Wanted, each: model.Environment, switch: Switch, audience: str) -> Kernel:
    kernels, name = wanted.layout.audience(audience) / "kernels", switch.environment
    who = AUDIENCES.get(audience, f"the group {audience}")
    return Kernel(
        environment=name, generations=switch.generations, folder=kernels / name, audience=who,
        title=each.kernel.display_name or _title(name, each), language=each.kernel.language,
        needs=(switch.id, f"directory:{kernels}"),
        touches=f"{who}: notebooks use it from their kernel's next start",
    )  # fmt: skip


def _title(name: str, each: model.Environment) -> str:
    return f"{name} (by {each.publish.owner})" if each.publish else name


def _audiences(wanted: Wanted) -> Iterable[Directory]:
    """A folder for each audience, whether it is offered something already or not: servers that run look into it."""
    for name in (EVERYONE, *wanted.config.people.audiences):
        folder = wanted.layout.audience(name)
        yield Directory(path=folder, needs=(f"directory:{wanted.layout.audiences}",))
        yield Directory(path=folder / "kernels", needs=(f"directory:{folder}",))


def rolled_back(wanted: Wanted, environment: Environment) -> int:
    """The number of the generation that somebody went back to; 0 where nobody did, or since then something else is asked for."""
    asked = {} if environment.frozen else {"instead_of": environment.digest}
    return _decided(wanted, ROLLBACKS, environment.name, number="generation", **asked)


def built_anew(wanted: Wanted, environment: Environment) -> int:
    """The number of the newest generation when somebody asked for a new build of the same; 0 where nobody did."""
    return _decided(wanted, REBUILDS, environment.name, digest=environment.digest, number="after")


def _decided(wanted: Wanted, fact: str, name: str, *, number: str, **asked: str) -> int:
    """The number that somebody decided on while this was asked for; 0 for none."""
    decided = wanted.facts.get(fact, {}).get(name)
    if not isinstance(decided, dict) or any(decided.get(key) != value for key, value in asked.items()):
        return 0
    found = decided.get(number)
    return found if isinstance(found, int) and found > 0 else 0


def conda_prefix(wanted: Wanted) -> Path:
    """Where conda is: somebody else's, which may be a program instead of a prefix, or hubd's own."""
    path = wanted.config.conda.path
    return Path(path) if path else wanted.layout.conda


def uses_conda(wanted: Wanted) -> bool:
    """Whether there is a conda on this machine, or will be."""
    managers = (manager_of(wanted, each) for each in wanted.config.environments.values())
    return wanted.config.conda.path is not None or "conda" in managers


def own_manager(wanted: Wanted) -> str:
    """What makes the environments of people's own where they do not say: what `auto` is here."""
    usual = manager_of(wanted, model.Environment())
    if usual == "conda" and not uses_conda(wanted):
        return "rattler"  # hubd installs no conda that nothing is declared to need
    return "uv" if usual == "auto" else usual


def job_limits(wanted: Wanted) -> JobLimits:
    """What the file lets each build use."""
    builds = wanted.config.builds
    return JobLimits(memory=builds.memory, cpu=builds.cpu, time=builds.time)


def _conda(wanted: Wanted) -> Resource:
    if wanted.config.conda.path:
        return ExistingConda(path=Path(wanted.config.conda.path))
    url, sha256 = _installer(wanted)
    needs = (f"directory:{wanted.layout.cache}", f"directory:{wanted.layout.reports}", f"directory:{wanted.layout.jobs}")
    return Conda(prefix=wanted.layout.conda, url=url, sha256=sha256, limits=job_limits(wanted), needs=needs)


def _installer(wanted: Wanted) -> tuple[str, str]:
    conda, machine = wanted.config.conda, platform.machine()
    if machine == "aarch64":
        return conda.url.aarch64, conda.sha256.aarch64
    return conda.url.x86_64, conda.sha256.x86_64


def _probes(wanted: Wanted) -> tuple[str, ...]:
    """What must answer for conda to be chosen: the installer, unless conda is there, and the first channel."""
    channel = wanted.config.conda.channels[0] if wanted.config.conda.channels else "conda-forge"
    address = f"{channel.rstrip('/')}/noarch/repodata.json" if "/" in channel else CHANNEL_ADDRESS.format(channel)
    return (_installer(wanted)[0], address)


@hookimpl
def hubd_notices(wanted: Wanted) -> Iterable[Notice]:
    for owner, names in wanted.facts.get("requests", {}).items():
        for name in names:
            yield Notice(
                f"{owner} asks to offer the environment {name} to others",
                f"Yes: hubd env publish {owner}/{name} --audience everyone   No: hubd env publish {owner}/{name} --decline",
            )
    for name, each in wanted.config.environments.items():
        yield from _rollback_notice(wanted, name, each)
        yield from _notices_of(name, each, written(wanted, each), passed_over=_is_passed_over(wanted, name, each))
    yield from _choice_notice(wanted)


def _choice_notice(wanted: Wanted) -> Iterable[Notice]:
    """Of those alone that the choice decides: whatever has a lock is built by the manager that the lock is for."""
    choice = wanted.facts.get(CHOICE, {})
    decided = [name for name, each in wanted.config.environments.items() if each.manager == "auto" and not each.lock_place]
    if choice.get("manager") == "uv" and decided and not wanted.config.conda.path:
        anew = f"rm {shlex.quote(str(wanted.layout.facts / f'{CHOICE}.json'))} && hubd apply"
        cost = f"where conda can be had now, {'all of these are' if len(decided) > 1 else f'{decided[0]} is'} built anew"
        yield Notice(
            f"uv builds {', '.join(decided)}, chosen on {choice.get('at')} because {choice.get('why')}",
            f"To use conda: {' && '.join(_set_manager(name, 'conda') for name in decided)}   "
            f"To choose anew ({cost}): {anew}",
        )


def _set_manager(name: str, manager: str) -> str:
    option = f"environments.{dotted((name,))}.manager"
    return f"hubd config set {shlex.quote(option)} {manager}"


def _rollback_notice(wanted: Wanted, name: str, each: model.Environment) -> Iterable[Notice]:
    if name not in wanted.facts.get(ROLLBACKS, {}):  # what is asked for is not read again just for this
        return
    manager = manager_of(wanted, each)
    held = environment_of(wanted, name, each, manager).held if manager != "auto" else 0
    if held:
        yield Notice(
            f"{name} is rolled back to generation {held}{'' if each.frozen else ', until config.yaml asks for something else'}",
            f"Forward again: hubd env rollback {name} --undo",
        )


def _is_passed_over(wanted: Wanted, name: str, each: model.Environment) -> bool:
    """Whether config.yaml asks for something else than the frozen one in use was built for; False where nobody can tell."""
    built_for = str(wanted.facts.get("frozen", {}).get(name, ""))
    manager = manager_of(wanted, each) if built_for else "auto"
    return manager != "auto" and environment_of(wanted, name, each, manager).is_passed_over(built_for)


def _notices_of(name: str, each: model.Environment, asked: Written, *, passed_over: bool) -> Iterable[Notice]:
    yield from (Notice(f"{name}: {notice}") for notice in asked.notices)
    python, option = outlived(asked), f"environments.{name}.frozen"
    past = f"Python {python} is past its end of life" if python else ""
    if each.frozen:
        why = (f", and {past}" if past else "") + (f"; {PASSED_OVER}" if passed_over else "")
        yield Notice(f"{name} is frozen: it stays as it was built{why}", to_build_anew(name, frozen=True))
    elif past:
        yield Notice(f"{name}: {past}", f"To keep it as it is, whatever changes: hubd config set {option} true")
