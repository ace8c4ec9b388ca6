"""The daemon's life: what wakes it, one pass after the other, signs of life, and a clean end. The only loop there is."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubd
from hubd.config import model
from hubd.daemon.broker import Broker
from hubd.daemon.control import Control
from hubd.daemon.own import OwnEnvironments
from hubd.daemon.passes import Ended, Passes
from hubd.errors import HubdError
from hubd.flow import hand_edits
from hubd.flow.source import config_of, plugins_of, read_text
from hubd.flow.values import Event
from hubd.host import Host, local_host
from hubd.host.notify import notify, watchdog_interval
from hubd.host.sockets import EACH, MOST, Handler, Server
from hubd.layout import ADMINS_GROUP, HUB_ACCOUNT, HUB_UNIT, PROXY_UNIT, USERS_GROUP, Layout
from hubd.resources.job import last_line, phases, says_it_is_over
from hubd.words import thing

log = logging.getLogger("hubd")

JOB_POLL = 1.0
# What a job reports is looked at more often than its unit, which takes a program each time.
REPORT_POLL = 0.1
# How often a unit is looked at early because its job says that it is over: anybody's packages may write that.
EARLY_LOOKS = 20
# How soon a socket is open again whose path somebody took away, while there is nothing else to do.
SOCKET_POLL = 10.0
# An environment is looked through each time: with a dozen of them, each is once an hour.
LOOK_THROUGH = 300.0
# More than this is a slip of the pen, and much more than this is no time at all to Python.
LONGEST_INTERVAL = 86_400.0
LONGEST_SETTLE = 600.0
# Connections of one person, who has one environment made at a time.
FEW = 4
# A pass that takes longer than this hangs: the watchdog is no longer told that all is well.
LONGEST_PASS = 3600.0


class Daemon:
    """Keeps one installation right until it is told to stop."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._wake = threading.Event()
        self._reasons: list[str] = []
        self._guard = threading.Lock()
        self.passes = Passes(self._host)
        self._about: dict[str, Any] = {"pid": os.getpid(), "version": hubd.__version__, "since": time.time()}
        self._servers: dict[Path, Server] = {}
        self._not_open: dict[Path, str] = {}
        self._early = 0

    def _host(self) -> Host:
        return local_host(self._layout)

    def wake(self, reason: str) -> None:
        """Ask for a pass."""
        with self._guard:
            if reason not in self._reasons:
                self._reasons.append(reason)
        self._wake.set()

    def stop(self, *_: object) -> None:
        """End after what is being done right now."""
        self.passes.stop.set()
        self._wake.set()

    def run(self) -> None:
        """Until `stop`. The first pass begins at once."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGHUP, lambda *_: self.wake("asked by a signal"))
        self._background(self._sign_of_life)
        self._background(self._watch_file)
        self._background(self._look_through)
        self.wake("hubd started")
        self._open_sockets()
        notify("READY=1", "STATUS=Looking at the machine")
        while not self.passes.stop.is_set():
            reason = self._next_reason()
            if reason:
                ended = self.passes.make(reason)
                self._open_sockets()
                notify(f"STATUS={_status_line(ended)}")
                gc.collect()
                self._sleep_between(ended)
        notify("STOPPING=1")
        for server in self._servers.values():
            server.close()
        log.info("stopped")

    def _next_reason(self) -> str:
        with self._guard:
            reasons, self._reasons = self._reasons, []
            self._wake.clear()
        return "; ".join(reasons)

    def _sleep_between(self, ended: Ended) -> None:
        """Until something calls, a job ends, a program of hubd's own dies, or the interval is over."""
        deadline = time.monotonic() + min(self._options().interval, LONGEST_INTERVAL)
        supervises = not self._host().init.enforces
        self._early = EARLY_LOOKS
        while not self._wake.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                self.wake("time to look again")
                return
            busy = bool(ended.running)
            if self._is_called(min(left, JOB_POLL if busy or supervises else SOCKET_POLL), ended.running):
                return
            self._open_sockets()
            if busy and not self._jobs_go_on(ended):
                return
            if supervises and self._fallen():
                self.wake("a program ended")

    def _is_called(self, seconds: float, jobs: tuple[str, ...]) -> bool:
        """Whether something calls within this time, which ends early when one of these jobs says that it is over."""
        deadline = time.monotonic() + seconds
        while jobs and self._early and (left := deadline - time.monotonic()) > 0:
            if self._wake.wait(min(left, REPORT_POLL)):
                return True
            if any(says_it_is_over(self._layout, job) for job in jobs):
                self._early -= 1
                return False
        return self._wake.wait(max(0.0, deadline - time.monotonic()))

    def _jobs_go_on(self, ended: Ended) -> bool:
        going = phases(self._host(), ended.running)
        for name, phase in going.items():
            self.passes.tell(Event("job", name, phase, line=last_line(self._layout, name)))
        if not going.keys() >= set(ended.running):
            self.wake("a job ended")
            return False
        return True

    def _fallen(self) -> bool:
        init = self._host().init
        return any(init.look(name).active == "failed" for name in (HUB_UNIT, PROXY_UNIT))

    def _options(self) -> model.Daemon:
        try:
            text = read_text(self._layout)
            return config_of(text, plugins_of(text, self._layout), self._layout).daemon
        except HubdError:
            return model.Daemon()

    def _open_sockets(self) -> None:
        """Open what is not open; one that cannot be opened now is tried again, and told once."""
        layout = self._layout
        control = Control(self.passes, self._host, self.wake, self._about)
        # Hundreds of servers may be asked about at once when the hub starts, and nobody but it asks there.
        doors: tuple[tuple[Path, str, Handler, int], ...] = (
            (layout.socket, ADMINS_GROUP, control.answer, EACH),
            (layout.spawn_socket, HUB_ACCOUNT, Broker(self._host).answer, MOST),
            (layout.people_socket, USERS_GROUP, OwnEnvironments(self._host, self.wake).answer, FEW),
        )
        for path, group, handler, each in doors:
            try:
                self._open(path, group, handler, each=each)
                self._not_open.pop(path, None)
            except (OSError, HubdError) as error:
                if self._not_open.get(path) != str(error):
                    log.error("%s cannot be opened: %s", path, error)
                self._not_open[path] = str(error)

    def _open(self, path: Path, group: str, handler: Handler, *, each: int) -> None:
        """Open a socket once its group is there: before the first pass there may be none. Anew where its path is gone."""
        server = self._servers.get(path)
        if server and server.is_found:
            return
        known = self._host().accounts.members(group) is not None
        if group != ADMINS_GROUP and not known:
            return
        fresh = Server(path, handler, mode=0o660, group=group if known else "", each=each)
        if server:
            log.warning("%s was taken away by somebody, and is open again", path)
            server.close()
        fresh.start()
        self._servers[path] = fresh

    def _watch_file(self) -> None:
        for _ in changes(self._layout.config_file, self._layout.config_d, self.passes.stop):
            # Somebody may want to look at the plan, or to change more, before anything happens.
            self.passes.stop.wait(min(self._options().settle, LONGEST_SETTLE))
            self.wake("config.yaml changed")

    def _look_through(self) -> None:
        while not self.passes.stop.wait(LOOK_THROUGH):
            try:
                name = hand_edits.look_at_next(self._host())
            except (HubdError, OSError) as error:
                log.warning("an environment could not be looked through: %s", error)
            else:
                if name:
                    self.wake(f"there is news of the files of {name!r}")

    def _sign_of_life(self) -> None:
        interval = watchdog_interval() or 30.0
        while not self.passes.stop.wait(interval):
            since = self.passes.going_since
            if since is None or time.time() - since < LONGEST_PASS:
                notify("WATCHDOG=1")

    def _background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=work.__name__, daemon=True).start()


def changes(file: Path, folder: Path, stop: threading.Event) -> Iterator[None]:
    """Once for each change of the file or of what is in the folder. The file's folder is watched, so a rename counts."""
    try:
        import watchfiles
    except ImportError:
        yield from _polled(file, folder, stop)
        return
    while not stop.is_set():
        watched = [path for path in (file.parent, folder) if path.is_dir()]
        with contextlib.suppress(FileNotFoundError):
            for found in watchfiles.watch(*watched, stop_event=stop, recursive=False, debounce=200, rust_timeout=5000):
                if any(Path(path) == file or Path(path).parent == folder for _, path in found):
                    yield None
        stop.wait(1)


def _polled(file: Path, folder: Path, stop: threading.Event) -> Iterator[None]:
    def seen() -> tuple[object, ...]:
        paths = [file, *sorted(folder.glob("*.py"))]
        return tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.exists())

    before = seen()
    while not stop.wait(2):
        if (now := seen()) != before:
            before = now
            yield None


def _status_line(ended: Ended) -> str:
    failed = [thing(each["id"]) for each in ended.summary.get("outcomes", []) if each["result"] == "failed"]
    failed += [f"the plugin {each['plugin']}" for each in ended.summary.get("broken", [])]
    if "error" in ended.summary:
        return f"{ended.summary['error']['what']}; nothing was changed"
    if failed:
        count = "1 thing needs" if len(failed) == 1 else f"{len(failed)} things need"
        return f"{count} attention: {', '.join(failed[:3])}"
    jobs = "1 job" if len(ended.running) == 1 else f"{len(ended.running)} jobs"
    return f"All is right, {jobs} under way" if ended.running else "All is right"
