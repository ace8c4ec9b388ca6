"""What people decide while the hub runs, besides config.yaml: recorded facts by environment, read and changed here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hubd.errors import HubdError, Locked
from hubd.host import Host, files
from hubd.host.locks import file_lock
from hubd.layout import Layout
from hubd.resources.base import Resource, Step

# The generation that somebody went back to: {NAME: {"generation": NUMBER, "instead_of": DIGEST of what is asked for}}.
ROLLBACKS = "rollbacks"
# A new build of the same that somebody asked for: {NAME: {"after": NUMBER of the newest then, "digest": of what is asked for}}.
REBUILDS = "rebuilds"

# Whoever decides looks and writes, and is done.
PATIENCE = 10.0

Values = dict[str, dict[str, Any]]


def read(layout: Layout, fact: str) -> Values:
    """What was decided, by name; what is damaged counts as not decided."""
    try:
        said: Any = json.loads(files.read(layout.facts / f"{fact}.json", follow=False) or b"{}")
    except (ValueError, RecursionError, HubdError):
        return {}
    return {name: each for name, each in said.items() if isinstance(each, dict)} if isinstance(said, dict) else {}


def write(layout: Layout, fact: str, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Record it by one rename; only while `deciding`."""
    files.write_atomic(layout.facts / f"{fact}.json", json.dumps(values).encode(), mode=0o600)


@contextlib.contextmanager
def deciding(layout: Layout) -> Iterator[None]:
    """Nobody else decides meanwhile. Raises Locked where somebody does for long; no pass holds it for longer than a write."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(file_lock(layout.state / "choices.lock", wait=PATIENCE, what="deciding about an environment"))
        except Locked as busy:
            what = "somebody else decides about an environment at this moment"
            raise Locked(what, why=busy.why, fix="Try again in a moment.", retry=True) from busy
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedChoices(Resource):
    """A decision ends when config.yaml asks for something else, for good: it must not come back when the file is changed back.

    fact: its name. key: where an entry says what was asked for when somebody decided. digests: what is asked for now, by
    environment; empty where nobody can tell yet.
    """

    kind = "ended-choices"

    fact: str
    key: str
    digests: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return self.fact

    def observe(self, host: Host) -> tuple[str, ...]:
        """The environments whose decision is over."""
        now = dict(self.digests)
        decided = read(host.layout, self.fact).items()
        return tuple(name for name, each in decided if now.get(name) not in ("", each.get(self.key, "unsaid")))

    def steps(self, seen: tuple[str, ...]) -> tuple[Step, ...]:
        if not seen:
            return ()
        return (Step(f"forget the {self.fact} of {', '.join(seen)}: config.yaml asks for something else now", self._forget),)

    def _forget(self, host: Host) -> None:
        with deciding(host.layout):
            over = self.observe(host)
            left = {name: each for name, each in read(host.layout, self.fact).items() if name not in over}
            write(host.layout, self.fact, left)
