"""Running programs: a tuple of words, a clean environment, a time limit, and the output as it comes."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from hubd.errors import CommandFailed, HubdError, NoProgram

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a host may need so that downloads reach a mirror or pass a proxy; everything else of the environment is left out.
NETWORK_PREFIXES = ("PIP_", "UV_", "CONDA_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NETWORK_NAMES = frozenset(
    name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (proxy, proxy.upper())
)

Line = Callable[[str], None]

# Seconds that a program which was ended may take until its outputs are closed.
GRACE = 5.0
# Bytes of an output that is heard line by line: of more the end is kept, and a longer line is heard in parts.
LONGEST, LONGEST_LINE = 2**26, 2**20


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended and what it printed (standard output and standard error apart)."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


def network_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environment` that say how to reach the network."""
    return {name: value for name, value in environment.items() if name in NETWORK_NAMES or name.startswith(NETWORK_PREFIXES)}


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program gets to see: a fixed PATH and language, the network's settings and `extra`."""
    base = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    return {**base, **network_environment(os.environ), **(extra or {})}


class Leash:
    """Ends a program that another thread runs, when what it would do is not wanted any more."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        """This is the program; it is ended at once where `end` was called before."""
        with self._guard:
            self._process, ended = process, self._ended
        if ended:
            _end(process)

    def end(self) -> None:
        """End the program, now or as soon as it is there; returns when it has ended."""
        with self._guard:
            self._ended, process = True, self._process
        if process:
            _end(process)


class Commands:
    """Runs programs; tests put a table of answers in its place. always: variables that each of them gets."""

    def __init__(self, *, always: Mapping[str, str] | None = None) -> None:
        self._always = dict(always or {})

    def run(
        self,
        argv: tuple[str, ...],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str = "",
        mute: bool = False,
        line: Line | None = None,
        leash: Leash | None = None,
    ) -> Result:
        """Run `argv` to its end and return what it printed.

        timeout: seconds until the whole process group is killed.
        user: an account to become first; root only. mute: what it prints goes nowhere: whoever it runs as can hold on to its
        outputs, and write into them.
        line: called with each line of output as it comes. leash: lets another thread end it.
        Raises CommandFailed when it does not end in time or, with `check`, exits with an error; HubdError when the
        program is not there.
        """
        process = self._start(argv, environment=environment, directory=directory, user=user, mute=mute)
        if leash:
            leash.hold(process)
        out, err, timed_out = _communicate(process, stdin=stdin, timeout=timeout, line=line)
        if timed_out:
            raise CommandFailed(argv, code=None, output=err or out, retry=True)
        if check and process.returncode != 0:
            raise CommandFailed(argv, code=process.returncode, output=err if err.strip() else out)
        return Result(argv, process.returncode, out, err)

    def _start(
        self, argv: tuple[str, ...], *, environment: Mapping[str, str] | None, directory: Path | None, user: str, mute: bool
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if mute else subprocess.PIPE,
                stderr=subprocess.DEVNULL if mute else subprocess.PIPE,
                env=clean_environment({**self._always, **(environment or {})}),
                cwd=directory or "/",
                start_new_session=True,
                user=user or None,
                group=user or None,
                extra_groups=[] if user else None,
            )
        except FileNotFoundError as error:
            raise HubdError(f"the program {argv[0]} is not on this machine", why=str(error)) from error
        except (OSError, KeyError) as error:  # KeyError: there is no such account
            raise HubdError(f"{argv[0]} could not be started", why=str(error), retry=True) from error


def become(argv: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Go on as another program, found by the PATH in `environment`.

    Raises NoProgram when it is not there, and HubdError when it cannot be started.
    """
    try:
        os.execvpe(argv[0], argv, dict(environment))  # noqa: S606  # no shell is wanted
    except FileNotFoundError as error:
        raise NoProgram(f"there is no program {argv[0]}") from error
    except OSError as error:
        raise HubdError(f"{argv[0]} could not be started", why=error.strerror or str(error)) from error


def become_shell(start: str, environment: Mapping[str, str]) -> NoReturn:
    """Go on as an interactive bash that begins with the lines `start` in place of ~/.bashrc."""
    # A file without a name: there is no place where every person may write and nobody else may read.
    lines = os.memfd_create("hubd-env", 0)  # 0: it stays open in the shell, which reads it as /dev/fd/…
    with os.fdopen(lines, "w", closefd=False) as stream:
        stream.write(start)
    become(("bash", "--rcfile", f"/dev/fd/{lines}", "-i"), environment)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tell a program to clear away what it began and end; then kill whatever it started that is still there."""
    if process.poll() is not None:  # its number may be another's by now
        return
    process.send_signal(signal.SIGUSR1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    kill_group(process)


def _communicate(process: subprocess.Popen[bytes], *, stdin: bytes, timeout: float, line: Line | None) -> tuple[str, str, bool]:
    """Feed `stdin`, collect both outputs, pass lines on; True at the end when the time ran out."""
    if line is None:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
            return (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace"), False
        except subprocess.TimeoutExpired:
            kill_group(process)
            try:
                out, err = process.communicate(timeout=GRACE)
            except subprocess.TimeoutExpired as late:  # something else holds its outputs open
                out, err = late.stdout or b"", late.stderr or b""
                process.poll()
            return (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace"), True
    return _stream(process, stdin=stdin, timeout=timeout, line=line)


def _stream(process: subprocess.Popen[bytes], *, stdin: bytes, timeout: float, line: Line) -> tuple[str, str, bool]:
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(BrokenPipeError):  # it need not read what it is given
        process.stdin.write(stdin)
        process.stdin.close()
    kept: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    pending: dict[IO[bytes], bytes] = {process.stdout: b"", process.stderr: b""}
    deadline, timed_out = time.monotonic() + timeout, False
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline + GRACE:
            if time.monotonic() > deadline and not timed_out:
                timed_out = True
                kill_group(process)
            for key, _ in selector.select(timeout=min(1.0, max(0.01, deadline - time.monotonic()))):
                source: IO[bytes] = key.fileobj  # type: ignore[assignment]  # registered above, always a stream
                chunk = os.read(source.fileno(), 65536)
                kept[source] += chunk
                del kept[source][:-LONGEST]
                *lines, pending[source] = (pending[source] + chunk).split(b"\n")
                if len(pending[source]) > LONGEST_LINE:
                    lines, pending[source] = [*lines, pending[source]], b""
                if not chunk:
                    selector.unregister(source)
                    lines = [pending[source]] if pending[source] else []
                for text in lines:
                    line(text.decode(errors="replace"))
        if selector.get_map() and not timed_out:  # whoever hears the lines took all the time there was
            timed_out = True
            kill_group(process)
    process.wait()
    return kept[process.stdout].decode(errors="replace"), kept[process.stderr].decode(errors="replace"), timed_out
