"""What everything else stands on: folders, service accounts, groups, sudo for admins, and hubd's own unit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hubd.hooks import Notice, Wanted, hookimpl
from hubd.layout import ADMINS_GROUP, BUILD_ACCOUNT, DAEMON_UNIT, HUB_ACCOUNT, PROXY_ACCOUNT, USERS_GROUP, Layout
from hubd.resources.account import SystemAccount
from hubd.resources.base import Resource
from hubd.resources.directory import Directory
from hubd.resources.file import ClosedFile, File
from hubd.resources.group import Group, Members
from hubd.resources.link import Link
from hubd.resources.package import Packages
from hubd.resources.reports import Reports
from hubd.resources.solving import LeftSolves
from hubd.resources.unit import Unit
from hubd.tools.program import Program

SUDOERS = Path("/etc/sudoers.d/hubd")
COMMAND = Path("/usr/local/bin/hubd")
ENV_COMMAND = Path("/usr/local/bin/hubd-env")
# People's accounts have no password that sudo could ask for: they sign in through the hub or with a key.
SUDO_RULE = f"%{ADMINS_GROUP} ALL=(ALL:ALL) NOPASSWD: ALL\n"


@hookimpl
def hubd_resources(wanted: Wanted) -> Iterable[Resource]:
    layout = wanted.layout
    accounts = ((HUB_ACCOUNT, layout.hub_state), (PROXY_ACCOUNT, layout.proxy_state), (BUILD_ACCOUNT, layout.cache))
    for account, home in accounts:
        yield SystemAccount(account=account, home=home)
    # The hub writes its routes so that the proxy can read them.
    yield Members(
        group=PROXY_ACCOUNT, members=frozenset({HUB_ACCOUNT}),
        needs=(f"system-account:{HUB_ACCOUNT}", f"system-account:{PROXY_ACCOUNT}"),
    )  # fmt: skip
    yield Group(group=ADMINS_GROUP)
    yield Group(group=USERS_GROUP)
    yield ClosedFile(path=layout.config_file, group=ADMINS_GROUP, needs=(f"group:{ADMINS_GROUP}",))
    yield from _folders(layout)
    yield LeftSolves(needs=(f"directory:{layout.reports}", f"directory:{layout.jobs}"))
    yield Reports(needs=(f"directory:{layout.reports}", f"directory:{layout.jobs}"))
    yield Packages(label="base", packages=("sudo",))
    yield File(path=SUDOERS, content=SUDO_RULE.encode(), mode=0o440, meaning="sudo for admins", needs=("packages:base",))
    yield Link(path=COMMAND, target=str(layout.hub / "bin/hubd"))
    yield Link(path=ENV_COMMAND, target=str(layout.hub / "bin/hubd-env"))
    if wanted.systemd:
        yield Unit(unit=daemon(wanted.hub, layout), needs=(f"directory:{layout.state}",))


def daemon(hub: Path, layout: Layout) -> Program:
    """hubd itself. Type notify: started means that it has looked at the machine once."""
    return Program(
        name=DAEMON_UNIT,
        description="hubd keeps this JupyterHub as config.yaml says",
        argv=(str(hub / "bin/python"), "-m", "hubd.cli", "--prefix", str(layout.prefix), "daemon"),
        kind="notify",
        environment_file=layout.state / "network.env",
        relations=(("After", "network-online.target"), ("Wants", "network-online.target"), ("StartLimitIntervalSec", "0")),
        properties=(
            ("NotifyAccess", "main"),
            ("WatchdogSec", "120"),
            ("TimeoutStartSec", "120"),
            ("TimeoutStopSec", "100"),
            # Its children are only short commands; servers, jobs, hub and proxy are units of their own.
            ("KillMode", "mixed"),
            ("RuntimeDirectory", "hubd"),
            ("RuntimeDirectoryMode", "0755"),
            ("RuntimeDirectoryPreserve", "yes"),
            # Each question it answers may hold a connection and a program with its pipes.
            ("LimitNOFILE", "16384"),
            ("OOMScoreAdjust", "-500"),
        ),
    )


@hookimpl
def hubd_notices(wanted: Wanted) -> Iterable[Notice]:
    if not wanted.systemd:
        yield Notice(
            "PID 1 is not systemd: hubd runs the hub and the proxy itself; sandboxes and limits are not enforced, and "
            "nothing starts at boot",
            "Use a machine with systemd for anything but a trial.",
        )


def _folders(layout: Layout) -> Iterable[Directory]:
    def below(parent: Path, path: Path, mode: int, owner: str = "root", group: str = "root") -> Directory:
        needs: tuple[str, ...] = () if parent == layout.prefix.parent else (f"directory:{parent}",)
        if owner != "root" or group != "root":
            account = owner if owner != "root" else group
            needs += (f"system-account:{account}",)
        return Directory(path=path, mode=mode, owner=owner, group=group, needs=needs)

    prefix, state, cache = layout.prefix, layout.state, layout.cache
    yield below(prefix.parent, prefix, 0o755)
    for path in (layout.versions, layout.envs, layout.audiences, layout.config_d):
        yield below(prefix, path, 0o755)
    # Others may pass through to what is theirs below, and see nothing.
    yield below(prefix, state, 0o711)
    yield below(state, layout.facts, 0o700)
    yield below(state, layout.jobs, 0o711)
    yield below(state, layout.secrets, 0o700)
    yield below(state, layout.hub_state, 0o700, HUB_ACCOUNT, HUB_ACCOUNT)
    yield below(state, layout.proxy_state, 0o711)
    # The hub writes its routes here and nobody else's files: the sticky bit keeps it from replacing hubd's own.
    yield below(layout.proxy_state, layout.proxy_rules, 0o3770, "root", PROXY_ACCOUNT)
    yield below(prefix, cache, 0o700, BUILD_ACCOUNT, BUILD_ACCOUNT)
    # Each build reports into a folder of its own in here, which hubd makes.
    yield below(state, layout.reports, 0o711)
