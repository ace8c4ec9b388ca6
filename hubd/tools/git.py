"""git: argv tuples, the few settings it may know, and the parsers of what it says. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import DISK_FULL, LONGEST_OUTPUT, HubdError, disk_full, last_line
from hubd.layout import BUILD_ACCOUNT
from hubd.words import plain

Argv = tuple[str, ...]

# What git calls the kinds of an entry in a folder: a link is a blob to it, and told by its mode alone.
FILE, LINK, FOLDER, OTHER_REPOSITORY = "file", "link", "folder", "other repository"
_KINDS = {"120000": LINK, "040000": FOLDER, "160000": OTHER_REPOSITORY}

# Bytes of memory: git keeps in it whatever a server says of its branches, and a whole folder however small it is when sent.
MOST_MEMORY = 2 * 10**9

LFS = "version https://git-lfs.github.com/spec/"

# Instead of the system's and the account's own. Hooks are off, and nothing is done besides. A repository of this machine
# may be anybody's: whoever wrote config.yaml chose it, and git's other half, which serves it, asks for this here alone.
SETTINGS = """\
[safe]
	directory = *
[core]
	hooksPath = /dev/null
[gc]
	auto = 0
[maintenance]
	auto = false
[submodule]
	recurse = false
[http]
	lowSpeedLimit = 1000
	lowSpeedTime = 60
"""

_GONE = re.compile(
    r"returned error: 4(?:01|03|04|10)\b|repository .* not found|could not read (?:Username|Password)|Authentication failed|"
    r"does not appear to be a git repository|is this a git repository|Permission denied|not accessible",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"Could not resolve|Failed to connect|Couldn't connect|Connection (?:refused|timed out|reset|was reset)|timed out|"
    r"too slow|less than \d+ bytes/sec|Recv failure|Send failure|returned error: (?:5\d\d|408|429)\b|early EOF|Empty reply|"
    r"hung up|unexpected disconnect|is unreachable|No route to host|certificate (?:problem|verif)|gnutls|OpenSSL|SSL_|"
    r"SSL connect|TLS connection|RPC failed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path of a commit. kind: FILE, LINK, FOLDER or OTHER_REPOSITORY. id: of the object."""

    kind: str
    id: str


def told(place: str, url: str, commit: str) -> str:
    """A file of a repository as a person reads of it."""
    return f"{place} of {url} at {commit[:12]}"


def variables(folder: Path, *, url: str = "", certificates: str = "") -> dict[str, str]:
    """The environment of each git, whose settings are in `folder`.

    url: what it may fetch from; without one it fetches nothing, also not what it misses in the middle of something else.
    """
    protocols = "" if not url else "file" if url.startswith("file:") else "http:https"
    settings = str(folder / ".gitconfig")
    return {
        "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": settings, "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols, "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1",
        **({"GIT_SSL_CAINFO": certificates} if certificates else {}),
    }  # fmt: skip


def make(repository: Path, commit: str) -> Argv:
    """Make an empty repository without files, which can hold that commit."""
    kind = ("--object-format=sha256",) if len(commit) == 64 else ()
    return ("git", "init", "--quiet", "--bare", "--template=", *kind, "--", str(repository))


def fetch_commit(repository: Path, url: str, commit: str, *, most: int) -> Argv:
    """Fetch one commit without those before it and, where the server can do that, without files larger than `most` bytes."""
    few = ("--depth=1", f"--filter=blob:limit={most + 1}")
    return (*_fetch(repository), *few, "--", url, commit)


def fetch_all(repository: Path, url: str) -> Argv:
    """Fetch all branches and tags, from servers that give no single commits."""
    return (*_fetch(repository), "--", url, "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")


def _fetch(repository: Path) -> Argv:
    return (*_in(repository), "fetch", "--quiet", "--no-tags", "--no-recurse-submodules")


def has_commit(repository: Path, commit: str) -> Argv:
    """Exit well where the commit is there."""
    return (*_in(repository), "cat-file", "-e", f"{commit}^{{commit}}")


def entry(repository: Path, commit: str, place: str) -> Argv:
    """Tell what is at a path, for `parsed_entry`."""
    return (*_in(repository), "ls-tree", "-z", commit, "--", place)


def parsed_entry(text: str) -> Entry | None:
    """What `entry` told; None where nothing is there."""
    found = re.match(r"(\d{6}) \w+ ([0-9a-f]+)\t", text)
    return Entry(_KINDS.get(found[1], FILE), found[2]) if found else None


def names(repository: Path, folder: str) -> Argv:
    """Tell the names in a folder, by its id, for `parsed_names`."""
    return (*_in(repository), "ls-tree", "-z", "--name-only", folder)


def parsed_names(text: str) -> list[str]:
    """The names in the output of `names`, as they are safe to be shown."""
    return [plain(name, 80) for name in text.split("\0") if name]


def size(repository: Path, thing: str) -> Argv:
    """Tell how many bytes an object has, by its id; exit badly where it was left out."""
    return (*_in(repository), "cat-file", "-s", thing)


def content(repository: Path, thing: str) -> Argv:
    """Print a file, by its id."""
    return (*_in(repository), "cat-file", "blob", thing)


def _in(repository: Path) -> Argv:
    return ("prlimit", f"--data={MOST_MEMORY}", "git", "--git-dir", str(repository))


def failure(output: str, url: str, *, final: bool) -> HubdError | None:
    """Why nothing could be fetched; None where another way of fetching may do better, unless `final`."""
    output = output[-LONGEST_OUTPUT:]
    why, words = _said(output), output.replace(url, "")  # an address may be made of any of the words looked for
    if DISK_FULL in words:
        return disk_full()
    if _GONE.search(words):
        fix = "Correct the address; a build signs in nowhere, so everybody must be able to read what is there."
        if url.startswith("file:"):
            fix = f"Correct it, or let the account {BUILD_ACCOUNT} read it. What is below /home, /root or /tmp no build can see."
        return HubdError(f"there is no repository at {url} that can be read", why=why, fix=fix)
    if _UNREACHABLE.search(words):
        fix = "Check the network and the address; hubd tries again by itself."
        return HubdError(f"{url} cannot be reached", why=why, fix=fix, retry=True)
    return HubdError(f"nothing can be fetched from {url}", why=why, retry=True) if final else None


def needs_more_memory(output: str) -> bool:
    """Whether git met the limit of its memory, in whatever it did."""
    return re.search(r"^(?:fatal|error): [Oo]ut of memory", output[-LONGEST_OUTPUT:], re.MULTILINE) is not None


def is_refused(output: str) -> bool:
    """Whether the server said that it has no such commit, which no other way of fetching would change."""
    return "not our ref" in output


def _said(output: str) -> str:
    """The reason among git's lines: the first that names an error, as advice for somebody else comes after it."""
    return plain(next(_errors(output), last_line(output)), 300)


def _errors(output: str) -> Iterator[str]:
    return (found[1] for found in re.finditer(r"^(?:fatal|error): (.+)$", output, re.MULTILINE))
