"""A process of its own in which rattler solves and installs; told what by standard input, tells how it goes in lines of JSON.

rattler is a library with threads of its own, whose crash or endless wait must not be the job's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rattler
from rattler.exceptions import GatewayError, SolverError
from rattler.install import InstallerReporter
from rattler.package_cache import PackageCache, ValidationMode

from hubd.tools.conda import asked_name

RETRIES = 3
# Of a package that is there in other versions than the one that is asked for.
NEWEST = 4


class Broken(Exception):
    """kind: the word for what went wrong. It says what there is to tell. versions: those that there are, the newest first."""

    def __init__(self, kind: str, text: str, versions: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.kind, self.versions = kind, versions


def say(**words: Any) -> None:
    """One line to whoever started us."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


class Reporter(InstallerReporter):
    """Tells how many packages are fetched and linked, and keeps which scripts failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._scripts: list[str] = []
        self._total = self._fetched = self._linked = 0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        self._fetched += 1
        say(step="downloading", done=self._fetched, total=self._total)

    def on_link_complete(self, index: int) -> None:
        self._linked += 1
        say(step="linking", done=self._linked, total=self._total)

    def on_post_link_start(self, package_name: str, script_path: str) -> int:
        self._scripts.append(package_name)
        return len(self._scripts) - 1

    def on_post_link_complete(self, index: int, success: bool) -> None:
        if not success:
            self.failed.append(self._scripts[index])


async def build(order: Mapping[str, Any]) -> list[rattler.RepoDataRecord]:
    """Do what is ordered; gives the records of what is installed, or would be. Raises Broken and rattler's own errors."""
    cache, prefix = Path(order["cache"]), Path(order["prefix"])
    client = rattler.Client.default_client(max_retries=RETRIES)
    gateway = rattler.Gateway(cache_dir=cache / "repodata", client=client)
    say(step="solving")
    exactly = order["packages"]
    records = await named(exactly, gateway) if exactly else await solved(order["specs"], order["channels"], gateway)
    # Each file of the cache is compared with its checksum: what a crash or a full disk left behind is fetched anew.
    packages = PackageCache.new_layered([cache / "pkgs"], False, ValidationMode.full())
    if order.get("only_solve"):
        await tell(records, packages)
        return records
    reporter = Reporter()  # type: ignore[abstract]  # empty methods do nothing; they are not abstract
    await rattler.install(
        records, prefix, package_cache=packages, client=client, execute_link_scripts=True, show_progress=False, reporter=reporter
    )
    if reporter.failed:
        # rattler itself goes on; conda does not.
        raise Broken("PostLink", ", ".join(sorted(reporter.failed)))
    return records


async def tell(records: Sequence[rattler.RepoDataRecord], packages: PackageCache) -> None:
    """Say what would be installed, and how much of it would be fetched first."""
    there = await packages.index()
    fetched = [record for record in records if not there.contains_record(record)]
    sizes = [record.size for record in fetched if record.size is not None]
    size = sum(sizes) if len(sizes) == len(fetched) else None
    say(solved=[told(record) for record in records], downloads=len(fetched), size=size)


async def solved(specs: Sequence[str], channels: Sequence[str], gateway: rattler.Gateway) -> list[rattler.RepoDataRecord]:
    """What fits together. Raises Broken where nothing does."""
    wanted = [match(spec) for spec in specs]
    try:
        return await rattler.solve(
            [rattler.Channel(channel) for channel in channels], wanted, gateway=gateway, platforms=platforms(),
            virtual_packages=rattler.VirtualPackage.detect(),
        )  # fmt: skip
    except SolverError as error:
        raise Broken("SolverError", str(error), await newest(lacking(str(error), specs), channels, gateway)) from error


def lacking(text: str, specs: Iterable[str]) -> str:
    """The name of the package that is asked for in a version that there is not; empty where that is not what is wrong."""
    found = re.search(r"No candidates were found for (\S+) ", text)
    names = (asked_name(spec) for spec in specs)
    return next((name for name in names if found and name == found[1]), "")


async def newest(name: str, channels: Sequence[str], gateway: rattler.Gateway) -> list[str]:
    """The newest versions of a package that these channels have, which were fetched for the solve."""
    if not name:
        return []
    try:
        answers = await gateway.query([rattler.Channel(channel) for channel in channels], platforms(), [name], recursive=False)
    except GatewayError:  # what the solve failed at is what there is to tell
        return []
    there = {record.version for records in answers for record in records}
    return [str(version) for version in sorted(there, reverse=True)[:NEWEST]]


def match(spec: str) -> rattler.MatchSpec:
    """A package as asked for. Raises Broken, which names it."""
    try:
        return rattler.MatchSpec(spec, strict=False)
    except Exception as error:
        raise Broken("InvalidMatchSpecError", f"{spec}: {error}") from error


def platforms() -> list[rattler.Subdir]:
    """What runs on this machine."""
    return [rattler.Subdir.current(), rattler.Subdir("noarch")]


async def named(packages: Sequence[Sequence[str]], gateway: rattler.Gateway) -> list[rattler.RepoDataRecord]:
    """The records of exactly these packages, each an address with the checksum of its file or an empty text."""
    found = []
    for url, sha256 in packages:
        channel, subdir, file = url.rsplit("/", 2)
        name = file.rsplit("-", 2)[0]
        answers = await gateway.query([rattler.Channel(channel)], [rattler.Subdir(subdir)], [name], recursive=False)
        record = next((one for records in answers for one in records if one.file_name == file), None)
        if record is None:
            raise Broken("SolverError", f"Cannot solve the request because of: No candidates were found for {url}")
        if sha256:
            record.sha256 = bytes.fromhex(sha256)
        found.append(record)
    return found


def told(record: rattler.RepoDataRecord) -> tuple[str, str, str, str, str]:
    """What a lock keeps of a package."""
    sha256 = record.sha256.hex() if record.sha256 else ""
    return record.name.normalized, str(record.version), str(record.build), record.url, sha256


def main() -> int:
    """Exit code 0 when everything is installed, or told."""
    order = json.loads(sys.stdin.buffer.read())
    try:
        records = asyncio.run(build(order))
    except Broken as error:
        say(failed=error.kind, text=str(error), versions=list(error.versions))
        return 1
    except Exception as error:  # noqa: BLE001  # its class is what the parent goes by
        say(failed=type(error).__name__, text=str(error))
        return 1
    if not order.get("only_solve"):
        say(installed=[told(record) for record in records])
    return 0


if __name__ == "__main__":
    # rattler's threads may crash an interpreter that winds down.
    os._exit(main())
