"""Machines with a hub: installed once a run from the checkout, cloned for each module, and driven by its own command."""

from __future__ import annotations

import json
import os
import re
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from commands import Done, run
from hubclient import Hub, Person
from machine import ARTEFACTS, Machine
from tree import Tree

CHECKOUT = Path(__file__).resolve().parent.parent
# What a release would hold; the rest of a checkout is not needed to install.
RELEASED = ("bootstrap.py", "pyproject.toml", "LICENSE", "README.md", "config", "hubd", "installer", "plugins")
INSIDE = "/root/hubd"
COMMAND = ("python3", f"{INSIDE}/bootstrap.py", "--admin", "ada")
# What `hubd status` begins with, without and with a pass under way, which the daemon makes now and then.
RIGHT = ("All is right.", "All was right.")
KERNEL, DISPLAYED = "science", "Python (science)"
UNITS = {"hub": "jupyterhub.service", "proxy": "jupyterhub-proxy.service", "daemon": "hubd.service"}

# Work on tests alone goes faster with an installation that is kept in this folder; remove it after any change of the product.
KEPT = os.environ.get("HUBD_TEST_INSTALLED")


@dataclass(frozen=True, slots=True)
class Page:
    """What the web port answered during the installation."""

    status: int
    retry_after: str
    text: str


@dataclass(frozen=True, slots=True)
class Installed:
    """The installation on a bare machine, and the machine's files after it.

    bootstrap, again: the command and its repetition. status, plan: asked right after the first. seconds: by the command.
    """

    tree: Tree
    bootstrap: Done
    again: Done
    status: Done
    plan: Done
    seconds: dict[str, float]
    pages: tuple[Page, ...]

    @property
    def password(self) -> str:
        """The one-time password of ada, as printed."""
        found = re.search(r"Sign in as ada with the one-time password (\S+)", self.bootstrap.out)
        assert found, f"no one-time password in:\n{self.bootstrap}"
        return found[1]


class HubMachine(Machine):
    """A machine with a hub. hub: as a browser sees it. passwords: by name; anybody else chooses one at first use."""

    def __init__(self, name: str, source: Path | Tree, passwords: Mapping[str, str] | None = None) -> None:
        super().__init__(name, source)
        self.passwords = dict(passwords or {})

    @property
    def hub(self) -> Hub:
        return Hub(self.url().rstrip("/"))

    def hubd(self, *words: str, check: bool = True, timeout: float = 300, user: str = "root") -> Done:
        """Run `hubd` in the machine."""
        return self.run(("hubd", *words), check=check, timeout=timeout, user=user)

    def status(self) -> dict[str, Any]:
        """What `hubd status` says."""
        found: dict[str, Any] = json.loads(self.hubd("status", "--json", check=False).out)
        return found

    def changes(self) -> list[str]:
        """The ids of what a pass would change."""
        return [change["id"] for change in json.loads(self.hubd("plan", "--json").out)["changes"]]

    def sign_in(self, name: str) -> Person:
        """Sign in with the person's password; chosen now if it is the first time."""
        return self.hub.sign_in(name, self.passwords.setdefault(name, f"first-choice-of-{name}"))

    def let_in(self, name: str) -> Person:
        """Declare somebody, wait until the daemon has let them in, and sign in."""
        self.hubd("config", "add-item", "people.users", name)
        self.hubd("apply", "--yes")
        return self.sign_in(name)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(("systemctl", "show", "--value", f"--property={name}", "--", self.unit(unit))).out.strip()

    def unit(self, word: str) -> str:
        """The unit of `hub`, `proxy` or `daemon`; other names are units already."""
        return UNITS.get(word, word)

    def main_pid(self, unit: str) -> int:
        """The number of a unit's main process in the machine; 0 when there is none."""
        return int(self.show(unit, "MainPID") or 0)

    def wait_right(self, *, timeout: float = 60) -> None:
        """Wait until the hub answers and the daemon has ended a pass since it was started and found everything right."""
        self.hub.wait_healthy(timeout)
        self.wait_until(self._is_right, "`hubd status` all right", timeout=timeout)

    def _is_right(self) -> bool:
        found = self.status()
        daemon, last = found["daemon"], found["last_pass"]
        if not daemon or not last or found["state"] != "right":
            return False
        return daemon["pass_since"] is None and last["ended"] > daemon["since"]


@contextmanager
def visited(url: str) -> Iterator[list[Page]]:
    """What a visitor sees at `url` while the block runs: each page that differs from the one before."""
    pages: list[Page] = []
    stop = threading.Event()

    def visit() -> None:
        while not stop.wait(0.2):
            try:
                answer = requests.get(url, timeout=5, allow_redirects=False)
            except requests.RequestException:
                continue
            seen = Page(answer.status_code, answer.headers.get("Retry-After", ""), answer.text)
            if seen not in pages[-1:]:
                pages.append(seen)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield pages
    finally:
        stop.set()
        thread.join()


def timed_install(machine: Machine, command: tuple[str, ...] = COMMAND) -> tuple[Done, float]:
    """Run the command; its output and time are kept as artefacts."""
    began = time.monotonic()
    done = machine.run(command, timeout=900, check=False)
    took = time.monotonic() - began
    keep = ARTEFACTS / machine.name
    keep.mkdir(parents=True, exist_ok=True)
    with (keep / "install.txt").open("a") as file:
        file.write(f"{done}\n--- {took:.1f} s\n\n")
    return done, took


def archive(file: Path) -> Path:
    """The checkout as a release would pack it: one folder in a .tar.gz."""
    with tarfile.open(file, "w:gz") as packed:
        for name in RELEASED:
            if (CHECKOUT / name).exists():
                packed.add(CHECKOUT / name, f"jupyter-hubd/{name}", filter=_worth_packing)
    return file


def _worth_packing(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    return None if name.startswith(".") or name in ("__pycache__", "build") or name.endswith(".egg-info") else member


def copy_checkout(machine: Machine, destination: str = INSIDE) -> None:
    """Put the checkout into a machine."""
    for name in RELEASED:
        if (CHECKOUT / name).exists():
            machine.copy_in(CHECKOUT / name, f"{destination}/{name}")


@pytest.fixture(scope="session")
def installed(base: Path) -> Iterator[Installed]:
    """The first README command on a bare machine, done once a run."""
    if KEPT and (Path(KEPT) / "installed.json").exists():
        yield _kept(Path(KEPT), base)
        return
    with Machine("install", base) as machine:
        copy_checkout(machine)
        with visited(machine.url()) as pages:
            done, took = timed_install(machine)
        assert done.code == 0, f"the installation failed: {done}"
        status = machine.run(("hubd", "status"), check=False)
        plan = machine.run(("hubd", "plan", "--detailed-exitcode"), check=False)
        again, took_again = timed_install(machine)
        machine.stop()
        seconds = {"install": took, "again": took_again}
        made = Installed(machine.snapshot(), done, again, status, plan, seconds, tuple(pages))
        if KEPT:
            _keep(made, Path(KEPT))
        yield made


@pytest.fixture(scope="module")
def hub_machine(request: pytest.FixtureRequest, installed: Installed) -> Iterator[HubMachine]:
    """A machine with a hub that answers, fresh for each module."""
    name = Path(str(request.path)).stem.removeprefix("test_").replace("_", "-")
    with HubMachine(name, installed.tree, {"ada": installed.password}) as machine:
        machine.wait_right()
        yield machine


def _keep(made: Installed, folder: Path) -> None:
    folder.mkdir(parents=True)
    run(("cp", "-a", "--", made.tree.layers[0], folder / "layer"), timeout=600)
    commands = {name: getattr(made, name) for name in ("bootstrap", "again", "status", "plan")}
    told: dict[str, Any] = {name: [done.argv, done.code, done.out, done.err] for name, done in commands.items()}
    told |= {"seconds": made.seconds, "pages": [[page.status, page.retry_after, page.text] for page in made.pages]}
    (folder / "installed.json").write_text(json.dumps(told))


def _kept(folder: Path, base: Path) -> Installed:
    told = json.loads((folder / "installed.json").read_text())
    commands = {name: Done(tuple(told[name][0]), *told[name][1:]) for name in ("bootstrap", "again", "status", "plan")}
    pages = tuple(Page(*page) for page in told["pages"])
    return Installed(Tree((folder / "layer", base)), **commands, seconds=told["seconds"], pages=pages)
