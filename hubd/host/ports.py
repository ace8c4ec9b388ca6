"""Who listens on a port of this machine, as the kernel's tables tell it. Runs no program and opens no connection."""

from __future__ import annotations

import os
from pathlib import Path

# 0.0.0.0, 127.0.0.1, [::] and [::ffff:127.0.0.1], as the kernel's tables have them. A byte's place in them is that of the
# processor; no machine with the other order runs a hub.
_HERE = ("00000000", "0100007F", "0" * 32, "0" * 16 + "FFFF0000" + "0100007F")


def listeners(port: int) -> frozenset[int]:
    """The numbers of the accounts whose sockets get what is sent to 127.0.0.1 at a port; 0 is root, and so systemd."""
    places = {f"{address}:{port:04X}" for address in _HERE}
    return frozenset(int(row[7]) for row in _listening(Path("/proc")) if row[1] in places)


def holds(pid: int, port: int, proc: Path = Path("/proc")) -> bool | None:
    """Whether a process has a socket that listens on a port; None where that cannot be seen."""
    try:
        held = {os.readlink(found) for found in (proc / str(pid) / "fd").iterdir()}
    except OSError:
        return None  # it has ended, or we are not root
    return any(f"socket:[{row[9]}]" in held for row in _listening(proc) if int(row[1].rpartition(":")[2], 16) == port)


def _listening(proc: Path) -> list[list[str]]:
    """Rows of the kernel's tables. Columns: 1 the local address, 3 the state (0A listens), 7 the account, 9 the inode."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in _lines(proc / "net" / table)[1:]]
    return [row for row in rows if len(row) > 9 and row[3] == "0A"]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
