"""The admins' first passwords: set once, hashed, shown once."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from hubd.errors import HubdError, UsageError
from hubd.host import Host, files
from hubd.layout import HUB_ACCOUNT, Layout

# Letters and digits that are not taken for one another when they are read from a screen.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
SHORTEST = 7


def first_passwords(host: Host, admins: tuple[str, ...], given: Path | None) -> dict[str, str]:
    """Give each admin without a password one; returns those that were made up, to be shown until `forget_shown`.

    What is still to be shown is kept in a file for root alone: an installation that is killed in between shows it in
    its next run, when it can no longer be had from its hash.
    """
    known = set(json.loads(_tool(host, "known").decode() or "[]"))
    word = read_given(given) if given else ""
    pending = _pending(host.layout)
    for name in admins:
        if name not in known:
            password = word or pending.setdefault(name, made_up())
            if not word:
                files.write_atomic(_pending_file(host.layout), json.dumps(pending).encode(), mode=0o600)
            _tool(host, "set", name, stdin=password.encode())
    return {name: password for name, password in pending.items() if name in admins}


def forget_shown(layout: Layout) -> None:
    """The made up passwords have been shown: nothing keeps them any longer."""
    files.remove(_pending_file(layout))


def _pending_file(layout: Layout) -> Path:
    return layout.secrets / "first-passwords.json"


def _pending(layout: Layout) -> dict[str, str]:
    try:
        return dict(json.loads(files.read(_pending_file(layout)) or b"{}"))
    except (ValueError, TypeError):
        return {}


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
