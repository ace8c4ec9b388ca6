"""Config and recorded facts become resources in order of need. Pure: asks parts and plugins, never the machine."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hubd.errors import HubdError
from hubd.flow.values import Desired
from hubd.hooks import Notice, Settings, Wanted
from hubd.plugin_loader import Plugins
from hubd.resources.base import Resource


def with_hub_settings(wanted: Wanted, plugins: Plugins) -> Wanted:
    """`wanted` with what all parts and plugins set in JupyterHub."""
    merged: dict[str, dict[str, Any]] = {}
    setter: dict[tuple[str, str], str] = {}
    for name, settings in plugins.each("hubd_hub_settings", wanted=wanted):
        clash = _clash(settings, merged, setter)
        if clash:
            plugins.fence(name, f"it sets {'.'.join(clash)}, which {setter[clash]} set to something else")
            continue
        for class_name, traits in settings.items():
            merged.setdefault(class_name, {}).update(traits)
            setter.update({(class_name, trait): name for trait in traits})
    return replace(wanted, hub_settings=merged)


def _clash(
    settings: Settings, merged: Mapping[str, Mapping[str, Any]], setter: Mapping[tuple[str, str], str]
) -> tuple[str, str] | None:
    for class_name, traits in settings.items():
        for trait, value in traits.items():
            if (class_name, trait) in setter and merged[class_name][trait] != value:
                return class_name, trait
    return None


def desired(wanted: Wanted, plugins: Plugins) -> Desired:
    """All resources, each after those it needs. A plugin whose wishes clash with others or lack something is fenced."""
    found: dict[str, Resource] = {}
    owners: dict[str, str] = {}
    for name, resources in plugins.each("hubd_resources", wanted=wanted):
        clash = _clash_of(resources, found, owners)
        if clash:
            plugins.fence(name, clash)
            continue
        found |= {resource.id: resource for resource in resources}
        owners |= {resource.id: owners.get(resource.id, name) for resource in resources}
    while lacking := _lacking(found):
        for identity, need in lacking:
            plugins.fence(owners[identity], f"{identity} needs {need}, which nobody provides")
        lost = {owners[identity] for identity, _ in lacking}
        found = {identity: each for identity, each in found.items() if owners[identity] not in lost}
    return Desired(_in_order(found), owners, tuple(plugins.broken))


def _clash_of(resources: Iterable[Resource], found: Mapping[str, Resource], owners: Mapping[str, str]) -> str:
    new: dict[str, Resource] = {}
    for resource in resources:
        other = new.get(resource.id) or found.get(resource.id)
        if other is not None and other != resource:
            return f"{resource.id} is wanted differently by {owners.get(resource.id, 'itself')}"
        new[resource.id] = resource
    return ""


def _lacking(found: Mapping[str, Resource]) -> list[tuple[str, str]]:
    return [(each.id, need) for each in found.values() for need in each.needs if need not in found]


def _in_order(found: Mapping[str, Resource]) -> tuple[Resource, ...]:
    try:
        order = graphlib.TopologicalSorter({each.id: _first(each, found) for each in found.values()}).static_order()
        return tuple(found[identity] for identity in order)
    except graphlib.CycleError as error:
        raise HubdError("resources need each other in a circle", why=" → ".join(error.args[1])) from error


def _first(resource: Resource, found: Mapping[str, Resource]) -> tuple[str, ...]:
    return (*resource.needs, *(other for other in resource.follows if other in found))


def notices(wanted: Wanted, plugins: Plugins) -> tuple[Notice, ...]:
    """What status mentions besides the state of things."""
    return tuple(notice for _, found in plugins.each("hubd_notices", wanted=wanted) for notice in found)
