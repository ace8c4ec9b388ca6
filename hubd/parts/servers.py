"""People's servers: the environment they run from, what the daemon lets the hub start, and their limits."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hubd.hooks import Wanted, hookimpl
from hubd.parts.environments import job_limits
from hubd.resources.base import Resource
from hubd.resources.environment import Environment, Generations
from hubd.resources.file import File
from hubd.resources.limits import ServerLimits
from hubd.resources.link import Link

LABEL = "server-"


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout, limits = wanted.layout, wanted.config.limits
    listed = wanted.facts.get("server-list", {})
    environment = Environment(
        environment="server",
        folder=layout.versions,
        label=LABEL,
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
        touches="people's servers use it from their next start",
    )
    yield environment
    target = f"{layout.versions.name}/{environment.prefix.name}"
    yield Link(path=layout.server, target=target, needs=(environment.id,))
    yield Generations(folder=layout.versions, label=LABEL, current=environment.prefix.name, needs=(f"link:{layout.server}",))
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
