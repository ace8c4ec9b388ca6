"""The account programs of the distribution: argv tuples. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable

Argv = tuple[str, ...]

MADE_BY_HUBD = "made by hubd"


def add_person(name: str, *, homes: str) -> Argv:
    """An account with a private home and no password: people sign in through the hub."""
    return (
        "useradd", "--create-home", "--base-dir", homes, "--shell", "/bin/bash", "--user-group",
        "--comment", MADE_BY_HUBD, "--key", "HOME_MODE=0700", "--", name,
    )  # fmt: skip


def add_system_account(name: str, *, home: str) -> Argv:
    """An account that only runs services."""
    return (
        "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell",
        "/usr/sbin/nologin", "--comment", MADE_BY_HUBD, "--", name,
    )  # fmt: skip


def add_group(name: str) -> Argv:
    """A system group."""
    return ("groupadd", "--system", "--", name)


def add_own_group(name: str, gid: int) -> Argv:
    """The group that belongs to an account and that has its number already."""
    return ("groupadd", "--gid", str(gid), "--", name)


def add_shadow_entries() -> Argv:
    """An entry in the shadow file, without a password, for each account that has none there."""
    return ("pwconv",)


def delete_group(name: str) -> Argv:
    """Remove a group; files keep its number."""
    return ("groupdel", "--", name)


def set_members(group: str, members: Iterable[str]) -> Argv:
    """Exactly these members and no other."""
    return ("gpasswd", "--members", ",".join(members), group)


def close_account(name: str) -> Argv:
    """No sign-in of any kind (password, key, cron) from now on; the home stays."""
    return ("usermod", "--lock", "--expiredate", "1", "--", name)


def open_account(name: str) -> Argv:
    """Undo `close_account`; an account without a password stays without one."""
    return ("usermod", "--expiredate", "", "--", name)
