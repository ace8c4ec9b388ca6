"""Builds by conda and rattler that meet trouble: told in a sentence, the old generation serves meanwhile, and it heals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from channel.build import UNLIKE
from conda_site import CONFIG, Site, environment
from hub import HubMachine

ENVS = "/opt/hub/envs"
KERNEL_JSON = "/opt/hub/kernels/everyone/kernels/first/kernel.json"
PYTHON = "python=3.11, ipykernel"
ONE, TWO, THREE = (UNLIKE.format(number) for number in range(3))


@dataclass(slots=True)
class Served:
    """An environment `first` that people have, while another version of it does not come about. spec: of its kernel."""

    site: Site
    manager: str
    packages: str
    spec: str = ""

    @property
    def machine(self) -> HubMachine:
        return self.site.machine

    def ask(self, packages: str) -> str:
        """Ask for these packages, and give what was said at the end."""
        return self.site.apply(self.site.config(environment("first", packages, self.manager)))

    def build(self, packages: str) -> None:
        said = self.ask(packages)
        assert said.startswith("0 "), said
        spec = self.machine.read(KERNEL_JSON)
        assert spec != self.spec, "another generation is offered"
        self.spec, self.packages = spec, packages

    def refused(self, packages: str, *words: str) -> None:
        """These packages do not come about, which is told in these words; what people have is what they had."""
        said = self.ask(packages)
        assert said.startswith("5 "), said
        told = self.site.trouble("environment:first")
        assert all(word in told for word in words), told
        assert "{" not in told and "Traceback" not in told and len(told) < 1000, told
        assert self.machine.read(KERNEL_JSON) == self.spec, "the one before goes on"

    def run(self, code: str = "print(6 * 7)") -> str:
        return self.site.run(code, "first")


@pytest.fixture(scope="module", params=["conda", "rattler"])
def served(request: pytest.FixtureRequest, site: Site) -> Served:
    found = Served(site, str(request.param), "")
    found.build(f"{PYTHON}, hubd-test-nosy")
    return found


def test_a_packages_own_script_reaches_nothing_that_is_not_its_own(served: Served) -> None:
    folder = f"{ENVS}/first/current/share/hubd-test-nosy"
    account = served.machine.run(("id", "-u", "hubd-build")).out
    assert served.machine.read(f"{folder}/uid") == account
    assert served.machine.read(f"{folder}/reached") == ""


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def other(data: bytes) -> bytes:
    return data[:-100] + b"x" * 100


@pytest.mark.parametrize("change", [half, other])
def test_a_package_that_is_not_the_file_it_should_be_is_told_and_heals(
    served: Served, change: Callable[[bytes], bytes]
) -> None:
    new = ONE if change is half else TWO
    wanted = f"{served.packages}, {new}"
    served.site.web.changes[f"{new}-1.0"] = change
    try:
        served.refused(wanted, "a download is not the file it should be", f"{new}-1.0")
        if change is half:
            assert served.run() == "42\n"
    finally:
        served.site.web.changes.clear()
    if change is half:
        served.build(wanted)
        assert served.run(f"import sys; print(len(open(sys.prefix + '/share/{new}').read()))") == "20000\n"


def test_a_channel_that_cannot_be_reached_is_named_and_waited_for(served: Served) -> None:
    site, wanted = served.site, f"{served.packages}, {THREE}"
    for status, what in ((404, "there is no such channel"), (503, "channel cannot be reached")):
        site.web.failures |= dict.fromkeys(("tests", "real"), status)
        try:
            served.refused(wanted, what, site.channels[0], str(status))
        finally:
            site.web.failures.clear()
    site.machine.net.unplug()
    try:
        served.refused(wanted, "channel cannot be reached", site.channels[0])
    finally:
        site.machine.net.plug()
    served.build(wanted)
    assert served.run() == "42\n"


@pytest.mark.parametrize("served", ["rattler"], indirect=True)
@pytest.mark.parametrize(("breaks", "said"), [("stillborn", "boom at its start"), ("mute", "boom in a cell")])
def test_an_environment_whose_kernel_runs_no_cell_is_not_offered(served: Served, breaks: str, said: str) -> None:
    served.refused(f"{served.packages}, hubd-test-{breaks}", "its kernel does not run a cell", said)
    assert served.run() == "42\n"


# ---------------------------------------------------------------- the disk is full


FILLER = f"{ENVS}/filler"


@pytest.fixture(scope="module")
def small_disk(site: Site) -> Iterator[Site]:
    """The environments and the caches lie on a file system of their own, and nothing is declared that is not on it."""
    alone = re.sub(r"^environments:\n( .*\n|\n)*", "environments:\n", site.good, flags=re.MULTILINE)
    small = replace(site, good=re.sub(r"^default_environment:.*\n", "", alone, flags=re.MULTILINE))
    site.machine.shell(f"systemctl stop hubd; mount -t tmpfs -o size=1500M,mode=755 small {ENVS}")
    site.machine.write(CONFIG, small.config(environment("first", PYTHON)), mode=0o640)
    site.machine.run(("systemctl", "start", "hubd"))
    yield small
    site.machine.shell(f"systemctl stop hubd; umount {ENVS}; systemctl start hubd")
    assert site.apply(site.good).startswith("0 ")


def leave(machine: HubMachine, megabytes: int) -> None:
    """Fill the small disk until so much is left."""
    free = f"$(df --output=avail -k {ENVS} | tail -1)"
    machine.shell(f"rm -f {FILLER}; head -c $(( ({free} - {megabytes} * 1024) * 1024 )) /dev/zero >{FILLER}")


def used(machine: HubMachine) -> int:
    """Bytes on the small disk without the filler."""
    return int(machine.shell(f"rm -f {FILLER}; df --output=used -B1 {ENVS} | tail -1").out)


@pytest.mark.parametrize("manager", ["conda", "rattler", "uv"])
def test_a_full_disk_is_told_leaves_nothing_and_heals(small_disk: Site, manager: str) -> None:
    first = Served(small_disk, manager, "")
    machine, base, more = first.machine, *DISK[manager]
    first.build(base)
    before = used(machine)
    for packages, megabytes in more:
        leave(machine, megabytes)
        first.refused(packages, "the disk is full")
        assert first.run() == "42\n"
        left = used(machine) - before
        # The stand-in for conda unpacks by rattler, which leaves what it began.
        assert manager == "conda" or left < 5 * 2**20, f"{left} bytes are left of what could not be built"
    first.build(packages)
    assert first.run() == "42\n"


# What is there, and what does not fit any more: in the prefix alone, as almost all is cached, and in the cache.
DISK = {
    "conda": (PYTHON, ((f"{PYTHON}, {ONE}", 1), (f"{PYTHON}, hubd-test-big", 20))),
    "rattler": (PYTHON, ((f"{PYTHON}, {ONE}", 1), (f"{PYTHON}, hubd-test-big", 20))),
    "uv": ("ipykernel", (("ipykernel, numpy", 5),)),
}
