"""Accounts and groups of the machine, read once and kept until something changes them. Changes nothing."""

from __future__ import annotations

import grp
import pwd
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """One account. closed: its expiry date has passed. comment: the full-name field.

    lacks: `shadow` and `group` where that file does not know it: what a program that was killed while it made it leaves.
    """

    name: str
    uid: int
    gid: int
    home: Path
    comment: str
    closed: bool
    lacks: frozenset[str] = frozenset()


class Accounts:
    """A snapshot of the machine's accounts and groups; `forget` makes the next question look again."""

    def __init__(self, shadow: Path = Path("/etc/shadow")) -> None:
        self._shadow = shadow
        self._people: dict[str, Account] | None = None
        self._groups: dict[str, frozenset[str]] | None = None
        # A look that has begun before a change must not be kept after it.
        self._guard = threading.Lock()

    def forget(self) -> None:
        """Look at the machine again at the next question."""
        with self._guard:
            self._people = self._groups = None

    def get(self, name: str) -> Account | None:
        """The account called `name`, or None."""
        with self._guard:
            if self._people is None:
                self._people = self._everybody()
            return self._people.get(name)

    def members(self, group: str) -> frozenset[str] | None:
        """The members of a group (primary members not counted), or None where there is no such group."""
        with self._guard:
            if self._groups is None:
                self._groups = {entry.gr_name: frozenset(entry.gr_mem) for entry in grp.getgrall()}
            return self._groups.get(group)

    def _everybody(self) -> dict[str, Account]:
        rows = self._shadow_rows()
        expired, groups = _expired(rows), {entry.gr_gid for entry in grp.getgrall()}

        def lacks(entry: pwd.struct_passwd) -> frozenset[str]:
            known = {"group": entry.pw_gid in groups, "shadow": not rows or entry.pw_name in rows}
            return frozenset(name for name, there in known.items() if not there)

        return {
            entry.pw_name: Account(
                entry.pw_name,
                entry.pw_uid,
                entry.pw_gid,
                Path(entry.pw_dir),
                entry.pw_gecos,
                entry.pw_name in expired,
                lacks(entry),
            )
            for entry in pwd.getpwall()
        }

    def _shadow_rows(self) -> dict[str, list[str]]:
        # The `spwd` module is gone in Python 3.13, so the file is read directly.
        try:
            lines = self._shadow.read_text(errors="replace").splitlines()
        except OSError:
            return {}
        return {row[0]: row for row in (line.split(":") for line in lines)}


def _expired(rows: Mapping[str, list[str]]) -> frozenset[str]:
    """Whose last day has come. The eighth field is a count of days."""
    today = time.time() // 86400
    return frozenset(name for name, row in rows.items() if len(row) > 7 and row[7].isdigit() and int(row[7]) <= today)
