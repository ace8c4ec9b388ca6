"""Bare Debian trees for test machines: made once by mmdebstrap, kept in a cache under a name that says how they were made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import site_settings
from commands import run
from made_once import made_once

CACHE = Path(os.environ.get("HUBD_TEST_CACHE") or "/var/cache/hubd-tests")

# A newcomer's machine: no sudo and no python3-venv, so that what installs the product has to fetch what it needs.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "ca-certificates", "curl", "iproute2", "login", "passwd", "git", "procps",
)  # fmt: skip
RECIPE = "2"  # raise when `_finish` changes
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
}


class NotPossibleHere(Exception):
    """This host cannot run test machines; the message says what to do about it."""


def require_tools() -> None:
    """Say at once what this host lacks, with the cure.

    :raises NotPossibleHere: not root, or programs are missing.
    """
    if os.geteuid() != 0:
        raise NotPossibleHere("integration tests boot machines: run them as root (sudo ./tests/run integration)")
    missing = sorted(package for program, package in NEEDED.items() if shutil.which(program) is None)
    if missing:
        raise NotPossibleHere(f"missing programs: run `apt-get install {' '.join(missing)}`, or start the tests by ./tests/run")


@contextmanager
def base_tree(suite: str = "bookworm", *, packages: tuple[str, ...] = PACKAGES, cache: Path = CACHE) -> Iterator[Path]:
    """The tree of a bare Debian machine, made now if the cache does not have it; nobody prunes it while it is used.

    :raises NotPossibleHere: this host lacks what it takes.
    """
    require_tools()
    place = cache / "base" / suite / _key(suite, packages)
    with made_once(place, lambda aside: _make(aside, suite, packages)) as tree:
        yield tree


def _key(suite: str, packages: tuple[str, ...]) -> str:
    site = (*site_settings.apt_sources(suite), *site_settings.apt_options(), site_settings.pip_conf())
    files = [path.read_bytes() for path in site_settings.certificates()]
    return site_settings.fingerprint((RECIPE, suite, *packages, *site, *files))


def _make(tree: Path, suite: str, packages: tuple[str, ...]) -> None:
    options = [f"--aptopt={line}" for line in site_settings.apt_options()]
    sources = site_settings.apt_sources(suite)
    command = ("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}")
    run((*command, *options, suite, tree, *sources), timeout=900)
    _finish(tree)


def _finish(tree: Path) -> None:
    """Give a new tree what an installer of Debian would have: a hosts file, a kept journal, the site's certificates."""
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (tree / "var/log/journal").mkdir(exist_ok=True)
    pip_conf = site_settings.pip_conf()
    if pip_conf:
        (tree / "etc/pip.conf").write_text(pip_conf)
    for certificate in site_settings.certificates():
        shutil.copy(certificate, tree / "usr/local/share/ca-certificates" / certificate.name)
    run(("chroot", tree, "update-ca-certificates"))
