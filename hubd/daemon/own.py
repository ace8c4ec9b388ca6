"""What everybody with a server may ask the daemon: to make an environment of their own, and to offer one to others.

All work on a person's files is done by programs that run as that person. The daemon itself reads what they report with
bounds, and looks at nothing in a home.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hubd.config.names import OWN_NAME, Package
from hubd.daemon.broker import OWN_FOLDER, person, policy_of
from hubd.errors import ExitCode, HubdError
from hubd.flow import published
from hubd.host import Host, files
from hubd.host.sockets import Message, Peer
from hubd.resources.job_report import read_report
from hubd.tools.job_limits import GIVES_WAY, JobLimits
from hubd.tools.lock import LONGEST_LOCK, parse_lock
from hubd.tools.program import Program
from hubd.tools.sandbox import server_properties
from hubd.words import plain

MANAGERS = ("conda", "rattler", "uv")
KERNELS = ("ipykernel", "r-irkernel", "irkernel")
MOST_PACKAGES = 500
LONGEST_PACKAGE = 500
POLL = 0.5
ALIVE: Message = {"alive": True}


class OwnEnvironments:
    """Answers people. host: a fresh view of the machine for each request. wake: asks for a pass, with a reason."""

    def __init__(self, host: Callable[[], Host], wake: Callable[[str], None]) -> None:
        self._host, self._wake = host, wake

    def answer(self, request: Message, peer: Peer) -> Iterator[Message]:
        """What goes on, and one last message with `done`; an error is an answer too."""
        try:
            yield {"heard": True}
            yield from self._do(request, peer)
        except HubdError as error:
            yield _done(error.code, {"error": {"what": error.what, "why": error.why, "fix": error.fix, "retry": error.retry}})
        except (KeyError, TypeError, ValueError) as error:
            told = {"what": "the request is not understood", "why": plain(str(error), 200), "fix": "", "retry": False}
            yield _done(ExitCode.USAGE, {"error": told})
        except OSError as error:  # a full disk
            told = {"what": "hubd could not do it", "why": error.strerror or str(error), "fix": "Try again later.", "retry": True}
            yield _done(ExitCode.FAILED, {"error": told})

    def _do(self, request: Message, peer: Peer) -> Iterator[Message]:
        host, who = self._host(), str(request.get("for") or peer.name)
        if peer.uid != 0 and who != peer.name:
            raise HubdError(f"{peer.name} may not do that for {plain(who, 40)}")
        if request["do"] == "withdraw":  # also by somebody who may make none any more
            yield from self._withdraw(host, who, request)
            return
        verbs = {"create": self._create, "request": self._request}
        asker = _Asker(host, who, by_root=peer.uid == 0)
        try:
            yield from verbs[request["do"]](host, asker, request)
        finally:
            host.forget()
            # It is the person's, and in the memory that all programs need a little of.
            if not host.init.look(asker.unit).is_going:
                files.clear(asker.folder)

    def _create(self, host: Host, asker: _Asker, request: Message) -> Iterator[Message]:
        name, manager = _name(request["name"]), request.get("manager") or asker.policy["own_manager"]
        packages = [str(each) for each in request["packages"]][: MOST_PACKAGES + 1]
        if manager not in MANAGERS:
            raise HubdError(f"there is no manager {plain(str(manager), 40)!r}", why=f"there are {', '.join(MANAGERS)}")
        if len(packages) > MOST_PACKAGES:
            raise HubdError(f"these are more than {MOST_PACKAGES} packages")
        for each in packages:
            _check(each)
        if not any(re.match(rf"{kernel}\b", each) for each in packages for kernel in KERNELS):
            packages.append("ipykernel")
        if "pip" not in packages and any(each.startswith("ipykernel") for each in packages):
            packages.append("pip")  # so that its maker can change it; not every manager brings it
        prefix = asker.home / OWN_FOLDER / name
        spec = {"do": "own", "prefix": str(prefix), "manager": manager, "packages": packages, **asker.room}
        if name in files.children(host.layout.envs):
            raise HubdError(f"{name} is an environment of this hub's already", fix="Choose another name.")
        yield from _run(host, asker, spec)
        yield _done(ExitCode.DONE, {"name": name, "path": str(prefix), "packages": packages})

    def _request(self, host: Host, asker: _Asker, request: Message) -> Iterator[Message]:
        name = _name(request["name"])
        if not asker.by_root:
            published.check_room(host.layout, asker.name, name)
        prefix, text_at = asker.home / OWN_FOLDER / name, asker.folder / "lock.yaml"
        asked = {"do": "own-lock", "prefix": str(prefix), "lock_file": str(text_at), "for": asker.name if asker.by_root else ""}
        yield from _run(host, asker, asked)
        data = files.read(text_at, follow=False, most=LONGEST_LOCK)
        if data is None:
            raise HubdError("the lock that was written is not there any more", retry=True)
        lock = parse_lock(data.decode())
        # The person could have written anything there: others are to get what can be had and checked by everybody.
        if unchecked := published.unchecked(lock):
            what = f"{plain(', '.join(unchecked[:5]), 200)} cannot be offered to others"
            fix = "Install it from a channel or PyPI, then ask again."
            raise HubdError(what, why="nobody can check what is downloaded", fix=fix)
        published.ask(host.layout, asker.name, name, data)
        self._wake(f"{asker.name} asks to offer {name!r} to others")  # status tells it from the next pass on
        count = len(lock.conda) + len(lock.pip)
        yield _done(ExitCode.DONE, {"owner": asker.name, "environment": name, "packages": count})

    def _withdraw(self, host: Host, who: str, request: Message) -> Iterator[Message]:
        name = _name(request["name"])
        published.withdraw(host.layout, who, name)
        self._wake(f"{who} does not ask to offer {name!r} any more")  # or status would go on telling it
        yield _done(ExitCode.DONE, {"owner": who, "environment": name})


class _Asker:
    """Somebody who may have environments of their own. Raises HubdError for anybody else.

    by_root: whether root asks for that person, to say yes at once.
    """

    def __init__(self, host: Host, name: str, *, by_root: bool) -> None:
        self.name, self.by_root, self.policy = name, by_root, policy_of(host)
        self.home = person(host, name, self.policy)
        if name not in self.policy.get("own", {}):
            fix = "Ask whoever runs this hub for what you need: they can add packages, or let your group make its own."
            raise HubdError(f"{name} may not make environments", why="no group of theirs has `environments: own`", fix=fix)
        self.room: Mapping[str, int] = self.policy["own"][name]
        self.folder = host.layout.run / "own" / name
        self.unit = f"hubd-own-{name}.service"


def _run(host: Host, asker: _Asker, more: Mapping[str, Any]) -> Iterator[Message]:
    """Run a job as the person and tell its phases. Raises HubdError when it fails."""
    if host.init.look(asker.unit).is_going:
        raise HubdError("something is being done to your environments already", fix="Wait until it is done.", retry=True)
    # The order lies beside the folder that is the person's, where nobody but root puts anything.
    report, order = asker.folder / "report.json", asker.folder.with_suffix(".json")
    files.make_directory(asker.folder.parent, mode=0o711)
    files.clear(asker.folder)
    files.make_directory(asker.folder, mode=0o700, owner=asker.name)
    limits, caches = JobLimits(**asker.policy["builds"]), asker.home / ".cache/hubd"
    spec = {
        "job": f"own-{asker.name}", "digest": "", "result": str(report), "limits": asdict(limits), "cache": str(caches),
        "uv": str(host.layout.hub / "bin/uv"), "pythons": str(asker.home / ".local/share/hubd/pythons"),
        "conda": asker.policy["own_conda"], "channels": asker.policy["own_channels"], "pip": [], "lock": "", "requirements": "",
        "source": None, "smoke": "python", "packages": [], "also_from": str(host.layout.packages), **more,
    }  # fmt: skip
    files.write_atomic(order, json.dumps(spec).encode(), mode=0o400, owner=asker.name)
    host.init.run(_program(host, asker, order, limits))
    told = ""
    while host.init.look(asker.unit).is_going:
        phase = str(read_report(report).get("phase") or "")
        yield {"event": {"kind": "job", "id": "own", "say": phase}} if phase and phase != told else ALIVE
        told = phase or told
        host.sleep(POLL)
        host.forget()
    _judge(read_report(report))


def _judge(said: Mapping[str, Any]) -> None:
    if said.get("state") == "failed":
        raise HubdError(str(said.get("what") or "it failed"), why=str(said.get("why") or ""), fix=str(said.get("fix") or ""))
    if said.get("state") != "done":
        why = f"it was ended while {said['phase']}" if said.get("phase") else "it came to no report"
        raise HubdError("it did not come to its end", why=why, fix="Try again; ask for fewer packages if it happens again.")


def _program(host: Host, asker: _Asker, order: Path, limits: JobLimits) -> Program:
    layout = host.layout
    hidden = (layout.state, layout.cache, layout.config_file)
    sandbox = server_properties(
        asker.home, homes=layout.homes, hidden=hidden, audiences=layout.audiences, writable=(asker.folder,)
    )  # fmt: skip
    return Program(
        name=asker.unit,
        description=f"environments of {asker.name}",
        argv=(str(layout.hub / "bin/python"), "-I", "-m", "hubd.jobs", str(order)),
        user=asker.name,
        directory=asker.home,
        environment=(("HOME", str(asker.home)), ("USER", asker.name)),
        environment_file=layout.state / "network.env",
        properties=(
            *sandbox,
            *limits.properties,
            *GIVES_WAY,
            ("SuccessExitStatus", "1"),
        ),
        restart=False,
        install=False,
    )  # fmt: skip


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(OWN_NAME, value):
        raise HubdError(f"{plain(str(value), 40)!r} cannot be the name of an environment", fix="Use letters, digits, - and _.")
    return value


def _check(package: str) -> None:
    try:
        if len(package) > LONGEST_PACKAGE:
            raise HubdError(f"{plain(package, 80)!r} is too long for a package", fix="Write it like numpy=2.1.")
        TypeAdapter(Package).validate_python(package)
    except ValidationError as error:
        raise HubdError(f"{plain(package, 80)!r} is not a package", fix="Write it like numpy=2.1.") from error


def _done(code: ExitCode, value: dict[str, Any]) -> Message:
    return {"done": value, "code": int(code)}
