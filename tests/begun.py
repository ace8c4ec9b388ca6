"""Machines that came to rest once and are copied from then on: to come to rest takes long, a copy a few milliseconds."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import FakeHost, Kept, Owners


@dataclass(frozen=True, slots=True)
class Begun:
    """How a machine was. files: a copy of all of them. owners: whose they are. memory: what its fakes remember."""

    files: Path
    owners: Kept
    memory: bytes

    @classmethod
    def of(cls, host: FakeHost, owners: Owners, others: tuple[Any, ...], files: Path) -> Begun:
        """A copy of `host`, which lies in its folder alone. others: what remembers besides it. files: where to copy to."""
        shutil.copytree(host.folder, files, symlinks=True)
        return cls(files, owners.kept(host.folder), pickle.dumps((host.init.newest, *_memory(host), *others)))

    def put_into(self, host: FakeHost, owners: Owners, others: tuple[Any, ...]) -> None:
        """Make `host` like the copied one, which lay in the same folder: its files name that."""
        shutil.rmtree(host.folder)
        shutil.copytree(self.files, host.folder, symlinks=True)
        owners.put_back(self.owners)
        host.init.newest, *then = pickle.loads(self.memory)
        for thing, value in zip((*_memory(host), *others), then, strict=True):
            thing.clear()
            thing.extend(value) if isinstance(thing, list) else thing.update(value)


def _memory(host: FakeHost) -> tuple[Any, ...]:
    """Lists, sets and mappings that are changed in place."""
    commands, accounts, init, web = host.commands, host.accounts, host.init, host.web
    return (
        host.said, host.slept, host.replaced, commands.ran, commands.options, accounts.people, accounts.groups,
        init.units, init.defined, init.started, init.did, init.limits, web.asked, web.headers, web.probed,
    )  # fmt: skip
