"""What the daemon costs while nothing happens: memory, and processor time over a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from bench import Bench, Installed
from figures import Figure
from passes import populate

MINUTE = 60.0
AIM = 45.0
PASSES = 20


def measure(bench: Bench) -> Iterable[Figure]:
    """With 50 people and 5 environments, after a fresh start and after a working life of 20 passes."""
    hub = populate(bench.installed)
    hub.machine.run(("systemctl", "restart", "hubd"))
    hub.settle()
    before = _memory(hub)
    busy = _processor(hub)
    began = time.monotonic()
    time.sleep(MINUTE)
    spent = (_processor(hub) - busy) * MINUTE / (time.monotonic() - began)
    for _ in range(PASSES):
        hub.machine.run(("hubd", "apply"))
    after = _memory(hub)
    yield Figure("daemon idle, resident memory (RSS)", "MiB", [before["Rss"]], aim=AIM)
    yield Figure("daemon idle, its share of memory (PSS)", "MiB", [before["Pss"]], aim=AIM)
    yield Figure(f"daemon after {PASSES} more passes (RSS)", "MiB", [after["Rss"]], aim=AIM, peers={"before them": before["Rss"]})
    yield Figure("daemon idle, processor time in a minute", "s", [spent])


def _memory(hub: Installed) -> dict[str, float]:
    """Megabytes by kind, as the kernel counts the pages of the daemon."""
    lines = hub.machine.read(f"/proc/{hub.main_pid('hubd')}/smaps_rollup").splitlines()[1:]
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(kilobytes) / 1024 for name, kilobytes, _ in fields}


def _processor(hub: Installed) -> float:
    """Seconds of processor time that the daemon and the programs it waited for have used."""
    after_name = hub.machine.read(f"/proc/{hub.main_pid('hubd')}/stat").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in after_name[11:15]) / os.sysconf("SC_CLK_TCK")
