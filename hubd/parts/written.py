"""What an environment is asked to be, wherever that is written: the config, a lock, an environment.yml, a notebook. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from hubd.config import model
from hubd.config.environment_file import not_usable, parse_environment_file
from hubd.config.names import is_address
from hubd.config.problems import ConfigInvalid
from hubd.errors import HubdError
from hubd.hooks import Wanted
from hubd.resources.environment import NOTHING, Source
from hubd.tools.lock import Lock, parse_lock
from hubd.tools.notebook import Notebook, code_of, first_notebook
from hubd.tools.pythons import is_outlived
from hubd.tools.uv import split_python
from hubd.words import named

# How the reading of a lock names the lines that are wrong.
_LINE = re.compile(r"(?:^|; )line (\d+): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """packages, pip, channels: as `Environment` has them. source: what the build reads itself. lock: what it holds.

    refused: why nothing can be built from it. notices: what of it is not used. notebook: what it must be able to run.
    """

    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    source: Source | None = None
    lock: Lock | None = None
    refused: HubdError | None = None
    notices: tuple[str, ...] = ()
    notebook: Notebook = NOTHING


def outlived(asked: Written) -> str:
    """The Python that is asked for, where that is past its end of life; empty where it is not or cannot be told."""
    python = (asked.lock.interpreter if asked.lock else "") or split_python(asked.packages)[0]
    return python if is_outlived(python) else ""


def written(wanted: Wanted, each: model.Environment) -> Written:
    """What the config asks for in an environment, with the files that it names as they were found."""
    found = _packages(wanted, each)
    if not each.smoke:
        return replace(found, notebook=first_notebook(each.kernel.language))
    try:
        return replace(found, notebook=_notebook(each.smoke, _text(wanted, each.smoke, None)))
    except HubdError as error:
        return replace(found, notebook=Notebook(each.smoke), refused=found.refused or error)


def _packages(wanted: Wanted, each: model.Environment) -> Written:
    channels = each.channels or wanted.config.conda.channels
    kind, place = ("lock", each.lock_place) if each.lock_place else ("file", each.file)
    if not place:
        return Written(packages=each.packages, pip=each.pip, channels=channels)
    if each.git:
        git = Source(kind=kind, place=place, channels=not each.channels, url=each.git.url, commit=each.git.commit)
        return Written(pip=each.pip, channels=channels, source=git)
    if is_address(place):
        source = Source(kind=kind, place=place, sha256=each.sha256 or "", channels=not each.channels)
        return Written(pip=each.pip, channels=channels, source=source)
    try:
        text = _text(wanted, place, each.sha256)
    except HubdError as error:
        return Written(refused=error)
    try:
        return _lock(place, text) if kind == "lock" else _file(place, text, each, channels)
    except HubdError as error:
        if "private" in wanted.facts.get("files", {}).get(place, {}):
            return Written(refused=_without_content(error, wanted.layout.prefix / place))
        return Written(refused=not_usable(error, place) if isinstance(error, ConfigInvalid) else error)


def _without_content(error: HubdError, path: Path) -> HubdError:
    """What is wrong with a file that not everybody may read, for those who read the status and may not read that file."""
    invalid = error.problems if isinstance(error, ConfigInvalid) else ()
    at = [str(each.line) for each in invalid if each.line] or _LINE.findall(error.why)
    numbers = list(dict.fromkeys(at))
    lines = f"line{'s' if len(numbers) > 1 else ''} {named(numbers)} cannot be used; " if at else ""
    why = f"{lines}what is in it is not shown, as not everybody may read the file"
    fix = f"Look at it as root, or let everybody read it: chmod o+r {path}"
    return HubdError(f"{path} cannot be used as it is", why=why, fix=fix)


def _text(wanted: Wanted, place: str, sha256: str | None) -> str:
    found = wanted.facts.get("files", {}).get(place, {})
    if "text" not in found:
        fix = f"Put it at {wanted.layout.prefix / place}, or name another one."
        raise HubdError(f"{place} cannot be read", why=found.get("why", "nobody looked"), fix=fix)
    text = str(found["text"])
    if sha256 and sha256 != _digest(text):
        why = f"its SHA-256 is {_digest(text)}, expected {sha256}"
        raise HubdError(f"{place} is not the file it should be", why=why, fix="Correct the file or `sha256`.")
    return text


def _lock(place: str, text: str) -> Written:
    try:
        lock = parse_lock(text)
    except HubdError as error:
        raise HubdError(f"{place} cannot be used: {error.what}", why=error.why, fix=error.fix) from error
    return Written(source=Source(kind="lock", place=place, sha256=_digest(text), text=text), lock=lock)


def _file(place: str, text: str, each: model.Environment, channels: tuple[str, ...]) -> Written:
    found = parse_environment_file(text, source=place, language=each.kernel.language, also=each.pip)
    own = each.channels or found.channels or channels
    notices = tuple(f"{place}: {notice}" for notice in found.notices)
    return Written(packages=found.packages, pip=(*found.pip, *each.pip), channels=own, notices=notices)


def _notebook(place: str, text: str) -> Notebook:
    try:
        return Notebook(place, code_of(text))
    except HubdError as error:
        fix = "Correct it, or name another one in `smoke`."
        raise HubdError(f"{place} cannot be used: {error.what}", why=error.why, fix=fix) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
