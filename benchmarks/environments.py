"""A package added to a warm environment until its kernel is switched, the way back, and the disk of ten environments."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import CONFIG, PYTHON, Bench, Installed
from channel.build import INSTALLER, MADE, UNLIKE, channel
from figures import Figure
from web import web_server

ROUNDS = 5
# Seconds until a build is given up.
LONGEST = 300
OVERHEAD, FASTER, DISK, ROLLBACK = 1.5, 5, 1.3, 1.0
# 45 packages of the small channel, with what they need.
PACKAGES = ("python=3.11", "ipykernel", "numpy")
# uv fetches another Python than the system's from the network; here it takes that.
FOR_UV = ("ipykernel", "numpy")
SMOKE = """
import sys, jupyter_client.manager as m
manager, python = m.KernelManager(), sys.argv[1] + "/bin/python"
manager._kernel_spec = m.kernelspec.KernelSpec(argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=90)
client.execute_interactive("print(6 * 7)", output_hook=lambda message: None)
manager.shutdown_kernel(now=True)
"""


@dataclass(frozen=True, slots=True)
class Workshop:
    """A hub that builds from the small channel. address: the channel's; text: the config without environments of ours."""

    hub: Installed
    address: str
    text: str

    def put(self, environments: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        """Declare these environments: manager and packages by name."""
        entries = (
            f"  {name}:\n    manager: {manager}\n    packages: {json.dumps(list(packages))}\n"
            for name, (manager, packages) in environments.items()
        )
        self.hub.put_config(self.text.replace("environments:\n", "environments:\n" + "".join(entries)))

    def kernel(self, name: str) -> str:
        """What starts the kernel that is offered; empty while there is none."""
        path = self.hub.machine.path(f"/opt/hub/kernels/everyone/kernels/{name}/kernel.json")
        return str(json.loads(path.read_text())["argv"][0]) if path.exists() else ""

    def changed(self, name: str, manager: str, packages: Sequence[str]) -> float:
        """Seconds from the changed config until another kernel is offered."""
        before = self.kernel(name)
        self.put({name: (manager, packages)})
        began = time.monotonic()
        self.hub.machine.run(("hubd", "apply", "--yes"))
        while self.kernel(name) == before:
            if time.monotonic() - began > LONGEST:
                raise TimeoutError(f"{name} was not built: {self.hub.machine.run(('hubd', 'status'), check=False).out}")
            time.sleep(0.02)
        return time.monotonic() - began


def measure(bench: Bench) -> Iterable[Figure]:
    """Time by manager beside the manager alone, back and forward, and disk of ten environments that differ in one package."""
    with workshop(bench.installed) as shop:
        plain = {manager: alone(shop, manager) for manager in ("conda", "rattler", "uv")}
        medians = {manager: statistics.median(values) for manager, values in plain.items()}
        for manager, values in plain.items():
            aim = medians["conda"] / FASTER if manager == "rattler" else None
            peers = {} if manager == "conda" else {"conda create": medians["conda"]}
            yield Figure(f"{manager} alone, 45 packages, all cached", "s", values, aim=aim, peers=peers)
        for manager in plain:
            yield from added(shop, manager, medians[manager])
        yield from back_and_forward(shop)
        for manager in ("rattler", "conda"):
            yield ten(shop, manager)
        shop.hub.put_config(shop.text)
        shop.hub.settle()


@contextmanager
def workshop(hub: Installed) -> Iterator[Workshop]:
    """The hub with conda from the small channel; as it was at the end of the block."""
    good = hub.machine.read(CONFIG)
    with channel() as folder, web_server(folder, hub.machine.net.host) as web:
        sha256 = hashlib.sha256((folder / INSTALLER).read_bytes()).hexdigest()
        kinds = ("x86_64", "aarch64")
        urls = ", ".join(f"{kind}: {web.url}/{INSTALLER}" for kind in kinds)
        sums = ", ".join(f"{kind}: {sha256}" for kind in kinds)
        conda = f"conda:\n  url: {{{urls}}}\n  sha256: {{{sums}}}\n  channels: [{web.url}/{MADE}]\n"
        shop = Workshop(hub, f"{web.url}/{MADE}", good + conda)
        shop.put({"warm": ("conda", PACKAGES)})
        hub.settle()
        yield shop
        hub.put_config(good)
        hub.settle()


def alone(shop: Workshop, manager: str) -> list[float]:
    """Seconds that a manager takes by itself for the same packages, its cache warm and its environment new."""
    orders = {
        "conda": f"CONDA_PKGS_DIRS=/root/alone/cache/conda /opt/hub/conda/bin/conda create --json --yes --override-channels"
        f" --channel {shop.address} --prefix $1 {' '.join(PACKAGES)}",
        "rattler": f"echo '{rattler_order(shop.address)}' | sed s,PREFIX,$1, | {PYTHON} -m hubd.jobs.rattler_child",
        "uv": f"/opt/hub/hub/bin/uv venv -q $1 && UV_CACHE_DIR=/root/alone/cache/uv /opt/hub/hub/bin/uv pip install -q"
        f" --compile-bytecode --python $1/bin/python {' '.join(FOR_UV)}",
    }
    shop.hub.machine.write("/root/alone.sh", f"set -e\nmkdir -p /root/alone/cache\nrm -rf $1\n{orders[manager]} >/dev/null\n")
    command = {manager: ("sh", "/root/alone.sh", f"/root/alone/{manager}")}
    shop.hub.take(command, rounds=1)
    return [run.wall for run in shop.hub.take(command, rounds=ROUNDS)[manager]]


def rattler_order(address: str) -> str:
    """What the child that runs rattler is told."""
    order = {"prefix": "PREFIX", "cache": "/root/alone/cache/rattler", "specs": PACKAGES, "channels": [address], "packages": []}
    return json.dumps(order)


def added(shop: Workshop, manager: str, plain: float) -> Iterable[Figure]:
    """A package is added again and again, each time by a list that nobody asked for before."""
    packages = FOR_UV if manager == "uv" else PACKAGES
    # The first two fetch what the others find in the cache.
    for turn in range(2):
        shop.changed("warm", manager, (*packages, f"cowsay>=0.{turn}"))
    values = [shop.changed("warm", manager, (*packages, f"cowsay>=1.{turn}")) for turn in range(ROUNDS)]
    shop.hub.machine.write("/root/smoke.py", SMOKE)
    prefix = str(Path(shop.kernel("warm")).parent.parent)
    cell = statistics.median(run.wall for run in shop.hub.take({"cell": (PYTHON, "/root/smoke.py", prefix)}, rounds=3)["cell"])
    yield Figure(
        f"{manager}: a package added to a warm environment, until its kernel is switched", "s", values,
        peers={f"{manager} alone": plain, "a kernel runs a cell": cell},
    )  # fmt: skip
    yield Figure(
        f"{manager}: of that neither the manager nor the cell", "s", [value - plain - cell for value in values], aim=OVERHEAD
    )


def back_and_forward(shop: Workshop) -> Iterable[Figure]:
    """Both commands in turns, each from its start until it has ended, when new kernels get the other generation."""
    newest, orders = shop.kernel("warm"), {"back": (), "forward again": ("--undo",)}
    shop.hub.machine.run(("hubd", "env", "rollback", "warm"))
    if shop.kernel("warm") == newest:
        raise AssertionError("a rollback that has ended offers the same kernel")
    shop.hub.machine.run(("hubd", "env", "rollback", "warm", "--undo"))
    taken = shop.hub.take({name: ("hubd", "env", "rollback", "warm", *more) for name, more in orders.items()}, rounds=ROUNDS)
    for name, runs in taken.items():
        yield Figure(f"rollback, {name}: whole process, the kernel switched", "s", [run.wall for run in runs], aim=ROLLBACK)


def ten(shop: Workshop, manager: str) -> Figure:
    """Ten environments that differ in one package, beside one of them."""
    names = [f"ten-{turn}" for turn in range(10)]
    shop.put({name: (manager, (*PACKAGES, UNLIKE.format(turn))) for turn, name in enumerate(names)})
    shop.hub.settle()
    one, whole = (disk(shop, words) for words in (names[:1], names))
    note = f"{one:.0f} MB and {whole:.0f} MB"
    return Figure(f"{manager}: disk of ten environments, as a multiple of one", "×", [whole / one], aim=DISK, note=note)


def disk(shop: Workshop, names: Sequence[str]) -> float:
    """MB that environments take together, files that they share counted once."""
    # The generation in use, and none that another manager built before.
    paths = [f"/opt/hub/envs/{name}/current/" for name in names]
    return int(shop.hub.machine.run(("du", "-skc", *paths)).out.splitlines()[-1].split()[0]) / 1024
