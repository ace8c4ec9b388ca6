"""Starts and stops people's servers on the hub's request. The hub names a person and a server; nothing else matters.

What is started, with which rights and limits, comes from the policy file that the last pass wrote. The protocol is
described in `hubd.hubside.spawner`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.host.sockets import Message, Peer
from hubd.layout import EVERYONE, HUB_ACCOUNT, USERS_GROUP, Layout
from hubd.resources.account import FIRST_PERSON
from hubd.resources.service import telling_line
from hubd.tools.program import Program, environment_file_text
from hubd.tools.sandbox import server_properties, unit_name
from hubd.words import plain

# What the hub may say to a server. Anything else could change what the server's programs are.
ALLOWED = re.compile(r"(JUPYTERHUB|JPY|MEM|CPU)_[A-Z0-9_]{1,60}|LANG|LC_[A-Z]{1,20}|TZ")
# Where a person's own environments are, in the home.
OWN_FOLDER = "envs"
# It names the program that the server is.
REFUSED = frozenset({"JUPYTERHUB_SINGLEUSER_APP"})


class Broker:
    """Answers the hub. host: a fresh view of the machine for each request."""

    def __init__(self, host: Callable[[], Host]) -> None:
        self._host = host

    def answer(self, request: Message, peer: Peer) -> Iterator[Message]:
        """One answer to one request; an error is an answer too."""
        try:
            yield {"ok": True, **self._do(request, peer)}
        except HubdError as error:
            yield {"ok": False, "error": f"{error.what}. {error.fix}".strip(), "retry": error.retry}
        except (KeyError, TypeError, ValueError) as error:
            yield {"ok": False, "error": f"The request is not understood: {plain(str(error), 200)}", "retry": False}
        except OSError as error:  # a full disk
            yield {"ok": False, "error": f"hubd could not do it: {error.strerror or error}", "retry": True}

    def _do(self, request: Message, peer: Peer) -> dict[str, Any]:
        host = self._host()
        hub = host.accounts.get(HUB_ACCOUNT)
        if peer.uid != 0 and (hub is None or peer.uid != hub.uid):
            raise HubdError(f"Only the hub may ask for servers, not {peer.name}")
        user, server = str(request["user"]), str(request.get("server") or "")
        unit = unit_name(user, server)
        verb = request["do"]
        if verb == "start":
            return _start(host, unit, user, request)
        if verb == "stop":
            host.init.stop(unit)
            files.remove(_environment_file(host, unit))
            return {"status": 0}
        if verb == "poll":
            return _poll(host, unit)
        raise ValueError(f"no such request: {verb}")


def _start(host: Host, unit: str, user: str, request: Message) -> dict[str, Any]:
    policy = policy_of(host)
    home = person(host, user, policy)
    audiences = (EVERYONE, *(name for name, members in policy["audiences"].items() if user in members))
    folders = tuple(map(host.layout.audience, audiences))
    variables = _variables(request["env"], policy, user, home)
    variables.append(("JUPYTER_PATH", ":".join(map(str, folders))))
    if user in policy.get("own", {}):
        own = own_variables(host.layout, home, policy["own_conda"], dict(variables))
        variables = list({**dict(variables), **own}.items())
    path = _environment_file(host, unit)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_atomic(path, environment_file_text(variables).encode(), mode=0o600)
    program = Program(
        name=unit,
        description=f"JupyterLab of {user}",
        argv=(*policy["argv"], *_default_kernel(policy, audiences)),
        user=user,
        directory=home,
        environment_file=path,
        properties=server_properties(
            home,
            homes=host.layout.homes,
            hidden=(host.layout.state, host.layout.cache, host.layout.config_file),
            audiences=host.layout.audiences,
            offered=folders,
            memory=policy["memory"],
            cpu=policy["cpu"],
        ),
        restart=False,
        install=False,
    )
    if host.init.look(unit).is_going:
        host.init.stop(unit)
    host.init.run(program)
    return {"status": None}


def person(host: Host, user: str, policy: Mapping[str, Any]) -> Path:
    """The home of somebody who may have a server. Raises HubdError for anybody else."""
    if user not in policy["people"]:
        raise HubdError(f"{user} is not on this hub's list of people", fix="Ask the person who runs this hub.")
    account = host.accounts.get(user)
    if account is None or user not in (host.accounts.members(USERS_GROUP) or ()):
        raise HubdError(f"The account of {user} is still being made", fix="Try again in a moment.", retry=True)
    # A home elsewhere, such as the root of all, would be put whole into the server's view.
    at_home = host.layout.homes in account.home.parents and ".." not in account.home.parts
    if account.uid < FIRST_PERSON or account.closed or not at_home:
        raise HubdError(f"The account of {user} may not have a server")
    return account.home


def _variables(asked: Any, policy: Mapping[str, Any], user: str, home: Path) -> list[tuple[str, str]]:
    if not isinstance(asked, dict):
        raise TypeError("env is not an object")
    allowed = {name: str(value) for name, value in asked.items() if ALLOWED.fullmatch(name) and name not in REFUSED}
    limits = {"MEM_LIMIT": policy["memory"], "CPU_LIMIT": policy["cpu"]}
    told = {name: str(value) for name, value in limits.items() if value is not None}
    person = {"HOME": str(home), "USER": user, "LOGNAME": user}
    return list({**allowed, **told, **policy["environment"], **person}.items())


def own_variables(layout: Layout, home: Path, conda: str, known: Mapping[str, str]) -> dict[str, str]:
    """What somebody needs who may make environments: the programs, and where they go."""
    envs = home / OWN_FOLDER
    return {
        "PATH": f"{known['PATH']}:{conda}/condabin",
        "HUBD_OWN_ENVIRONMENTS": f"{envs}:{home / '.conda/envs'}",
        "CONDA_ENVS_DIRS": str(envs),
        # What the hub has is not downloaded; conda writes into the first.
        "CONDA_PKGS_DIRS": f"{home / '.conda/pkgs'},{layout.packages}",
    }


def _default_kernel(policy: Mapping[str, Any], audiences: Collection[str]) -> Iterator[str]:
    """The word for what a new notebook gets: the first kernel that this person is offered."""
    for name, offered in policy["kernels"].items():
        if not set(offered).isdisjoint(audiences):
            yield f"--MultiKernelManager.default_kernel_name={name}"
            return


def _poll(host: Host, unit: str) -> dict[str, Any]:
    state = host.init.look(unit)
    if state.is_going:
        return {"status": None}
    return {"status": 1, "why": telling_line(host.init.log(unit, lines=20))}


def policy_of(host: Host) -> dict[str, Any]:
    """What the last pass decided about people's servers. Raises HubdError before the first one."""
    data = files.read(host.layout.servers_policy)
    if data is None:
        raise HubdError("This hub is not set up yet", fix="Try again in a moment.", retry=True)
    return dict(json.loads(data))


def _environment_file(host: Host, unit: str) -> Path:
    return host.layout.run / "servers" / f"{unit}.env"
