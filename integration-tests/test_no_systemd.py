"""A container whose PID 1 is not systemd: the same command gives the same hub, and hubd itself keeps its programs running."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import leftovers
from hub import COMMAND, HubMachine, copy_checkout, timed_install
from hubclient import Hub, Kernel
from nspawn import Boot
from waiting import wait_for

OPTIONS = ("--quiet", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=replace-host", "--timezone=off")
# What a container is often started with: it neither starts anything nor collects the dead.
FIRST_PROCESS = ("sleep", "infinity")
DAEMON = ("/opt/hub/hub/bin/python", "-m", "hubd.cli", "--prefix", "/opt/hub", "daemon")
PORT = 8000


class ContainerBoot(Boot):
    """A container from start to end."""

    def __init__(self, root: Path, options: tuple[str, ...], *, console: Path) -> None:
        self._console = console
        with console.open("ab") as output:
            self.process = subprocess.Popen(
                ("systemd-nspawn", *OPTIONS, f"--directory={root}", *options, "--", *FIRST_PROCESS),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.pid1 = wait_for(self._find_pid1, f"the first process of {root}", timeout=20)

    def power_off(self, timeout: float) -> None:
        """Containers are killed: their first process knows no other end."""
        self.pull_the_plug()


class Container(HubMachine):
    """A machine without systemd."""

    def boot(self) -> str:
        options = (f"--machine={self.name}", f"--hostname={self.name}", f"--network-namespace-path={self.net.path}")
        self._boot = ContainerBoot(self.clone.root, options, console=self.folder / "console.log")
        leftovers.note_processes(self.folder, self._boot.pid1, self._boot.process.pid)
        return "running"

    @property
    def hub(self) -> Hub:
        return Hub(self.url(PORT).rstrip("/"))

    def pids(self, pattern: str) -> list[int]:
        """The processes in the container whose command line has `pattern`, as it numbers them."""
        found = []
        for folder in self.path("/proc").iterdir():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if folder.name.isdigit() and re.search(pattern, line):
                found.append(int(folder.name))
        return sorted(found)
