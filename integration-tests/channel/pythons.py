"""The Pythons that the test channel has packages for, and what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# By a file of Debian's Python, below its folder: what of it is undone, so that packages lie where everybody else has them.
Undone = Mapping[str, tuple[tuple[bytes, bytes], ...]]


@dataclass(frozen=True, slots=True)
class Python:
    """full: the version with its third number. names: links to the program. needs: specs of what it runs on.

    noarch: whether pure packages for it say no more than the least Python they want, as they have for many years.
    frozen_site: whether the module `site` is in the program itself.
    """

    version: str
    full: str
    abi: str
    names: tuple[str, ...]
    needs: tuple[str, ...]
    undone: Undone = field(repr=False)
    noarch: bool = True
    frozen_site: bool = False

    @property
    def site_packages(self) -> str:
        return f"lib/python{self.version}/site-packages"

    @property
    def tag(self) -> str:
        """How builds of packages for it begin: py311."""
        return f"py{self.version.replace('.', '')}"

    @property
    def limits(self) -> str:
        """What a package for it alone depends on."""
        major, minor = self.version.split(".")
        return f"python >={self.version},<{major}.{int(minor) + 1}.0a0"

    @property
    def binary(self) -> str:
        """What a compiled package for it depends on besides."""
        return f"python_abi {self.version}.* *_{self.abi}"


EVERY = ("bzip2", "libzlib", "libexpat", "libsqlite", "ncurses", "readline", "libxcrypt", "tzdata")
PYTHON = Python(
    "3.11", "3.11.2", "cp311", ("python3", "python"),
    (*EVERY, "liblzma", "libuuid", "libffi >=3.4,<4", "openssl >=3,<4"),
    {
        "site.py": ((b"dist-packages", b"site-packages"),),
        "sysconfig.py": (
            (b"os.environ.get('DEB_PYTHON_INSTALL_LAYOUT', 'posix_local')", b"'posix_prefix'"),
            (b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'"),
        ),
    },
    frozen_site=True,
)  # fmt: skip
# Of the year 2020. Packages for it would be taken by newer Pythons, too, if they did not say for which one they are.
OLD = Python(
    "2.7", "2.7.18", "cp27mu", ("python2", "python"), (*EVERY, "libffi >=3.3,<3.4", "openssl >=1.1,<2"),
    {
        "site.py": ((b"dist-packages", b"site-packages"),),
        "distutils/command/install.py": ((b'"unix_local")', b'"unix_prefix")'),),
    },
    noarch=False,
)  # fmt: skip
