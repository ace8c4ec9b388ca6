"""Looks at the machine: one fact for each resource. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host
from hubd.resources.base import Resource
from hubd.words import thing


def observe(host: Host, resources: Iterable[Resource]) -> Mapping[str, Any]:
    """What is there for each resource, by id; an error where it could not be seen."""
    host.forget()
    return {resource.id: look(host, resource) for resource in resources}


def look(host: Host, resource: Resource) -> Any:
    """What is there for one resource, or the HubdError that kept it from being seen."""
    try:
        return resource.observe(host)
    except HubdError as error:
        return error
    except OSError as error:
        return HubdError(f"{thing(resource.id)} cannot be looked at", why=error.strerror or str(error), retry=True)
    except Exception as error:  # noqa: BLE001  # a bug in one resource, perhaps a plugin's, must not end the pass
        return HubdError(f"{thing(resource.id)} cannot be looked at", why=f"{type(error).__name__}: {error}")
