"""What systemd lets each service do: the properties of the hub, the proxy and a person's server. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from hubd.errors import HubdError

Properties = tuple[tuple[str, str], ...]

UNIT_PREFIX = "hubd-user-"
LONGEST_UNIT_NAME = 200

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

# What no service of a hub needs: other people's processes, the kernel's switches, set-user-id programs, namespaces.
_COMMON: Properties = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("DevicePolicy", "closed"),
    ("ProtectSystem", "strict"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    # A program that tries more is told so, instead of being killed without a word.
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0077"),
)

_SERVICE: Properties = (
    *_COMMON,
    ("RestrictNamespaces", "yes"),
    ("ProtectHome", "yes"),
    ("PrivateUsers", "yes"),
    ("ProcSubset", "pid"),
    ("RemoveIPC", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
)

HUB_PROPERTIES: Properties = (*_SERVICE, ("SystemCallFilter", "~@privileged @resources"))
PROXY_PROPERTIES: Properties = (*_SERVICE, ("SystemCallFilter", "~@privileged @resources"))


def service_properties(base: Properties, *, writable: tuple[Path, ...]) -> Properties:
    """`base` for a service that may write below `writable` and nowhere else."""
    return (*base, *(("ReadWritePaths", quoted(path)) for path in writable))


def server_properties(
    home: Path,
    *,
    homes: Path = Path("/home"),
    hidden: tuple[Path, ...] = (),
    audiences: Path = Path("/opt/hub/kernels"),
    offered: tuple[Path, ...] = (),
    writable: tuple[Path, ...] = (),
    memory: int | None = None,
    cpu: float | None = None,
) -> Properties:
    """The properties of a person's server.

    home: the person's, the only one that is there at all. homes: the folder all homes are in. hidden: what is not even to
    be seen (the state of hubd). audiences: the folder with the kernels of each audience, and in it `offered`, the ones that
    this person is in. writable: what else may be written, as far as file modes allow it. memory: bytes; cpu:
    cores, fractions allowed; None is no limit.
    """
    return (
        *_COMMON,
        # Of a transient unit, systemd keeps `yes` as an empty value, which it reads as "no restriction" at its next reload. One
        # kind that takes a privilege nobody here has stays restricted.
        ("RestrictNamespaces", "uts"),
        # An empty folder in the place of everybody's homes, with this one home put into it.
        ("TemporaryFileSystem", f"{quoted(homes)}:ro,mode=0755"),
        ("BindPaths", quoted(home)),
        # In the same way, so that it costs nothing for the audiences that the person is not in, however many there are.
        ("TemporaryFileSystem", f"{quoted(audiences)}:ro,mode=0755"),
        *(("BindReadOnlyPaths", f"-{quoted(path)}") for path in offered),
        *(("InaccessiblePaths", f"-{quoted(path)}") for path in (*_ELSEWHERE, *hidden)),
        *(("ReadWritePaths", f"-{quoted(path)}") for path in writable),
        ("WorkingDirectory", str(home)),
        ("KillMode", "mixed"),
        ("TimeoutStopSec", "10s"),
        ("OOMPolicy", "continue"),
        *limits(memory=memory, cpu=cpu),
    )


_ELSEWHERE = (Path("/root"), Path("/run/user"))


def limits(*, memory: int | None, cpu: float | None) -> Properties:
    """Memory in bytes and processor time in cores, as systemd's properties; also right for a unit that runs."""
    return (
        ("MemoryMax", "infinity" if memory is None else str(memory)),
        ("CPUQuota", "" if cpu is None else f"{max(1, round(cpu * 100))}%"),
    )


def unit_name(user: str, server: str = "") -> str:
    """The unit of a person's server; two different servers never share one.

    server: the name that the person gave it, "" for the default one. A ":" parts the two, as no user name holds one, and
    bytes that unit names cannot hold are written as `.` and two digits. Raises HubdError for what cannot be a name.
    """
    if not _USER.fullmatch(user):
        raise HubdError(f"{user!r} cannot be the name of a user", why="it must look like an account's name")
    if not server:
        return f"{UNIT_PREFIX}{user}.service"
    if not server.isprintable():
        raise HubdError(f"{server!r} cannot be the name of a server", why="it holds characters that cannot be shown")
    escaped = "".join(chr(byte) if byte in _PLAIN else f".{byte:02x}" for byte in server.encode())
    name = f"{UNIT_PREFIX}{user}:{escaped}.service"
    if len(name) > LONGEST_UNIT_NAME:
        raise HubdError(f"{server[:40]!r}… cannot be the name of a server", why="it is too long", fix="Use a shorter name")
    return name


def quoted(path: Path) -> str:
    """`path` as one word of a systemd property. Raises HubdError for a path that no property can hold."""
    text = str(path)
    if not path.is_absolute() or not text.isprintable():
        raise HubdError(f"{text!r} cannot be used in a unit", why="it must be an absolute path of visible characters")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace(":", "\\:")
    return f'"{escaped}"' if re.search(r"[\s\"\\]", escaped) else escaped
