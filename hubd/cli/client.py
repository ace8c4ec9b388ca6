"""Asks the daemon, and knows whether there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hubd.errors import ExitCode, HubdError
from hubd.host.sockets import ask
from hubd.layout import Layout

Told = Mapping[str, Any]


def daemon_answers(layout: Layout) -> bool:
    """Whether a daemon listens. Raises HubdError when it does and this account may not talk to it."""
    import socket

    if not layout.socket.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(layout.socket))
        except PermissionError:
            raise HubdError("you may not ask hubd", why=f"{layout.socket} is for root and hub admins", fix="Use sudo.") from None
        except OSError:
            return False
    return True


def talk(layout: Layout, request: Told, hear: Callable[[Told], None] | None = None) -> tuple[ExitCode, dict[str, Any]]:
    """Send a request, pass events on to `hear`, and return the exit code and the last answer."""
    for message in messages(layout, request):
        if "done" in message:
            return ExitCode(int(message["code"])), dict(message["done"])
        if hear and "event" in message:
            hear(message["event"])
    raise HubdError("the daemon ended before it answered", fix="Look at it: hubd logs hubd", retry=True)


def messages(layout: Layout, request: Told) -> Iterator[Told]:
    """Every message of the daemon's answer."""
    try:
        yield from ask(layout.socket, request)
    except OSError as error:
        raise HubdError(
            "the connection to the daemon broke", why=str(error), fix="Look at it: hubd logs hubd", retry=True
        ) from error
