"""A stand-in for conda where the real one cannot be had: its command line and JSON, with py-rattler doing the real work.

Solves, downloads and links for real. Keeps the ugly parts of conda 26.7 that programs driving it stumble over: `create`
deletes what is at the prefix, and with --dry-run refuses an environment that is there; it says nothing after an explicit file
even with --json, a failed link is a CondaMultiError without a message of its own, a malformed version is a traceback. Its
cache is believed whatever is in it; two that fill a cold one at a time poison it, and the second has its JSON on standard
error and exit code 0. Of several caches it fills the first that it may write to, and takes what is unpacked in the others.
Asked to end, it rolls back; killed, it leaves all as it is. The installer puts it at PREFIX/bin/conda.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lib/standin"))

import rattler  # noqa: E402
import yaml  # type: ignore[import-untyped]  # noqa: E402

from channel.conda_caches import clear_cache, is_writable  # noqa: E402
from channel.conda_transaction import (  # noqa: E402
    SUBDIR,
    VERSION,
    CondaError,
    explicit,
    installed,
    link,
    short,
    solved,
)  # fmt: skip

Result = dict[str, object] | list[dict[str, object]] | None


# ---------------------------------------------------------------- settings


def condarc() -> dict[str, list[str]]:
    merged: dict[str, list[str]] = {}
    for file in (ROOT / ".condarc", Path.home() / ".condarc"):
        if file.exists():
            for name, value in (yaml.safe_load(file.read_text()) or {}).items():
                merged[name] = [*merged.get(name, []), *value] if isinstance(value, list) else value
    return merged


def caches() -> list[Path]:
    """The package caches: those of CONDA_PKGS_DIRS *and* those of the settings; the first that can be is written to."""
    named = [*os.environ.get("CONDA_PKGS_DIRS", "").split(","), *condarc().get("pkgs_dirs", [])]
    found = list(dict.fromkeys(Path(name).expanduser() for name in named if name)) or [ROOT / "pkgs"]
    first = next((cache for cache in found if is_writable(cache)), None)
    if first is None:
        raise CondaError("NoWritablePkgsDirError", f"No writeable pkgs directories configured.\n\t- {found}\n")
    return [first, *(cache for cache in found if cache != first)]


def channels(options: argparse.Namespace) -> list[rattler.Channel]:
    settings = [] if options.override_channels else condarc().get("channels", [])
    return [rattler.Channel(name) for name in (*options.channel, *settings)]


def prefix_of(options: argparse.Namespace) -> Path:
    if options.name:
        named = [*os.environ.get("CONDA_ENVS_DIRS", "").split(":"), *condarc().get("envs_dirs", [])]
        folders = [Path(name).expanduser() for name in named if name]
        return (folders or [ROOT / "envs"])[0] / str(options.name)
    place: str | None = options.prefix
    return Path(place).absolute() if place else ROOT


def require_environment(prefix: Path) -> None:
    if not (prefix / "conda-meta/history").exists():
        raise CondaError("EnvironmentLocationNotFound", f"Not a conda environment: {prefix}", location=str(prefix))


# ---------------------------------------------------------------- commands


def read_files(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """What files given by --file ask for: specs, and addresses after an @EXPLICIT line."""
    specs: list[str] = []
    urls: list[str] = []
    for name in names:
        if not Path(name).exists():
            raise CondaError("EnvironmentFileNotFound", f"'{name}' file not found", filename=name)
        into = specs
        for line in map(str.strip, Path(name).read_text().splitlines()):
            if line == "@EXPLICIT":
                into = urls
            elif line and not line.startswith("#"):
                into.append(line)
    return specs, urls


def change(options: argparse.Namespace) -> Result:
    """create, install, update and remove."""
    prefix = prefix_of(options)
    specs, urls = read_files(options.file)
    specs += options.rest
    if options.command == "create":
        if options.dry_run and (prefix / "conda-meta/history").exists():
            raise CondaError("CondaValueError", "Cannot `create --dry-run` with an existing conda environment")
        if not options.dry_run:
            shutil.rmtree(prefix, ignore_errors=True)  # with whatever somebody kept in there
    else:
        require_environment(prefix)
    if options.command == "remove":
        kept = [record for record in installed(prefix) if record.name.normalized not in specs]
        return asyncio.run(link(prefix, kept, [], caches=caches(), dry_run=options.dry_run))
    if urls:
        asyncio.run(link(prefix, asyncio.run(explicit(urls)), [], caches=caches(), dry_run=options.dry_run))
        return None  # not a word, not even with --json
    records = asyncio.run(solved(specs, channels(options), installed(prefix)))
    return asyncio.run(link(prefix, records, specs, caches=caches(), dry_run=options.dry_run))


def env_create(options: argparse.Namespace) -> Result:
    prefix = prefix_of(options)
    wanted = yaml.safe_load(Path(options.file[0]).read_text())
    specs = [entry for entry in wanted.get("dependencies", []) if isinstance(entry, str)]
    pip = [name for entry in wanted.get("dependencies", []) if isinstance(entry, dict) for name in entry.get("pip", [])]
    options.channel = wanted.get("channels", [])
    shutil.rmtree(prefix, ignore_errors=True)
    records = asyncio.run(solved(specs, channels(options), []))
    result = asyncio.run(link(prefix, records, specs, caches=caches(), dry_run=options.dry_run))
    if pip:
        command = (prefix / "bin/python", "-m", "pip", "install", *pip)
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise CondaError("CondaEnvException", "Pip failed")  # and the environment stays as it is
    return result


def env_remove(options: argparse.Namespace) -> Result:
    prefix = prefix_of(options)
    require_environment(prefix)
    shutil.rmtree(prefix)
    return {"success": True, "actions": {"PREFIX": str(prefix)}, "prefix": str(prefix)}


def env_list(options: argparse.Namespace) -> Result:
    return {"envs": [str(ROOT), *(str(file.parent.parent) for file in ROOT.glob("envs/*/conda-meta/history"))]}


def list_packages(options: argparse.Namespace) -> Result:
    prefix = prefix_of(options)
    require_environment(prefix)
    if not options.explicit:
        return [short(record) for record in installed(prefix)]
    print(f"# platform: {SUBDIR}\n@EXPLICIT")
    for record in installed(prefix):
        digest = record.md5 if options.md5 else record.sha256 if options.sha256 else None
        print(record.url + (f"#{digest.hex()}" if digest else ""))
    return None


def info(options: argparse.Namespace) -> Result:
    return {
        "conda_version": VERSION, "platform": str(SUBDIR), "root_prefix": str(ROOT), "conda_prefix": str(ROOT),
        "pkgs_dirs": [str(cache) for cache in caches()], "envs_dirs": [str(ROOT / "envs")],
        "channels": [channel.base_url for channel in channels(options)], "offline": options.offline,
    }  # fmt: skip


def clean(options: argparse.Namespace) -> Result:
    for cache in filter(is_writable, caches()):
        clear_cache(cache, packages=options.packages or options.all, archives=options.tarballs or options.all)
    return {"success": True}


def run_inside(options: argparse.Namespace) -> Result:
    prefix = prefix_of(options)
    require_environment(prefix)
    env = {**os.environ, "CONDA_PREFIX": str(prefix), "PATH": f"{prefix}/bin:{os.environ['PATH']}"}
    code = subprocess.run(options.rest, check=False, env=env).returncode
    if code:
        print(f"ERROR conda.cli.main_run:execute: `conda run {' '.join(options.rest)}` failed.", file=sys.stderr)
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "create": change, "install": change, "update": change, "remove": change, "list": list_packages, "run": run_inside,
    "info": info, "clean": clean, "env-create": env_create, "env-list": env_list, "env-remove": env_remove,
}  # fmt: skip


def options_of(words: list[str]) -> argparse.Namespace:
    if words[:1] == ["env"] and len(words) > 1:
        words = [f"env-{words[1]}", *words[2:]]
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("-V", "--version", action="version", version=f"conda {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        one = commands.add_parser(command)
        place = one.add_mutually_exclusive_group()
        place.add_argument("-p", "--prefix")
        place.add_argument("-n", "--name")
        one.add_argument("-c", "--channel", action="append", default=[])
        one.add_argument("-f", "--file", action="append", default=[])
        one.add_argument("-d", "--dry-run", action="store_true")
        one.add_argument("-a", "--all", action="store_true")
        one.add_argument("--no-capture-output", "--live-stream", action="store_true")
        for short_name, name in (("-y", "yes"), ("-q", "quiet")):
            one.add_argument(short_name, f"--{name}", action="store_true")
        for name in ("json", "override-channels", "offline", "explicit", "md5", "sha256", "packages", "tarballs"):
            one.add_argument(f"--{name}", action="store_true")
        one.add_argument("rest", nargs=argparse.REMAINDER if command == "run" else "*")
    return parser.parse_args(words)


def main() -> int:
    options = options_of(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = COMMANDS[options.command](options)
    except KeyboardInterrupt:
        if options.command in ("create", "env-create"):
            shutil.rmtree(prefix_of(options), ignore_errors=True)
        print(json.dumps({"exception_name": "CondaSystemExit", "message": "", "error": "\nOperation aborted.  Exiting."}))
        return 1
    except CondaError as error:
        print(json.dumps(error.report(), indent=2) if options.json else f"\n{error.name}: {error}\n")
        return 1
    if result is not None and options.json:
        poisoned = isinstance(result, dict) and "POISONED" in dict(result.get("actions") or {})  # type: ignore[call-overload]
        print(json.dumps(result, indent=2), file=sys.stderr if poisoned else sys.stdout)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # py-rattler's threads can crash an interpreter that winds down
