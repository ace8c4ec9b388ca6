"""Asks the daemon, and knows whether there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hubd.errors import ExitCode, HubdError
from hubd.host.sockets import ask
from hubd.layout import ADMINS_GROUP, Layout

# A daemon that is well answers at once that it has heard; what it does then may take as long as it takes.
PATIENCE = 15.0

Told = Mapping[str, Any]


def daemon_answers(layout: Layout) -> bool:
    """Whether a daemon listens. Raises HubdError when it does and this account may not talk to it."""
    import socket

    if not layout.socket.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(layout.socket))
        except PermissionError:
            why, fix = f"{layout.socket} is for root and hub admins", "Use sudo, or ask whoever runs this hub."
            raise HubdError("you may not ask hubd", why=why, fix=fix) from None
        except (TimeoutError, BlockingIOError):  # many wait already: it listens, and takes no connection
            raise _silent() from None
        except OSError:
            return False
    return True


def talk(
    layout: Layout, request: Told, hear: Callable[[Told], None] | None = None, *, door: Path | None = None
) -> tuple[ExitCode, dict[str, Any]]:
    """Send a request, pass events on to `hear`, and return the exit code and the last answer. door: another socket."""
    for message in messages(layout, request, door=door):
        if "done" in message:
            return ExitCode(int(message["code"])), dict(message["done"])
        if hear and "event" in message:
            hear(message["event"])
    raise HubdError("the daemon ended before it answered", fix="Look at it: hubd logs hubd", retry=True)


def messages(layout: Layout, request: Told, *, door: Path | None = None) -> Iterator[Told]:
    """Every message of the daemon's answer. Raises HubdError when it does not even say that it has heard."""
    later = PATIENCE if request.get("do") == "status" else None
    try:
        for message in ask(door or layout.socket, request, first=PATIENCE, timeout=later):
            if message.get("ok") is False:
                raise HubdError(str(message.get("error")), retry=bool(message.get("retry")))
            if not {"heard", "alive"} & message.keys():
                yield message
    except (TimeoutError, BlockingIOError):
        raise _silent() from None
    except (FileNotFoundError, ConnectionRefusedError):  # a daemon that was stopped leaves its socket behind
        raise not_running() from None
    except OSError as error:
        raise HubdError(
            "the connection to the daemon broke", why=str(error), fix="Look at it: hubd logs hubd", retry=True
        ) from error


def not_running() -> HubdError:
    """No daemon runs, and what is asked for is done by one alone."""
    fix = f"Start it: {how_to_start()}" if _may_start() else "Ask whoever runs this hub to start it."
    return HubdError("hubd is not running", why="nobody listens at its socket", fix=fix, retry=True)


def how_to_start() -> str:
    """The command that starts the daemon on this machine."""
    from hubd.host.host import has_systemd

    return "systemctl start hubd" if has_systemd() else "hubd daemon"


def _may_start() -> bool:
    """Whether this account is root's, or a hub admin's, who has sudo."""
    import grp

    try:
        return os.geteuid() == 0 or grp.getgrnam(ADMINS_GROUP).gr_gid in os.getgroups()
    except KeyError:
        return False


def _silent() -> HubdError:
    return HubdError(
        "hubd does not answer",
        why=f"it runs, and said nothing for {PATIENCE:.0f} seconds",
        fix="Look what it does: hubd logs hubd   Start it anew: systemctl restart hubd (servers and kernels go on)",
        retry=True,
    )
