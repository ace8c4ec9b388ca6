"""Readiness, status text, watchdog and journal fields for systemd; without systemd-python or systemd nothing happens."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any


def _daemon() -> Any:
    try:
        from systemd import daemon
    except ImportError:
        return None
    return daemon


def notify(*lines: str) -> None:
    """Tell systemd `READY=1`, `STATUS=…`, `WATCHDOG=1`, `STOPPING=1`."""
    daemon = _daemon()
    if daemon and os.environ.get("NOTIFY_SOCKET"):
        daemon.notify("\n".join(lines))


def watchdog_interval() -> float:
    """Seconds between two signs of life, half of what the unit asks for; 0 when it asks for none."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000


def set_up_log(level: int = logging.INFO) -> None:
    """Log to the journal with fields when started by systemd, else to standard error."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(message)s"
    if os.environ.get("JOURNAL_STREAM"):
        try:
            from systemd.journal import JournalHandler

            # The journal has time and level as fields of their own.
            handler, form = JournalHandler(SYSLOG_IDENTIFIER="hubd"), "%(message)s"
        except ImportError:
            pass
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
