"""What nobody needs any more is taken away at once: old generations, leftovers of killed work, unused parts of package caches.

What counts as old is decided by `OldGenerations`, as in every pass. With `act` it removes; nothing in use ever goes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.config.model import Config
from hubd.errors import ExitCode, HubdError
from hubd.flow import published
from hubd.flow.environments import OWN, wanted_resources
from hubd.flow.observe import look
from hubd.flow.plan import gap_of
from hubd.flow.values import Event
from hubd.host import Host, files
from hubd.host.disk_use import disk_use
from hubd.host.locks import file_lock
from hubd.layout import Layout
from hubd.resources.base import Resource
from hubd.resources.environment import Environment
from hubd.resources.generation import OldGenerations, SeenOld, remover
from hubd.resources.job import forget_failures, jobs_using, outcome_of, phases, start_job
from hubd.resources.saved_lock import saved_lock
from hubd.resources.switch import Switch
from hubd.tools.conda import program
from hubd.tools.lock_difference import packages
from hubd.words import named

# A pass in between is short, unless a person's server has to be waited for.
PATIENCE = 60.0
POLL = 0.5

# What `files.remove_tree` and the like leave where they are killed.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{12}\.hubd-(?:gone|new)")

Told = Generator[Event, None, dict[str, Any]]


@dataclass(slots=True)
class _Found:
    """What was found, as JSON values, in the order in which it is told. together: bytes of all that can go.

    kept: what programs use. spare: what is kept to go back to.
    """

    together: int = 0
    remove: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    spare: list[dict[str, Any]] = field(default_factory=list)
    caches: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def told(self, *, acted: bool) -> dict[str, Any]:
        gone = [each for each in self.remove if each["gone"]]
        # Files that two of them share are free only when both are gone.
        freed = self.together if len(gone) == len(self.remove) else sum(each["own"] for each in gone)
        freed += sum(each["before"] - each["after"] for each in self.caches if each["after"] is not None)
        return {"acted": acted, "freed": freed if acted else 0, "together": self.together, "removed": self.remove,
                "kept": self.kept, "spare": self.spare, "caches": self.caches, "notes": self.notes}  # fmt: skip


def clear(host: Host, *, act: bool) -> Told:
    """Find what nobody needs and, with `act`, remove it; yields what happens and gives the whole as JSON values.

    Raises ConfigInvalid where nobody can tell what is needed, and Locked where a pass takes long.
    """
    found = _Found()
    wanted_resources(host)  # what is not valid is said before the lock is taken: its holder would seem to have been killed
    with file_lock(host.layout.lock, wait=PATIENCE, what="clearing away what no environment needs"):
        wanted, resources = wanted_resources(host)
        host.forget()
        every = [each for each in resources.values() if isinstance(each, OldGenerations)]
        old = [each for each in every if _settled(host, each, resources, found)]
        for each in old:
            _look_at(host, each, found)
        _leftovers(host, found)
        _undeclared(host, every, found)
        _published(host.layout, wanted.config, found)
        found.together = disk_use([Path(each["path"]) for each in found.remove]).own
        if act:
            yield from _remove(host, old, found)
        caches = _caches(host, resources, found)
        if act:
            started = [_start(host, name, conda, resources, found) for name, conda in caches.items()]
    if act:
        # A pass may go on meanwhile: a build that it starts waits for its turn at the cache.
        yield from _follow(host, [job for job in started if job], found)
    return found.told(acted=act)


def came_out(told: dict[str, Any]) -> tuple[ExitCode, dict[str, Any]]:
    """With its exit code: FAILED where something should have gone and is still there."""
    left = any(not each["gone"] for each in told["removed"])
    failed = any(each["after"] is None or each["trouble"] for each in told["caches"])
    return ExitCode.FAILED if told["acted"] and (left or failed) else ExitCode.DONE, told


def _settled(host: Host, old: OldGenerations, resources: Mapping[str, Resource], found: _Found) -> bool:
    """Whether the right generation is switched on: until then a pass has to say what is old."""
    same = (each for each in resources.values() if isinstance(each, Switch) and each.generations == old.generations)
    gaps = [gap for each in same if (gap := gap_of(each, look(host, each)))]
    if gaps and old.generations.finished():
        found.notes.append(f"{_name(old)} is left alone: it waits for another generation to be switched on")
    return not gaps


def _look_at(host: Host, old: OldGenerations, found: _Found) -> None:
    seen = look(host, old)
    if isinstance(seen, HubdError):
        found.notes.append(f"{_name(old)} is left alone: {seen}")
        return
    for path in _removable(old, seen):
        found.remove.append({"environment": _name(old), "path": str(path), "own": disk_use([path]).own, "gone": False})
    for name in seen.used:
        path = old.generations.folder / name
        found.kept.append({"environment": _name(old), "path": str(path), "programs": host.processes_using(path)})
    current = old.generations.switched_on()
    spare = [each for each in old.generations.finished() if each.number != current and each.path.name not in seen.surplus]
    if spare:
        option = "" if _name(old) == OWN else f"environments.{_name(old)}.keep"
        own = disk_use([each.path for each in spare]).own
        numbers = [each.number for each in spare]
        found.spare.append({"environment": _name(old), "generations": numbers, "own": own, "option": option})


def _leftovers(host: Host, found: _Found) -> None:
    for path in _killed(host):
        found.remove.append({"environment": "", "path": str(path), "own": disk_use([path]).own, "gone": False})


def _undeclared(host: Host, old: Iterable[OldGenerations], found: _Found) -> None:
    """What config.yaml has no more goes in a pass, once no program uses it."""
    declared = {each.generations.folder for each in old}
    for name in files.children(host.layout.envs):
        folder = host.layout.envs / name
        programs = 0 if name.startswith(".") or folder in declared else host.processes_using(folder)
        if programs:
            found.kept.append({"environment": "", "path": str(folder), "programs": programs})


def _published(layout: Layout, config: Config, found: _Found) -> None:
    """Locks of what was offered once: whoever made it may have changed it since, so that nobody could make them again."""
    if unused := published.unused(layout, [each.publish.place for each in config.environments.values() if each.publish]):
        places = [str(path) for path in unused]
        remove = shlex.join(("rm", *places))
        found.notes.append(f"stays: {named(places)}, for an entry that comes back into config.yaml; else: {remove}")


def _killed(host: Host) -> Iterator[Path]:
    """What a removal or a switch that was killed left: under the pass's lock nobody works on it."""
    envs = host.layout.envs
    folders = (envs, *(envs / name for name in files.children(envs) if not name.startswith(".")), host.layout.versions)
    for folder in folders:
        yield from (folder / name for name in files.children(folder) if _LEFTOVER.fullmatch(name))


def _remove(host: Host, old: list[OldGenerations], found: _Found) -> Iterator[Event]:
    """Remove it, after one more look: to see how large things are may have taken long."""
    listed = {each["path"]: each for each in found.remove}
    now = [(path, f"remove the old generation {path}") for each in old
           if not isinstance(seen := look(host, each), HubdError) for path in _removable(each, seen)]  # fmt: skip
    now += [(path, f"remove {path}, left by work that was killed") for path in _killed(host)]
    for path, say in now:
        if str(path) in listed:
            yield Event("step", str(path), say)
            try:
                remover(path)(host)
                listed[str(path)]["gone"] = True
            except OSError as error:
                found.notes.append(f"{path} could not be removed: {error.strerror or error}")


def _removable(old: OldGenerations, seen: SeenOld) -> Iterator[Path]:
    # What is hidden is what a killed removal left, which is told as such.
    return (old.generations.folder / name for name in seen.surplus if name not in seen.used and name[0] != ".")


def _caches(host: Host, resources: Mapping[str, Resource], found: _Found) -> dict[str, str]:
    """The caches that can be cleaned now, each with the conda that does it."""
    environments = [each for each in resources.values() if isinstance(each, Environment)]
    able = {}
    for name in dict.fromkeys(each.cache for each in environments):
        path = host.layout.package_cache(name)
        there = files.look(path, names=False)
        if there is None or there.kind != "directory":
            continue
        busy = jobs_using(host, path)
        if busy:
            found.notes.append(f"the package cache {path} is left alone: {', '.join(busy)} uses it")
            continue
        own = next((each.conda for each in environments if each.cache == name and each.conda), host.layout.conda)
        able[name] = str(own) if program(own, files.is_program) else ""
        use = disk_use(_together(host.layout, name))
        told = {"cache": name, "path": str(path), "before": use.own, "shared": use.shared, "after": None, "trouble": ""}
        found.caches.append(told)
    return able


def _needed(resources: Mapping[str, Resource], cache: str) -> list[str] | None:
    """The packages of PyPI that generations built with a cache have; None where one does not tell."""
    names: set[str] = set()
    for each in resources.values():
        if isinstance(each, Environment) and each.cache == cache:
            for generation in each.generations.finished():
                try:
                    names |= {package.name for package in packages(saved_lock(generation)) if package.source == "PyPI"}
                except HubdError:
                    return None
    return sorted(names)


def _unpacked(resources: Mapping[str, Resource], cache: str) -> list[str]:
    """The conda packages that generations built with a cache consist of, as they are called there."""
    names: set[str] = set()
    for each in resources.values():
        if isinstance(each, Environment) and each.cache == cache:
            for generation in each.generations.finished():
                names.update(files.children(generation.path / "conda-meta") if generation.manager == "conda" else ())
    return sorted(name.removesuffix(".json") for name in names)


def _together(layout: Layout, cache: str) -> tuple[Path, ...]:
    """A cache, and what people have of it, which is free only when both names of it are gone."""
    path = layout.package_cache(cache)
    beside = path.parent == layout.packages.parent and not layout.packages.is_symlink()
    return (path, layout.packages) if beside and layout.packages.is_dir() else (path,)


def _start(host: Host, name: str, conda: str, resources: Mapping[str, Resource], found: _Found) -> str:
    """Start cleaning a cache; gives the job, or nothing where it could not be started."""
    job, layout = f"clean-{name}", host.layout
    shared = _together(layout, name)[1:]
    needed = _needed(resources, name)
    if needed is None and (layout.package_cache(name) / "uv").is_dir():
        found.notes.append(f"no package of PyPI goes from {layout.package_cache(name)}: a generation does not tell which it has")
    spec = {"do": "clean", "digest": "clean", "prefix": str(layout.package_cache(name)), "conda": conda, "needed": needed,
            "uv": str(layout.hub / "bin/uv"), "pythons": str(layout.envs / f".pythons-{name}"),
            "share_into": "".join(map(str, shared)), "unpacked": _unpacked(resources, name)}  # fmt: skip
    try:
        start_job(host, job, spec, cache=name, writable=shared)
    except HubdError as error:
        found.notes.append(f"the package cache {layout.package_cache(name)} could not be cleaned: {error}")
        return ""
    return job


def _follow(host: Host, jobs: list[str], found: _Found) -> Iterator[Event]:
    """Wait for the jobs and take down how they ended."""
    going = phases(host, jobs)
    while going:
        yield from (Event("job", job, phase) for job, phase in going.items())
        host.sleep(POLL)
        going = phases(host, jobs)
    caches = {f"clean-{each['cache']}": each for each in found.caches}
    for job in jobs:
        each = caches[job]
        use = disk_use(_together(host.layout, each["cache"]))
        each["after"], each["shared"] = min(each["before"], use.own), use.shared
        error = outcome_of(host.layout, job)
        if error:
            each["trouble"] = str(error)
            found.notes.append(f"the package cache {each['path']} was not cleaned to the end: {error}")
        forget_failures(host, only=job)


def _name(old: OldGenerations) -> str:
    return old.job.removeprefix("env-")
