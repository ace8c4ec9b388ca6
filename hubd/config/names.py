"""The types of names, addresses and other texts in config.yaml: what is safe to hand to the machine. Reads nothing."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from hubd.config.section import Matching, OrWord, refusal
from hubd.layout import ADMINS, EVERYONE

SYSTEM_ACCOUNTS = frozenset((
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data",
    "backup", "list", "irc", "gnats", "nobody", "messagebus", "sshd", "ntp", "avahi", "polkitd", "postfix", "_apt",
    "systemd",
))  # fmt: skip
"""Accounts that the system itself uses; a person or a group of people must not be taken for one."""

SYSTEM_GROUPS = frozenset((
    "adm", "tty", "disk", "dialout", "fax", "voice", "cdrom", "floppy", "tape", "sudo", "audio", "dip", "operator",
    "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff", "users", "nogroup", "crontab", "input", "sgx",
    "kvm", "render", "netdev", "admin", "wheel", "docker", "lxd", "ssh", "ssl-cert", "lxc", "libvirt",
))  # fmt: skip
"""Groups that the system itself uses; the group that comes with a person's account must not be one of them."""

ACCOUNT_EXAMPLE = "write a name of small letters, digits, `-` and `_`, at most 32, starting with a letter, such as ada"
ENVIRONMENT_EXAMPLE = "write a name of small letters, digits and `-`, at most 31, starting with a letter, such as science"
PACKAGE_EXAMPLE = "a package such as numpy, python=3.12, numpy>=2,<3 or mine @ https://example.org/mine-1.0.tar.gz"

# What conda and uv both read as a package, and what one of them alone does; never a path, an archive or an option of theirs.
_PACKAGE = (
    r"(?!.*\s-)(?![^\s@]*\.(?:whl|zip|tgz|conda|tar\.\w+)$)"
    r"(?:[A-Za-z0-9_][^\s:\x00-\x1f]*::)?"  # a channel
    r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:\[[^\[\]/:\\\x00-\x1f]*\])?"  # the name, with extras
    r"(?:\s*@\s*[a-z][a-z+]*://[^\s\x00-\x1f]+(?:\s*;[^\x00-\x1f]*)?"  # where it is, and on which machines it is wanted
    r"|[\s<>=!~;(][^@/:\\\x00-\x1f]*)?"  # or which version
)


def is_address(place: str) -> bool:
    """Whether a place is an address and not a file of this machine."""
    return place.startswith(("https://", "http://"))


def _not_reserved(name: str) -> str:
    if name in SYSTEM_ACCOUNTS or name.startswith(("hubd-", "systemd-")):
        raise refusal(f"`{name}` is a name that the system itself uses", "choose another name")
    return name


def _not_a_system_group(name: str) -> str:
    if name in SYSTEM_GROUPS:
        raise refusal(f"`{name}` is a group that the system itself uses", "choose another name")
    return name


def _not_an_audience(name: str) -> str:
    if name in (EVERYONE, ADMINS):
        raise refusal(f"`{name}` is an audience that is always there", "choose another name")
    return name


def _not_jupyters(name: str) -> str:
    # jupyter_client starts its own interpreter for these names, whatever kernel is called so.
    if name in ("python", "python2", "python3"):
        raise refusal(f"`{name}` is a name that Jupyter keeps for a kernel of its own", "choose another name, such as science")
    return name


def _not_ones_own(name: str) -> str:
    # The kernels of people's own environments are called so; nobody is to take one for the other.
    if name.startswith("own-"):
        raise refusal(f"`{name}` would look like somebody's own environment", "choose another name, such as science")
    return name


def _not_jupyterlabs(name: str) -> str:
    # People's servers run from an environment of that name; two of one name would leave out the part that starts servers.
    if name == "server":
        raise refusal(f"`{name}` is the environment that JupyterLab itself runs from", "choose another name, such as science")
    return name


def _address(value: str) -> str:
    if "%" in value:  # Python takes it, and neither systemd's sockets nor browsers do
        raise refusal("names a network interface, which is not possible here", "write the address without the part from `%` on")
    try:
        return str(ipaddress.ip_address(value)) if value else value
    except ValueError:
        raise refusal("is not an IP address", "write one such as 127.0.0.1, or '' for all addresses") from None


GroupName = Annotated[
    str,
    Matching(r"[a-z_][a-z0-9_-]{0,31}", "is not a name that a group can have", ACCOUNT_EXAMPLE),
    AfterValidator(_not_reserved),
    AfterValidator(_not_an_audience),
]
Account = Annotated[
    str,
    Matching(r"[a-z_][a-z0-9_-]{0,31}", "is not a name that an account can have", ACCOUNT_EXAMPLE),
    AfterValidator(_not_reserved),
    AfterValidator(_not_a_system_group),
]
EnvironmentName = Annotated[
    str,
    Matching(r"[a-z][a-z0-9-]{0,30}", "is not a name that an environment can have", ENVIRONMENT_EXAMPLE),
    AfterValidator(_not_jupyters),
    AfterValidator(_not_jupyterlabs),
    AfterValidator(_not_ones_own),
]
# What a person calls an environment of their own; a folder has that name.
OWN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
OwnName = Annotated[
    str,
    Matching(OWN_NAME, "is not a name that an environment can have", ENVIRONMENT_EXAMPLE),
]
Package = Annotated[str, Matching(_PACKAGE, "is not a package", f"write {PACKAGE_EXAMPLE}")]
Channel = Annotated[
    str,
    Matching(
        r"[^\s\x00-\x1f-][^\s\x00-\x1f]*",
        "is not a channel",
        "write a name such as conda-forge, or an address",
    ),
]
Checksum = Annotated[
    str,
    Matching(
        r"[0-9a-f]{64}",
        "is not a SHA-256 checksum",
        "write its 64 hexadecimal digits in small letters, in quotes",
    ),
]
Url = Annotated[
    str,
    Matching(
        r"(https?|file)://[^\s\x00-\x1f]+",
        "is not an address",
        "write one that starts with https://, http:// or file://",
    ),
]
AbsolutePath = Annotated[
    str,
    Matching(r"/[^\x00-\x1f]*", "is not an absolute path", "write one that starts with /, such as /opt/miniconda3"),
]
Place = Annotated[
    str,
    Matching(
        r"https?://[^\s\x00-\x1f]+|(?![A-Za-z]+:)[^\s\x00-\x1f-][^\x00-\x1f]*",
        "is neither a file nor an address",
        "write a path, which is taken from the hub's folder where it does not start with /, or an https:// address",
    ),
]
NotebookPath = Annotated[
    str,
    Matching(
        r"(?![A-Za-z]+:)[^\x00-\x1f]*[^\x00-\x1f/]\.ipynb", "is not a notebook", "write a path such as notebooks/smoke.ipynb"
    ),
]
PluginName = Annotated[
    str,
    Matching(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "is not a plugin's name", "write a name such as hubd-announcement"),
]
Line = Annotated[str, Matching(r"[^\x00-\x1f]*", "has a line break or a control character in it", "write it on one line")]
Port = Annotated[int, Field(ge=1, le=65535)]

# Lists come out of the text as lists and are kept as tuples, which nobody can change; their items stay strict.
Accounts = Annotated[tuple[Account, ...], Field(strict=False)]
Packages = Annotated[tuple[Package, ...], Field(strict=False)]
Channels = Annotated[tuple[Channel, ...], Field(strict=False)]
Audience = Annotated[tuple[str, ...], Field(strict=False), OrWord(EVERYONE)]
Address = Annotated[str, AfterValidator(_address)]
