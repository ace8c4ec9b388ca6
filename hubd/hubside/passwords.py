"""The store of hashed passwords, and its tool: `python -m hubd.hubside.passwords --store FILE set|check NAME | known`.

The tool runs as the hub's account and reads a password from standard input, never from the command line; it ends with
whoever started it. Every reader and writer, the running hub included, takes the lock beside the store, which is held
neither while something is waited for nor while a password is hashed; a change is written to a new store that takes the
old one's place by rename, so that a kill leaves one or the other.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dbm
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt

# bcrypt looks at no more than this; longer ones are refused, for two that begin alike would be the same password.
LONGEST = 72

# Seconds. Everybody holds the lock for milliseconds, on a busy disk for seconds: who holds it for longer hangs. Less than the
# installer gives this tool, so that it can say why.
LOCK_LIMIT = 45.0
LOCK_POLL = 0.02

# From Linux's prctl.h; Python does not name it.
PR_SET_PDEATHSIG = 1

# Which of these files a store consists of depends on the Python it was written by.
ENDINGS = ("", ".db", ".dat", ".dir", ".bak", ".pag", "-wal", "-shm", "-journal")


def hash_password(password: str) -> bytes:
    """The salted hash of `password`. Takes a good part of a second, on purpose. Raises ValueError."""
    word = password.encode()
    if not word or len(word) > LONGEST or b"\0" in word:
        raise ValueError(f"A password has 1 to {LONGEST} bytes.")
    return bcrypt.hashpw(word, bcrypt.gensalt())


def is_password(password: str, hashed: bytes) -> bool:
    """Whether `hashed` was made from `password`."""
    try:
        return bcrypt.checkpw(password.encode(), hashed)
    except ValueError:
        return False


class PasswordStore:
    """Hashed passwords by user name, in the dbm that FirstUseAuthenticator reads."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def get(self, name: str) -> bytes | None:
        """The hash stored for `name`, or None."""
        with self._locked():
            return self._entries().get(name.encode())

    def names(self) -> list[str]:
        """Everybody who has a password, in order."""
        with self._locked():
            return sorted(name.decode() for name in self._entries())

    def put(self, name: str, hashed: bytes, *, replace: bool) -> bool:
        """Store `hashed` for `name`; an existing one stays unless `replace`. Returns whether it was stored."""
        with self._locked():
            entries = self._entries()
            if name.encode() in entries and not replace:
                return False
            self._write({**entries, name.encode(): hashed})
            return True

    def remove(self, name: str) -> None:
        """Forget the password of `name`, if there is one."""
        with self._locked():
            entries = self._entries()
            if entries.pop(name.encode(), None) is not None:
                self._write(entries)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        """Wait for the lock. Raises TimeoutError: the hub must not stand still for somebody who hangs."""
        end = time.monotonic() + LOCK_LIMIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= end:
                    what = f"another process holds {self._path}.lock for more than {LOCK_LIMIT:.0f} seconds"
                    raise TimeoutError(f"{what}; `lslocks` names it") from None
            time.sleep(LOCK_POLL)

    def _entries(self) -> dict[bytes, bytes]:
        if not _files(self._path):
            return {}
        # "w", though only read: one kind of dbm can finish an interrupted change only when it may write.
        with dbm.open(str(self._path), "w") as store:
            return {_raw(name): store[name] for name in store.keys()}  # noqa: SIM118  # a dbm is no dict

    def _write(self, entries: dict[bytes, bytes]) -> None:
        fresh = Path(f"{self._path}.new")
        for leftover in _files(fresh).values():
            leftover.unlink()
        with dbm.open(str(fresh), "n", 0o600) as store:
            for name, hashed in entries.items():
                store[name] = hashed
        written = _files(fresh)
        for file in written.values():
            _flush(file)
        for ending, file in written.items():
            file.replace(f"{self._path}{ending}")
        for ending, file in _files(self._path).items():
            if ending not in written:
                file.unlink()
        _flush(self._path.parent)


def _raw(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


def _files(base: Path) -> dict[str, Path]:
    paths = {ending: Path(f"{base}{ending}") for ending in ENDINGS}
    return {ending: path for ending, path in paths.items() if path.is_file()}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(words: list[str] | None = None) -> int:
    """The tool. Exit code: 0 done or right, 1 wrong password or none stored, 2 usage or a password that cannot be, 3 in use."""
    _end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m hubd.hubside.passwords", description="Passwords of the hub's users.")
    parser.add_argument("--store", required=True, type=Path, help="the store, as the authenticator has it")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("set", help="store the password on standard input").add_argument("name")
    verbs.add_parser("check", help="compare the password on standard input").add_argument("name")
    verbs.add_parser("known", help="who has a password, as JSON")
    arguments = parser.parse_args(words)
    try:
        return _do(arguments.verb, PasswordStore(arguments.store), getattr(arguments, "name", ""))
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 3


def _end_with_parent() -> None:
    """An installation that is killed must not leave this behind, with the lock or waiting for a password."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _do(verb: str, store: PasswordStore, name: str) -> int:
    if verb == "known":
        print(json.dumps(store.names()))
        return 0
    password = sys.stdin.readline().rstrip("\r\n")
    if verb == "check":
        hashed = store.get(name)
        return 0 if hashed is not None and is_password(password, hashed) else 1
    return _set(store, name, password)


def _set(store: PasswordStore, name: str, password: str) -> int:
    try:
        store.put(name, hash_password(password), replace=True)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{name} signs in with that password from now on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
