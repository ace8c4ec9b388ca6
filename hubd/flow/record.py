"""What hubd owns and how the last pass went: read, compared, written by one rename. Never what is true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hubd.errors import HubdError
from hubd.flow.values import Desired, Outcome, Record, Result
from hubd.host import files
from hubd.layout import Layout
from hubd.resources.account import Person
from hubd.resources.base import Resource
from hubd.resources.environment import Environment
from hubd.resources.file import File
from hubd.resources.kernel import Kernel
from hubd.resources.link import Link
from hubd.resources.unit import Unit

KINDS: Mapping[str, type[Resource]] = {kind.kind: kind for kind in (File, Link, Person, Unit, Environment, Kernel)}
VERSION = 1


def read(layout: Layout) -> Record:
    """The record. A damaged one is set aside, not trusted: nothing is owned, so nothing is removed by mistake."""
    try:
        data = files.read(layout.record)
        if data is None:
            return Record()
        value = json.loads(data)
        if value["version"] != VERSION:
            raise ValueError(f"it has version {value['version']}")
        owned, last = value["owned"], value.get("last", {})
        if not isinstance(owned, dict) or not isinstance(last, dict):
            raise ValueError("it does not say what is owned")
        for entry in owned.values():
            _gone({part: entry[part] for part in ("kind", "part", "memo")})
        return Record(owned, last)
    except (ValueError, LookupError, TypeError, HubdError) as error:
        return Record(damaged=f"{layout.record} is damaged ({error})")


def removals(record: Record, wanted: Desired) -> tuple[Resource, ...]:
    """What takes away the things that are owned and no longer wanted, the newest first.

    What belongs to a plugin that raised is left alone, and so is everything while a choice is still to be made: not
    all wishes are known in such a pass.
    """
    if _undecided(wanted):
        return ()
    names = {broken.plugin for broken in wanted.broken}
    kept = {each.id for each in wanted.resources}
    found = []
    for identity, entry in reversed(tuple(record.owned.items())):
        if identity in kept or entry["part"] in names:
            continue
        gone = _gone(entry)
        if gone is not None:
            found.append(gone)
    return tuple(found)


def claim(record: Record, wanted: Desired) -> Record:
    """The record with everything that is about to be made in it, so that a kill in mid-pass forgets nothing."""
    owned = dict(record.owned)
    for resource in wanted.resources:
        memo = resource.memo()
        if memo is not None:
            owned[resource.id] = {"kind": resource.kind, "part": wanted.owners[resource.id], "memo": dict(memo)}
    return Record(owned, record.last, record.damaged)


def settle(record: Record, wanted: Desired, outcomes: Iterable[Outcome], last: Mapping[str, Any]) -> Record:
    """The record after a pass: what is gone is forgotten, what was not or could not be removed stays owned."""
    if _undecided(wanted):
        return Record(record.owned, last)
    unfinished = {outcome.id for outcome in outcomes if outcome.result in (Result.FAILED, Result.HELD, Result.RUNNING)}
    names = {broken.plugin for broken in wanted.broken}
    kept = {each.id for each in wanted.resources}
    owned = {}
    for identity, entry in record.owned.items():
        gone = _gone(entry)
        unknown = entry["kind"] not in KINDS or entry["part"] in names
        if identity in kept or unknown or (gone is not None and gone.id in unfinished):
            owned[identity] = entry
    return Record(owned, last)


def _gone(entry: Mapping[str, Any]) -> Resource | None:
    """What takes an owned thing away; None for what stays, and for kinds of a newer hubd."""
    kind = KINDS.get(entry["kind"])
    return kind.gone(entry["memo"]) if kind else None


def _undecided(wanted: Desired) -> bool:
    return any(resource.decides for resource in wanted.resources)


def write(layout: Layout, record: Record) -> None:
    """Write by one rename; a damaged one is kept beside it."""
    if record.damaged and files.look(layout.record, names=False):
        files.set_aside(layout.record)
    value = {"version": VERSION, "owned": record.owned, "last": record.last}
    files.write_atomic(layout.record, json.dumps(value).encode(), mode=0o600)
