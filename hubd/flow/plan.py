"""Compares wishes with facts: the gaps, and the steps that close them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hubd.errors import HubdError
from hubd.flow.values import Gap, Plan
from hubd.resources.base import Resource
from hubd.words import thing


def plan(wanted: Iterable[Resource], removals: Iterable[Resource], seen: Mapping[str, Any]) -> Plan:
    """The gaps in order of need: what is wanted first, then what is to go."""
    gaps, right = [], 0
    for removal, resources in ((False, wanted), (True, removals)):
        for resource in resources:
            gap = gap_of(resource, seen[resource.id], removal=removal)
            if gap is None:
                right += 1
            else:
                gaps.append(gap)
    return Plan(tuple(gaps), right)


def gap_of(resource: Resource, seen: Any, *, removal: bool = False) -> Gap | None:
    """The gap of one resource, or None when it is right."""
    if isinstance(seen, HubdError):
        return Gap(resource, error=seen, removal=removal)
    try:
        if steps := resource.steps(seen):
            return Gap(resource, steps=steps, removal=removal, forecast=resource.forecast(seen))
        if progress := resource.progress(seen):
            return Gap(resource, progress=progress, error=progress.error, removal=removal)
    except Exception as error:  # noqa: BLE001  # a bug in one resource, perhaps a plugin's, must not end the pass
        told = HubdError(f"it cannot be told what to do about {thing(resource.id)}", why=f"{type(error).__name__}: {error}")
        return Gap(resource, error=told, removal=removal)
    return None
