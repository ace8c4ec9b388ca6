"""A real machine with systemd as PID 1 for tests: a tree booted by systemd-nspawn in a network of its own.

    with base_tree() as base, Machine("first", base) as machine:
        machine.run(["systemctl", "is-system-running"])

README.md in this folder has the whole of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import leftovers
import site_settings
from base_tree import CACHE, require_tools
from commands import Done, kill_group, run
from netns import Network, Reach, network
from nspawn import Boot
from tree import Clone, Tree, clone
from waiting import wait_for

ARTEFACTS = Path(os.environ.get("HUBD_TEST_ARTEFACTS") or Path(__file__).parent / "artefacts")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHARED_CACHE = "/var/cache/hubd-test-packages"

# What a machine needs to boot machines itself.
NESTED_OPTIONS = ("--capability=all", "--system-call-filter=@mount @keyring bpf perf_event_open")
NESTED_ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes"}


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody in a machine; `folder` is where their programs start (home, or `/` where there is none)."""

    uid: int
    gid: int
    home: str
    folder: str


class Machine:
    """One machine, from clone to removal: booted on entry of the context, stopped and removed on exit.

    name: a word for logs and artefacts; the host name inside.
    source: the tree to start from: a path (`base_tree()`), or what `snapshot()` gave.
    network: `nat` (out through this host) or `isolated` (reaches this host only).
    share_cache: share pip's and uv's download caches with other such machines (never for a newcomer's machine).
    nested: make it able to run machines itself, with room for them outside the overlay.
    """

    live: ClassVar[list[Machine]] = []
    """Every machine whose context is open now, to keep their logs when a test fails."""

    def __init__(
        self,
        name: str,
        source: Path | Tree,
        *,
        network: Reach = "nat",
        share_cache: bool = False,
        nested: bool = False,
    ) -> None:
        self.name = name
        self._source = source if isinstance(source, Tree) else Tree((source,))
        self._reach, self._share_cache, self._nested = network, share_cache, nested
        self._stack = ExitStack()
        self._boot: Boot | None = None
        self._children: list[subprocess.Popen[str]] = []
        self._snapshots = 0

    # ---------------------------------------------------------------- life

    def __enter__(self) -> Self:
        require_tools()
        with ExitStack() as stack:
            self.folder = stack.enter_context(leftovers.own_folder(CACHE / "machines", self.name))
            self.clone = self._new_clone(self._source)
            stack.callback(lambda: self.clone.remove())
            self.net: Network = stack.enter_context(network(self._reach))
            stack.callback(self.stop)
            self.live.append(self)
            stack.callback(self.live.remove, self)
            self.boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is not None:
                self.collect()
        finally:
            self._stack.close()

    def boot(self) -> str:
        """Start the machine and wait until systemd has started everything; gives `running` or `degraded`."""
        if self.running:
            raise RuntimeError(f"machine {self.name} is running already")
        options = [f"--machine={self.name}", f"--hostname={self.name}", f"--network-namespace-path={self.net.path}"]
        if self._share_cache:
            options.append(f"--bind={_made(CACHE / 'packages')}:{SHARED_CACHE}")
        if self._nested:
            # An overlay cannot be the writable part of another one: inner machines lie beside this one's files.
            # What it set in the kernel's switches would be set for this host.
            mask = self.clone.root / "etc/systemd/system/systemd-sysctl.service"
            if not mask.is_symlink():
                mask.symlink_to("/dev/null")
            options += [*NESTED_OPTIONS, f"--bind={_made(self.folder / 'inner')}:/var/cache/hubd-tests"]
        env = NESTED_ENVIRONMENT if self._nested else {}
        self._boot = Boot(self.clone.root, options, console=self.folder / "console.log", env=env)
        leftovers.note_processes(self.folder, self._boot.pid1, self._boot.process.pid)
        return wait_for(self._booted, f"machine {self.name} to boot", timeout=60)

    def stop(self, *, timeout: float = 60) -> None:
        """Shut down as the power button would, or pull the plug after `timeout` seconds. The files stay."""
        if self._boot is not None:
            self._kill_children()
            self._boot.power_off(timeout)
            self._boot = None

    def kill9(self) -> None:
        """Pull the plug: all processes end at once, nothing is written any more. The files stay."""
        if self._boot is not None:
            self._boot.pull_the_plug()
            self._kill_children()
            self._boot = None

    def reboot(self) -> str:
        """Stop, and boot the same files again; gives what `boot` gives."""
        self.stop()
        return self.boot()

    @property
    def running(self) -> bool:
        return self._boot is not None and self._boot.running

    def snapshot(self) -> Tree:
        """The files as they are, for other machines to start from; they live as long as this machine does.

        The machine must be stopped, and may be booted again afterwards.
        """
        if self.running:
            raise RuntimeError(f"stop machine {self.name} before taking a snapshot")
        self._snapshots += 1
        tree = self.clone.frozen(self.folder / f"snapshot-{self._snapshots}")
        self.clone.remove()
        self.clone = self._new_clone(tree)
        return tree

    # ---------------------------------------------------------------- use

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
        user: str = "root",
    ) -> Done:
        """Run a program in the machine as `user`, in a clean environment plus `env`; see `commands.run`."""
        start = time.monotonic()
        outcome = f"`{' '.join(map(str, argv))}` did not end"
        try:
            done = run(self._inside(argv, env or {}, user), check=False, input=input, timeout=timeout)
            done = Done(tuple(str(word) for word in argv), done.code, done.out, done.err)
            outcome = str(done)
        finally:
            with (self.folder / "commands.log").open("a") as log:
                log.write(f"[{time.strftime('%H:%M:%S')} {time.monotonic() - start:.2f} s {user}] {outcome}\n")
        if check and done.code != 0:
            raise AssertionError(f"in machine {self.name}: {done}")
        return done

    def shell(self, script: str, *, check: bool = True, timeout: float = 120, user: str = "root") -> Done:
        """Run a shell script in the machine; it stops at the first command that fails."""
        return self.run(("bash", "-euc", script), check=check, timeout=timeout, user=user)

    def popen(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, user: str = "root"
    ) -> subprocess.Popen[str]:
        """Start a program in the machine and go on; `stdout` has all it prints. Killed when the machine stops."""
        process = subprocess.Popen(
            self._inside(argv, env or {}, user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._children.append(process)
        return process

    def path(self, path: str | Path) -> Path:
        """Where a file of the machine lies on this host. Absolute links in it point into the machine: not followed."""
        # Through PID 1, because /tmp and /run are file systems that only the machine sees.
        root = Path(f"/proc/{self._boot.pid1}/root") if self._boot else self.clone.root
        return root / str(path).lstrip("/")

    def read(self, path: str | Path) -> str:
        """The text of a file in the machine, as root."""
        return self.run(("cat", "--", path)).out

    def write(self, path: str | Path, data: str, *, mode: int = 0o644) -> None:
        """Write a file in the machine, owned by root, making its folders."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && umask 077 && cat > "$1" && chmod "$2" "$1"'
        self.run(("sh", "-c", script, "sh", path, f"{mode:o}"), input=data)

    def copy_in(self, source: Path, destination: str | Path) -> None:
        """Copy a file or folder of this host to exactly this place in the machine, owned by root."""
        target = self.path(destination)
        target.parent.mkdir(parents=True, exist_ok=True)
        run(("cp", "-r", "--preserve=mode,links", "--no-target-directory", "--", source, target), timeout=300)

    def url(self, port: int = 80, path: str = "/") -> str:
        """An address of the machine as this host, and a browser on it, sees it."""
        return f"http://{self.net.machine}{'' if port == 80 else f':{port}'}{path}"

    def wait_until(self, check: Callable[[], bool], what: str, *, timeout: float = 30) -> None:
        """Wait until `check` holds, or fail after `timeout` seconds, naming `what`."""
        wait_for(check, f"{what} in machine {self.name}", timeout=timeout)

    def journal(self, *options: str) -> str:
        """The machine's journal as text, narrowed by journalctl's options."""
        return self.run(("journalctl", "--no-pager", "-o", "short-precise", *options), check=False).out

    def collect(self, into: Path = ARTEFACTS) -> Path:
        """Keep what tells why a test failed: console, commands, journal, failed units. Gives the folder."""
        keep = _made(into / self.name)
        for log in ("console.log", "commands.log"):
            if (self.folder / log).exists():
                shutil.copy(self.folder / log, keep / log)
        if self.running:
            (keep / "journal.log").write_text(self.journal())
            units = self.run(("systemctl", "--no-pager", "--failed", "list-units"), check=False)
            (keep / "units.log").write_text(str(units))
        return keep

    # ---------------------------------------------------------------- how

    def _new_clone(self, tree: Tree) -> Clone:
        return clone(tree, self.folder / f"clone-{self._snapshots}")

    def _booted(self) -> str:
        state = run(self._inside(("systemctl", "is-system-running"), {}, "root"), check=False).out.strip()
        return state if state in ("running", "degraded") else ""

    def _inside(self, argv: Sequence[str | Path], env: Mapping[str, str], user: str) -> tuple[str, ...]:
        """The words that run `argv` in the machine when this host runs them."""
        if self._boot is None:
            raise RuntimeError(f"machine {self.name} is not running")
        return ("nsenter", f"--target={self._boot.pid1}", "--all", "--", *self._words(argv, env, user))

    def _words(self, argv: Sequence[str | Path], env: Mapping[str, str], user: str) -> tuple[str, ...]:
        """The words that run `argv` as that user and in a clean environment, for root of the machine."""
        account = self._account(user)
        settings = {"PATH": PATH, "HOME": account.home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}
        settings |= {"TERM": "dumb", **site_settings.environment(), **self._cache_environment(), **env}
        words = ["env", "-i", f"--chdir={account.folder}", *(f"{name}={value}" for name, value in settings.items())]
        if self._nested:
            # nspawn makes its cgroup below the caller's, and nsenter leaves that outside of the machine.
            words += ["systemd-run", "--quiet", "--scope", "--property=Delegate=yes", "--"]
        if user != "root":
            words += ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--init-groups", "--"]
        return (*words, *(str(word) for word in argv))

    def _account(self, user: str) -> Account:
        for line in self.path("/etc/passwd").read_text().splitlines():
            name, _, uid, gid, _, home, _ = line.split(":")
            if name == user:
                return Account(int(uid), int(gid), home, home if self.path(home).is_dir() else "/")
        raise KeyError(f"machine {self.name} has no account {user}")

    def _cache_environment(self) -> dict[str, str]:
        if not self._share_cache:
            return {}
        return {"PIP_CACHE_DIR": f"{SHARED_CACHE}/pip", "UV_CACHE_DIR": f"{SHARED_CACHE}/uv"}

    def _kill_children(self) -> None:
        for process in self._children:
            if process.poll() is None:
                kill_group(process)
            process.wait(20)
        self._children.clear()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
