"""A file that a person finds at home, and may change or replace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.resources.account import run_as_person
from hubd.resources.base import Resource, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFile(Resource):
    """A file that is made where nothing is, as that person: root never writes where somebody else can place links.

    meaning: what is in it, in a few words. Whatever lies there already, of whatever kind, is that person's own affair.
    """

    kind = "home-file"

    account: str
    file: str
    text: str
    meaning: str

    @property
    def name(self) -> str:
        return f"{self.account}/{self.file}"

    def observe(self, host: Host) -> bool:
        """Whether there is something, or no home that is this person's to put it into."""
        account = host.accounts.get(self.account)
        home = files.look(account.home, names=False) if account else None
        if account is None or home is None or (home.kind == "directory" and home.uid != account.uid):
            return True
        return files.look(account.home / self.file, names=False) is not None

    def steps(self, seen: bool) -> tuple[Step, ...]:
        if seen:
            return ()
        return (Step(f"write {self.file} into {self.account}'s home ({self.meaning})", self._make),)

    def _make(self, host: Host) -> None:
        account = host.accounts.get(self.account)
        if account is None:
            raise HubdError(f"there is no account {self.account}")
        target = account.home / self.file
        # A name that nobody could put something else at before.
        aside = Path(f"{target}.hubd-{secrets.token_hex(8)}")
        # A link to the whole of it, which is refused where its maker was faster, or there is no room for all of it.
        for argv, stdin in (
            (("dd", f"of={aside}", "conv=excl", "status=none"), self.text.encode()),
            (("ln", "-T", "--", str(aside), str(target)), b""),
            (("rm", "-f", "--", str(aside)), b""),
        ):
            run_as_person(host, account, argv, stdin=stdin)
