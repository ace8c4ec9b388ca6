"""Who the running JupyterHub knows: users, hub admins and groups, kept through its REST API, never by a restart."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.errors import HubdError
from hubd.host import Host, files
from hubd.layout import HUB_ACCOUNT, HUB_UNIT
from hubd.resources.base import Progress, Resource, Step
from hubd.words import named, plain

# The hub answers nobody else while it takes a batch in, about 10 ms for each person.
BATCH = 50
PAGE = 1000
MOST = 100_000


@dataclass(frozen=True, slots=True)
class SeenPeople:
    """users: name to whether it is a hub admin. groups: name to members. why: set when the hub could not be asked."""

    users: Mapping[str, bool] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPeople(Resource):
    """Exactly these users, admins and groups in the hub.

    api: the address of the hub's API. token: the file that holds hubd's own token for it.
    """

    kind = "hub-people"

    api: str
    token: Path
    users: Mapping[str, bool]
    groups: Mapping[str, frozenset[str]]

    @property
    def name(self) -> str:
        return "all"

    def observe(self, host: Host) -> SeenPeople:
        try:
            users = {user["name"]: bool(user["admin"]) for user in self._pages(host, "users")}
            groups = {group["name"]: frozenset(group["users"]) for group in self._pages(host, "groups")}
        except HubdError as error:
            return SeenPeople(why=str(error))
        except (ValueError, LookupError, TypeError) as error:
            return SeenPeople(why=f"what answers there is not the hub ({type(error).__name__})")
        return SeenPeople(users, groups)

    def steps(self, seen: SeenPeople) -> tuple[Step, ...]:
        if seen.why:
            return ()
        return (*self._user_steps(seen), *self._group_steps(seen))

    def progress(self, seen: SeenPeople) -> Progress | None:
        if not seen.why:
            return None
        return Progress("the hub cannot be asked", HubdError("the hub cannot be asked who it knows", why=seen.why, retry=True))

    def _user_steps(self, seen: SeenPeople) -> Iterable[Step]:
        for admin in (True, False):
            new = sorted(name for name, is_admin in self.users.items() if is_admin == admin and name not in seen.users)
            for batch in (new[start : start + BATCH] for start in range(0, len(new), BATCH)):
                who = "hub admins" if admin else "people"
                yield self._step(f"let {named(batch)} sign in as {who}", "POST", "users", usernames=batch, admin=admin)
        for name, is_admin in sorted(seen.users.items()):
            wanted = self.users.get(name)
            if wanted is None:
                yield self._step(f"take {plain(name)} off the hub: no sign-in, server stopped", "DELETE", _path("users", name))
            elif wanted != is_admin:
                verb = "make {} a hub admin" if wanted else "take hub admin from {}"
                yield self._step(verb.format(name), "PATCH", f"users/{name}", admin=wanted)

    def _group_steps(self, seen: SeenPeople) -> Iterable[Step]:
        for group, members in sorted(self.groups.items()):
            before = seen.groups.get(group)
            if before is None:
                yield self._step(f"make the hub group {group}", "POST", f"groups/{group}")
            gained = sorted(members - (before or frozenset()))
            # Who is taken off the hub leaves all groups with that; asking again would be refused.
            lost = sorted(((before or frozenset()) - members) & self.users.keys())
            if gained:
                yield self._step(f"add {named(gained)} to the hub group {group}", "POST", f"groups/{group}/users", users=gained)
            if lost:
                yield self._step(
                    f"take {named(lost)} out of the hub group {group}", "DELETE", f"groups/{group}/users", users=lost
                )
        for group in sorted(seen.groups.keys() - self.groups.keys()):
            yield self._step(f"remove the hub group {plain(group)}", "DELETE", _path("groups", group))

    def _step(self, say: str, method: str, path: str, **body: Any) -> Step:
        return Step(say, lambda host: self._ask(host, method, path, body or None))

    def _pages(self, host: Host, what: str) -> Iterator[dict[str, Any]]:
        # One page after the other and not all together: what a hub tells of its people can be large.
        found = 0
        while found < MOST:
            page = self._ask(host, "GET", f"{what}?limit={PAGE}&offset={found}")
            items = page if isinstance(page, list) else page["items"]
            yield from items
            found += len(items)
            if len(items) < PAGE:
                return
        raise HubdError("the hub cannot be asked who it knows", why=f"it names more than {MOST} {what}")

    def _ask(self, host: Host, method: str, path: str, body: Any = None) -> Any:
        # The hub owns that folder: a link there must not make root read, and tell the hub, some other file.
        self._refuse_strangers(host)
        token = (files.read(self.token, follow=False) or b"").decode().strip()
        headers = {"Authorization": f"token {token}"}
        # A hub that does not come up leaves its socket behind: connections to it are taken and never answered.
        patience = 10 if method == "GET" else 60
        answer = host.web.ask(method, f"{self.api}/{path}", body=body, headers=headers, timeout=patience)
        if not 200 <= answer.status < 300:
            why = _reason(answer.status, answer.body, answer.why)
            raise HubdError(f"the hub refused {method} {path.partition('?')[0]}", why=why, retry=True)
        return json.loads(answer.body) if answer.body else None

    def _refuse_strangers(self, host: Host) -> None:
        """Only the hub may hear the token: while it is stopped, anybody on this machine could listen in its place."""
        if not host.init.state(HUB_UNIT).is_active:
            raise HubdError("the hub cannot be asked", why=f"{HUB_UNIT} does not run", retry=True)
        port = urllib.parse.urlsplit(self.api).port or 80
        hub = host.accounts.get(HUB_ACCOUNT)
        listening = host.listeners(port)
        if not listening:
            raise HubdError("the hub cannot be asked", why=f"nobody listens on port {port}", retry=True)
        strangers = listening - {0, hub.uid if hub else 0}
        if strangers:
            who = files.owner_name(min(strangers))
            raise HubdError(
                f"port {port} is held by {who} in the hub's place",
                why="it was free while the hub was stopped",
                fix=f"End that program of {who}'s, then run hubd apply.",
                retry=True,
            )


def _path(what: str, name: str) -> str:
    """Names that somebody gave the hub by other ways than config.yaml may hold anything."""
    return f"{what}/{urllib.parse.quote(name, safe='', errors='surrogatepass')}"


def _reason(status: int, body: bytes, why: str) -> str:
    try:
        return plain(str(json.loads(body)["message"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return f"it answered {status}" if status else why
