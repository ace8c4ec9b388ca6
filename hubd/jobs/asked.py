"""What a build is asked for where that is written elsewhere: fetches a lock or an environment.yml and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs import repository
from hubd.jobs.work import Work
from hubd.tools import conda, git
from hubd.tools.lock import unfit

LONGEST = 8 * 1024 * 1024


def asked(work: Work) -> Work:
    """The work with all that it is asked for in its specification. Raises HubdError where that cannot be had or built."""
    source: Mapping[str, Any] = work.spec["source"]
    if source:
        text = repository.text_of(work, source, most=LONGEST) if source.get("commit") else _fetch(work, source)
        more = {"lock": text} if source["kind"] == "lock" else _from_file(work, source, text)
        work = replace(work, spec={**work.spec, **more})
    lock = work.lock
    problem = unfit(lock, work.spec["manager"], conda.platform()) if lock else None
    if problem:
        raise problem
    return work


def _fetch(work: Work, source: Mapping[str, Any]) -> str:
    place, path = str(source["place"]), work.path("cache") / f"{work.spec['job']}.source"
    work.phase(f"fetching {place}")
    work.web.download(place, path, sha256=str(source["sha256"]))
    try:
        return (files.read(path, most=LONGEST) or b"").decode()
    except UnicodeDecodeError as error:
        raise HubdError(f"{place} cannot be read", why="it is not text") from error
    finally:
        files.remove(path)


def _told(source: Mapping[str, Any]) -> str:
    """Where it is written, for messages."""
    place = str(source["place"])
    return git.told(place, str(source["url"]), str(source["commit"])) if source.get("commit") else place


def _from_file(work: Work, source: Mapping[str, Any], text: str) -> dict[str, list[str]]:
    # What reads YAML takes longer to load than everything else of a job.
    from hubd.config.environment_file import not_usable, parse_environment_file
    from hubd.config.problems import ConfigInvalid

    place, language, pip = _told(source), work.spec["smoke"], work.spec["pip"]
    try:
        found = parse_environment_file(text, source=place, language=language, also=tuple(pip))
    except ConfigInvalid as error:
        raise not_usable(error, place) from error
    for notice in found.notices:
        print(notice, flush=True)
    channels = found.channels if source["channels"] else ()
    return {
        "packages": list(found.packages),
        "pip": [*found.pip, *pip],
        "channels": list(channels or work.spec["channels"]),
    }
