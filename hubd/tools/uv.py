"""uv: argv tuples, and how a conda-style package spec reads for PyPI. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import DISK_FULL, LONGEST_OUTPUT, HubdError, disk_full, last_line

Argv = tuple[str, ...]

SYSTEM_PYTHON = "/usr/bin/python3"

# conda's Python may be marked as somebody else's, which keeps careless hands off it; this environment is the build's own.
_OWN = ("--break-system-packages",)

_CHANGE = re.compile(r"^ (?P<sign>[+-]) (?P<pin>(?P<name>[^\s=]+)==\S+)(?: \(from (?P<url>\S+)\))?$", re.MULTILINE)
_CONDA_STYLE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+(?:\[[^\]]*\])?)\s*=\s*(?P<version>[0-9][A-Za-z0-9.]*)(?P<exact>\*?)$")


def make(uv: Path, prefix: Path, python: str, *, fetch: bool = True) -> Argv:
    """Make an empty environment in a folder that is there already. fetch: whether a Python that is not there is downloaded."""
    only = () if fetch else ("--no-python-downloads",)
    return (str(uv), "venv", "--allow-existing", "--no-project", *only, "--python", python or SYSTEM_PYTHON, str(prefix))


def preview(uv: Path, prefix: Path, requirements: Path) -> Argv:
    """Tell which packages would come into an environment, on top of those that it has."""
    return (str(uv), "pip", "install", "--python", _python(prefix), *_OWN, "--dry-run", "--requirement", str(requirements))


def compile_list(uv: Path, prefix: Path, requirements: Path, target: Path, *, alone: bool = False) -> Argv:
    """Turn requirements into a list of exact versions with their hashes, for the Python of an environment.

    alone: without what they depend on. The list holds no addresses, so that it is good on a host with another index.
    """
    only = ("--no-deps",) if alone else ()
    return (str(uv), "pip", "compile", "--quiet", "--python", _python(prefix), "--generate-hashes", "--no-header",
            "--no-annotate", *only, "--output-file", str(target), str(requirements))  # fmt: skip


def install_locked(uv: Path, prefix: Path, requirements: Path, *, hashed: bool = True) -> Argv:
    """Install exactly a hash-locked list: what it leaves out (config/excludes.txt) is not fetched after all.

    hashed: whether each package has its hash; those that have one are checked in any case.
    """
    strict = ("--require-hashes",) if hashed else ()
    return (str(uv), "pip", "install", "--python", _python(prefix), *_OWN, "--compile-bytecode",
            "--no-deps", *strict, "--requirement", str(requirements))  # fmt: skip


def preview_locked(uv: Path, prefix: Path, requirements: Path, *, hashed: bool = True) -> Argv:
    """Tell what `install_locked` would do."""
    return (*install_locked(uv, prefix, requirements, hashed=hashed), "--dry-run")


_DOWNLOADS = re.compile(r"^Would download ([0-9]+) packages?$", re.MULTILINE)


def downloads(output: str) -> int:
    """How many packages an installation would fetch, by its preview; 0 where it says nothing of them."""
    found = _DOWNLOADS.search(output)
    return int(found[1]) if found else 0


def prune(uv: Path) -> Argv:
    """Take out of the cache what nothing in it refers to any more."""
    return (str(uv), "cache", "prune")


def clean(uv: Path, names: Iterable[str]) -> Argv:
    """Take all versions of these packages out of the cache."""
    return (str(uv), "cache", "clean", *names)


def cache_name(name: str) -> str:
    """How a package is called in the cache: as PyPI takes `-`, `_` and `.` for one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(prefix: Path) -> str:
    return str(prefix / "bin/python")


def pinned(text: str) -> tuple[str, ...]:
    """The requirements of a list, each with its hashes in one line."""
    lines = (" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines())
    return tuple(line for line in lines if line and not line.startswith(("#", "-")))


_PROGRESS = (
    (re.compile(r" *Downloading (\S+) \((\S+)\)"), "downloading {0}, {1}"),
    (re.compile(r" *Building (\S+)"), "building {0}"),
    (re.compile(r" *Prepared (\d+) packages? in .*"), "putting packages in place ({0})"),
    (re.compile(r" *Installed (\d+ packages?) in .*"), "compiling Python modules (of {0})"),
)


def progress(line: str) -> str:
    """How far an installation is, by a line that uv prints; empty for lines that do not tell it."""
    found = ((words, match) for pattern, words in _PROGRESS if (match := pattern.fullmatch(line.rstrip())))
    return next((words.format(*match.groups()) for words, match in found), "")


def has_hash(requirement: str) -> bool:
    """Whether a line of a list says what the download must be."""
    return " --hash=sha256:" in requirement


@dataclass(frozen=True, slots=True)
class Preview:
    """What an installation would do. added: requirements. replaced: pairs of a package that goes and the one that comes."""

    added: tuple[str, ...]
    replaced: tuple[tuple[str, str], ...]


def previewed(output: str) -> Preview:
    """What `preview` told."""
    said = {sign: {found["name"]: found for found in _CHANGE.finditer(output) if found["sign"] == sign} for sign in "+-"}
    added = tuple(f"{name} @ {it['url']}" if it["url"] else it["pin"] for name, it in said["+"].items())
    gone = ((name, it["pin"]) for name, it in said["-"].items())
    return Preview(added, tuple((pin, said["+"][name]["pin"]) for name, pin in gone if name in said["+"]))


def version_of(settings: str) -> str:
    """The Python of an environment, as `3.12`, from the text of its pyvenv.cfg; empty where that does not say it."""
    found = re.search(r"^version(?:_info)? *= *([0-9]+\.[0-9]+)", settings, re.MULTILINE)
    return found[1] if found else ""


def split_python(packages: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The Python asked for (`python=3.12` gives `3.12`, a range stays one, none is an empty text) and all other packages."""
    python, others = "", []
    for package in packages:
        match = re.fullmatch(r"(?:.*::)?python\s*(?:=*\s*([0-9.]*)\*?|([<>~!].*))", package.strip())
        if match:
            python = match[2] or match[1].rstrip(".")
        else:
            others.append(requirement(package))
    return python, tuple(others)


def requirement(package: str) -> str:
    """A package as PyPI writes it: `numpy=2.1` becomes `numpy==2.1.*`; `channel::name` loses its channel."""
    bare = package.strip().rpartition("::")[2]
    match = _CONDA_STYLE.match(bare)
    return f"{match['name']}=={match['version'].rstrip('.')}.*" if match else bare


# What uv says of a network or a server that does not work; the same may work later.
_UNREACHED = re.compile(
    r"error sending request|dns error|tcp connect error|timed out|network timeout|error decoding response body"
    r"|HTTP status server error|client error \((?:407|408|425|429)\b"
)
_GONE = re.compile(r"client error \((?:404|410)\b")
_REFUSED = re.compile(r"returned an? (40[13] \w+)|client error \((40[13] \w+)\)")
_URL = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s/`()]+)((?:/[^\s`()]*)?)")
# Lines of uv's chain of causes begin with one of these.
_BEFORE_CAUSE = re.compile(r"^(?:[\s╰├─▶×]*)(?:error|cause|Caused by)?:? *")
OTHER_PYTHON = "Leave `python=` out to use the system's Python, or use `manager: conda`."


def _of_network(text: str, output: str) -> HubdError | None:
    """The error, where it is one of a network or a server."""
    if _UNREACHED.search(text):
        return _unreached(text, output)
    if refused := _REFUSED.search(text):
        address, status = _address(text), refused[1] or refused[2]
        return HubdError("the package index refuses to answer", why=f"{address} says {status}" if address else status,
                         fix="Check the address of the index, and the name and password in it.")  # fmt: skip
    return None


def _unreached(text: str, output: str) -> HubdError:
    """What could not be fetched, and from where."""
    address, why = _address(text), _BEFORE_CAUSE.sub("", re.sub(r"//[^\s/@]*@", "//", last_line(output)))
    package = re.search(r"Failed to download(?: and build)? `([^`/]+)`", text)
    whose = address or (package[1] if package else "")
    why = f"{whose}: {why}" if whose and whose not in why else why
    if re.search(r"python-build-standalone|/cpython-[0-9]", text):
        fix = f"Check the network; hubd tries again by itself. {OTHER_PYTHON}"
        return HubdError("that Python version cannot be had", why=why, fix=fix, retry=True)
    fix = "Check the network and the package index; hubd tries again by itself."
    return HubdError("the package index cannot be reached", why=why, fix=fix, retry=True)


def _address(text: str) -> str:
    """The index, or the host of a file, that uv names last; without a name and a password that may be in it."""
    found = _URL.findall(text)
    if not found:
        return ""
    scheme, host, path = found[-1]
    # An index is asked for a package as INDEX/PACKAGE/.
    index = path.rstrip("/").rpartition("/")[0] if path.endswith("/") else path if path.endswith("/simple") else ""
    return f"{scheme}{host}{index}"


def failure(output: str, *, code: int) -> HubdError:
    """uv's error as one sentence."""
    output = output[-LONGEST_OUTPUT:]
    text = " ".join(output.split())
    gone = bool(_GONE.search(text))
    if DISK_FULL in text:
        return disk_full()
    # Before all else: what a build could not fetch reads as one that failed, or as packages that do not fit.
    if network := _of_network(text, output):
        return network
    if "No solution found" in text or "not found in the package registry" in text:
        # The reader is told "because" before it.
        why = text.partition("Because ")[2][:600] or last_line(output)
        return HubdError("the packages do not fit together or one is not on the index", why=why,
                         fix="Correct the name, or loosen one of the versions named.")  # fmt: skip
    old = re.search(r"Python executable does not support .*|Python <\S+ is not supported .*", text)
    if old:
        return HubdError("its Python is too old for uv, which installs what comes from PyPI", why=old[0],
                         fix="Take all packages from a conda channel: without `pip`, and with `manager: conda`.")  # fmt: skip
    if "No interpreter found" in text or "python-build-standalone" in text:
        return HubdError("that Python version cannot be had", why=last_line(output),
                         fix=OTHER_PYTHON, retry=bool("python-build-standalone" in text and not gone))  # fmt: skip
    wrong = re.search(r"Hash mismatch for `([^`]+)`|hashes?\b.*mismatch", text, re.IGNORECASE)
    if wrong:
        return HubdError("a download is not the file it should be", why=f"the hash of {wrong[1] or 'a package'} is another",
                         fix="Do not use it before you know why.")  # fmt: skip
    malformed = re.search(r"Couldn't parse requirement.*?cause: (.{1,300})", text, re.IGNORECASE)
    if malformed:
        return HubdError("a package is not written as pip writes it", why=malformed[1], fix="Write it like numpy==2.1.")
    unbuilt = re.search(r"Failed to build `([^`]+)`", text)
    if unbuilt:
        return HubdError(f"{unbuilt[1]} could not be built from its source", why=last_line(output),
                         fix="Take a version that comes ready-made, or get it from a conda channel.")  # fmt: skip
    return _of_address(text, output, code)


def _of_address(text: str, output: str, code: int) -> HubdError:
    """The error, where nothing else is known of it."""
    if _GONE.search(text):
        return HubdError("there is nothing at an address", why=last_line(output),
                         fix="Correct the address of the package, or of the package index.")  # fmt: skip
    if "Failed to fetch" in text:
        return _unreached(text, output)
    return HubdError("uv could not build the environment", why=last_line(output) or f"it exited with {code}", retry=True)
