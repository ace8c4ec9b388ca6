"""People's servers: the environment they run from, what the daemon lets the hub start, and their limits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from hubd.hooks import Wanted, hookimpl
from hubd.layout import EVERYONE, SERVER_LABEL
from hubd.parts.environments import conda_prefix, job_limits, own_manager
from hubd.resources.base import Resource
from hubd.resources.environment import Environment
from hubd.resources.file import File
from hubd.resources.generation import Generations, OldGenerations
from hubd.resources.limits import ServerLimits
from hubd.resources.switch import Switch


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout, limits, audiences = wanted.layout, wanted.config.limits, wanted.config.people.audiences
    listed = wanted.facts.get("server-list", {})
    generations = Generations(folder=layout.versions, label=SERVER_LABEL, link=layout.server)
    environment = Environment(
        environment="server",
        generations=generations,
        manager="uv",
        requirements=listed.get("path"),
        requirements_digest=str(listed.get("digest", "")),
        smoke="",
        # JupyterLab brings a kernel of its own; people are to use the declared ones.
        drop=("share/jupyter/kernels/python3",),
        # Everybody's server runs from it: no build of a declared environment may come near its files.
        cache="server",
        programs=("jupyterhub-singleuser",),
        limits=job_limits(wanted),
        needs=(f"directory:{layout.versions}", f"directory:{layout.cache}", f"directory:{layout.reports}"),
    )
    yield environment
    switch = Switch(
        environment="server", generations=generations, asked=environment.asked, needs=(environment.id,),
        touches="people's servers use it from their next start",
    )  # fmt: skip
    yield switch
    yield OldGenerations(generations=generations, job=environment.job, keep=1, needs=(switch.id,))
    policy = json.dumps(_policy(wanted), indent=1).encode() + b"\n"
    yield File(
        path=layout.servers_policy, content=policy, mode=0o600, meaning="whose servers may be started, and how",
        needs=(f"directory:{layout.state}", *(f"directory:{layout.audience(name)}" for name in (EVERYONE, *audiences))),
        touches="people's servers from their next start: who may have one, and which kernels it offers",
    )  # fmt: skip
    yield ServerLimits(memory=limits.memory, cpu=limits.cpu, touches="running servers, at once and without a restart")


def _policy(wanted: Wanted) -> dict[str, object]:
    """What the daemon starts for whom, whatever the hub asks for.

    audiences: who is in each but that of everyone. kernels: the audiences of each, the one that a new notebook gets first.
    own: who may have environments of their own, and how much of them; own_…: what makes these. builds: the limits of that.
    """
    config, layout = wanted.config, wanted.layout
    kernels = sorted(config.environments, key=lambda name: name != config.default_environment)
    return {
        "people": sorted(config.people.everybody),
        "audiences": {name: sorted(members) for name, members in config.people.audiences.items()},
        "kernels": {name: config.environments[name].audience for name in kernels},
        "argv": [f"{layout.server}/bin/jupyterhub-singleuser", "--KernelSpecManager.ensure_native_kernel=False"],
        "environment": {
            "PATH": f"/usr/local/bin:/usr/bin:/bin:{layout.server}/bin",
            "SHELL": "/bin/bash",
            "JUPYTER_CONFIG_PATH": str(wanted.facts.get("server-settings", {}).get("path", "")),
        },
        "own": {name: {"number": each.number, "size": each.size} for name, each in config.people.own_environments.items()},
        "own_conda": str(conda_prefix(wanted)),
        "own_manager": own_manager(wanted),
        "own_channels": list(config.conda.channels),
        "builds": asdict(job_limits(wanted)),
        "memory": config.limits.memory,
        "cpu": config.limits.cpu,
    }
