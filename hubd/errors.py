"""Every error hubd can meet, as values: what happened, why, the next step, and whether a retry may help.

Nothing here formats for a screen; `hubd.show` does that, and `ExitCode` is the one place that turns errors into exit codes.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The documented exit codes of every `hubd` command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIG_INVALID = 3
    CHANGES = 4
    PARTLY_APPLIED = 5
    LOCKED = 6
    NO_PROGRAM = 127  # as shells say it, and only of a program that somebody asked for: `hubd-env NAME PROGRAM`
    INTERRUPTED = 130


class HubdError(Exception):
    """Something went wrong that a person should read about.

    what: what happened, to which thing, as one sentence without a full stop.
    why: the cause, as far as it is known.
    fix: the next step for the person who reads it.
    retry: whether doing the same again later may succeed without anybody changing anything.
    """

    code = ExitCode.FAILED

    def __init__(self, what: str, *, why: str = "", fix: str = "", retry: bool = False) -> None:
        super().__init__(what)
        self.what, self.why, self.fix, self.retry = what, why, fix, retry

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


class UsageError(HubdError):
    """The command line asks for something that does not exist."""

    code = ExitCode.USAGE


class CommandFailed(HubdError):
    """A program that hubd ran exited with an error or did not end in time."""

    def __init__(self, argv: tuple[str, ...], *, code: int | None, output: str, retry: bool = False) -> None:
        self.argv, self.exit_code, self.output = argv, code, output
        ended = "did not end in time" if code is None else f"exited with {code}"
        super().__init__(f"`{' '.join(argv[:4])}{' …' if len(argv) > 4 else ''}` {ended}", why=last_line(output), retry=retry)


class NoProgram(HubdError):
    """What is to be run is not there."""

    code = ExitCode.NO_PROGRAM


class Locked(HubdError):
    """Another pass holds the lock."""

    code = ExitCode.LOCKED


class Interrupted(HubdError):
    """A person or the system asked hubd to stop in the middle of its work."""

    code = ExitCode.INTERRUPTED


def last_line(text: str) -> str:
    """The last line of `text` that is not blank: programs put the reason there."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


# Characters of a program's output that are searched for what went wrong, from its end; packages and servers write there, too.
LONGEST_OUTPUT = 64 * 1024

# What programs print of the system's own error, wherever it met them.
DISK_FULL = "No space left on device"


def disk_full() -> HubdError:
    """The disk is full: the same sentence whichever program met it."""
    fix = "Make room, or clear the package cache; hubd tries again by itself."
    return HubdError("the disk is full", why="there was no room for the packages", fix=fix, retry=True)
