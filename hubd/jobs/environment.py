"""The job that builds one generation of an environment: install, prove with a notebook, save its lock, seal, mark."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.host.commands import Leash
from hubd.host.disk_use import disk_use
from hubd.jobs import damage, unpacked
from hubd.jobs.activation import activation
from hubd.jobs.alone import alone
from hubd.jobs.asked import asked
from hubd.jobs.prove import prove
from hubd.jobs.records import share_records
from hubd.jobs.seal import seal
from hubd.jobs.shared import guard_pip, refuse_changes
from hubd.jobs.with_conda import install_with_conda
from hubd.jobs.with_rattler import install_with_rattler
from hubd.jobs.with_uv import install_with_uv
from hubd.jobs.work import Work
from hubd.tools.lock import SAVED, Lock, lock_text

WAITING = "waiting for another build"

# Characters of the packages asked for that a mark tells.
LONGEST_LIST = 100_000

# What each manager does: put what the specification asks for into the empty folder and tell exactly what that was, or raise
# HubdError with the cause.
MANAGERS: Mapping[str, Callable[[Work, Path], Lock]] = {
    "conda": install_with_conda,
    "rattler": install_with_rattler,
    "uv": install_with_uv,
}


def build(work: Work) -> None:
    """Build the generation that the specification names. Raises HubdError with the manager's reason."""
    prefix, work = work.path("prefix"), asked(work)
    try:
        _build_healed(work, prefix)
    except HubdError:
        # The next try may be in hours, and on a full disk the others wait for this room.
        with contextlib.suppress(HubdError, OSError):  # what the build failed at is what there is to tell
            _empty(prefix)
            unpacked.forget(work)
        raise


def _build_healed(work: Work, prefix: Path) -> None:
    """Build, and once more where damaged packages were taken out of the cache. Raises HubdError with the manager's reason."""
    look: Callable[[Work, Path], None] = damage.look
    again = False
    while True:
        try:
            return _build(work, prefix, look=look)
        except HubdError as error:
            # A manager that meets one damaged package ends there: others may come to light when it has got further.
            if not work.left or (again and error.what != damage.DAMAGED):
                raise
            with cache_alone(work):
                healed = damage.healed(work, prefix, error)
            if not healed:
                raise
            again = True
            if error.what == damage.DAMAGED:
                # What is still another file than its record says came like that, or a package's own script changed it.
                look = _no_look
        work.phase("building once more, as the package cache was damaged")


def _no_look(work: Work, prefix: Path) -> None:
    """Leave it as it is."""


def _build(work: Work, prefix: Path, *, look: Callable[[Work, Path], None]) -> None:
    _empty(prefix)
    with cache_alone(work):
        installed = MANAGERS[work.spec["manager"]](work, prefix)
        work.end_all()  # a package's own code may have left something behind, and what it would change is compared now
        unpacked.gather(work, prefix)
    # A kernel that starts waits more than it works: meanwhile the files are compared. What is proven is of no use once they
    # turn out to be other ones.
    leash = Leash()
    with _beside(partial(_compared, work, prefix, look), failed=leash.end):
        variables = _proven(work, prefix, leash)
    work.end_all()
    # Only now, as both change what was compared.
    for leftover in (".lock", *work.spec["drop"]):
        files.clear(prefix / leftover)
    if work.spec["smoke"]:
        guard_pip(prefix, work.spec["environment"])
    files.write_atomic(prefix / SAVED, lock_text(installed).encode(), mode=0o644)
    sealed = seal(prefix)
    work.phase("writing it to the disk")
    # The mark is there after a power cut; so must be what it stands for.
    files.sync_all()
    _mark(work, prefix, variables, sealed)
    unpacked.put_in_place(work)


def _compared(work: Work, prefix: Path, look: Callable[[Work, Path], None]) -> None:
    look(work, prefix)
    share_records(work, prefix)
    # Little is left to be written when the build waits for it.
    files.sync_all()


def _proven(work: Work, prefix: Path, leash: Leash) -> dict[str, str]:
    """The variables of an environment whose kernel ran its notebook. Raises HubdError where it does not."""
    if not work.spec["smoke"]:
        return {}
    refuse_changes(prefix, work.spec["environment"])
    variables = activation(work, prefix)
    prove(work, prefix, variables, leash)
    return variables


@contextmanager
def _beside(task: Callable[[], None], *, failed: Callable[[], None]) -> Iterator[None]:
    """Do something else during the block. What that raises counts more than what the block does: it may be the cause.

    failed: called at once when it raises, so that the block may end sooner.
    """
    with ThreadPoolExecutor(1) as thread:
        going = thread.submit(task)
        going.add_done_callback(lambda done: failed() if done.exception() else None)
        try:
            yield
        finally:
            going.result()


def _empty(prefix: Path) -> None:
    for name in files.children(prefix):
        files.clear(prefix / name)


def cache_alone(work: Work) -> AbstractContextManager[None]:
    """One manager at a time in one cache: two cold conda runs side by side were seen to poison it.

    Raises HubdError when the job's time is over.
    """
    return alone(work, work.path("cache") / "build.lock", waiting=WAITING)


def _mark(work: Work, prefix: Path, activation: Mapping[str, str], sealed: Mapping[str, int]) -> None:
    """The last thing of a build: whoever finds it finds a whole generation."""
    said = {"digest": work.spec["built_for"], "number": work.spec["number"], "manager": work.spec["manager"]}
    asked_for = [*work.spec["packages"], *work.spec["pip"]]
    # A mark that is too long is read by nobody, and then the build does not count.
    tellable = len(json.dumps(asked_for)) < LONGEST_LIST and not (work.lock or work.spec["requirements"])
    listed = asked_for if tellable else None
    use = disk_use([prefix])
    mark = {**said, "built": int(time.time()), "activation": dict(activation), "sealed": dict(sealed), "packages": listed,
            "size": use.own + use.shared}  # fmt: skip
    files.write_atomic(prefix / work.spec["mark"], json.dumps(mark).encode() + b"\n", mode=0o444)
    prefix.chmod(0o555)
