"""Locks the machine out of the unit tests, and the fake machine that they get instead.

Python's audit events are used and not patches of functions: they are raised below everything, whichever name a program
was started by. What is refused is an error that `except Exception` does not catch, and it is told again at the end of the
test, so that not even a thread can swallow it.
"""

from __future__ import annotations

import gc
import grp
import logging
import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeHost, Owners

PROGRAMS = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill", "os.killpg")
)
NETWORK = frozenset(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"))
WRITES = frozenset(("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chown", "os.chmod", "os.symlink", "os.link"))
HANDS_OFF = ("/etc/", "/opt/hub", "/run/hubd", "/run/systemd", "/usr/local/", "/var/lib/")

# Files that drive real local servers or programs of their own making, throughout.
OPEN = {
    "test_bootstrap.py": PROGRAMS | NETWORK,
    "test_config_cli.py": PROGRAMS,  # an editor
    "test_hubside_proxy.py": NETWORK,
    "test_hubside_server.py": NETWORK,
    "test_hubside_spawner.py": NETWORK,
}


class MachineTouched(BaseException):
    """A unit test reached for the real machine."""


class Guard:
    """Refuses what is not allowed while it is on. refused: what was tried."""

    def __init__(self) -> None:
        self.on = False
        self.allowed: frozenset[str] = frozenset()
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in PROGRAMS or event in NETWORK:
            if event not in self.allowed or (event in NETWORK and not _is_here(event, arguments)):
                self._refuse(event, arguments)
        elif event in WRITES or (event == "open" and _writes(arguments)):
            named = arguments[1:2] if event in ("os.symlink", "os.link") else arguments[:2]
            if any(str(_path(each)).startswith(HANDS_OFF) for each in named):
                self._refuse(event, arguments)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        told = f"{event} {arguments!r:.200}"
        self.refused.append(told)
        raise MachineTouched(told)


def _is_here(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an address is of this machine alone; nothing else is ever reached, whatever a marker says."""
    place = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments
    host = place[0] if isinstance(place, tuple) else ""
    return host in (None, "", "::", "::1", "0.0.0.0", "localhost") or str(host).startswith("127.")


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, _, flags = arguments
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _path(value: object) -> object:
    return os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else value


guard = Guard()
sys.addaudithook(guard)


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all is collected
    config.addinivalue_line("markers", "real_programs: runs real programs that it ends itself (nothing that changes the machine)")
    config.addinivalue_line("markers", "real_sockets: talks over sockets that it listens on itself")
    config.addinivalue_line("markers", "touches_machine: expects to be refused")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not go through it again and again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def locked_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """No real program, no network, no file of the machine: each test that needs some says so by a marker."""
    allowed = OPEN.get(request.node.path.name, frozenset())
    allowed |= PROGRAMS if request.node.get_closest_marker("real_programs") else frozenset()
    allowed |= NETWORK if request.node.get_closest_marker("real_sockets") else frozenset()
    guard.allowed, guard.refused, guard.on = allowed, [], True
    try:
        yield
    finally:
        guard.on = False
    if guard.refused and not request.node.get_closest_marker("touches_machine"):
        pytest.fail(f"the test reached for the real machine: {guard.refused}")


@pytest.fixture(autouse=True, scope="session")
def no_disk() -> Iterator[None]:
    """Nobody waits for disks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sync", lambda: None)
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What is logged, as it comes."""
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield told
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def me() -> str:
    """The account the tests run as."""
    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def my_group() -> str:
    """Its group."""
    return grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FakeHost:
    """A machine in a folder: nothing on it, every program answers with nothing.

    Where whole machines are begun it is the same folder for each test, as the files of one that is copied name it.
    """
    if not hasattr(request.module, "Machine"):
        return FakeHost(request.getfixturevalue("tmp_path"))
    folder = tmp_path_factory.getbasetemp() / "machines/one"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return FakeHost(folder)


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    """Owners and groups of files as words that need no account on this machine and no root."""
    return Owners(monkeypatch)
