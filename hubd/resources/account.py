"""Accounts: people's, and those that only run services."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubd.errors import CommandFailed, HubdError
from hubd.host import Host, files
from hubd.host.accounts import Account
from hubd.resources.base import Memo, Progress, Resource, Step
from hubd.tools import accounts

FIRST_PERSON = 1000
# Seconds for a program that runs as a person, who can stop it.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAccount(Resource):
    """An account without sign-in that services run as."""

    kind = "system-account"
    lane = "accounts"

    account: str
    home: Path

    @property
    def name(self) -> str:
        return self.account

    def observe(self, host: Host) -> Account | None:
        return host.accounts.get(self.account)

    def steps(self, seen: Account | None) -> tuple[Step, ...]:
        if seen:
            return _completion(seen)
        argv = accounts.add_system_account(self.account, home=str(self.home))
        return (Step(f"make the system account {self.account}", lambda host: _run(host, argv)),)


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """account: None where there is none. home: what lies where its home should be."""

    account: Account | None
    home: files.Found | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person(Resource):
    """A person's account with a private home. An account that was there before is taken over as it is."""

    kind = "person"
    lane = "accounts"

    account: str
    homes: Path

    @property
    def name(self) -> str:
        return self.account

    def observe(self, host: Host) -> SeenPerson:
        account = host.accounts.get(self.account)
        return SeenPerson(account, files.look(account.home, names=False) if account else None)

    def steps(self, seen: SeenPerson) -> tuple[Step, ...]:
        if seen.account is None:
            argv = accounts.add_person(self.account, homes=str(self.homes))
            return (Step(f"make the account {self.account}", lambda host: _run(host, argv)),)
        if seen.account.uid < FIRST_PERSON or not self._may_close(seen.account.home):
            return ()
        steps = [*_completion(seen.account)]
        if seen.account.closed:
            argv = accounts.open_account(self.account)
            steps.append(Step(f"open the account {self.account} again", lambda host: _run(host, argv)))
        home = seen.account.home
        if seen.home is None:
            steps.append(Step(f"make the home {home}", lambda host: _make_home(home, self.account)))
        elif seen.home.kind == "directory" and seen.home.mode != 0o700:
            steps.append(Step(f"close the home {home} to others", lambda host: files.set_access(home, mode=0o700)))
        return tuple(steps)

    def progress(self, seen: SeenPerson) -> Progress | None:
        if seen.account is None:
            return None
        if seen.account.uid >= FIRST_PERSON:
            return None if self._may_close(seen.account.home) else self._elsewhere(seen.account.home)
        error = HubdError(
            f"{self.account} cannot be a person of this hub",
            why=f"it is an account of the system (number {seen.account.uid})",
            fix="Choose another name in config.yaml.",
        )
        return Progress("not possible", error)

    def _may_close(self, home: Path) -> bool:
        """Whether this is a home as people have one: an account's home can be any folder, even the root of all."""
        return self.homes in home.parents and ".." not in home.parts

    def _elsewhere(self, home: Path) -> Progress:
        move = f"usermod --move-home --home {self.homes}/{self.account} {self.account}"
        error = HubdError(
            f"{self.account} cannot be a person of this hub",
            why=f"the home of that account is {home}, which is not below {self.homes}",
            fix=f"Choose another name, or give the account a home of its own: {move}",
        )
        return Progress("not possible", error)

    def memo(self) -> Memo | None:
        return {"account": self.account}

    @classmethod
    def gone(cls, memo: Memo) -> Resource | None:
        return ClosedPerson(account=memo["account"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPerson(Resource):
    """Somebody who is no longer on the list: cannot sign in; the home and everything in it stays.

    Only an account that hubd made is closed; one that was there before keeps what it had without hubd.
    """

    kind = "closed-person"
    lane = "accounts"

    account: str

    @property
    def name(self) -> str:
        return self.account

    def observe(self, host: Host) -> Account | None:
        return host.accounts.get(self.account)

    def steps(self, seen: Account | None) -> tuple[Step, ...]:
        if seen is None or seen.closed or not seen.comment.startswith(accounts.MADE_BY_HUBD):
            return ()
        argv = accounts.close_account(self.account)
        return (Step(f"close the account {self.account}; its home stays", lambda host: _run(host, argv)),)


@dataclass(frozen=True, slots=True)
class SeenFolder:
    """folder: what lies there. stranger: who owns `home`, where that is not the account, whose number is `uid`."""

    folder: files.Found | None = None
    stranger: str = ""
    home: Path = Path()
    uid: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFolder(Resource):
    """A folder in a person's home, made as that person: root never writes where somebody else can place links.

    It also tells of a home that is another account's, because nothing else waits for this resource: one such home must not
    keep everybody from the hub.
    """

    kind = "home-folder"

    account: str
    folder: str

    @property
    def name(self) -> str:
        return f"{self.account}/{self.folder}"

    def observe(self, host: Host) -> SeenFolder:
        account = host.accounts.get(self.account)
        if account is None:
            return SeenFolder()
        home = files.look(account.home, names=False)
        # A link is somebody's own arrangement.
        if home and home.kind == "directory" and home.uid != account.uid:
            return SeenFolder(stranger=_who(home.uid), uid=account.uid, home=account.home)
        return SeenFolder(files.look(account.home / self.folder, names=False))

    def steps(self, seen: SeenFolder) -> tuple[Step, ...]:
        if seen.folder is not None or seen.stranger:
            return ()
        return (Step(f"make the folder {self.folder} in {self.account}'s home", self._make),)

    def progress(self, seen: SeenFolder) -> Progress | None:
        if not seen.stranger:
            return None
        # Never by itself: what is in there may be the data of whoever had that number.
        error = HubdError(
            f"the home of {self.account} is not {self.account}'s",
            why=f"{seen.home} belongs to {seen.stranger}, and {self.account} is the number {seen.uid}",
            fix=f"If what is in it is {self.account}'s: chown -R -h {self.account}: {seen.home}   "
            f"If not, move it away and hubd makes a new one: mv {seen.home} {seen.home}.old",
        )
        return Progress("not possible", error)

    def _make(self, host: Host) -> None:
        account = host.accounts.get(self.account)
        if account is None:
            raise HubdError(f"there is no account {self.account}")
        run_as_person(host, account, ("mkdir", "-p", "-m", "0700", "--", str(account.home / self.folder)))


def run_as_person(host: Host, account: Account, argv: tuple[str, ...], *, stdin: bytes = b"") -> None:
    """Run a program as a person. Raises HubdError when it fails, or takes long.

    The program is that person's, who can stop it, and hold its outputs open and write into them: nobody listens or waits long.
    """
    try:
        host.commands.run(argv, user=account.name, stdin=stdin, mute=True, timeout=PATIENCE)
    except CommandFailed as error:
        fix = f"See why it cannot (a full disk, a quota): runuser -u {account.name} -- touch {account.home}/try"
        what = f"hubd could not write into {account.home} as {account.name}"
        raise HubdError(what, why=error.what, fix=fix, retry=True) from error


def _run(host: Host, *argvs: tuple[str, ...]) -> None:
    try:
        for argv in argvs:
            host.commands.run(argv)
    finally:
        host.accounts.forget()


def _completion(account: Account) -> tuple[Step, ...]:
    """What a killed useradd left to do: it writes one file after the other."""
    argvs = {"group": accounts.add_own_group(account.name, account.gid), "shadow": accounts.add_shadow_entries()}
    missing = [argv for name, argv in argvs.items() if name in account.lacks]
    if not missing:
        return ()
    return (Step(f"complete the account {account.name}, which was half made", lambda host: _run(host, *missing)),)


def _who(uid: int) -> str:
    name = files.owner_name(uid)
    return f"the number {name}, which is no account" if name.isdigit() else f"{name} (number {uid})"


def _make_home(home: Path, account: str) -> None:
    files.make_directory(home, mode=0o700, owner=account, group=account)
