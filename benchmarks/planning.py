"""How long `hubd plan` takes, and how much memory, for many declared people who are not on the machine yet."""

from __future__ import annotations

from collections.abc import Iterable

from bench import CONFIG, PYTHON, Bench
from crowd import with_environments, with_people
from figures import Figure

COUNTS = (50, 500, 5000)
ROUNDS = 7
AIM_SECONDS, AIM_MEGABYTES = 2.0, 200.0
READ = f"from ruamel.yaml import YAML; list(YAML(typ='safe').parse(open('{CONFIG}')))"


def measure(bench: Bench) -> Iterable[Figure]:
    """The daemon is stopped meanwhile, so that the process that is measured makes the plan itself."""
    hub = bench.installed
    before = hub.machine.read(CONFIG)
    hub.machine.run(("systemctl", "stop", "hubd"))
    try:
        for count in COUNTS:
            hub.put_config(with_people(with_environments(before, 5), count, prefix="planned"))
            commands = {"plan": ("hubd", "plan"), "read": (PYTHON, "-c", READ)}
            taken = hub.take(commands, rounds=ROUNDS)
            walls = {name: [each.wall for each in runs] for name, runs in taken.items()}
            last = count == COUNTS[-1]
            peers = {"parsing the same file with ruamel.yaml, whole process": Figure("", "s", walls["read"]).median}
            aims = (AIM_SECONDS, AIM_MEGABYTES) if last else (None, None)
            yield Figure(f"plan of {count} people, whole process", "s", walls["plan"], aim=aims[0], peers=peers)
            memory = [each.memory for each in taken["plan"]]
            yield Figure(f"plan of {count} people, highest memory", "MiB", memory, aim=aims[1])
    finally:
        hub.put_config(before)
        hub.machine.run(("systemctl", "start", "hubd"))
        hub.settle()
