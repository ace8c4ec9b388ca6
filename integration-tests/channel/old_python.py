"""Conda packages of Python 2.7 and what its kernel needs, made of an older Debian's packages and of PyPI's last ones for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from channel.conda_package import MACHINE, Package
from channel.from_debian import Library, library_package, python_abi, python_package, upstream
from channel.from_wheels import package_from_wheel
from channel.pythons import OLD
from commands import run
from machine import Machine

SUITE = "bullseye"
# What the machine that fetches is.
NEWER = "bookworm"
# What apt says of a release that has left the mirrors, or whose keys have run out.
GONE = ("does not have a Release file", "is not signed")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
LIBRARIES = (
    Library("libffi", "libffi7", ("libffi.so.7*",)),
    Library("openssl", "libssl1.1", ("libssl.so.1.1", "libcrypto.so.1.1"), ("ca-certificates",)),
)
DEBIAN_PACKAGES = (
    "python2.7-minimal", "libpython2.7-minimal", "libpython2.7-stdlib", *(library.source for library in LIBRARIES),
)  # fmt: skip
LOCKED = Path(__file__).with_name("requirements-py27.txt")
# The only machines that PyPI has the compiled ones for.
PLATFORM = "x86_64"
# What there is as source only, with what it needs: each is one module or package of plain Python.
SOURCES = {"tornado": ("futures", "singledispatch", "backports_abc"), "scandir": (), "simplegeneric": ()}
# The package that several others put their modules into.
SHARED = f"{OLD.site_packages}/backports/__init__.py"
# Below the channel: why it has no Python 2.7.
WHY_WITHOUT = "without-python-2.7.txt"


def why_not(machine: Machine) -> str:
    """Have a machine's apt fetch from the older Debian as well; gives why that cannot be, and nothing where it can.

    Debian takes its old releases off the mirrors. Anything else that goes wrong is an error.
    """
    if MACHINE != PLATFORM:
        return f"PyPI has no pyzmq for Python {OLD.version} on {MACHINE}"
    sources = [line.split() for line in machine.read("/etc/apt/sources.list").splitlines()]
    lines = [f"deb [signed-by={KEYS}] {line[1]} {SUITE} main\n" for line in sources if line[2:3] == [NEWER]]
    path = f"/etc/apt/sources.list.d/{SUITE}.list"
    machine.write(path, "".join(lines))
    update = machine.run(("apt-get", "-q", "update"), check=False, timeout=300)
    gone = [line for line in update.err.splitlines() if SUITE in line and any(words in line for words in GONE)]
    if gone:
        machine.run(("rm", path))
        return f"Debian's {SUITE} cannot be fetched any more: {gone[0]}"
    if update.code:
        raise LookupError(str(update))
    return ""


def fetch(folder: Path, pip: tuple[str | Path, ...]) -> None:
    """Download the locked list. Three come as sources, of which pip looks at the metadata by this host's setuptools."""
    target = (
        f"--python-version={OLD.version}", "--implementation=cp", f"--abi={OLD.abi}", "--abi=none",
        f"--platform=manylinux1_{PLATFORM}", "--platform=any", "--no-build-isolation",
    )  # fmt: skip
    run((*pip, *target, "--require-hashes", "-r", LOCKED, "-d", folder), timeout=600)


def packages_of_old_python(root: Path, versions: Mapping[str, str], fetched: Path, scratch: Path) -> Iterator[Package]:
    """Python 2.7, its libraries and its kernel. root: the unpacked Debian packages; versions: Debian's; fetched: PyPI's files."""
    for library in LIBRARIES:
        yield library_package(root, library, upstream(versions[library.source]), scratch)
    yield python_package(root, OLD, upstream(versions["python2.7-minimal"]), scratch)
    yield python_abi(OLD)
    shared = Package("backports", "1.0", f"{OLD.tag}_0", depends=(OLD.limits,))
    shared.add(SHARED, b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    yield shared
    for file in sorted(fetched.iterdir()):
        package = package_from_wheel(file, OLD) if file.suffix == ".whl" else _from_source(file, scratch)
        if package.files.pop(SHARED, None):
            package.depends += (shared.name,)
        yield package


def _from_source(archive: Path, scratch: Path) -> Package:
    """The one module or package that a source archive is named after, as it is."""
    stem = archive.name.removesuffix(".zip").removesuffix(".tar.gz")
    name, _, version = stem.rpartition("-")
    shutil.unpack_archive(archive, scratch / "source")
    source = scratch / "source" / stem
    package = Package(name, version, f"{OLD.tag}_0", depends=(OLD.limits, *SOURCES[name]))
    if (source / name).is_dir():
        package.add_tree(source / name, f"{OLD.site_packages}/{name}", skip=("test/*", "*.c"))
    else:
        package.add(f"{OLD.site_packages}/{name}.py", (source / f"{name}.py").read_bytes())
    package.add(f"{OLD.site_packages}/{stem}.egg-info", (source / "PKG-INFO").read_bytes())
    return package
