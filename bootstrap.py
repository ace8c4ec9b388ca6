#!/usr/bin/env python3
"""Installs, repairs or upgrades a hub: checks the machine, makes the hub environment, hands over to the
installer.

    curl -fsSL URL/bootstrap.py | sudo python3 - --admin ada
    sudo python3 bootstrap.py --admin ada                       (from a checkout)

It is one file on purpose, however long: it is fetched alone. It uses the standard library only and is written
in the Python of 3.6, so that an old Python can say why it stops. Nothing runs before the last line: a download
that was cut off does nothing. It never reads standard input (that may be this very script), never writes into a
checkout, never installs what is not held to a hash, and never does what the installer could do.
"""

import argparse
import ast
import configparser
import contextlib
import csv
import errno
import fcntl
import glob
import hashlib
import html
import http.client
import http.server
import json
import os
import platform
import re
import select
import shlex
import shutil
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import zipfile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, TextIO, Tuple

DISTRIBUTION = "jupyter-hubd"
VERSION = "0.1.0"
RELEASED_SHA256 = ""  # of the released wheel; the release process fills it in

OLDEST_PYTHON = (3, 11)
ARCHITECTURES = ("x86_64", "aarch64")
LEAST_MEMORY = 900 * 2**20  # a "1 GB" machine shows about 960 MiB
LEAST_DISK = 5 * 10**9
LEAST_DISK_AGAIN = 10**9  # a re-run on a machine that has a hub: most is there already
OWN_PORTS = (8099, 15001)  # Traefik's and the hub's own defaults: no public port is chosen from these

FAILED, USAGE, LOCKED, INTERRUPTED = 1, 2, 6, 130

# Who an admin cannot be: the rule of hubd/config/names.py, said again here so that it is told before anything happens.
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SYSTEM_NAMES = frozenset((
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data",
    "backup", "list", "irc", "gnats", "nobody", "messagebus", "sshd", "ntp", "avahi", "polkitd", "postfix",
    "_apt", "systemd", "adm", "tty", "disk", "dialout", "fax", "voice", "cdrom", "floppy", "tape", "sudo",
    "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff", "users",
    "nogroup", "crontab", "input", "sgx", "kvm", "render", "netdev", "admin", "wheel", "docker", "lxd", "ssh",
    "ssl-cert", "lxc", "libvirt",
))  # fmt: skip
GENERATION = re.compile(r"(hub|uv)-[0-9a-f]{12}(-r\d+)?")
LEFTOVER = re.compile(r"(source|fetch)-.*")
NOT_SOURCE = (
    "build",
    "dist",
    "tests",
    "integration-tests",
    "benchmarks",
    "docs",
    "venv",
    "node_modules",
    "__pycache__",
)

# (option, what follows it or nothing, what it means)
OPTIONS = (
    ("--admin", "NAME", "a person who may do everything (can be given more than once)"),
    (
        "--admin-password-file",
        "FILE",
        "first password of the admins; without it one is made up and shown once",
    ),
    ("--config", "FILE|URL", "start from this config.yaml"),
    ("--preset", "NAME", "start from a config that comes with the hub, such as course"),
    ("--source", "WHERE", "checkout folder, wheel, .tar.gz or .zip to install from; a path or a URL"),
    ("--sha256", "HEX", "checksum of the --source file; a must for a URL"),
    ("--prefix", "DIR", "where everything goes (default: /opt/hub)"),
    ("--port", "N", "port of the web page (default: 80; without systemd the first free one from 8000)"),
    ("--plugin", "NAME", "switch a plugin on (can be given more than once)"),
    ("--yes", "", "do not ask"),
    ("--no-progress-page", "", "do not show the progress on the web port meanwhile"),
)
REPEATABLE = ("--admin", "--plugin")

# What pip is told on this machine, in uv's words. uv reads neither pip.conf nor PIP_* variables.
PIP_TO_UV = (
    ("index-url", "UV_DEFAULT_INDEX"),
    ("extra-index-url", "UV_INDEX"),
    ("find-links", "UV_FIND_LINKS"),
    ("no-index", "UV_NO_INDEX"),
    ("trusted-host", "UV_INSECURE_HOST"),
    ("cert", "SSL_CERT_FILE"),
    ("client-cert", "SSL_CLIENT_CERT"),
    ("proxy", "ALL_PROXY"),
    ("timeout", "UV_HTTP_TIMEOUT"),
)
UV_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
)

# These would send pip's or uv's work somewhere else than into the environment that is being made.
UNWANTED = (
    "VIRTUAL_ENV",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_CONSTRAINT",
    "PIP_DRY_RUN",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_BUILD_CONSTRAINT",
    "UV_EXCLUDE",
    "UV_NO_BINARY",
    "UV_REQUIRE_HASHES",
    "UV_NO_CACHE",
)

# (what a program's last words look like, why it failed, what helps); the first that fits is shown.
EXPLANATIONS = (
    (
        r"No space left on device|os error 28",
        "the disk is full",
        "make room under {prefix} (5 GB) and run the same command again",
    ),
    (
        r"(?i)hash mismatch|do not match the hashes|Hash Sum mismatch",
        "a package differs from the one that was locked",
        "something on the way from the package index changes files: name another index (PIP_INDEX_URL)",
    ),
    (
        r"(?i)certificate verify failed|invalid peer certificate|UnknownIssuer",
        "the certificate of the package index is not trusted here",
        "add your organisation's certificate with update-ca-certificates, or name it in PIP_CERT",
    ),
    (
        r"Could not get lock|is locked by",
        "another program is installing packages",
        "wait until it is done and run this again",
    ),
    (
        r"(?i)name resolution|dns error|not resolv|name or service not known|no address associated"
        r"|unreachable|timed? ?out|connection (refused|reset|aborted|broken)|could not connect"
        r"|error sending request"
        r"|failed to (connect|fetch|establish)",
        "the package index cannot be reached",
        "check DNS, route and proxy of this machine, or name a mirror ({mirror}), and run this again",
    ),
    (
        r"(?i)no matching distribution|not found in the package registry|no solution found"
        r"|no wheels? with a matching|unable to locate",
        "the package index does not have what is needed",
        "look at the index this machine is set up for ({mirror})",
    ),
)


# --- Errors and options ---------------------------------------------------------------------------


class Stop(Exception):
    """This run ends here: what did not work, why, what helps, the exit code, and the last lines of a
    program's output."""

    def __init__(self, what: str, why: str = "", fix: str = "", code: int = FAILED, output: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix, self.code, self.output = what, why, fix, code, output


class Interrupted(KeyboardInterrupt):
    """A signal asked this run to end. No Stop, so that nothing that goes on after a failed program goes on after it."""

    def as_stop(self) -> Stop:
        fix = "run the same command again: it goes on from here"
        return Stop("interrupted by {}".format(self.args[0]), "nothing is half in place", fix, INTERRUPTED)


class Problem(NamedTuple):
    """Something that is in the way of an installation, and its cure. code: the exit code it asks for."""

    what: str
    cure: str
    code: int = FAILED


class Options(NamedTuple):
    """The command line, checked. port, source, config: None where they were not given."""

    admins: Tuple[str, ...]
    admin_password_file: Optional[str]
    config: Optional[str]
    preset: Optional[str]
    source: Optional[str]
    sha256: Optional[str]
    prefix: str
    port: Optional[int]
    plugins: Tuple[str, ...]
    yes: bool
    progress_page: bool


def parse_options(argv: Sequence[str]) -> Options:
    """Read the command line; ends the program with exit code 2 when it makes no sense."""
    parser = option_parser()
    given = parser.parse_args(list(argv))
    for name in given.admin + given.plugin + ([given.preset] if given.preset else []):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@/-]*", name):
            parser.error("{!r} is not a name".format(name))
    if not given.prefix:  # of a variable that was never set; it would be the folder one happens to be in
        parser.error("--prefix is empty: name a folder such as /opt/hub, or leave it out")
    if given.port is not None and not (given.port.isdigit() and 1 <= int(given.port) <= 65535):
        parser.error("--port is a number from 1 to 65535")
    if given.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", given.sha256):
        parser.error("--sha256 is 64 hexadecimal digits")
    if given.source is None and given.sha256 is not None:
        parser.error("--sha256 says what --source must be: it needs one")
    if given.source is not None and is_url(given.source) and given.sha256 is None:
        parser.error(
            "--source from a URL needs --sha256, so that nothing else than what you mean is installed"
        )
    for option, text in (("--source", given.source), ("--config", given.config)):
        if text is not None and is_url(text) and not re.match(r"(https?|file)://", text):
            parser.error(
                "{}: {} is not a kind of address that is known here".format(option, text.split(":")[0])
            )
    return Options(
        admins=tuple(given.admin),
        admin_password_file=given.admin_password_file and os.path.abspath(given.admin_password_file),
        config=given.config,
        preset=given.preset,
        source=given.source,
        sha256=given.sha256 and given.sha256.lower(),
        prefix=os.path.abspath(given.prefix),
        port=given.port and int(given.port),
        plugins=tuple(given.plugin),
        yes=given.yes,
        progress_page=not given.no_progress_page,
    )


def option_parser() -> argparse.ArgumentParser:
    """Every option, as `--help` shows it. Abbreviations are refused, so that options can be added later."""
    parser = argparse.ArgumentParser(
        prog="bootstrap.py",
        allow_abbrev=False,
        description="Install a hub on this machine. Running it again repairs and upgrades it.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the config is not valid, 5 done in part (see `hubd "
        "status`), 6 another run is in progress, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version="{} {}".format(DISTRIBUTION, VERSION))
    for option, metavar, text in OPTIONS:
        settings = {"help": text}  # type: Dict[str, Any]
        if not metavar:
            settings["action"] = "store_true"
        else:
            settings["metavar"] = metavar
        if option in REPEATABLE:
            settings.update(action="append", default=[])
        parser.add_argument(option, **settings)
    parser.set_defaults(prefix="/opt/hub")
    return parser


def is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def without_secrets(text: str) -> str:
    """`text` with the name and password of every address left out."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


# --- Preflight: look at the machine, then name every problem --------------------------------------


class Facts(NamedTuple):
    """What preflight saw. Sizes in bytes; a fault is a sentence, empty where all is well."""

    uid: int
    os_id: str
    os_version: str
    os_name: str
    architecture: str
    version: Tuple[int, ...]
    python: str
    python_fault: str
    memory: int
    disk: int
    installed: bool
    prefix_fault: str
    port: Optional[int]
    port_holder: str
    network_faults: Tuple[str, ...]
    lock_pid: Optional[int]
    file_faults: Tuple[Problem, ...]


def observe(options: Options, environ: Mapping[str, str]) -> Facts:
    """Look at this machine. Changes nothing."""
    release = read_os_release()
    installed = os.path.islink(os.path.join(options.prefix, "hub"))
    python, python_fault = choose_python()
    port = options.port or default_port(options)
    return Facts(
        uid=os.geteuid(),
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_name=release.get("PRETTY_NAME", "an unknown system"),
        architecture=platform.machine(),
        version=tuple(sys.version_info[:3]),
        python=python,
        python_fault=python_fault,
        memory=memory_size(),
        disk=free_disk(options.prefix),
        installed=installed,
        prefix_fault=prefix_fault(options.prefix),
        port=port,
        port_holder=port_holder(port, options.prefix) if port else "",
        network_faults=tuple(network_faults(python, environ)),
        lock_pid=lock_holder(lock_path(options.prefix)),
        file_faults=tuple(file_faults(options)),
    )


def problems(facts: Facts, options: Options) -> List[Problem]:
    """Everything that is in the way, each with its cure. Pure."""
    found = list(machine_problems(facts)) + list(admin_problems(options)) + list(facts.file_faults)
    needed = LEAST_DISK_AGAIN if facts.installed else LEAST_DISK
    if facts.prefix_fault:
        found.append(
            Problem(facts.prefix_fault, "choose another folder with --prefix, or make this one usable")
        )
    elif facts.disk < needed:
        what = "{:.1f} GB are free where {} is, {:.0f} GB are needed".format(
            facts.disk / 1e9, options.prefix, needed / 1e9
        )
        found.append(Problem(what, "make room there, or choose a larger disk with --prefix"))
    if facts.lock_pid is not None:
        what = "another run of bootstrap.py is in progress (process {})".format(facts.lock_pid or "unknown")
        found.append(Problem(what, "wait until it has ended, or stop it; then run this again", LOCKED))
    elif facts.port_holder:
        what = "port {} is taken by {}".format(facts.port, facts.port_holder)
        found.append(Problem(what, "stop that program, or choose another port with --port"))
    if not facts.installed:
        cure = "check DNS, route and proxy of this machine, or name a mirror: index-url in /etc/pip.conf"
        found += [Problem(fault, cure) for fault in facts.network_faults]
    return found


def machine_problems(facts: Facts) -> Iterator[Problem]:
    """What is wrong with the machine itself, whatever is to be installed on it."""
    if facts.uid != 0:
        yield Problem("this is not run by root", "run it with sudo, or as root")
    if not supported_system(facts.os_id, facts.os_version):
        what = "{} is not a system that the hub is made for".format(facts.os_name)
        yield Problem(what, "use Debian 12 or 13, or Ubuntu 22.04, 24.04 or newer")
    if facts.architecture not in ARCHITECTURES:
        yield Problem(
            "the processor is of the kind {}".format(facts.architecture),
            "use a machine with x86_64 or aarch64",
        )
    if facts.version < OLDEST_PYTHON:
        what = "this is Python {}, and 3.11 or newer is needed".format(".".join(map(str, facts.version)))
        newer = "`apt install python3.11 python3.11-venv` on Ubuntu 22.04; other supported systems have it"
        yield Problem(what, "install a newer one ({}) and run this with it".format(newer))
    elif facts.python_fault:
        yield Problem(facts.python_fault, "run this with the system's own Python: /usr/bin/python3")
    if facts.memory < LEAST_MEMORY:
        yield Problem(
            "the machine has {:.1f} GB of memory, 1 GB is the least".format(facts.memory / 1e9),
            "give it more memory",
        )


def admin_problems(options: Options) -> Iterator[Problem]:
    """Admins that no account can be made for."""
    for name in options.admins:
        if not ACCOUNT.fullmatch(name):
            what = "--admin {}: this is not a name that an account can have".format(name)
            cure = "choose one of small letters, digits, - and _, at most 32, starting with a letter, such as ada"
            yield Problem(what, cure, USAGE)
        elif name in SYSTEM_NAMES or name.startswith(("hubd-", "systemd-")):
            what = "--admin {}: this is a name that the system itself uses".format(name)
            yield Problem(what, "choose another name, such as your own", USAGE)


def supported_system(os_id: str, version: str) -> bool:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if os_id == "debian":
        return numbers[:1] in ((12,), (13,))
    return os_id == "ubuntu" and (numbers == (22, 4) or numbers >= (24, 4))


def read_os_release(path: str = "/etc/os-release") -> Dict[str, str]:
    values = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        for line in stream:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                values[name] = value.strip("\"'")
    return values


def memory_size(proc: str = "/proc", cgroup: str = "/sys/fs/cgroup") -> int:
    """Bytes of memory this machine or container may use."""
    sizes = []
    with contextlib.suppress(OSError), open(proc + "/meminfo", encoding="ascii") as stream:
        sizes += [int(line.split()[1]) * 1024 for line in stream if line.startswith("MemTotal:")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(read_bytes(os.path.join(cgroup, name))))
    return min(sizes) if sizes else 0


def existing_parent(path: str) -> str:
    """The nearest folder on the way to `path` that is there."""
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    return path


def free_disk(prefix: str) -> int:
    room = os.statvfs(existing_parent(prefix))
    return room.f_bavail * room.f_frsize


def prefix_fault(prefix: str) -> str:
    """Why nothing can be installed under `prefix`; empty when it can."""
    if not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", prefix):
        return "the folder {!r} cannot be used: letters, digits and ._+- only, and not / itself".format(
            prefix
        )
    if os.path.lexists(prefix) and not os.path.isdir(prefix):
        return "{} is not a folder".format(prefix)
    parent = existing_parent(prefix)
    flags = os.statvfs(parent).f_flag
    if flags & os.ST_RDONLY or not os.access(parent, os.W_OK | os.X_OK):
        return "nothing can be written in {}".format(parent)
    if flags & getattr(os, "ST_NOEXEC", 0):
        return "programs cannot be run from {} (it is mounted noexec)".format(parent)
    closed = closed_folder(parent)
    if closed:
        return "{} is below {}, which the hub's own accounts cannot enter".format(prefix, closed)
    there = set(os.listdir(prefix)) if os.path.isdir(prefix) else set()
    if there and not there & {"versions", "state", "config.yaml"}:
        return "{} holds files that are not a hub's ({})".format(prefix, ", ".join(sorted(there)[:3]))
    return ""


def closed_folder(path: str) -> str:
    """The first folder on the way to `path` that not everybody may enter; empty when there is none."""
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        folder = "/" + "/".join(parts[:count])
        if os.path.isdir(folder) and not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return ""


def choose_python(system: str = "/usr/bin/python3") -> Tuple[str, str]:
    """The Python for the hub environment and a fault: the one that runs this, else the system's.

    The hub runs as an account of its own, so a Python in somebody's home (pyenv) is of no use to it.
    """
    running = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable or "/")
    closed = closed_folder(os.path.dirname(running))
    if not closed:
        return running, ""
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    if os.path.exists(system) and subprocess.call([system, "-c", code], stdin=subprocess.DEVNULL) == 0:
        return os.path.realpath(system), ""
    return running, "Python ({}) is below {}, which the hub's own accounts cannot enter".format(
        running, closed
    )


def file_faults(options: Options) -> Iterator[Problem]:
    """What is wrong with the files that the options name."""
    if options.admin_password_file:
        yield from readable("--admin-password-file", options.admin_password_file)
    if options.config and not is_url(options.config):
        yield from readable("--config", options.config)
    source = options.source
    yield from preset_faults(options.preset, own_checkout() if source is None else source)
    if source is None:
        if not own_checkout() and not RELEASED_SHA256:
            yield Problem(
                "there is nothing to install from",
                "say with --source where a checkout, a wheel or an archive is",
            )
    elif not is_url(source) and os.path.isdir(source):
        if not is_checkout(source):
            yield Problem(
                "--source {} is not a checkout of {}".format(source, DISTRIBUTION),
                "name the folder with its pyproject.toml",
            )
        if options.sha256:
            yield Problem("--sha256 is given for a folder", "leave it out, or name an archive")
    elif not is_url(source):
        yield from readable("--source", source)


def preset_faults(preset: Optional[str], source: Optional[str]) -> Iterator[Problem]:
    """A preset that does not come with the hub. What an archive has in it is seen later, by the installer."""
    folder = os.path.join(source or "", "config", "presets")
    if preset and source and not is_url(source) and os.path.isdir(folder):
        known = sorted(name[: -len(".yaml")] for name in os.listdir(folder) if name.endswith(".yaml"))
        if preset not in known:
            yield Problem("there is no preset {!r}".format(preset), "choose one of " + ", ".join(known), USAGE)


def readable(option: str, path: str) -> Iterator[Problem]:
    try:
        with open(path, "rb") as stream:
            if not stream.read(1):
                yield Problem("{} {} is empty".format(option, path), "name a file that has something in it")
    except OSError as error:
        yield Problem(
            "{} {} cannot be read ({})".format(option, path, error.strerror), "name a file that root can read"
        )


# --- Preflight: ports -----------------------------------------------------------------------------


def has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")


def default_port(options: Options) -> Optional[int]:
    """The port of a first installation; None where a config decides about it."""
    if options.config or os.path.exists(os.path.join(options.prefix, "config.yaml")):
        return None
    return 80 if has_systemd() else first_free_port(listening_ports())


def first_free_port(taken: Mapping[int, Sequence[str]], start: int = 8000) -> int:
    return next(port for port in range(start, 65536) if port not in taken and port not in OWN_PORTS)


def listening_ports(proc: str = "/proc") -> Dict[int, List[str]]:
    """Each TCP port that something listens on, with the inodes of the sockets."""
    ports = {}  # type: Dict[int, List[str]]
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(os.path.join(proc, "net", name), encoding="ascii") as stream:
            for line in stream:
                words = line.split()
                if len(words) > 9 and words[3] == "0A":
                    ports.setdefault(int(words[1].rsplit(":", 1)[1], 16), []).append(words[9])
    return ports


def port_holder(port: int, prefix: str, proc: str = "/proc", units: str = "/etc/systemd/system") -> str:
    """Which program listens on `port`, in words; empty when none does or when it is the hub's own proxy of
    an earlier run."""
    inodes = listening_ports(proc).get(port)
    if not inodes:
        return ""
    wanted = {"socket:[{}]".format(inode) for inode in inodes}
    holders = [
        pid
        for pid in os.listdir(proc)
        if pid.isdigit() and wanted & set(open_files(os.path.join(proc, pid, "fd")))
    ]
    ours = os.path.islink(os.path.join(prefix, "hub"))
    for pid in sorted(holders, key=int):
        program = read_link(os.path.join(proc, pid, "exe"))
        unit = os.path.exists(os.path.join(units, "jupyterhub-proxy.socket"))
        if ours and ((pid == "1" and unit) or program.startswith(os.path.realpath(prefix) + "/")):
            return ""
    if not holders:
        return "another program"
    pid = max(holders, key=int)
    return "{} (process {})".format(
        os.path.basename(read_link(os.path.join(proc, pid, "exe"))) or "a program", pid
    )


def open_files(folder: str) -> List[str]:
    try:
        return [read_link(os.path.join(folder, name)) for name in os.listdir(folder)]
    except OSError:  # the process has ended meanwhile, or is somebody else's
        return []


def read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


# --- Preflight: network ---------------------------------------------------------------------------


def network_faults(python: str, environ: Mapping[str, str]) -> List[str]:
    """Which of the machine's own package sources cannot be reached. Only addresses that this machine is set
    up for are asked."""
    proxy = next(
        (
            environ[name]
            for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "PIP_PROXY")
            if environ.get(name)
        ),
        "",
    )
    index = proxy or configured_index(environ) or default_index(python)
    faults = []
    for what, addresses in (
        ("the Python package index", [index]),
        ("the distribution's package mirror", apt_addresses(python)),
    ):
        places = list(filter(None, (host_and_port(address) for address in addresses)))
        reasons = [unreachable(host, port) for host, port in places]
        if places and all(reasons):
            faults.append("{} cannot be reached ({}: {})".format(what, places[0][0], reasons[0]))
    return faults


def configured_index(environ: Mapping[str, str], files: Optional[Sequence[str]] = None) -> str:
    """The package index that variables or pip's files name; empty when they name none."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if environ.get(name):
            return environ[name]
    home = os.path.expanduser("~")
    if files is None:
        files = [
            environ.get("PIP_CONFIG_FILE", ""),
            home + "/.config/pip/pip.conf",
            home + "/.pip/pip.conf",
            "/etc/pip.conf",
        ]
    for path in filter(None, files):
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(configparser.Error, OSError, UnicodeError):
            parser.read(path, encoding="utf-8")
        for section in ("install", "global"):
            if parser.has_option(section, "index-url"):
                return parser.get(section, "index-url")
    return ""


def default_index(python: str) -> str:
    """The index that pip uses when nobody tells it one, asked from pip itself; empty where pip is not there
    yet."""
    code = (
        "import glob, sys; sys.path += glob.glob('/usr/share/python-wheels/pip-*.whl'); "
        "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    )
    return output_of([python, "-I", "-c", code])


def apt_addresses(python: str) -> List[str]:
    """Addresses of the distribution's mirrors, when packages are missing and apt goes there without a
    proxy."""
    if not missing_packages(python) or output_of(["apt-config", "dump", "Acquire::http::Proxy"]):
        return []
    return sorted(
        set(re.findall(r"^'(https?://[^']+)'", output_of(["apt-get", "--print-uris", "update"]), re.M))
    )


def host_and_port(address: str) -> Optional[Tuple[str, int]]:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def unreachable(host: str, port: int, seconds: float = 10) -> str:
    """Why `host` does not answer, within a deadline (a name server that is away would take minutes); empty
    when it does."""
    answer = []  # type: List[str]

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
            answer.append("")
        except OSError as error:
            answer.append(error.strerror or str(error))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else "no answer within {:.0f} s".format(seconds)


def output_of(argv: Sequence[str], env: Optional[Mapping[str, str]] = None) -> str:
    """What a short, harmless command prints; empty when it is not there or fails."""
    try:
        made = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return made.stdout.decode("utf-8", "replace").strip() if made.returncode == 0 else ""


# --- One run at a time ----------------------------------------------------------------------------


def lock_path(prefix: str) -> str:
    return os.path.join(prefix, "state", "bootstrap.lock")


def lock_holder(path: str) -> Optional[int]:
    """The process that holds the lock (0: not known which); None when it is free."""
    try:
        with open(path, "r+", encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(stream.read().strip() or 0)
    except (OSError, ValueError):
        pass
    return None


@contextlib.contextmanager
def one_run(path: str) -> Iterator[None]:
    """Hold the lock of this prefix; the kernel lets go of it however this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whoever may open it may lock it, too
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(descriptor, 20, 0).decode("ascii").strip() or "unknown"
            raise Stop(
                "another run of bootstrap.py is in progress (process {})".format(pid),
                "",
                "wait until it has ended",
                LOCKED,
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)


# --- What people see: log, terminal, page ---------------------------------------------------------


class Log:
    """The log of all runs: own lines with their time, and everything that the called programs print. Root's
    eyes only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(self.descriptor, 0o600)

    def write(self, text: str) -> None:
        for line in without_secrets(text).splitlines():
            os.write(
                self.descriptor,
                "{} {}\n".format(time.strftime("%Y-%m-%d %H:%M:%S"), line).encode("utf-8", "replace"),
            )

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def tail(self, start: int, count: int = 12) -> str:
        """The last lines that were written after `start`."""
        start = max(start, self.size() - 20000)
        text = os.pread(self.descriptor, 20000, start).decode("utf-8", "replace")
        lines = [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
        own = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (==|\$) ")
        return "\n".join([line for line in lines if not own.match(line)][-count:])


class Step:
    """One line of the progress. state: running, done, failed or skipped; seconds: how long it took, or
    takes so far."""

    def __init__(self, text: str) -> None:
        self.text, self.state, self.began = text, "running", time.monotonic()
        self.took = None  # type: Optional[float]

    def seconds(self) -> float:
        return time.monotonic() - self.began if self.took is None else self.took

    def line(self) -> str:
        return "{:>7.1f} s  {}{}".format(
            self.seconds(), self.text, {"done": "", "running": " ..."}.get(self.state, ": " + self.state)
        )


class Progress:
    """The steps so far, drawn on the terminal as they come. On a tty the current command stands under the
    current step; elsewhere
    a step is a line when it ends, and a sign of life every half minute before that."""

    def __init__(self, stream: TextIO, tty: bool) -> None:
        self.stream, self.tty = stream, tty
        self.steps = []  # type: List[Step]
        self.command = ""
        self.lock = threading.RLock()
        self.closed = threading.Event()
        threading.Thread(target=self.tick, daemon=True).start()

    def start(self, text: str) -> None:
        with self.lock:
            self.steps.append(Step(text))
            self.command = ""
            self.draw()

    def end(self, text: str, state: str, seconds: Optional[float] = None) -> None:
        """End the step of that name; one that was never started is shown as it ended."""
        with self.lock:
            step = next(
                (step for step in reversed(self.steps) if step.text == text and step.state == "running"), None
            )
            if step is None:
                step = Step(text)
                self.steps.append(step)
            step.took = step.seconds() if seconds is None else seconds
            step.state = state
            self.put(step.line())

    def run(self, command: str) -> None:
        with self.lock:
            self.command = without_secrets(command)
            self.draw()

    def put(self, text: str) -> None:
        """Print whole lines above the moving part."""
        with self.lock:
            self.emit(("\r\033[J" if self.tty else "") + text + "\n")
            self.draw()

    def draw(self) -> None:
        """The moving part: the newest running step, the command below it, and the cursor back on the step."""
        running = [step for step in self.steps if step.state == "running"]
        if self.tty and running and not self.closed.is_set():
            width = shutil.get_terminal_size().columns - 1
            self.emit(
                "\r\033[J{}\n{}\033[1A\r".format(
                    running[-1].line()[:width], (" " * 11 + self.command)[:width]
                )
            )

    def tick(self) -> None:
        while not self.closed.wait(1 if self.tty else 30):
            with self.lock:
                running = [step for step in self.steps if step.state == "running" and step.seconds() > 20]
                if running and not self.tty:
                    self.emit(running[-1].line() + "\n")
                self.draw()

    def close(self) -> None:
        with self.lock:
            if self.tty and not self.closed.is_set():
                self.emit("\r\033[J")
            self.closed.set()

    def emit(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone is no reason to stop
            self.stream.write(
                text.encode(self.stream.encoding or "ascii", "replace").decode(
                    self.stream.encoding or "ascii"
                )
            )
            self.stream.flush()


class PageServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves the progress page; a slow visitor holds nobody up."""

    daemon_threads = True
    block_on_close = False
    progress: Progress

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Visitors that hang up are nothing to report."""


class PageHandler(http.server.BaseHTTPRequestHandler):
    """Answers everything with 503 and the steps, so that nobody and no monitor takes the page for the hub."""

    timeout = 10
    server: PageServer

    def answer(self) -> None:
        body = page(self.server.progress.steps).encode("utf-8")
        self.send_response_only(503)
        headers = (
            ("Retry-After", "5"),
            ("Cache-Control", "no-store"),
            ("Content-Type", "text/html; charset=utf-8"),
        )
        for name, value in (*headers, ("Content-Length", str(len(body))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - http.server names them

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """What cannot be understood is answered like everything else."""
        self.answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Visits are not logged."""


def page(steps: Sequence[Step]) -> str:
    rows = "".join("<li>{}</li>".format(html.escape(step.line())) for step in steps)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>"
        "<title>Being installed</title><body style='font-family:sans-serif;max-width:40em;margin:3em auto'>"
        "<h1>The hub is being installed</h1><p>This page renews itself; the sign-in page takes its place.</p>"
        "<ul style='white-space:pre'>{}</ul></body></html>"
    ).format(rows)


class ProgressPage:
    """The page on the web port. Where the port cannot be had there is no page, which is no error."""

    def __init__(self, progress: Progress, port: int) -> None:
        self.server = None  # type: Optional[PageServer]
        for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "")):
            with contextlib.suppress(OSError):
                server = PageServer((address, port), PageHandler, bind_and_activate=False)
                server.progress, server.address_family = progress, family
                server.socket.close()
                server.socket = socket.socket(family, socket.SOCK_STREAM)
                if family == socket.AF_INET6:
                    server.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.socket.bind((address, port))
                server.server_address = server.socket.getsockname()
                server.server_activate()
                threading.Thread(
                    target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
                ).start()
                self.server = server
                return

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


# --- Calling programs -----------------------------------------------------------------------------


class Run(NamedTuple):
    """What every step of this run needs. environ: the clean environment of the programs it calls."""

    options: Options
    python: str
    log: Log
    progress: Progress
    environ: Dict[str, str]

    @property
    def versions(self) -> str:
        return os.path.join(self.options.prefix, "versions")


@contextlib.contextmanager
def step(run: Run, text: str) -> Iterator[None]:
    """Show what happens inside as one step."""
    run.log.write("== " + text)
    run.progress.start(text)
    try:
        yield
    except BaseException:
        run.progress.end(text, "failed")
        raise
    run.progress.end(text, "done")


def clean_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """The host's settings for pip, uv and proxies, without what bends Python; English output; root's
    programs found."""
    env = {
        name: value
        for name, value in environ.items()
        if not name.startswith("PYTHON") and name not in UNWANTED
    }
    env["PATH"] = env.get("PATH", "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env.setdefault("HOME", "/root")
    env.update(
        LC_ALL="C.UTF-8", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_ROOT_USER_ACTION="ignore"
    )
    return env


def call(
    run: Run, *argv: str, env: Optional[Mapping[str, str]] = None, minutes: float = 30, orphan: bool = False
) -> None:
    """Run a program to its end, its output going to the log.

    orphan: let it go on when this process is killed (dpkg must not be torn from its work); else it dies with us,
    so that it cannot write into what the next run makes.
    Raises Stop when it fails or takes longer than `minutes`.
    """
    words = " ".join(shlex.quote(word) for word in argv)
    run.log.write("$ " + words)
    run.progress.run(words)
    start = run.log.size()
    leash = () if orphan or not shutil.which("setpriv") else ("setpriv", "--pdeathsig", "KILL", "--")
    try:
        code = wait_for(spawn(leash + argv, run.log.descriptor, env or run.environ), minutes * 60)
    except FileNotFoundError:
        raise Stop("{} is not on this machine".format(argv[0]), "", "install it and run this again") from None
    if code != 0:
        output = run.log.tail(start)
        ended = (
            "did not end in {:.0f} minutes".format(minutes) if code is None else "exited with {}".format(code)
        )
        why, fix = explain(output, argv[0], run.options.prefix)
        raise Stop(
            "`{}` {}".format(" ".join([os.path.basename(argv[0]), *argv[1:3]]), ended),
            why,
            fix,
            output=output,
        )


def spawn(
    argv: Sequence[str], output: int, env: Mapping[str, str], inherit: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own, with nothing to read and its output appended to a
    file."""
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(env),
        pass_fds=tuple(inherit),
        start_new_session=True,
        cwd="/",
    )


def wait_for(process: "subprocess.Popen[bytes]", seconds: float) -> Optional[int]:
    """The exit code; None when the time was up. Whatever happens meanwhile, the whole process group is gone
    afterwards."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        return None
    except BaseException:
        kill_group(process)
        raise


def kill_group(process: "subprocess.Popen[bytes]", seconds: float = 20) -> None:
    """End the process group: asked first, so that dpkg and the installer stop at a clean place."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def explain(output: str, program: str, prefix: str) -> Tuple[str, str]:
    """Why a program failed and what helps, from its last words; the last line itself where nothing better
    is known."""
    mirror = "index-url in /etc/pip.conf, or PIP_INDEX_URL"
    if os.path.basename(program).startswith(("apt", "dpkg")):
        mirror = "the files in /etc/apt/sources.list.d"
    for pattern, why, fix in EXPLANATIONS:
        if re.search(pattern, output):
            return why, fix.format(prefix=prefix, mirror=mirror)
    last = output.splitlines()[-1].strip() if output else ""
    return last, "read the log, mend what it names, and run the same command again"


# --- System packages ------------------------------------------------------------------------------


def missing_packages(python: str) -> List[str]:
    """The distribution's packages that are needed and not there. python: the Python that has to make
    environments."""
    missing = []
    if not python or not output_of([python, "-I", "-c", "import ensurepip, venv; print(1)"]):
        default = os.path.realpath("/usr/bin/python3")
        missing.append("python3-venv" if python in ("", default) else os.path.basename(python) + "-venv")
    missing += [
        name for name in ("git", "sudo") if not shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    ]
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        missing.append("ca-certificates")
    return missing


def install_packages(run: Run) -> None:
    """Install what is missing. The prebuilt python3-systemd is wanted, not needed: the hub goes without
    it."""
    needed = missing_packages(run.python)
    wanted = (
        []
        if os.path.isdir("/usr/lib/python3/dist-packages/systemd") or not has_systemd()
        else ["python3-systemd"]
    )
    if not needed and not wanted:
        return
    env = dict(run.environ, DEBIAN_FRONTEND="noninteractive", NEEDRESTART_SUSPEND="1")
    apt = ("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3")
    with contextlib.suppress(Stop):  # one dead source of many is no reason to stop: the installation tells
        call(run, *apt, "update", env=env, orphan=True)
    install = (*apt, "install", "--no-install-recommends", "--")
    try:
        call(run, *install, *needed, *wanted, env=env, orphan=True)
    except Stop as stop:
        if "dpkg --configure -a" in stop.output:
            call(run, "dpkg", "--configure", "-a", env=env, orphan=True)
        if needed:
            call(run, *install, *needed, env=env, orphan=True)


# --- The source -----------------------------------------------------------------------------------


class Source(NamedTuple):
    """A private copy of what is to be installed. path: a wheel or a source tree; digest: of its content;
    requirements: by name."""

    path: str
    digest: str
    requirements: Dict[str, str]


def own_checkout() -> Optional[str]:
    """The checkout that this file lies in; None when it came through a pipe or lies alone."""
    path = globals().get("__file__")
    folder = os.path.dirname(os.path.abspath(path)) if path and os.path.isfile(path) else None
    return folder if folder and is_checkout(folder) else None


def is_checkout(folder: str) -> bool:
    name = r"(?m)^name\s*=\s*[\"']{}[\"']".format(re.escape(DISTRIBUTION))
    with contextlib.suppress(OSError, UnicodeError):
        return re.search(name, read_bytes(os.path.join(folder, "pyproject.toml")).decode("utf-8")) is not None
    return False


def get_source(run: Run, folder: str) -> Source:
    """Copy, download or unpack the source into `folder`, checked against its checksum where it has one."""
    given = run.options.source or own_checkout()
    if given is None:
        return open_source(fetch_released(run, folder), folder)
    if not is_url(given) and os.path.isdir(given):
        return copy_tree(given, os.path.join(folder, "tree"))
    path = os.path.join(
        folder, os.path.basename(urllib.parse.urlsplit(given).path if is_url(given) else given) or "source"
    )
    if is_url(given):
        run.progress.run("download " + given)
        run.log.write("download " + given)
        download(given, path)
    else:
        shutil.copyfile(given, path)
    check_sha256(path, run.options.sha256)
    return open_source(path, folder)


def download(url: str, path: str, limit: int = 500 * 10**6) -> None:
    """Fetch `url` into the file `path`, three attempts, at most `limit` bytes. Raises Stop."""
    for attempt in range(3):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as stream:
                while stream.tell() <= limit:
                    piece = answer.read(2**16)
                    if not piece:
                        return
                    stream.write(piece)
                raise Stop(
                    "{} is larger than {} MB".format(without_secrets(url), limit // 10**6),
                    "",
                    "check the address",
                )
        except (OSError, ValueError, http.client.HTTPException) as error:
            if attempt == 2 or 400 <= getattr(error, "code", 0) < 500:
                raise Stop(
                    "{} could not be downloaded".format(without_secrets(url)),
                    str(error),
                    "check the address and this machine's network",
                ) from None
            time.sleep(2)


def check_sha256(path: str, wanted: Optional[str]) -> None:
    found = hashlib.sha256(read_bytes(path)).hexdigest()
    if wanted is not None and found != wanted:
        why = "its SHA-256 is {}, not {}".format(found, wanted)
        raise Stop(
            "{} is not the file that was meant".format(os.path.basename(path)),
            why,
            "check --source and --sha256",
        )


def read_bytes(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def fetch_released(run: Run, folder: str) -> str:
    """The released wheel, by pip, from the index that this machine is set up for, and only with the hash in
    this file."""
    wanted = os.path.join(folder, "released.txt")
    with open(wanted, "w", encoding="ascii") as stream:
        stream.write("{}=={} --hash=sha256:{}\n".format(DISTRIBUTION, VERSION, RELEASED_SHA256))
    call(run, run.python, "-I", "-m", "venv", os.path.join(folder, "venv"))
    pip = os.path.join(folder, "venv", "bin", "python")
    call(
        run,
        pip,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        wanted,
        "-d",
        folder,
        env=pip_environment(run),
    )
    return next(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".whl"))


def open_source(path: str, folder: str) -> Source:
    """A wheel as it is, or the tree inside an archive. Raises Stop when the file is neither."""
    try:
        if path.endswith(".whl"):
            return open_wheel(path)
        tree = os.path.join(folder, "unpacked")
        unpack(path, tree)
    except (OSError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise Stop(
            "{} cannot be read".format(os.path.basename(path)),
            str(error),
            "name a wheel, a .tar.gz or a .zip of the hub",
        ) from None
    inside = [tree, *sorted(glob.glob(os.path.join(glob.escape(tree), "*", "")))]
    found = next((place for place in inside if is_checkout(place)), None)
    if found is None:
        raise Stop(
            "{} is not an archive of {}".format(os.path.basename(path), DISTRIBUTION), "", "check --source"
        )
    return copy_tree(found, os.path.join(folder, "tree"))


def open_wheel(path: str) -> Source:
    if not os.path.basename(path).startswith(DISTRIBUTION.replace("-", "_") + "-"):
        raise ValueError("it is not a wheel of " + DISTRIBUTION)
    with zipfile.ZipFile(path) as archive:
        texts = {
            name: archive.read("hubd/data/requirements-{}.txt".format(name)).decode("utf-8")
            for name in ("hub", "uv")
        }
    return Source(path, hashlib.sha256(read_bytes(path)).hexdigest(), texts)


def unpack(path: str, folder: str) -> None:
    """Unpack the plain files of an archive. Links, devices and names that lead elsewhere are refused."""
    members = []  # type: List[Tuple[str, bool, bytes]]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            members = [
                (info.filename, bool(info.external_attr >> 16 & 0o100), zipped.read(info))
                for info in zipped.infolist()
                if not info.is_dir()
            ]
    else:
        with tarfile.open(path, "r:*") as tarred:
            for info in tarred:
                stream = tarred.extractfile(info) if info.isfile() else None
                if stream is not None:
                    members.append((info.name, bool(info.mode & 0o100), stream.read()))
                elif not info.isdir():
                    raise ValueError("{} in it is not a plain file".format(info.name))
    for name, executable, content in members:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError("{} in it leads outside".format(name))
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as stream:
            stream.write(content)
        os.chmod(target, 0o755 if executable else 0o644)


def copy_tree(tree: str, target: str) -> Source:
    """Copy what the package is built from, so that building never writes into a checkout."""

    def unwanted(folder: str, names: List[str]) -> List[str]:
        top = os.path.realpath(folder) == os.path.realpath(tree)
        return [
            n
            for n in names
            if n.startswith(".")
            or n.endswith((".pyc", ".egg-info"))
            or n == "__pycache__"
            or (top and n in NOT_SOURCE)
        ]

    shutil.copytree(tree, target, symlinks=True, ignore=unwanted)
    texts = {}
    for name in ("hub", "uv"):
        path = os.path.join(target, "config", "requirements-{}.txt".format(name))
        if not os.path.isfile(path):
            raise Stop(
                "the source has no config/requirements-{}.txt".format(name),
                "",
                "use a complete checkout or archive",
            )
        texts[name] = read_bytes(path).decode("utf-8")
    return Source(target, tree_digest(target), texts)


def tree_digest(tree: str) -> str:
    """SHA-256 over the names, kinds and contents of everything in `tree`, whatever order the disk gives
    them in."""
    total = hashlib.sha256()
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted(files + [name for name in folders if os.path.islink(os.path.join(folder, name))]):
            path = os.path.join(folder, name)
            link = os.path.islink(path)
            content = os.readlink(path).encode() if link else read_bytes(path)
            kind = "link" if link else "program" if os.stat(path).st_mode & 0o100 else "file"
            total.update(
                "{} {} {}\n".format(
                    kind, os.path.relpath(path, tree), hashlib.sha256(content).hexdigest()
                ).encode()
            )
    return total.hexdigest()


# --- Generations: built aside, marked complete last, switched by rename ---------------------------


def generation_key(requirements: str, digest: str, python: str) -> str:
    """12 hexadecimal digits that change whenever the environment has to be another one. python: path and
    version."""
    return hashlib.sha256("\0".join((requirements, digest, python)).encode("utf-8")).hexdigest()[:12]


def is_complete(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, ".complete"))


def mark_complete(folder: str) -> None:
    """Say, last of all and in one step, that everything in `folder` is there and on the disk."""
    os.sync()
    write_synced(os.path.join(folder, ".complete"), time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))


def write_synced(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(path + ".new", path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def switch_link(link: str, target: str) -> None:
    """Point `link` at `target` in one step: it is the old or the new one at every instant."""
    new = link + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(os.path.relpath(target, os.path.dirname(link)), new)
    os.rename(new, link)
    sync_folder(os.path.dirname(link))


def damaged(folder: str) -> str:
    """The first file of an environment that is missing or has lost its size, or `python` when that does not
    start; else empty."""
    for record in sorted(
        glob.glob(
            os.path.join(glob.escape(folder), "lib", "python3*", "site-packages", "*.dist-info", "RECORD")
        )
    ):
        place = os.path.dirname(os.path.dirname(record))
        with open(record, newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                path = os.path.normpath(os.path.join(place, row[0]))
                size = os.path.getsize(path) if os.path.isfile(path) else -1
                if size < 0 or (row[2:] and row[2] and int(row[2]) != size):
                    return path
    python = os.path.join(folder, "bin", "python")
    return "" if output_of([python, "-I", "-c", "print(1)"]) else python


def generation(versions: str, kind: str, key: str) -> Tuple[str, bool]:
    """The folder of that generation and whether it is there and whole. A damaged one is replaced under a
    new name."""
    name = os.path.join(versions, "{}-{}".format(kind, key))
    repairs = [int(path.rsplit("-r", 1)[1]) for path in glob.glob(glob.escape(name) + "-r*")]
    folders = [name] + ["{}-r{}".format(name, number) for number in sorted(repairs)]
    for folder in reversed(folders):
        if is_complete(folder):
            if not damaged(folder):
                return folder, True
            os.unlink(os.path.join(folder, ".complete"))
    if not any(map(os.path.lexists, folders)):
        return name, False
    return "{}-r{}".format(name, max(repairs, default=0) + 1), False


def clean_leftovers(versions: str, link: str) -> List[str]:
    """Delete what an earlier run left half done. Never what the link points to, nor anything that others
    put here."""
    live = os.path.realpath(link)
    names = [
        name
        for name in sorted(os.listdir(versions))
        if GENERATION.fullmatch(name) or LEFTOVER.fullmatch(name)
    ]
    gone = []
    for path in (os.path.join(versions, name) for name in names):
        if os.path.realpath(path) != live and not is_complete(path):
            kill_programs_of(path)
            remove_tree(path)
            gone.append(os.path.basename(path))
    return gone


def kill_programs_of(folder: str, proc: str = "/proc") -> None:
    """End what a killed run has left running from `folder` (pip's own child): it would write into what is
    made anew."""
    for pid in filter(str.isdigit, os.listdir(proc)):
        with contextlib.suppress(OSError):
            program = read_bytes(os.path.join(proc, pid, "cmdline")).split(b"\0")[0]
            if program.startswith(os.fsencode(folder) + b"/"):
                os.kill(int(pid), signal.SIGKILL)


def prune(versions: str, link: str, uv: str) -> None:
    """Keep the hub in use, the one before it that worked, and the uv of now; older ones go."""
    live = os.path.realpath(link)
    paths = [os.path.join(versions, name) for name in os.listdir(versions) if GENERATION.fullmatch(name)]
    hubs = [
        path for path in paths if os.path.basename(path).startswith("hub-") and os.path.realpath(path) != live
    ]
    hubs.sort(key=lambda path: (os.path.exists(os.path.join(path, ".worked")), os.stat(path).st_mtime))
    for path in hubs[:-1] + [
        path for path in paths if os.path.basename(path).startswith("uv-") and path != uv
    ]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(path, ".complete"))
        remove_tree(path)


def remove_tree(path: str) -> None:
    """Delete a folder; a program that is just being killed may still add to it, hence the attempts."""
    for attempt in range(5):
        try:
            return shutil.rmtree(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == 4:
                raise
            time.sleep(0.5)


# --- uv and the hub environment -------------------------------------------------------------------


def pip_environment(run: Run) -> Dict[str, str]:
    """pip as this machine has it set up; where no certificates are named, the system's instead of pip's
    own."""
    env = dict(run.environ)
    system = "/etc/ssl/certs/ca-certificates.crt"
    if os.path.exists(system) and not any(
        env.get(name) for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    ):
        env["PIP_CERT"] = system
    return env


def make_uv(run: Run, source: Source) -> str:
    """The environment that holds pip and the locked uv; returns its folder."""
    folder, ready = generation(
        run.versions, "uv", generation_key(source.requirements["uv"], "", python_identity(run))
    )
    if not ready:
        call(run, run.python, "-I", "-m", "venv", folder)
        wanted = os.path.join(folder, "requirements.txt")
        write_synced(wanted, source.requirements["uv"])
        pip = (
            os.path.join(folder, "bin", "python"),
            "-m",
            "pip",
            "install",
            "--progress-bar",
            "off",
            "--only-binary",
            ":all:",
        )
        call(run, *pip, "--no-deps", "--require-hashes", "-r", wanted, env=pip_environment(run))
        mark_complete(folder)
    return folder


def python_identity(run: Run) -> str:
    version = output_of([run.python, "-I", "-c", "import sys; print(sys.implementation.cache_tag)"])
    return "{} {}".format(run.python, version)


def uv_environment(run: Run, uv: str) -> Dict[str, str]:
    """What uv is told: what the machine says about uv, else what it says about pip, in uv's words."""
    env = dict(run.environ)
    if not any(env.get(name) for name in UV_INDEX_VARIABLES) and not uv_is_configured(env):
        listed = output_of([os.path.join(uv, "bin", "python"), "-m", "pip", "config", "list"], run.environ)
        for name, value in uv_settings(pip_settings(listed)).items():
            env.setdefault(name, value)
    env.setdefault(
        "UV_CACHE_DIR", os.path.join(run.versions, ".cache")
    )  # on the same disk: files are linked, not copied
    env.setdefault("UV_SYSTEM_CERTS", "1")
    env.setdefault("UV_HTTP_TIMEOUT", "120")
    env.update(UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never")
    return env


def uv_is_configured(env: Mapping[str, str]) -> bool:
    """Whether a uv.toml of this machine says where packages come from."""
    home = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", "/root"), ".config")
    for path in (env.get("UV_CONFIG_FILE", ""), os.path.join(home, "uv", "uv.toml"), "/etc/uv/uv.toml"):
        with contextlib.suppress(OSError, UnicodeError):
            if path and re.search(r"index|find-links", read_bytes(path).decode("utf-8")):
                return True
    return False


def pip_settings(listed: str) -> Dict[str, str]:
    """`pip config list` as values: a variable wins over [install], that over [global]."""
    found = {}  # type: Dict[str, Tuple[int, str]]
    for line in listed.splitlines():
        name, equals, quoted = line.partition("=")
        section, _, key = name.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section, -1)
        if equals and rank >= found.get(key, (0, ""))[0]:
            with contextlib.suppress(ValueError, SyntaxError):
                found[key] = (rank, str(ast.literal_eval(quoted)))
    return {key: value for key, (_, value) in found.items()}


def uv_settings(settings: Mapping[str, str]) -> Dict[str, str]:
    """pip's settings as uv's variables."""
    env = {variable: " ".join(settings[key].split()) for key, variable in PIP_TO_UV if settings.get(key)}
    links = env.pop("UV_FIND_LINKS", "").split()  # uv stops where a folder is missing, pip goes on
    if [link for link in links if is_url(link) or os.path.isdir(link)]:
        env["UV_FIND_LINKS"] = ",".join(link for link in links if is_url(link) or os.path.isdir(link))
    if "UV_INDEX" in env:  # pip looks in all of them; what is installed is held to its hash in any case
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return env


def make_hub(run: Run, source: Source, uv: str) -> str:
    """The hub environment, built aside; returns its folder. What is there and whole is taken as it is."""
    key = generation_key(source.requirements["hub"], source.digest, python_identity(run))
    folder, ready = generation(run.versions, "hub", key)
    if not ready:
        program, env = os.path.join(uv, "bin", "uv"), uv_environment(run, uv)
        python = os.path.join(folder, "bin", "python")
        call(run, program, "venv", "--python", run.python, folder, env=env)
        wanted = os.path.join(folder, "requirements.txt")
        write_synced(wanted, source.requirements["hub"])
        install = (program, "pip", "install", "--python", python, "--compile-bytecode")
        call(run, *install, "--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", wanted, env=env)
        call(
            run,
            *install,
            "--no-cache",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            source.path,
            env=env,
        )
        call(run, program, "pip", "check", "--python", python, env=env)
        call(run, python, "-I", "-c", "import hubd, hubd_installer, jupyterhub")
    link_systemd(run, folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, ".lock"))  # uv leaves it writable for everybody
    if not ready:
        mark_complete(folder)
    return folder


def link_systemd(run: Run, folder: str, packages: str = "/usr/lib/python3/dist-packages") -> None:
    """Offer the distribution's prebuilt systemd package to the hub environment, when it loads there."""
    links = [
        os.path.join(place, "systemd")
        for place in glob.glob(os.path.join(glob.escape(folder), "lib", "python3*", "site-packages"))
    ]
    if not has_systemd() or not links or os.path.exists(links[0]):
        return
    if os.path.isdir(os.path.join(packages, "systemd")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(links[0])
        os.symlink(os.path.join(packages, "systemd"), links[0])
        if output_of(
            [
                os.path.join(folder, "bin", "python"),
                "-I",
                "-c",
                "import systemd.daemon, systemd.journal; print(1)",
            ]
        ):
            return
        os.unlink(links[0])
    message = "Note: python3-systemd cannot be had for this Python; the hub goes without its watchdog."
    run.log.write(message)
    run.progress.put(message)


# --- Handing over to the installer ----------------------------------------------------------------


def installer_arguments(
    options: Options, port: Optional[int], config: Optional[str], events: int
) -> List[str]:
    """The installer's command line. A port is named only where it was given, or where no config decides
    about it."""
    words = ["--prefix", options.prefix]
    words += ["--port", str(port)] if port else []
    for admin in options.admins:
        words += ["--admin", admin]
    words += ["--admin-password-file", options.admin_password_file] if options.admin_password_file else []
    words += ["--config", config] if config else []
    words += ["--preset", options.preset] if options.preset else []
    for plugin in options.plugins:
        words += ["--plugin", plugin]
    return words + (["--yes"] if options.yes else []) + ["--events", str(events)]


def hand_over(
    run: Run, facts: Facts, web: Optional[ProgressPage], config: Optional[str], env: Mapping[str, str]
) -> int:
    """Run the installer of the hub environment and show what it tells; returns its exit code."""
    reading, writing = os.pipe()
    python = os.path.join(run.options.prefix, "hub", "bin", "python")
    argv = [python, "-m", "hubd_installer", *installer_arguments(run.options, facts.port, config, writing)]
    run.log.write("$ " + " ".join(map(shlex.quote, argv)))
    start = run.log.size()
    leash = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    process = spawn(leash + argv, run.log.descriptor, env, inherit=(writing,))
    os.close(writing)
    try:
        errors = follow(run, reading, process, web)
        code = wait_for(process, 3600)
    except BaseException:
        kill_group(process, seconds=60)
        raise
    finally:
        os.close(reading)
    if code != 0 and errors:  # its own words, and all of them: nothing is to be said twice
        fix = "mend that and run the same command again"
        code = code if code and code > 0 else FAILED
        raise Stop("the installer did not finish", fix=fix, code=code, output="\n".join(errors))
    if code != 0:
        output = run.log.tail(start)
        why, fix = explain(output, "", run.options.prefix)
        raise Stop("the installer did not finish", why, fix, code if code and code > 0 else FAILED, output)
    return 0


def follow(
    run: Run, reading: int, process: "subprocess.Popen[bytes]", web: Optional[ProgressPage]
) -> List[str]:
    """Handle the installer's lines until it ends; returns what it said of why it stopped. What it leaves running
    may keep the pipe open, so its end counts, not the pipe's."""
    errors = []  # type: List[str]
    os.set_blocking(reading, False)
    rest = b""
    while True:
        ended = process.poll() is not None
        ready, _, _ = select.select([reading], [], [], 0 if ended else 0.2)
        piece = os.read(reading, 2**16) if ready else b""
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            errors += handle_event(run, line, web)
        if not piece and (ended or ready):
            return errors


def handle_event(run: Run, line: bytes, web: Optional[ProgressPage]) -> List[str]:
    """One JSON line of the installer; returns what it says of why it stops. What it says to the person at the
    terminal may be a password: it never goes to the log."""
    try:
        event = json.loads(line.decode("utf-8"))
    except ValueError:
        event = None
    if not isinstance(event, dict):
        run.log.write("the installer sent a line that is no event")
    elif "step" in event:
        show_step(run, str(event["step"]), str(event.get("state")), event.get("seconds"))
    elif "command" in event:
        run.progress.run(str(event["command"]))
    elif event.get("release") == "port":
        if web is not None:
            web.close()
    elif "error" in event:
        return [str(event["error"])]
    elif "say" in event or "url" in event:
        tell(run, str(event.get("say") or "The hub is at {}".format(event.get("url"))))
    return []


def show_step(run: Run, text: str, state: str, seconds: Any) -> None:
    if state == "start":
        run.log.write("== " + text)
        run.progress.start(text)
    else:
        run.progress.end(text, state, float(seconds) if isinstance(seconds, (int, float)) else None)


def tell(run: Run, text: str) -> None:
    """Print to the person, on standard output, without disturbing the progress on standard error."""
    if run.progress.tty:
        run.progress.emit("\r\033[J")
    with contextlib.suppress(OSError):
        print(text, flush=True)
    run.progress.draw()


# --- The whole run --------------------------------------------------------------------------------


def install(run: Run, facts: Facts, web: Optional[ProgressPage]) -> int:
    """Everything after preflight, in order. Each part finds what an earlier run has finished and goes on
    from there."""
    link = os.path.join(run.options.prefix, "hub")
    gone = clean_leftovers(run.versions, link)
    if gone:
        run.log.write("deleted what an earlier run left half done: " + ", ".join(gone))
    with step(run, "System packages"):
        install_packages(run)
    folder = tempfile.mkdtemp(prefix="source-", dir=run.versions)
    config = None  # type: Optional[str]
    try:
        with step(run, "Source of the hub"):
            source = get_source(run, folder)
            config = get_config(run)
        with step(run, "uv, which makes environments"):
            uv = make_uv(run, source)
        with step(run, "Hub environment"):
            hub = make_hub(run, source, uv)
            switch_link(link, hub)
        code = hand_over(run, facts, web, config, uv_environment(run, uv))
        write_synced(os.path.join(hub, ".worked"), "")
        prune(run.versions, link, uv)
        return code
    finally:
        remove_tree(folder)
        if config and is_url(run.options.config or ""):
            os.unlink(config)


def get_config(run: Run) -> Optional[str]:
    """The path of the config to start from; one from a URL is put into a file that only root can read."""
    given = run.options.config
    if given is None or not is_url(given):
        return given and os.path.abspath(given)
    if given.startswith("http:"):
        run.progress.put(
            "Warning: the config comes over plain http; anybody on the way can read and change it."
        )
    descriptor, path = tempfile.mkstemp(
        prefix="config-", suffix=".yaml", dir=os.path.join(run.options.prefix, "state")
    )
    os.close(descriptor)
    try:
        download(given, path, limit=10**7)
    except BaseException:
        os.unlink(path)
        raise
    return path


def make_folders(prefix: str) -> None:
    """The folders this program needs. The cache is closed because uv's lock files in it are open to
    everybody."""
    for name, mode in (("", 0o755), ("versions", 0o755), ("versions/.cache", 0o700), ("state", 0o711)):
        path = os.path.join(prefix, name)
        if not os.path.isdir(path):
            os.makedirs(path, mode)
            os.chmod(path, mode)


def on_signal(number: int, frame: Any) -> None:
    """The first signal ends the run in order; more of them do not disturb that."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)


def perform(options: Options, facts: Facts, environ: Mapping[str, str], progress: Progress) -> int:
    """The run under its lock, with its log and its page."""
    os.umask(0o022)  # the hub's own accounts must be able to read what is made here
    make_folders(options.prefix)
    with one_run(lock_path(options.prefix)):
        log = Log(os.path.join(options.prefix, "state", "install.log"))
        log.write(
            "bootstrap.py {} on {}, {}".format(
                VERSION, facts.os_name, " ".join(map(shlex.quote, sys.argv[1:]))
            )
        )
        web = None  # type: Optional[ProgressPage]
        try:
            if options.progress_page and facts.port and not facts.installed:
                web = ProgressPage(progress, facts.port)
                if web.server is not None:
                    progress.put("The steps can be seen on port {} of this machine too.".format(facts.port))
            code = install(Run(options, facts.python, log, progress, clean_environment(environ)), facts, web)
            log.write("done" if code == 0 else "ended with exit code {}".format(code))
            return code
        except (Stop, Interrupted) as end:
            stop = end.as_stop() if isinstance(end, Interrupted) else end
            log.write("stopped: {}{}".format(stop.what, ": " + stop.why if stop.why else ""))
            stop.fix += "{}The log: {}".format("\n  " if stop.fix else "", log.path)
            raise stop from None
        finally:
            if web is not None:
                web.close()


def report_problems(found: Sequence[Problem], stream: TextIO) -> int:
    """Name everything that is in the way, at once."""
    count = "1 thing is" if len(found) == 1 else "{} things are".format(len(found))
    print("bootstrap.py stops before it has changed anything: {} in the way.".format(count), file=stream)
    for problem in found:
        print("  - {}\n      {}".format(problem.what, problem.cure), file=stream)
    codes = {problem.code for problem in found}
    return LOCKED if LOCKED in codes else USAGE if codes == {USAGE} else FAILED


def report_stop(stop: Stop, stream: TextIO) -> int:
    print(
        "\nStopped: {}{}.".format(stop.what, ": " + stop.why if stop.why else ""),
        file=stream,
    )
    if stop.output:
        print("".join("  | {}\n".format(line) for line in stop.output.splitlines()), end="", file=stream)
    if stop.fix:
        print("  " + stop.fix, file=stream)
    return stop.code


def main(argv: Sequence[str]) -> int:
    """Look, then act; returns the exit code."""
    options = parse_options(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    progress = Progress(sys.stderr, tty=sys.stderr.isatty())
    try:
        progress.start("Checks of this machine")
        facts = observe(options, os.environ)
        found = problems(facts, options)
        progress.end("Checks of this machine", "failed" if found else "done")
        if found:
            progress.close()
            return report_problems(found, sys.stderr)
        if facts.port and facts.port != 80 and options.port is None:
            progress.put(
                "There is no systemd here: the hub comes on the first free port, {}.".format(facts.port)
            )
        code = perform(options, facts, os.environ, progress)
        progress.close()
        return code
    except (Stop, Interrupted) as end:
        progress.close()
        return report_stop(end.as_stop() if isinstance(end, Interrupted) else end, sys.stderr)
    except OSError as error:
        progress.close()
        fix = "mend that and run the same command again: it goes on from here"
        return report_stop(Stop("a file could not be handled", str(error), fix), sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
