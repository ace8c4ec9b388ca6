"""Plain words for things, lists, times and sizes, the same everywhere. Reads and writes nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

LONGEST_TEXT = 600
BYTES = {"T": 1024**4, "G": 1024**3, "M": 1024**2, "K": 1024}
SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}

# What hubd keeps right, by kind; {} is the name. An id is for programs: what people read says what the thing is.
THINGS = {
    "answer": "the answer of {}", "choice": "the choice between conda and uv", "closed-file": "the file {}",
    "closed-person": "the account of {}", "conda": "conda in {}", "directory": "the folder {}",
    "ended-choices": "the decisions about environments", "environment": "the environment {}",
    "existing-conda": "the conda in {}", "file": "the file {}", "group": "the group {}", "home-file": "the file of {}",
    "home-folder": "the home of {}", "hub-people": "who the hub knows", "kernel": "the kernel {}",
    "left-solves": "what `hubd plan --solve` left", "link": "the link {}",
    "listening": "the ports of {}", "members": "the members of the group {}", "no-environment": "the environment {}",
    "no-file": "the file {}", "no-link": "the link {}", "no-unit": "the unit {}", "nothing-else": "the folder {}",
    "old-generations": "the older generations in {}", "packages": "the packages of the system ({})",
    "person": "the account of {}", "port": "the port {}", "reports": "the reports of builds", "secret": "the secret {}",
    "server-limits": "the limits of people's servers", "service": "the service {}", "switch": "the switch to the new build of {}",
    "system-account": "the account {}", "unit": "the unit {}", "untouched": "the look for changes by hand in {}",
}  # fmt: skip

# Of what is frozen, where a change of what is asked for builds nothing.
PASSED_OVER = "config.yaml asks for something else by now"

# What steers a terminal: colours and cursor moves, then titles and links, which end with a bell or another sequence.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """One line that is safe on any screen, in a log and in JSON, from what somebody else wrote.

    Space of any kind becomes one blank. What cannot be printed is left out: sequences for terminals, control characters,
    half characters, and marks that turn the direction of writing.
    """
    line = " ".join(_SEQUENCE.sub("", text).split())
    shown = line if line.isprintable() else "".join(filter(str.isprintable, line))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def shown(line: str) -> str:
    """A line of somebody else's output as it is laid out, without what steers a terminal."""
    return "".join(each for each in _SEQUENCE.sub("", line) if each.isprintable() or each == "\t")


def named(names: Sequence[str], limit: int = 8) -> str:
    """A list of names that stays readable when it is long."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def thing(identity: str) -> str:
    """What an id like `switch:geo` stands for, in words; one of a plugin's own kind as `kind name`."""
    kind, _, name = identity.partition(":")
    if kind == "kernel" and name.count("/") > 2:  # its folder is that of who sees it
        *_, audience, _, name = name.split("/")
        return f"the kernel {name} for {audience}"
    return THINGS.get(kind, f"{kind} {{}}").format(name.rstrip("/")).rstrip()


def to_build_anew(environment: str, *, frozen: bool) -> str:
    """The command that builds an environment anew though nothing else is asked for."""
    thaw = f"hubd config unset environments.{environment}.frozen && " if frozen else ""
    return f"To build it anew: {thaw}hubd env build {environment}"


def counted(number: int, what: str) -> str:
    """`1 package`, `2 packages`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def whose(job: str) -> str:
    """What a job works at, in words: `geo` for `env-geo`."""
    kind, _, name = job.partition("-")
    if kind == "clean":
        return "the package cache" if name == "environments" else f"the package cache of {name}"
    return name if name and kind in ("env", "solve") else job


def size(count: float) -> str:
    """`1G` for 1073741824 bytes: the largest unit that is exact."""
    return next((f"{int(count) // each}{unit}" for unit, each in BYTES.items() if count % each == 0), str(int(count)))


def duration(seconds: float) -> str:
    """`1 h 30 min` for 5400."""
    left, parts = int(seconds), []
    for unit, each in SECONDS.items():
        count, left = divmod(left, each)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def ago(seconds: float) -> str:
    """How long something is past, in the largest unit that fits."""
    if seconds < 0:
        return "in the future (the clock was set back)"
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


def because(why: str) -> str:
    """A reason as the end of a sentence that says "because" already: some programs begin theirs with that word."""
    word, space, rest = why.lstrip().partition(" ")
    return rest.lstrip() if space and word.lower() == "because" else why


def about(count: int) -> str:
    """`1.9 GB` for 1900000000 bytes: rounded, as people say it."""
    amount, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"


def day(when: float) -> str:
    """A moment, given in seconds since the epoch, as day and time here; empty for none."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if when else ""


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
