"""A network for one test machine: a namespace joined to the host by a veth pair, with or without a way out."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from commands import run

Reach = Literal["nat", "isolated"]

LOCKS = Path("/run/hubd-tests")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
NUMBERS = range(1, 255)


@dataclass(frozen=True, slots=True)
class Network:
    """One machine's network. `host` and `machine` are the two ends' IPv4 addresses."""

    number: int
    reach: Reach

    @property
    def name(self) -> str:
        return f"hubd-test-{self.number}"

    @property
    def link(self) -> str:
        return f"hubdt{self.number}"

    @property
    def host(self) -> str:
        return f"10.203.{self.number}.1"

    @property
    def machine(self) -> str:
        return f"10.203.{self.number}.2"

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    def cut(self) -> None:
        """Take the way out away: from now on the machine reaches this host only."""
        run(("ip", "-n", self.name, "route", "del", "default"), check=False)

    def restore(self) -> None:
        """Give the way out back."""
        run(("ip", "-n", self.name, "route", "replace", "default", "via", self.host))

    def unplug(self) -> None:
        """Pull the cable: the machine reaches nobody, this host neither, and nobody reaches it."""
        run(("ip", "-n", self.name, "link", "set", "host0", "down"))

    def plug(self) -> None:
        """Put the cable in again."""
        run(("ip", "-n", self.name, "link", "set", "host0", "up"))
        if self.reach == "nat":
            self.restore()


@contextmanager
def network(reach: Reach = "nat") -> Iterator[Network]:
    """A network of its own for a machine, taken down at the end.

    reach: `nat` lets the machine out through this host (IPv4 forwarding is switched on here); with `isolated` it reaches
    this host and nothing else, and asking for any other address fails at once.
    """
    LOCKS.mkdir(exist_ok=True)
    for number in NUMBERS:
        net = Network(number, reach)
        with (LOCKS / f"net-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if _taken_by_others(net):
                continue
            _take_down(net)  # what a killed run may have left
            _set_up(net)
            try:
                yield net
            finally:
                _take_down(net)
            return
    raise RuntimeError("no free network number for a test machine")


def _taken_by_others(net: Network) -> bool:
    """Whether this host itself is in that subnet: it may be a test machine of an outer run."""
    return f" {net.machine}/" in run(("ip", "-4", "addr")).out


def _set_up(net: Network) -> None:
    inside = ("ip", "-n", net.name)
    run(("ip", "netns", "add", net.name))
    run(("ip", "link", "add", net.link, "type", "veth", "peer", "name", "host0", "netns", net.name))
    run(("ip", "addr", "add", f"{net.host}/30", "dev", net.link))
    run(("ip", "link", "set", net.link, "up"))
    run((*inside, "link", "set", "lo", "up"))
    run((*inside, "addr", "add", f"{net.machine}/30", "dev", "host0"))
    run((*inside, "link", "set", "host0", "up"))
    if net.reach == "nat":
        _let_out(net)
        net.restore()


def _let_out(net: Network) -> None:
    if FORWARD.read_text().strip() != "1":
        FORWARD.write_text("1\n")
    rules = f"""table ip {net.name} {{
        chain out {{
            type nat hook postrouting priority 100;
            ip saddr {net.machine} oifname != "{net.link}" masquerade
        }}
    }}"""
    run(("nft", "-f", "-"), input=rules)


def _take_down(net: Network) -> None:
    run(("nft", "delete", "table", "ip", net.name), check=False)
    run(("ip", "link", "del", net.link), check=False)
    run(("ip", "netns", "del", net.name), check=False)
