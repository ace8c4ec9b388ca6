"""What a job may use, as systemd's properties, and what is said of one that would have used more. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.errors import HubdError
from hubd.tools.sandbox import Properties, limits
from hubd.words import duration, size


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """memory: bytes, None for no limit. cpu: cores, None for no limit. time: seconds."""

    memory: int | None = None
    cpu: float | None = None
    time: int = 7200

    @property
    def properties(self) -> Properties:
        """The limits as systemd's."""
        # What may have no more memory would take the disk for memory, and with it the time of everybody.
        swap = () if self.memory is None else (("MemorySwapMax", "0"),)
        return (*limits(memory=self.memory, cpu=self.cpu), *swap, ("RuntimeMaxSec", str(self.time)))


USUAL = JobLimits()

# People's servers come first. Where the machine runs out of memory, the kernel ends a build and not somebody's notebook.
GIVES_WAY: Properties = (("Nice", "10"), ("CPUWeight", "20"), ("IOWeight", "20"), ("OOMScoreAdjust", "500"))


def took_too_long(job: str, limits: JobLimits, doing: str = "") -> HubdError:
    """The error of a job that was ended as its time was over. doing: what it was at, as it said itself."""
    longer = duration(2 * limits.time).replace(" ", "")
    return HubdError(
        f"{job} took longer than builds.time ({duration(limits.time)})",
        why=_ended(doing),
        fix=f"If it may take longer: hubd config set builds.time {longer}",
        retry=True,
    )


def ran_out_of_memory(job: str, limits: JobLimits, doing: str = "") -> HubdError:
    """The error of a job that the kernel ended for its memory: by its own limit, or as the machine had no more."""
    if limits.memory is None:
        what, fix = f"{job} ran out of memory", "Give the machine more memory, or the environment fewer packages."
    else:
        what = f"{job} needed more than builds.memory ({size(limits.memory)})"
        fix = f"If it may use more: hubd config set builds.memory {size(2 * limits.memory)}"
    return HubdError(what, why=_ended(doing), fix=fix, retry=True)


def _ended(doing: str) -> str:
    return f"it was ended while {doing}" if doing else "it was ended"
