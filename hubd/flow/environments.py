"""The environments of the hub as `hubd env` tells of them: looked at anew each time. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hubd.config.problems import did_you_mean
from hubd.errors import HubdError, UsageError
from hubd.flow import facts
from hubd.flow.desired import desired
from hubd.flow.environment_states import Observed, Offered, goes, told, trouble_of
from hubd.flow.observe import look
from hubd.flow.plan import gap_of
from hubd.flow.source import config_of, plugins_of, read_text
from hubd.flow.values import Gap
from hubd.hooks import Wanted
from hubd.host import Host, files
from hubd.layout import ADMINS_GROUP, Layout
from hubd.resources.base import Resource
from hubd.resources.environment import Environment
from hubd.resources.generation import Generation, Generations, OldGenerations
from hubd.resources.job import SeenJob, failure_of, job_unit, may_help, next_try, observe_job
from hubd.resources.kernel import Kernel
from hubd.resources.saved_lock import difference_between, saved_lock
from hubd.resources.switch import Switch
from hubd.resources.untouched import Untouched
from hubd.tools.lock import Lock
from hubd.tools.pythons import is_outlived
from hubd.words import named, thing

# JupyterLab's own environment is built like the declared ones, and belongs to hubd.
OWN = "server"
# Of a build's log, those of earlier tries among them.
LOG_LINES = 100
TRIED_AGAIN = "It is tried again at the next pass, or at once by `hubd apply`."


def short(host: Host) -> dict[str, Any]:
    """Every environment in short, as JSON values; `notes` say what could not be told and why."""
    found, note = _all(host)
    return {"environments": [told(each) for each in found if each.name != OWN], "notes": [note] if note else []}


def whole(host: Host, name: str) -> dict[str, Any]:
    """One environment with its generations and the story of its last failure. Raises UsageError for one that is not there."""
    found, note = _all(host)
    one = next((each for each in found if each.name == name), None)
    if one is None:
        raise unknown(name, [each.name for each in found if each.name != OWN])
    older = (*one.finished[1:], None)
    generations = [_generation(host, each, one, before) for each, before in zip(one.finished, older, strict=False)]
    return {**told(one), "generations": generations, "trouble": _story(host, one), "waits_for": list(one.waits),
            "passed_over": one.passed_over, "notes": [note] if note else []}  # fmt: skip


def observed(host: Host, name: str) -> Observed:
    """One declared environment as it is now. Raises ConfigInvalid."""
    _, resources = wanted_resources(host)
    host.forget()
    return _declared(host, resources, name)


def unknown(name: str, there: Iterable[str]) -> UsageError:
    """The error of an environment that is not there."""
    names = sorted(there)
    meant = did_you_mean(name, names)
    fix = f"There are: {named(names)}." if names else "There is none: add one to config.yaml."
    return UsageError(f"there is no environment {name!r}", fix=f"Did you mean {meant}? {fix}" if meant else fix)


def wanted_resources(host: Host) -> tuple[Wanted, Mapping[str, Resource]]:
    """What config.yaml and the recorded facts ask for, by id. Raises ConfigInvalid."""
    layout = host.layout
    text = read_text(layout)
    plugins = plugins_of(text, layout)
    config = config_of(text, plugins, layout)
    wanted = Wanted(config, layout, facts.read(layout, config), systemd=host.init.enforces)
    return wanted, {each.id: each for each in desired(wanted, plugins).resources}


def declared_environment(resources: Mapping[str, Resource], name: str) -> Environment | None:
    """The resource of an environment of that name."""
    found = resources.get(f"{Environment.kind}:{name}")
    return found if isinstance(found, Environment) else None


def chosen_environment(host: Host, name: str) -> Environment:
    """A declared environment that somebody decides about. Raises HubdError where there is none of that name."""
    wanted, resources = wanted_resources(host)
    if name not in wanted.config.environments:
        raise unknown(name, wanted.config.environments)
    environment = declared_environment(resources, name)
    if environment is None:
        raise HubdError(f"nothing of {name} is built yet", why="it is not decided whether conda or uv builds it")
    return environment


def changed(layout: Layout, name: str, before: int, after: int) -> str:
    """What is different in one generation of an environment from another, in short; empty where that cannot be told."""
    folder = layout.envs / name
    generations = Generations(folder=folder, link=folder / "current")
    return difference_between(generations.read(before), generations.read(after))


def _all(host: Host) -> tuple[tuple[Observed, ...], str]:
    """All environments, and why nobody can tell how their builds are; people without rights see what is in place."""
    try:
        wanted, resources = wanted_resources(host)
    except (HubdError, PermissionError) as error:
        why = f"how builds fare is told to root and the group {ADMINS_GROUP} only" if _lacks_rights(error) else str(error)
        note = f"Only what is in place is shown: {why}."
    else:
        host.forget()
        names = (*wanted.config.environments, OWN)
        found = [_declared(host, resources, name) for name in names]
        left = [replace(each, declared=False, programs=host.processes_using(host.layout.envs / each.name))
                for each in _in_place(host, without=names)]  # fmt: skip
        return (*found, *left), ""
    return _in_place(host), note


def _lacks_rights(error: BaseException | None) -> bool:
    """Whether it is only that this account may not read something: nothing is wrong then, and nobody has to mend it."""
    return error is not None and (isinstance(error, PermissionError) or _lacks_rights(error.__cause__))


def _in_place(host: Host, without: Iterable[str] = ()) -> tuple[Observed, ...]:
    """What there is below `envs`, whatever config.yaml asks for."""
    found = []
    for name in files.children(host.layout.envs):
        folder = host.layout.envs / name
        if name.startswith(".") or name in without or not folder.is_dir():
            continue
        generations = Generations(folder=folder, link=folder / "current")
        seen = Observed(name=name, declared=None, current=generations.switched_on(), finished=generations.finished())
        if seen.current or seen.finished:
            found.append(seen)
    return tuple(found)


def _declared(host: Host, resources: Mapping[str, Resource], name: str) -> Observed:
    environment = declared_environment(resources, name)
    if environment is None:  # conda or uv: nobody has decided yet
        return Observed(name=name, declared=True, manager="auto", pending=("find out whether conda can be had, else use uv",))
    generations = environment.generations
    kernels = [each for each in resources.values() if isinstance(each, Kernel) and each.environment == name]
    others = [each for each in resources.values() if isinstance(each, Switch) and each.environment == name]
    gap = _gap(host, environment)
    missing = tuple(_missing(host, environment, resources)) if gap else ()
    old = next(each for each in resources.values() if isinstance(each, OldGenerations) and each.generations == generations)
    seen_old = look(host, old)
    return Observed(
        name=name,
        declared=True,
        manager=environment.manager,
        digest=environment.digest,
        limits=environment.limits,
        held=environment.held,
        current=generations.switched_on(),
        wish=generations.chosen(replace(environment.asked, held=0)),
        old=None if isinstance(seen_old, HubdError) else seen_old,
        keep=old.keep,
        finished=generations.finished(),
        passed_over=environment.is_passed_over(current.digest if (current := generations.current()) else ""),
        kernels=tuple(Offered(each.title, each.audience) for each in kernels),
        gap=gap,
        lacks=tuple((need, error) for need, error, _ in missing if error),
        waits=tuple(words for _, error, words in missing if not error),
        pending=tuple(step.say for each in (*others, *kernels) if (found := _gap(host, each)) for step in found.steps),
        touched=_gap(host, resources[f"{Untouched.kind}:{name}"]) if f"{Untouched.kind}:{name}" in resources else None,
    )


def _gap(host: Host, resource: Resource) -> Gap | None:
    return gap_of(resource, look(host, resource))


def _missing(
    host: Host, environment: Environment, resources: Mapping[str, Resource]
) -> Iterable[tuple[str, HubdError | None, str]]:
    """What the build needs and is not right: its id, why it failed, and in words what it is and does."""
    for need in environment.needs:
        seen = look(host, resources[need])
        gap = gap_of(resources[need], seen)
        if gap is not None:
            does = f" ({gap.progress.say})" if gap.progress else ""
            yield need, gap.error or _last_failure(seen), f"{thing(need)}{does}"


def _last_failure(seen: Any) -> HubdError | None:
    """How the last try ended of a job that is due again: it has failed until another try ends otherwise."""
    return failure_of(seen, TRIED_AGAIN) if isinstance(seen, SeenJob) and seen.failure else None


def _generation(host: Host, generation: Generation, seen: Observed, before: Generation | None) -> dict[str, Any]:
    lock = _lock(generation)
    return {
        "number": generation.number,
        "path": str(generation.path),
        "manager": generation.manager,
        "digest": generation.digest,
        "built": generation.built,
        "on": generation.number == seen.current,
        "asked": bool(seen.digest) and generation.digest == seen.digest,
        "wanted": generation.number == seen.wish,
        "goes": goes(seen, generation),
        "programs": host.processes_using(generation.path),
        "lock": {"platform": lock.platform, "python": lock.python, "conda": len(lock.conda), "pip": len(lock.pip)},
        "outlived": lock.interpreter if is_outlived(lock.interpreter) else "",
        "before": before.number if before else None,
        "difference": difference_between(before, generation),
    }


def _lock(generation: Generation) -> Lock:
    """The saved lock of a generation; an empty one where there is none that can be used."""
    try:
        return saved_lock(generation)
    except HubdError:
        return Lock(manager="", platform="")


def _story(host: Host, seen: Observed) -> dict[str, Any] | None:
    """The whole story of why an environment is not as it is asked for: what, why, fix, the log's end, the next try."""
    trouble = trouble_of(seen)
    if trouble is None:
        return None
    job = f"env-{seen.name}"
    told_by_job = observe_job(host, job, complete=seen.gap is None, digest=seen.digest, limits=seen.limits)
    failure = told_by_job.failure or {}
    log = host.init.log(job_unit(job), lines=LOG_LINES) if failure else ()
    return {
        "what": trouble.what, "why": trouble.why, "fix": trouble.fix, "retry": may_help(failure),
        "tries": failure.get("tries", 0), "ended": failure.get("ended", 0), "next_try": next_try(told_by_job), "log": list(log),
    }  # fmt: skip
