"""One boot of a machine: the systemd-nspawn process that holds it, its PID 1, and the two ways to end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from commands import run
from waiting import wait_for

GROUPS = Path("/sys/fs/cgroup")
UNIFIED = GROUPS / "unified"
POWER_OFF = signal.SIGRTMIN + 4  # systemd(1): start poweroff.target
OPTIONS = ("--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=replace-host")

# Enter the control groups named before `--`, then become the program after it.
IN_GROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


class Boot:
    """A machine from power-on to power-off. pid1: its first process, as this host numbers it.

    :raises RuntimeError: it ended before it had come up; the message has its console.
    """

    def __init__(self, root: Path, options: Sequence[str], *, console: Path, env: Mapping[str, str]) -> None:
        self._console = console
        with console.open("ab") as output:
            self._groups = _own_groups()
            enter = ("sh", "-c", IN_GROUPS, "sh", *map(str, self._groups), "--")
            self.process = subprocess.Popen(
                (*enter, "systemd-nspawn", *OPTIONS, "--timezone=off", f"--directory={root}", *options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self.pid1 = wait_for(self._find_pid1, f"the first process of {root}", timeout=20)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def power_off(self, timeout: float) -> None:
        """Shut down in order; pull the plug when that takes longer than `timeout` seconds."""
        if self.running:
            os.kill(self.pid1, POWER_OFF)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.pull_the_plug()
        self._remove_groups()

    def pull_the_plug(self) -> None:
        """End every process of the machine at once: the kernel does so when its PID 1 dies."""
        if self.running:
            os.kill(self.pid1, signal.SIGKILL)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self._remove_groups()

    def _remove_groups(self) -> None:
        for group in self._groups:
            # The kernel lets go of the last process a moment after it has ended.
            for _ in range(40):
                _remove_group(group)
                if not group.exists():
                    break
                time.sleep(0.05)

    def _find_pid1(self) -> int:
        """nspawn's child whose number in the innermost namespace is 1; 0 when there is none yet."""
        if not self.running:
            raise RuntimeError(f"the machine ended at boot:\n{self._console.read_text(errors='replace')[-3000:]}")
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if innermost_pid(int(child)) == 1:
                    return int(child)
        return 0


def _own_groups() -> list[Path]:
    """Control groups for one machine alone, in each hierarchy that systemd uses.

    nspawn puts a machine into a group `payload` below its own. Two machines in one such group see each other's services as
    processes of nowhere: their systemds then cannot kill what is left of a service of the same name.
    """
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("name=systemd", ""):
            hierarchy = GROUPS / "systemd" if controllers else UNIFIED if UNIFIED.is_dir() else GROUPS
            parent = hierarchy / path.strip("/")
            for old in parent.glob("hubd-test-*"):
                if not Path("/proc", old.name.split("-")[2]).exists():  # what the kernel held on to when its run ended
                    _remove_group(old)
            group = parent / f"hubd-test-{os.getpid()}-{time.monotonic_ns()}"
            with contextlib.suppress(OSError):
                group.mkdir()
                made.append(group)
    return made


def _remove_group(group: Path) -> None:
    """Remove a control group with all below it, as far as no process is in them."""
    run(("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"), check=False)


def innermost_pid(pid: int) -> int:
    """The number a process has in the innermost PID namespace it lives in; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1])
