"""Conda packages of R, its kernel and the libraries these need, made of unpacked Debian packages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.parser import Parser
from pathlib import Path

from channel.conda_package import PLACEHOLDER, Package
from channel.from_debian import GLIBC, Library, library_package, upstream, with_rpath

LIBRARIES = (
    Library("libgfortran5", "libgfortran5", ("libgfortran.so.5*", "libquadmath.so.0*"), also=("libquadmath0",)),
    Library("libgomp", "libgomp1", ("libgomp.so.1*",)),
    Library("libblas", "libblas3", ("libblas.so.3*",), ("libgfortran5",)),
    Library("liblapack", "liblapack3", ("liblapack.so.3*",), ("libblas",)),
    Library("icu", "libicu72", ("libicu*.so.72*",)),
    Library("pcre2", "libpcre2-8-0", ("libpcre2-8.so.0*",)),
    Library("libtirpc", "libtirpc3", ("libtirpc.so.3*",), ("krb5",)),
    Library(
        "krb5", "libgssapi-krb5-2",
        ("libgssapi_krb5.so.2*", "libkrb5.so.3*", "libk5crypto.so.3*", "libkrb5support.so.0*", "libcom_err.so.2*",
         "libkeyutils.so.1*"),
        ("openssl >=3,<4",), also=("libkrb5-3", "libk5crypto3", "libkrb5support0", "libcom-err2", "libkeyutils1"),
    ),
    Library(
        "zeromq", "libzmq5",
        ("libzmq.so.5*", "libpgm-5.3.so.0*", "libnorm.so.1*", "libsodium.so.23*", "libbsd.so.0*", "libmd.so.0*"),
        ("krb5",), also=("libpgm-5.3-0", "libnorm1", "libsodium23", "libbsd0", "libmd0"),
    ),
)  # fmt: skip
# Without a picture to draw into no cell is run.
CAIRO = Library(
    "cairo", "libcairo2",
    tuple(f"lib{name}.so.*" for name in (
        "ICE", "Lerc", "SM", "X11", "Xau", "Xdmcp", "Xext", "Xrender", "Xt", "cairo", "datrie", "deflate", "fontconfig",
        "freetype", "fribidi", "gio-2.0", "glib-2.0", "gmodule-2.0", "gobject-2.0", "graphite2", "harfbuzz", "jbig", "jpeg",
        "pango-1.0", "pangocairo-1.0", "pangoft2-1.0", "pixman-1", "png16", "thai", "tiff", "webp", "xcb-render", "xcb-shm",
        "xcb",
    )),
    also=(
        "libdatrie1", "libdeflate0", "libfontconfig1", "libfreetype6", "libfribidi0", "libglib2.0-0", "libgraphite2-3",
        "libharfbuzz0b", "libice6", "libjbig0", "libjpeg62-turbo", "liblerc4", "libpango-1.0-0", "libpangocairo-1.0-0",
        "libpangoft2-1.0-0", "libpixman-1-0", "libpng16-16", "libsm6", "libthai0", "libtiff6", "libwebp7", "libx11-6",
        "libxau6", "libxcb-render0", "libxcb-shm0", "libxcb1", "libxdmcp6", "libxext6", "libxrender1", "libxt6",
    ),
)  # fmt: skip
# What the kernel needs; the first is R itself.
R_PACKAGES = ("r-base-core", *(f"r-cran-{name}" for name in (
    "base64enc", "cli", "crayon", "digest", "ellipsis", "evaluate", "fansi", "fastmap", "glue", "htmltools", "irdisplay",
    "irkernel", "jsonlite", "lifecycle", "pbdzmq", "pillar", "repr", "rlang", "utf8", "uuid", "vctrs",
)))  # fmt: skip
DEBIAN_PACKAGES = (*R_PACKAGES, *(name for library in (*LIBRARIES, CAIRO) for name in (library.source, *library.also)))
NEEDS = ("libblas", "liblapack", "libgomp", "icu", "pcre2", "libtirpc", "cairo", "readline", "liblzma", "bzip2", "libzlib")
# Debian spreads R over the system; conda has it all below lib/R.
PLACES = (("/usr/share/R/", "/lib/R/"), ("/usr/lib/R", "/lib/R"))
LEFT_OUT = ("site-library/*", "bin/Rscript", "etc/*", "*/po/*", "*/help/*.html", "*/html/*", "*/doc/*")


def packages_of_r(root: Path, versions: Mapping[str, str], scratch: Path) -> Iterator[Package]:
    """R, its kernel and their libraries. root: where the Debian packages are unpacked; versions: Debian's, by package name."""
    for library in (*LIBRARIES, CAIRO):
        yield library_package(root, library, upstream(versions[library.source]), scratch)
    version = re.match(r"[0-9]+\.[0-9]+\.[0-9]+", upstream(versions["r-base-core"]))
    assert version, versions["r-base-core"]
    yield _base(root, version[0], scratch)
    base = {path.name for path in (root / "usr/lib/R/library").iterdir()} | {"R"}
    for folder in sorted((root / "usr/lib/R/site-library").iterdir()):
        yield _library(folder, base, version[0], scratch)


def _base(root: Path, version: str, scratch: Path) -> Package:
    package = Package("r-base", version, "hdeb_0", depends=(GLIBC, *NEEDS))

    def edit(name: str, data: bytes) -> bytes:
        if not data.startswith(b"\x7fELF"):
            return moved(data)
        up = "/".join([".."] * name.count("/")) or "."
        return with_rpath(data, f"$ORIGIN/{up}/lib:$ORIGIN/{up}/..", scratch)

    package.add_tree(root / "usr/lib/R", "lib/R", skip=LEFT_OUT, edit=edit)
    for name in ("share", "include"):
        package.add_tree(root / "usr/share/R" / name, f"lib/R/{name}", edit=edit)
    package.add_tree(root / "etc/R", "lib/R/etc", skip=("Renviron*",), edit=edit)
    # Debian's own is a link to a file that its installation scripts make of this one.
    settings = (root / "usr/lib/R/etc/Renviron.ucf").read_bytes()
    package.add("lib/R/etc/Renviron", moved(re.sub(rb"(?m)^R_LIBS_SITE=.*$", b"R_LIBS_SITE=${R_LIBS_SITE-''}", settings)))
    package.link("bin/R", "../lib/R/bin/R")
    # Rscript has Debian's path compiled in and takes another from RHOME.
    package.add("lib/R/bin/Rscript.bin", (root / "usr/lib/R/bin/Rscript").read_bytes(), executable=True)
    home = f"{PLACEHOLDER}/lib/R"
    script = f'#!/bin/sh\nRHOME="{home}"; export RHOME\nexec "{home}/bin/Rscript.bin" "$@"\n'
    package.add("bin/Rscript", script.encode(), executable=True)
    return package


def _library(folder: Path, base: set[str], version: str, scratch: Path) -> Package:
    """A package of R's, from its folder in Debian's library."""
    told = Parser().parsestr(re.sub(r"\n\s+", " ", (folder / "DESCRIPTION").read_text(errors="replace")))
    named = ",".join(str(told.get(key) or "") for key in ("Depends", "Imports"))
    names = [re.split(r"[\s(]", name.strip())[0] for name in named.split(",")]
    depends = [f"r-{name.lower()}" for name in names if name and name not in base]
    if folder.name == "pbdZMQ":
        depends.append("zeromq")
    package = Package(
        f"r-{folder.name.lower()}", str(told["Version"]).replace("-", "_"), "r42hdeb_0",
        depends=(f"r-base {version.rpartition('.')[0]}.*", *depends),
    )  # fmt: skip

    def edit(name: str, data: bytes) -> bytes:
        if not data.startswith(b"\x7fELF"):
            return data
        return with_rpath(data, "$ORIGIN/../../../lib:$ORIGIN/../../../..", scratch)

    if folder.name == "IRkernel":
        # Here Jupyter finds it, also in an environment that is nobody's but its maker's.
        package.add_tree(folder / "kernelspec", "share/jupyter/kernels/ir")
    package.add_tree(folder, f"lib/R/library/{folder.name}", skip=("po/*", "help/*.html", "html/*"), edit=edit)
    return package


def moved(data: bytes) -> bytes:
    """A text with Debian's paths of R replaced by those in an environment; anything else as it is."""
    if b"\0" in data:
        return data
    for there, here in PLACES:
        data = data.replace(there.encode(), f"{PLACEHOLDER}{here}".encode())
    return data
