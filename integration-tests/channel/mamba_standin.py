"""A stand-in for micromamba where the real one cannot be had: its command line, JSON and log; py-rattler does the real work.

Solves, downloads and links for real. Keeps the ugly parts of micromamba 2.3 that its sources show and that programs driving it
stumble over: `create` refuses an empty folder; `"success": true` is written before anything is fetched; the JSON tells nothing
of a failure but the solver's, and with it the log is `critical` alone unless a level is asked for; the history is there from
the beginning, empty; what failed stays as it is; a post-link script that fails is not noticed; `clean` takes what no environment
of its own root prefix has. It is one file in name only: what it needs lies beside it, where links to it lead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rattler
from rattler.exceptions import InstallerError

from channel.conda_transaction import (
    CondaError,
    compile_python,
    explicit,
    installed,
    key,
    of_fetching,
    short,
    solved,
    write_history,
)  # fmt: skip

VERSION = "2.3.0"
LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
Records = Sequence[rattler.RepoDataRecord]


class Failure(Exception):
    """What ends the program. errors: entries of the log before it. problems: the solver's."""

    def __init__(self, message: str, *errors: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.errors, self.problems = errors, problems


class Log:
    """The log on standard error, from a level on; further lines of an entry are indented."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._from = LEVELS.index(options.log_level or ("critical" if options.json else "warning"))

    def __call__(self, level: str, text: str) -> None:
        if LEVELS.index(level) >= self._from:
            print(f"{level:<8} libmamba {text}".replace("\n", "\n    "), file=sys.stderr, flush=True)


# ---------------------------------------------------------------- installing


def packages_cache() -> Path:
    named = os.environ.get("CONDA_PKGS_DIRS", "").split(",")[0]
    return Path(named) if named else root_prefix() / "pkgs"


def root_prefix() -> Path:
    named = os.environ.get("MAMBA_ROOT_PREFIX", "")
    return Path(named) if named else Path.home() / ".local/share/mamba"


def check_prefix(options: argparse.Namespace, log: Log) -> None:
    prefix = Path(options.prefix)
    if options.command == "install":
        if not (prefix / "conda-meta").is_dir():
            raise Failure(f"No prefix found at: {prefix}\nEnvironment must first be created")
    elif (prefix / "conda-meta").exists():
        shutil.rmtree(prefix)
    elif prefix.exists():
        raise Failure("Aborting.", "Non-conda folder exists at prefix")


def records_of(options: argparse.Namespace) -> Records:
    urls = [line for name in options.file for line in Path(name).read_text().split() if line.startswith(("http", "file:"))]
    try:
        if urls:
            # A SHA-256 is 64 digits, and has no name before it.
            return asyncio.run(explicit([line.replace("#", "#sha256:") for line in urls]))
        return asyncio.run(solved(options.specs, [rattler.Channel(name) for name in options.channel], []))
    except CondaError as error:
        raise of_conda(error) from None
    except rattler.exceptions.InvalidMatchSpecError as error:
        raise Failure(f'Error parsing MatchSpec "{options.specs}": {error}"') from None


def of_conda(error: CondaError) -> Failure:
    """What the working half says in conda's words, in those of mamba."""
    text, url = str(error), str(error.more.get("url") or f"{error.more.get('channel_url')}/noarch/repodata.json")
    unsolved, incorrect = "Could not solve for environment specs", "Found incorrect downloads. Aborting"
    if error.name == "PackagesNotFoundInChannelsError":
        names = [str(name) for name in error.more.get("packages", ())]  # type: ignore[attr-defined]
        tree = "".join(f"\n└─ {name} does not exist (perhaps a typo or a missing channel)." for name in names)
        told = f"{unsolved}\nThe following package could not be installed{tree}"
        return Failure(unsolved, told, problems=[f"nothing provides requested {name}" for name in names])
    if error.name == "LibMambaUnsatisfiableError":
        tree = text.rpartition("because of: ")[2].strip()
        told = f"{unsolved}\nThe following packages are incompatible\n{tree}"
        return Failure(unsolved, told, problems=[" ".join(tree.split())])
    if error.name == "UnavailableInvalidChannel":
        told = f"Transfer finalized, status: {text.split()[1]} [{url}] 0 bytes\nSubdir {url.rpartition('/')[0]} not loaded!"
        advice = "If you run into this error repeatedly, your package cache may be corrupted."
        return Failure(f"Multiple errors occurred:\n{told}\n{advice}")
    if error.name == "ChecksumMismatchError":
        file = re.search(r"/([^/']+)'", text)
        what = f'"{packages_cache() / (file[1] if file else "")}"'
        return Failure(incorrect, f"File not valid: SHA256 doesn't match expectation {what}\nExpected: 0\nActual: 1\n")
    if error.name == "CondaHTTPError":
        return Failure(f"Download error (7) Could not connect to server [{url}]\n{text}")
    inner = error.more.get("errors")
    told = "; ".join(str(each["message"]) for each in inner) if isinstance(inner, list) else text
    return Failure(incorrect, f"Error when extracting package: {told}")


def link(prefix: Path, records: Records, specs: Sequence[str], log: Log) -> None:
    cache = packages_cache()
    cache.mkdir(parents=True, exist_ok=True)
    there = set(os.listdir(cache))
    try:
        asyncio.run(rattler.install(list(records), prefix, cache_dir=cache, show_progress=False))
    except InstallerError as error:
        raise of_conda(of_fetching(error, records, cache)) from None
    for record in records:
        if "-".join(key(record)) not in there:
            log("info", f"Download finished, tarball available at '{cache / record.file_name}'")
    for record in records:
        script = prefix / f"bin/.{record.name.normalized}-post-link.sh"
        if script.exists():
            subprocess.run(("/bin/sh", script), check=False, env={**os.environ, "PREFIX": str(prefix)}, stdout=sys.stderr)
    compile_python(prefix)
    write_history(prefix, records, [], specs)


def change(options: argparse.Namespace, log: Log) -> dict[str, object]:
    """create and install."""
    prefix = Path(options.prefix)
    check_prefix(options, log)
    log("info", "Using OpenSSL backend")
    records = records_of(options)
    told: dict[str, object] = {"success": True, "prefix": str(prefix), "dry_run": options.dry_run}
    told["actions"] = {"PREFIX": str(prefix), "LINK": [short(record) for record in records]}
    if options.dry_run:
        return told
    (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
    (prefix / "conda-meta/history").touch()
    try:
        link(prefix, records, options.specs, log)
    except Failure:
        print(json.dumps(told, indent=4))
        raise
    return told


def clean(options: argparse.Namespace, log: Log) -> dict[str, object]:
    kept = {"-".join(key(record)) for prefix in root_prefix().glob("envs/*") for record in installed(prefix)}
    for path in packages_cache().iterdir():
        if path.is_dir() and path.name != "cache" and path.name not in kept:
            shutil.rmtree(path)
    return {"success": True}


def options_of(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="micromamba", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("create", "install", "clean"):
        one = commands.add_parser(command, allow_abbrev=False)
        for name in ("json", "override-channels", "all", "packages", "tarballs", "no-rc", "dry-run"):
            one.add_argument(f"--{name}", action="store_true")
        one.add_argument("-y", "--yes", action="store_true")
        one.add_argument("--log-level", choices=LEVELS)
        one.add_argument("-p", "--prefix")
        for short_name, name in (("-c", "channel"), ("-f", "file")):
            one.add_argument(short_name, f"--{name}", action="append", default=[])
        one.add_argument("specs", nargs="*")
    return parser.parse_args(words)


def main() -> int:
    options = options_of(sys.argv[1:])
    log = Log(options)
    try:
        told, code = (clean if options.command == "clean" else change)(options, log), 0
    except Failure as failure:
        told, code = ({"success": False, "solver_problems": list(failure.problems)} if failure.problems else {}), 1
        for error in failure.errors:
            log("error", error)
        log("critical", str(failure))
    if options.json and told:
        print(json.dumps(told, indent=4))
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # py-rattler's threads can crash an interpreter that winds down
