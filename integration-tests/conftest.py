"""What integration tests share: the bare tree, machines, the conda channel, and where artefacts are kept.

Nothing is skipped for want of root or programs: that is an error which says what to do.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from base_tree import NotPossibleHere, base_tree, require_tools
from channel.build import channel
from conda_site import site  # noqa: F401  # a fixture for every module
from hub import hub_machine, installed  # noqa: F401  # fixtures for every module
from machine import ARTEFACTS, Machine
from tree import Tree

MakeMachine = Callable[..., Machine]


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        require_tools()
    except NotPossibleHere as problem:
        pytest.exit(str(problem), returncode=1)
    is_first = not hasattr(session.config, "workerinput")  # those that run modules side by side come after it
    again = session.config.getoption("lf")  # what the run before left is what is looked for
    if is_first and not again and ARTEFACTS.parent == Path(__file__).parent:  # a folder somebody else named is theirs to clear
        shutil.rmtree(ARTEFACTS, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep the logs of every machine there is when a test fails."""
    report = yield
    if call.excinfo is not None and call.when in ("setup", "call"):
        for machine in Machine.live:
            machine.collect(ARTEFACTS / machine_name(item.name))
    return report


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """The tree of a bare Debian 12."""
    with base_tree("bookworm") as tree:
        yield tree


@pytest.fixture
def machine(request: pytest.FixtureRequest, base: Path) -> Iterator[Machine]:
    """A bare machine for one test alone, named after it."""
    with Machine(machine_name(request.node.name), base) as booted:
        yield booted


@pytest.fixture(scope="module")
def make_machine() -> Iterator[Callable[[str, Path | Tree], Machine]]:
    """Boots machines that live until the end of the module."""
    with ExitStack() as stack:
        yield lambda name, source: stack.enter_context(Machine(name, source))


@pytest.fixture(scope="session")
def conda_channel() -> Iterator[Path]:
    """A folder to serve: `tests` is a conda channel, `Miniconda.sh` a stand-in for its installer."""
    with channel() as folder:
        yield folder


@pytest.fixture
def artefacts(request: pytest.FixtureRequest) -> Path:
    """A folder for what this test wants kept, such as pictures."""
    folder = ARTEFACTS / machine_name(request.node.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def machine_name(test: str) -> str:
    """A test's name as a host name."""
    return re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_")).strip("-")[:40].strip("-")
