"""Jobs that run as a person, in that person's home: make an environment of one's own, and tell exactly what one consists of."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.disk_use import disk_use
from hubd.jobs import pypi
from hubd.jobs.asked import asked
from hubd.jobs.environment import MANAGERS, cache_alone
from hubd.jobs.records import installed
from hubd.jobs.work import Work
from hubd.tools import conda, uv
from hubd.tools.lock import SAVED, Lock, lock_text, parse_lock
from hubd.words import about, counted, named, size


def make(work: Work) -> None:
    """Make the environment that the specification names. Raises HubdError with the cause; then nothing of it is left."""
    prefix, unfinished = work.path("prefix"), unfinished_mark(work.path("prefix"))
    prefix.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work.path("cache").mkdir(mode=0o700, parents=True, exist_ok=True)
    with cache_alone(work):
        if os.path.lexists(prefix) or unfinished.exists():
            # Also what an earlier one left that was killed: since then its owner may have made something of it.
            why = "an earlier build of it was killed" if unfinished.exists() else ""
            fix = f"Choose another name, or remove it first: rm -rf {prefix} {unfinished if why else ''}".strip()
            raise HubdError(f"{prefix} is there already", why=why, fix=fix)
        _check_room(work, prefix.parent)
        unfinished.touch()
        try:
            prefix.mkdir()
            found = MANAGERS[work.spec["manager"]](asked(work), prefix)
            _open(prefix)
            _check_size(work, prefix)
            files.write_atomic(prefix / SAVED, lock_text(found).encode(), mode=0o644)
            files.sync_all()
        except BaseException:
            files.clear(prefix)
            raise
        finally:
            files.remove(unfinished)


def _open(prefix: Path) -> None:
    """Let the owner change all of it: what conda copies from the hub's packages is read-only, as these are."""
    for where, folders, names in os.walk(prefix):
        for path in (os.path.join(where, name) for name in (*folders, *names)):
            mode = os.lstat(path).st_mode
            if not mode & stat.S_IWUSR and not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode) | stat.S_IWUSR)


def unfinished_mark(prefix: Path) -> Path:
    """What lies beside an environment as long as it is being made; the person's server looks for it, too."""
    return prefix.with_name(f".{prefix.name}.unfinished")


def _check_room(work: Work, folder: Path) -> None:
    there = [name for name in files.children(folder) if not name.startswith(".")]
    if len(there) >= work.spec["number"]:
        fix = f"Remove one that you do not need: rm -rf {folder / there[0]}"
        most = work.spec["number"]
        what = f"you may have {most} environment{'s' if most > 1 else ''}"
        raise HubdError(what, why=f"there are {named(tuple(there))}", fix=fix)
    taken = _taken(folder)
    if taken >= work.spec["size"]:
        why = f"those that are there take {about(taken)}"
        fix = f"Remove one that you do not need, such as: rm -rf {folder / there[0]}"
        raise HubdError(f"your environments may take {size(work.spec['size'])}", why=why, fix=fix)


def _check_size(work: Work, prefix: Path) -> None:
    """See that what was just made still fits."""
    taken = _taken(prefix.parent)
    if taken > work.spec["size"]:
        why = f"with {prefix.name} they would take {about(taken)}"
        fix = "Ask for fewer packages, or remove an environment that you do not need."
        raise HubdError(f"your environments may take {size(work.spec['size'])}", why=why, fix=fix)


def _taken(folder: Path) -> int:
    """Bytes that all environments in a folder take."""
    use = disk_use(folder / name for name in files.children(folder) if not name.startswith("."))
    return use.own + use.shared


def write_lock(work: Work) -> None:
    """Write down what an environment consists of, whoever made it and however it was changed since. Raises HubdError."""
    prefix = work.path("prefix")
    if not _is_environment(prefix):
        raise _no_environment(prefix, owner=work.spec.get("for", ""))
    work.path("cache").mkdir(mode=0o700, parents=True, exist_ok=True)
    work.phase("reading what is installed")
    packages = tuple(installed(prefix))
    strange = [each.name for each in packages if not each.url.startswith(("https://", "http://", "file://"))]
    if strange:
        fix = "Install it from a channel, then ask again."
        raise HubdError(f"nobody can tell where {named(tuple(strange))} came from", fix=fix)
    pins = tuple(pins_of(prefix))
    if pins:
        work.phase(f"looking up the checksums of {counted(len(pins), 'package')} from PyPI")
    pip = pypi.solve(work, prefix, pins, alone=True) if pins else ()
    python = "" if packages else uv.version_of((files.read(prefix / "pyvenv.cfg") or b"").decode())
    manager = _made_by(prefix) if packages else "uv"
    found = Lock(manager=manager, platform=conda.platform(), python=python, conda=packages, pip=pip)
    files.write_atomic(work.path("lock_file"), lock_text(found).encode(), mode=0o600)


def _is_environment(prefix: Path) -> bool:
    return (prefix / "conda-meta").is_dir() or (prefix / "pyvenv.cfg").is_file()


def _no_environment(prefix: Path, *, owner: str) -> HubdError:
    """What is said of one that is not there. owner: whose it would be, where somebody else asks, who cannot make it."""
    there = [name for name in files.children(prefix.parent) if name[0] != "." and _is_environment(prefix.parent / name)]
    why = f"there are {named(there, limit=30)}" if there else "there is none"
    if owner:
        return HubdError(f"{owner} has no environment {prefix.name}", why=why)
    return HubdError(f"{prefix} is not an environment", why=why, fix="Make one: hubd env create NAME PACKAGE …")


def _made_by(prefix: Path) -> str:
    """conda or rattler; conda where nobody says."""
    with contextlib.suppress(HubdError, UnicodeDecodeError):
        if parse_lock((files.read(prefix / SAVED) or b"").decode()).manager == "rattler":
            return "rattler"
    return "conda"


def pins_of(prefix: Path) -> Iterator[str]:
    """What pip or uv installed, each at its version. Raises HubdError for what cannot be had again."""
    for folder in sorted(prefix.glob("lib/python*/site-packages/*.dist-info")):
        installer = (files.read(folder / "INSTALLER") or b"").decode(errors="replace").strip()
        about = message_from_string((files.read(folder / "METADATA") or b"").decode(errors="replace"))
        name, version = about["Name"], about["Version"]
        if installer == "conda" or not name or not version:
            continue
        origin = json.loads(files.read(folder / "direct_url.json") or b"{}")
        if origin.get("url"):
            why, fix = f"it comes from {origin['url']}", "Install it from PyPI, then ask again."
            raise HubdError(f"{name} cannot be built again for others", why=why, fix=fix)
        yield f"{name}=={version}"
