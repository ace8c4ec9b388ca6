"""The admins' first passwords: set once, hashed, shown once."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from hubd.errors import HubdError, UsageError
from hubd.host import Host
from hubd.layout import HUB_ACCOUNT

# Letters and digits that are not taken for one another when they are read from a screen.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
SHORTEST = 7


def first_passwords(host: Host, admins: tuple[str, ...], given: Path | None) -> dict[str, str]:
    """Give each admin without a password one; returns those that were made up, to be shown once."""
    known = set(json.loads(_tool(host, "known").decode() or "[]"))
    word = read_given(given) if given else ""
    shown = {}
    for name in admins:
        if name not in known:
            password = word or made_up()
            _tool(host, "set", name, stdin=password.encode())
            if not word:
                shown[name] = password
    return shown


def read_given(path: Path) -> str:
    """The password in a file. Raises UsageError when it cannot be one."""
    try:
        text = path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the password file {path} cannot be read", why=str(error)) from error
    if len(text) < SHORTEST:
        raise UsageError(f"the password in {path} is too short", fix=f"Write at least {SHORTEST} characters.")
    return text


def made_up() -> str:
    """A password that can be read aloud: four groups of four, 79 bits."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


def _tool(host: Host, *words: str, stdin: bytes = b"") -> bytes:
    """The hub's own password tool, run as the hub's account."""
    layout = host.layout
    store = layout.hub_state / "passwords.dbm"
    argv = (str(layout.hub / "bin/python"), "-m", "hubd.hubside.passwords", "--store", str(store), *words)
    result = host.commands.run(argv, user=HUB_ACCOUNT, stdin=stdin, check=False, environment={"HOME": str(layout.hub_state)})
    if result.code != 0:
        raise HubdError("the admin's password could not be set", why=result.err.strip()[-300:])
    return result.out.encode()
