"""People's servers: the environment they run from, what the daemon lets the hub start, and their limits."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hubd.hooks import Wanted, hookimpl
from hubd.layout import SERVER_LABEL
from hubd.parts.environments import job_limits
from hubd.resources.base import Resource
from hubd.resources.environment import Environment
from hubd.resources.file import File
from hubd.resources.generation import Generations, OldGenerations
from hubd.resources.limits import ServerLimits
from hubd.resources.switch import Switch


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout, limits = wanted.layout, wanted.config.limits
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
        needs=(f"directory:{layout.state}",), touches="everybody's server from its next start",
    )  # fmt: skip
    yield ServerLimits(memory=limits.memory, cpu=limits.cpu, touches="running servers, at once and without a restart")


def _policy(wanted: Wanted) -> dict[str, object]:
    """What the daemon starts for whom, whatever the hub asks for."""
    config, layout = wanted.config, wanted.layout
    default = config.first_environment
    argv = [f"{layout.server}/bin/jupyterhub-singleuser", "--KernelSpecManager.ensure_native_kernel=False"]
    if default:
        argv.append(f"--MultiKernelManager.default_kernel_name={default}")
    return {
        "people": sorted(config.people.everybody),
        "argv": argv,
        "environment": {
            "PATH": f"/usr/local/bin:/usr/bin:/bin:{layout.server}/bin",
            "JUPYTER_PATH": str(layout.kernels),
            "SHELL": "/bin/bash",
        },
        "memory": config.limits.memory,
        "cpu": config.limits.cpu,
    }
