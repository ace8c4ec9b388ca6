"""Makes the test channel: fetches Debian packages and wheels, turns them into conda packages, writes the index.

By hand, from the folder above, in the tests' environment: python -m channel.build FOLDER
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rattler.index import index_fs

import site_settings
from base_tree import CACHE, base_tree
from channel import old_python, r_from_debian
from channel.conda_package import MACHINE, Package
from channel.from_debian import DEBIAN_PACKAGES, packages_from_debian, python_abi
from channel.from_wheels import package_from_wheel
from channel.installer import write_installer
from channel.pythons import OLD, PYTHON
from commands import run
from machine import Machine
from made_once import made_once

HERE = Path(__file__).parent
INSTALLER = "Miniconda.sh"
MADE = "tests"
# Small packages of which environments that are nearly the same have one each, with a number from 0 to 9.
UNLIKE = "hubd-test-unlike-{}"
# What runs at the start of each Python of an environment and breaks its kernel alone.
BREAKING = {
    "stillborn": """\
import os, sys
if "ipykernel_launcher" in sys.orig_argv:
    print("boom at its start", file=sys.stderr, flush=True)
    os._exit(3)
""",
    "mute": """\
import builtins, sys
def no_print(*words, **more):
    raise OSError("boom in a cell")
if "ipykernel_launcher" in sys.orig_argv:
    builtins.print = no_print
""",
}
# A real installer of conda (a file), and a mirror of a real channel (a folder), in the place of the stand-ins.
REAL_INSTALLER = os.environ.get("HUBD_TEST_CONDA_INSTALLER", "")
REAL_CHANNEL = os.environ.get("HUBD_TEST_CONDA_CHANNEL", "")
# A real micromamba from 2.0 on (a file).
REAL_MICROMAMBA = os.environ.get("HUBD_TEST_MICROMAMBA", "")
LOCKED = HERE / "requirements.txt"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps")
# Needed by the stand-in for conda, not offered as conda packages.
NOT_OFFERED = ("py_rattler", "pyyaml", "PyYAML")


@contextmanager
def channel() -> Iterator[Path]:
    """A folder with the channel `tests` and the installer `Miniconda.sh`, made now if the cache has it not.

    Where there are real ones, the channel is called `real`, and `tests` has only what it lacks, such as packages that must fail.
    """
    sources = sorted([*HERE.glob("*.py"), *HERE.glob("*.sh")])
    lists = (LOCKED, old_python.LOCKED)
    key = site_settings.fingerprint(path.read_bytes() for path in (*lists, *sources))
    with made_once(CACHE / "channel" / key, build) as folder:
        if not REAL_INSTALLER and not REAL_CHANNEL:
            yield folder
            return
        with tempfile.TemporaryDirectory() as real:
            there = {MADE: folder / MADE, INSTALLER: REAL_INSTALLER or folder / INSTALLER, "real": REAL_CHANNEL}
            for name, path in there.items():
                if path:
                    (Path(real) / name).symlink_to(Path(path).resolve(strict=True))
            yield Path(real)


def build(folder: Path) -> None:
    """Make the channel at `folder/tests`, and beside it the stand-in for Miniconda's installer."""
    folder.mkdir(parents=True)
    wheels = fetch_wheels(folder / "wheels")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        debian = scratch / "debian"
        versions, without_old = fetch_debian(debian)
        packages = [*packages_from_debian(debian, versions, scratch), *small_packages()]
        packages += r_from_debian.packages_of_r(debian, versions, scratch)
        packages += [package_from_wheel(wheel) for wheel in wheels if not wheel.name.startswith(NOT_OFFERED)]
        if not without_old:
            old_python.fetch(scratch / "old", PIP)
            packages += old_python.packages_of_old_python(debian, versions, scratch / "old", scratch)
        for package in packages:
            package.write(folder / MADE)
    if without_old:
        warnings.warn(f"the channel has no Python {OLD.version}: {without_old}", stacklevel=1)
        (folder / MADE / old_python.WHY_WITHOUT).write_text(without_old)
    write_installer(folder / INSTALLER, folder / "wheels")
    asyncio.run(index_fs(folder / MADE, write_zst=True, write_shards=False))


def fetch_wheels(folder: Path) -> list[Path]:
    """Download the locked wheels for the channel's Python."""
    target = ("--only-binary=:all:", f"--python-version={PYTHON.version}", "--require-hashes", "-r", LOCKED, "-d", folder)
    run((*PIP, *target), timeout=600)
    return sorted(folder.glob("*.whl"))


def fetch_debian(root: Path) -> tuple[dict[str, str], str]:
    """Unpack the Debian packages that the Pythons and R are made of below `root`.

    Gives their versions by name, and why those of the old Python are not among them, if so.
    """
    with base_tree("bookworm") as base, Machine("channel", base) as machine:
        machine.run(("apt-get", "-q", "update"), timeout=300)
        without_old = old_python.why_not(machine)
        old = () if without_old else old_python.DEBIAN_PACKAGES
        wanted = " ".join((*DEBIAN_PACKAGES, *r_from_debian.DEBIAN_PACKAGES, *old))
        machine.shell(
            f"mkdir /root/debs && cd /root/debs && apt-get -q download {wanted}",
            timeout=300,
        )
        machine.shell("for deb in /root/debs/*.deb; do dpkg -x $deb /root/tree; done")
        shown = machine.shell("for deb in /root/debs/*.deb; do dpkg-deb -W $deb; done").out
        shutil.copytree(machine.path("/root/tree"), root, symlinks=True)
    return dict(line.split("\t") for line in shown.splitlines()), without_old


def small_packages() -> Iterator[Package]:
    """What is in a channel beside code: virtual pins, data we take from the system, and packages that must fail."""
    yield python_abi(PYTHON)
    for name in ("ca-certificates", "tzdata"):
        yield Package(name, "2026.1", noarch="generic")
    yield Package("hubd-test-old", "1.0", depends=("python <3.8",), noarch="generic")
    yield Package("hubd-test-missing", "1.0", depends=("there-is-no-such-package >=2",), noarch="generic")
    yield from _packages_with_scripts()
    yield from _packages_that_break_kernels()
    active = Package("hubd-test-activate", "1.0", noarch="generic")
    active.add("etc/conda/activate.d/hubd-test.sh", b'export HUBD_TEST_DATA="$CONDA_PREFIX/share/data of $CONDA_DEFAULT_ENV"\n')
    active.add("etc/conda/activate.d/zz-broken.sh", b"echo boom >&2\nexit 3\n")
    yield active
    for number in range(10):
        unlike = Package(UNLIKE.format(number), "1.0", noarch="generic")
        unlike.add(f"share/{unlike.name}", f"{number}\n".encode() * 10_000)
        yield unlike
    big = Package("hubd-test-big", "1.0", noarch="generic")
    big.add("share/hubd-test-big/data", b"0123456789abcdef" * 4_000_000)
    yield big


def _packages_with_scripts() -> Iterator[Package]:
    """Their post-link scripts run in the build: one fails, one looks for what is not its own."""
    for name, script in (("postlink", b"#!/bin/sh\necho boom >&2\nexit 3\n"), ("nosy", (HERE / "nosy.sh").read_bytes())):
        package = Package(f"hubd-test-{name}", "1.0", depends=("python",))
        package.add(f"bin/.hubd-test-{name}-post-link.sh", script, executable=True)
        yield package


def _packages_that_break_kernels() -> Iterator[Package]:
    """An environment with one of these builds well, and its kernel ends at its start, or fails whatever cell prints."""
    for name, code in BREAKING.items():
        package = Package(f"hubd-test-{name}", "1.0", depends=("python",))
        package.add(f"{PYTHON.site_packages}/hubd_test_{name}.py", code.encode())
        package.add(f"{PYTHON.site_packages}/hubd_test_{name}.pth", f"import hubd_test_{name}\n".encode())
        yield package


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(json.dumps(sorted(path.name for path in Path(sys.argv[1]).rglob("*.conda")), indent=1), MACHINE)
