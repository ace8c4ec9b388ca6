"""conda: argv tuples and what its JSON says went wrong. Runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from platform import machine
from typing import Any

from hubd.errors import DISK_FULL, HubdError, disk_full, last_line
from hubd.tools.lock import CondaPackage, Lock
from hubd.tools.solved import Solved
from hubd.words import named

Argv = tuple[str, ...]

# How many braces in a program's output may be no beginning of an object: packages write there, too.
MOST_TRIES = 200

# What is said of a failure that is none of the known ones.
UNCLEAR = "conda could not build the environment"

# How conda begins to tell of an address that its server does not have, or not for us.
GONE = r"HTTP (?:401|404|410)\b"


def platform() -> str:
    """conda's word for the kind of this machine."""
    return {"x86_64": "linux-64"}.get(machine(), f"linux-{machine()}")


def program(path: Path, is_program: Callable[[Path], bool]) -> Path | None:
    """The program that builds environments where `path` is a prefix or the program itself; None where there is none.

    conda comes first, also where `path` names a mamba beside it: up to 1.5 mamba is made of the conda in its prefix, so that
    whatever mamba is left without one is the program that `tools.mamba` drives. is_program: whether there is one at a path.
    """
    within = [path / "bin" / name for name in ("conda", "mamba", "micromamba")]
    # It is often kept under the name that it is downloaded by, such as micromamba-linux-64.
    itself = [path.with_name("conda"), path] if path.name == "conda" or "mamba" in path.name else []
    return next(filter(is_program, (*within, *itself)), None)


def create(program: Path, prefix: Path, packages: Iterable[str], channels: Iterable[str]) -> Argv:
    """Make an environment. The prefix must be empty: over an existing one conda deletes what is there."""
    chosen = [word for channel in channels for word in ("--channel", channel)]
    return (str(program), "create", "--json", "--yes", "--override-channels", *chosen,
            "--prefix", str(prefix), *(spec for spec in packages))  # fmt: skip


def preview(order: Argv) -> Argv:
    """Tell what an order to install would put there. conda's `create` wants nothing to be at the prefix then."""
    return (*order[:2], "--dry-run", *order[2:])


def previewed(output: str) -> Solved | None:
    """What `preview` told; None where it told nothing.

    All packages come in short, without addresses; those that would be fetched come once more, with all that the channel says.
    """
    actions = _json_in(output).get("actions")
    if not isinstance(actions, Mapping):
        return None
    link, fetch = ([each for each in actions.get(key) or () if isinstance(each, Mapping)] for key in ("LINK", "FETCH"))
    sizes = [each.get("size") for each in fetch]
    known = [size for size in sizes if isinstance(size, int)]
    found = tuple(CondaPackage(str(each.get("name")), str(each.get("version")), _build(each), "") for each in link)
    return Solved(
        lock=Lock(manager="conda", platform=platform(), conda=found), downloads=len(fetch),
        size=sum(known) if len(known) == len(sizes) else None,
    )  # fmt: skip


def _build(said: Mapping[str, Any]) -> str:
    return str(said.get("build_string") or said.get("build") or "")


def create_locked(program: Path, prefix: Path, explicit: Path) -> Argv:
    """Make an environment of exactly what an explicit list names; prints nothing when it went well."""
    return (str(program), "create", "--json", "--yes", "--prefix", str(prefix), "--file", str(explicit))


def clean(program: Path) -> Argv:
    """Take packages out of the cache that no environment has hard links to, and all archives; the index stays."""
    return (str(program), "clean", "--json", "--yes", "--packages", "--tarballs")


def explicit_list(lock: Lock) -> str:
    """A lock's packages as conda reads them."""
    return "\n".join(["@EXPLICIT", *(package.line for package in lock.conda)]) + "\n"


def install_conda(installer: Path, prefix: Path) -> Argv:
    """Run a Miniconda installer without questions; `-u` because the prefix is there already."""
    return ("bash", str(installer), "-b", "-u", "-p", str(prefix))


_NAME = re.compile(r"(?:\S*::)?([A-Za-z0-9_][A-Za-z0-9._-]*)")


def asked_name(spec: str) -> str:
    """The name of the package that a spec asks for: `forge::numpy>=2` gives `numpy`; empty where that cannot be told."""
    bare = spec.strip().partition("#")[0].rpartition("/")[2]
    if bare.endswith((".conda", ".tar.bz2")):
        return bare.rsplit("-", 2)[0].lower()
    found = _NAME.match(spec.strip())
    return found[1].lower() if found else ""


def uncovered(specs: Iterable[str], found: Iterable[CondaPackage]) -> tuple[str, ...]:
    """The specs for whose package an environment has no record.

    By name alone: that versions fit is the solver's work, while whole packages were seen to be left out.
    """
    names = {package.name.lower() for package in found}
    return tuple(spec for spec in specs if asked_name(spec) not in ("", *names) and not asked_name(spec).startswith("__"))


def incomplete(missing: Iterable[str], output: str) -> HubdError:
    """conda said that all is well, and packages are not there."""
    said = _json_in(output)
    if "exception_name" in said:
        return failure(output, code=0)
    return left_incomplete(missing, "conda")


def left_incomplete(missing: Iterable[str], by: str) -> HubdError:
    """Packages are not there, and nobody says why. by: the program that was to put them there."""
    why = f"there is no record of {named(tuple(missing))}, though {by} reported none as missing"
    return HubdError(f"{by} left the environment incomplete", why=why, retry=True)


def message(output: str) -> str:
    """All that conda's answer says to a person, as it says it; may be many lines, and nothing."""
    said = _json_in(output)
    return str(said.get("message") or said.get("error") or "")


def failure(output: str, *, code: int) -> HubdError:
    """conda's error as one sentence: which package, which channel, which pin."""
    said = _json_in(output)
    name, message = str(said.get("exception_name", "")), str(said.get("message") or said.get("error") or "")
    if name == "CondaMultiError" or not message:
        inner = [str(error.get("message", "")) for error in said.get("errors") or [] if isinstance(error, Mapping)]
        message = "; ".join(filter(None, inner)) or message
    # Sometimes there is no JSON at all but a traceback: its last line is what there is to tell.
    short = " ".join(message.split())[:600] or ("" if said else last_line(_without_bars(output))) or f"conda exited with {code}"
    if DISK_FULL in output or "NoSpaceLeft" in name:
        return disk_full()
    if name in ("PackagesNotFoundInChannelsError", "PackagesNotFoundError", "ResolvePackageNotFound"):
        packages = tuple(map(str, said.get("packages") or ()))
        return _not_found(f"none of them has {named(packages)}" if packages else short)
    if "nsatisfiable" in name:
        return unsolvable(message, short)
    return _in_words(name, message, short)


def _in_words(name: str, message: str, short: str) -> HubdError:
    """The errors that have nothing to do with solving."""
    script = re.search(r"post-link script failed for package (?:\S*::)?(\S+)", message)
    if script:
        return script_failed(script[1], short)
    if "ChecksumMismatch" in name or "mismatch between the expected content" in message:
        return another_file(short)
    if "ToS" in name or "Terms of Service have not been accepted" in message:
        fix = "Use other channels, such as conda-forge: hubd accepts no terms in somebody's name."
        return HubdError("a channel wants its terms accepted", why=short, fix=fix)
    if re.match(r"Invalid(Version|Match)?Spec", name or short):
        return misspelt(short)
    if "Channel" in name and re.match(GONE, message):
        return no_such_channel(short)
    if "HTTP" in name or "Channel" in name or "Connection" in name:
        return unreachable(short)
    return HubdError(UNCLEAR, why=short, retry=True)


def unsolvable(message: str, short: str = "") -> HubdError:
    """What a solver says that found no way. short: what there is to tell where nothing is found in its message."""
    why = _conflict(message) or short
    if re.match(r"nothing provides requested|.*does not exist \(perhaps a typo", why):
        return _not_found(why)
    return HubdError("the packages do not fit together", why=why, fix="Loosen one of the versions named.")


def script_failed(package: str, why: str) -> HubdError:
    """A package's own script failed."""
    return HubdError(f"the post-link script of {package} failed", why=why, fix="Leave it out, or ask for another version of it.")


def another_file(why: str) -> HubdError:
    """What was downloaded has another checksum."""
    return HubdError("a download is not the file it should be", why=why, fix="Do not use it before you know why.")


def misspelt(why: str) -> HubdError:
    """A package that nobody can read."""
    return HubdError("a package is not written as conda writes it", why=why, fix="Write it like numpy=2.1.")


def unreachable(why: str) -> HubdError:
    """The network or a channel's server, which may be back later."""
    fix = "Check the channel's address and the network; hubd tries again by itself."
    return HubdError("a channel cannot be reached", why=why, fix=fix, retry=True)


def no_such_channel(why: str) -> HubdError:
    """A server that is there and says that it has no such channel, which no waiting changes."""
    return HubdError("there is no such channel", why=why, fix="Correct the channel's name or address.")


def _not_found(why: str) -> HubdError:
    fix = "Correct the name or the version, or add the channel that has it."
    return HubdError("a package is not in the channels", why=why, fix=fix)


_IMPOSSIBLE = re.compile(r"does not exist|cannot be installed|not installable|no candidates|no viable options")


def _conflict(message: str) -> str:
    """Which packages and pins a solver is at odds with, out of its wall of text."""
    problems = re.findall(r"^\s+- (.+)$", message, re.MULTILINE)
    if problems:
        return "; ".join(problems[:3])[:600]
    branches = re.split(r"^[├└]─ ", message, flags=re.MULTILINE)[1:]
    worst = [branch for branch in branches if _IMPOSSIBLE.search(branch)] or branches
    return "; ".join(" ".join(re.sub("[│├└─]", " ", branch).split()) for branch in worst[:2])[:600]


def _json_in(output: str) -> dict[str, Any]:
    """The JSON object in conda's output: some failures print it among other lines or on standard error."""
    found = [value for value in objects(_without_bars(output)) if isinstance(value, dict)]
    return next((value for value in found if "exception_name" in value), found[0] if found else {})


def _without_bars(output: str) -> str:
    """What conda printed without its progress bars, which with --json are objects too, each with a zero byte behind."""
    return "\n".join(line for line in output.replace("\0", "").splitlines() if fetched(line) is None)


def objects(output: str) -> Iterator[Any]:
    """The JSON objects in what a program printed, among other lines."""
    start, tries = output.find("{"), MOST_TRIES
    while start != -1 and tries:
        try:
            value, start = json.JSONDecoder().raw_decode(output, start)
            yield value
        except (ValueError, RecursionError):
            start, tries = start + 1, tries - 1
        start = output.find("{", start)


def fetched(line: str) -> tuple[str, bool] | None:
    """Which package a line of conda's output tells of, and whether it is there now; None for other lines."""
    said = next(objects(line), None)
    if not isinstance(said, dict) or "fetch" not in said:
        return None
    return str(said["fetch"]).partition("|")[0].strip(), said.get("finished") is True
