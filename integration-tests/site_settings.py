"""What the machine that runs the tests knows about its site (mirrors, proxies, certificates), ready for a test machine.

Reads the settings of this host only; no address is written down in the tests.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from commands import run

CA_FOLDER = Path("/usr/local/share/ca-certificates")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
NETWORK_VARIABLE = re.compile(
    r"(PIP_|UV_|SSL_CERT_|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|NODE_EXTRA_CA_CERTS$|GIT_SSL_CAINFO$|(https?|ftp|no|all)_proxy$)",
    re.IGNORECASE,
)
# Where a program keeps its own things is this host's business.
OWN_PLACE = re.compile(r"_(CACHE_DIR|CONFIG_FILE|TARGET|PREFIX|TOOL_DIR|TOOL_BIN_DIR|PYTHON.*|PROJECT_ENVIRONMENT)$")
APT_OPTION = re.compile(r"Acquire::(http|https|Check-Valid-Until|Check-Date|Retries|ForceIPv4)\b")


def certificates() -> tuple[Path, ...]:
    """Certificates that the site added to the distribution's own."""
    return tuple(sorted(CA_FOLDER.rglob("*.crt"))) if CA_FOLDER.is_dir() else ()


def environment() -> dict[str, str]:
    """The variables that tell programs how to reach package indexes, without what only makes sense on this host."""
    found = {}
    for name, value in os.environ.items():
        if not NETWORK_VARIABLE.match(name) or OWN_PLACE.search(name):
            continue
        kept = without_local_paths(value)
        if kept:
            found[name] = kept
    return found


def pip_conf() -> str:
    """One pip.conf made of all of this host's, without what only makes sense here; empty when nothing is left."""
    merged = configparser.RawConfigParser()
    merged.read([Path(name).expanduser() for name in PIP_FILES])
    for section in merged.sections():
        for name, value in merged.items(section):
            kept = without_local_paths(value)
            if kept:
                merged.set(section, name, kept)
            else:
                merged.remove_option(section, name)
        if not merged.items(section):
            merged.remove_section(section)
    text = io.StringIO()
    merged.write(text)
    return text.getvalue()


def apt_options() -> tuple[str, ...]:
    """Apt's proxy and checking settings, as apt.conf lines."""
    lines = run(("apt-config", "dump")).out.splitlines()
    return tuple(line for line in lines if APT_OPTION.match(line) and not line.endswith('"";'))


def apt_sources(suite: str) -> tuple[str, ...]:
    """This host's Debian mirrors as sources.list lines for `suite`; empty when it names none (then the default is used)."""
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    wanted = ("--no-release-info", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    listing = run(("apt-get", "indextargets", *wanted)).out
    found = []
    for line in listing.splitlines():
        uri, release, component = line.split()
        if component == "main" and release in (own, f"{own}-updates", f"{own}-security"):
            found.append(f"deb {uri} {release.replace(own, suite)} main")
    return tuple(dict.fromkeys(found))


def without_local_paths(value: str) -> str:
    """`value` without those of its words that are paths of this host; the system's certificate files stay."""
    return " ".join(word for word in value.split() if not _is_local(word))


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """A short name for exactly these texts, to key caches by."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:16]


def _is_local(word: str) -> bool:
    path = word.removeprefix("file://")
    return path.startswith(("/", "~")) and not path.startswith("/etc/ssl/certs")
