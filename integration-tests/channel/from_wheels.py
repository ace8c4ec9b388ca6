"""Conda packages made of PyPI wheels."""

from __future__ import annotations

import configparser
import hashlib
import re
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from channel.conda_package import PLACEHOLDER, Package
from channel.pythons import PYTHON, Python

# conda-forge writes these with an underscore where PyPI has a hyphen.
UNDERSCORED = {
    "jupyter-client", "jupyter-core", "stack-data", "pure-eval", "typing-extensions", "ipython-pygments-lexers",
    "ipython-genutils", "backports-abc",
}  # fmt: skip
OTHER_NAMES = {
    "tzdata": "python-tzdata",  # conda's own tzdata is the plain zone files
    "backports-functools-lru-cache": "backports.functools_lru_cache",
    "backports-shutil-get-terminal-size": "backports.shutil_get_terminal_size",
}
SCRIPT = """#!{prefix}/bin/python
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.exit({call}())
"""


def conda_name(name: str) -> str:
    """What conda-forge calls the package that PyPI calls `name`."""
    plain = canonicalize_name(name)
    return plain.replace("-", "_") if plain in UNDERSCORED else OTHER_NAMES.get(plain, plain)


def package_from_wheel(wheel: Path, python: Python = PYTHON) -> Package:
    """The wheel as a conda package: `noarch: python` where it is pure, else for this Python on this platform."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        info = next(member.split("/")[0] for member in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", member))
        metadata = BytesParser().parsebytes(archive.read(f"{info}/METADATA"))
        scripts = console_scripts(archive, info)
        package, needs = Package(conda_name(name), str(version)), requirements(metadata, python)
        if wheel.name.endswith("-none-any.whl") and python.noarch:
            _make_noarch(package, metadata, needs, scripts)
        else:
            _make_native(package, wheel, python, needs, scripts)
        site = "site-packages" if package.noarch else python.site_packages
        for member in archive.infolist():
            if not member.is_dir():
                _add_member(package, archive, member, info, site)
        package.add(f"{site}/{info}/INSTALLER", b"conda\n")
    return package


def console_scripts(archive: zipfile.ZipFile, info: str) -> tuple[str, ...]:
    """The wheel's commands, each as `name = module:function`."""
    path = f"{info}/entry_points.txt"
    if path not in archive.namelist():
        return ()
    parser = configparser.RawConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # commands may have capitals
    parser.read_string(archive.read(path).decode())
    found = parser.items("console_scripts") if parser.has_section("console_scripts") else []
    return tuple(f"{command} = {target.split('[')[0].strip()}" for command, target in found)


def requirements(metadata: Message, python: Python) -> tuple[str, ...]:
    """What the wheel needs on this Python, as conda says it; extras are left out."""
    found = []
    surroundings = {"extra": "", "python_version": python.version, "python_full_version": python.full}
    for line in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(surroundings):
            versions = ",".join(sorted(str(bound) for bound in requirement.specifier))
            found.append(f"{conda_name(requirement.name)} {versions}".strip())
    return tuple(found)


def _make_noarch(package: Package, metadata: Message, needs: tuple[str, ...], scripts: tuple[str, ...]) -> None:
    least = re.search(r">=\s*([0-9.]+)", metadata.get("Requires-Python") or "")
    python = f"python >={least.group(1)}" if least else "python"
    package.build, package.noarch, package.entry_points = "pyhd8ed1ab_0", "python", scripts
    package.depends = (python, *needs)


def _make_native(package: Package, wheel: Path, python: Python, needs: tuple[str, ...], scripts: tuple[str, ...]) -> None:
    package.build = f"{python.tag}h{hashlib.sha256(wheel.name.encode()).hexdigest()[:7]}_0"
    package.depends = (python.limits, python.binary, *needs)
    for script in scripts:
        command, target = (part.strip() for part in script.split("=", 1))
        module, call = target.split(":")
        text = SCRIPT.format(prefix=PLACEHOLDER, module=module, name=call.split(".")[0], call=call)
        package.add(f"bin/{command}", text.encode(), executable=True)


def _add_member(package: Package, archive: zipfile.ZipFile, member: zipfile.ZipInfo, info: str, site: str) -> None:
    name, data = member.filename, archive.read(member)
    executable = bool((member.external_attr >> 16) & 0o111)
    if name.endswith(".dist-info/RECORD"):
        return  # conda removes files by conda-meta
    if not name.startswith(info.replace(".dist-info", ".data/")):
        package.add(f"{site}/{name}", data, executable=executable)
        return
    _, kind, rest = name.split("/", 2)
    if kind in ("purelib", "platlib"):
        package.add(f"{site}/{rest}", data, executable=executable)
    elif kind == "data":
        package.add(rest, data, executable=executable)
    elif kind == "scripts":
        folder = "python-scripts" if package.noarch else "bin"
        data = data.replace(b"#!python", f"#!{PLACEHOLDER}/bin/python".encode(), 1)
        package.add(f"{folder}/{rest}", data, executable=True)
