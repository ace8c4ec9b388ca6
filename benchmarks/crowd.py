"""Configurations with many people and environments, as text, and environments that look built. For benchmarks only."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hubd.config.edit import add_items, set_value
from hubd.config.parse import parse
from hubd.hooks import Wanted
from hubd.layout import Layout
from hubd.parts import environments
from hubd.resources.environment import Environment
from hubd.resources.generation import MARK
from machine import Machine

GROUP = 25


def with_people(text: str, count: int, *, prefix: str = "user") -> str:
    """`text` with so many further people, in groups of 25."""
    names = [f"{prefix}{number:05d}" for number in range(1, count + 1)]
    text = add_items(text, "people.users", names).text
    groups = [
        f"{prefix}-{start // GROUP + 1:03d}: {{members: [{', '.join(names[start : start + GROUP])}]}}"
        for start in range(0, count, GROUP)
    ]
    return set_value(text, "people.groups", f"{{{', '.join(groups)}}}").text


def with_environments(text: str, count: int) -> str:
    """`text` with further environments until there are `count`."""
    for number in range(len(parse(text).environments), count):
        # Each asks for something else, so that each has a generation of its own.
        settings = f"{{packages: [ipykernel, tqdm={number}], manager: uv}}"
        text = set_value(text, f"environments.bench-{number}", settings).text
    return text


def fabricate(machine: Machine, text: str) -> None:
    """Put a mark and an interpreter where each environment that `text` adds would be built, so that no build is needed."""
    for each in _added(text):
        inside = machine.path(each.generations.path(1))
        (inside / "bin").mkdir(parents=True, exist_ok=True)
        (inside / "bin/python").touch(mode=0o755)
        sealed = {"bin": (inside / "bin").stat().st_mtime_ns}
        (inside / MARK).write_text(json.dumps({"digest": each.digest, "sealed": sealed}))


def _added(text: str) -> Iterable[Environment]:
    wanted = Wanted(parse(text), Layout())
    for resource in environments.hubd_resources(wanted):
        if isinstance(resource, Environment) and resource.environment.startswith("bench-"):
            yield resource
