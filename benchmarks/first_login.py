"""How long a bare machine takes from bootstrap.py's start to the sign-in page."""

from __future__ import annotations

from collections.abc import Iterable

from bench import Bench
from figures import Figure


def measure(bench: Bench) -> Iterable[Figure]:
    """Once with nothing downloaded before, as for a newcomer, and once with the downloads that test machines share."""
    with bench.new(share_cache=False) as cold:
        found = {"cold": (cold.to_login, cold.to_end)}
    warm = bench.installed
    found["downloads cached"] = (warm.to_login, warm.to_end)
    for how, (to_login, to_end) in found.items():
        peers = {"until everything was there, the first environment too": to_end}
        yield Figure(f"bootstrap to sign-in page, {how}", "s", [to_login], peers=peers)
