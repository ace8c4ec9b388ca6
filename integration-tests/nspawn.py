"""One boot of a machine: the systemd-nspawn process that holds it, its PID 1, and the two ways to end it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from waiting import wait_for

POWER_OFF = signal.SIGRTMIN + 4  # systemd(1): start poweroff.target
OPTIONS = ("--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=replace-host")


class Boot:
    """A machine from power-on to power-off. pid1: its first process, as this host numbers it.

    :raises RuntimeError: it ended before it had come up; the message has its console.
    """

    def __init__(self, root: Path, options: Sequence[str], *, console: Path, env: Mapping[str, str]) -> None:
        self._console = console
        with console.open("ab") as output:
            self.process = subprocess.Popen(
                ("systemd-nspawn", *OPTIONS, "--timezone=off", f"--directory={root}", *options),
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

    def pull_the_plug(self) -> None:
        """End every process of the machine at once: the kernel does so when its PID 1 dies."""
        if self.running:
            os.kill(self.pid1, signal.SIGKILL)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    def _find_pid1(self) -> int:
        """nspawn's child whose number in the innermost namespace is 1; 0 when there is none yet."""
        if not self.running:
            raise RuntimeError(f"the machine ended at boot:\n{self._console.read_text(errors='replace')[-3000:]}")
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if innermost_pid(int(child)) == 1:
                    return int(child)
        return 0


def innermost_pid(pid: int) -> int:
    """The number a process has in the innermost PID namespace it lives in; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1])
