"""The password store and its tool, and sign-in with it."""

from __future__ import annotations

import asyncio
import dbm
import fcntl
import io
import json
import select
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import bcrypt
import pytest

from hubd.hubside import passwords
from hubd.hubside.authenticator import HubdAuthenticator
from hubd.hubside.passwords import PasswordStore, hash_password, is_password, main


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = bcrypt.gensalt
    monkeypatch.setattr(bcrypt, "gensalt", lambda: slow(rounds=4))
    monkeypatch.setattr(passwords, "_end_with_parent", lambda: None)  # it would be the tests that end


@pytest.fixture
def store(tmp_path: Path) -> PasswordStore:
    return PasswordStore(tmp_path / "passwords.dbm")


def test_an_empty_store(store: PasswordStore) -> None:
    assert store.names() == []
    assert store.get("ada") is None
    store.remove("ada")


def test_put_get_remove(store: PasswordStore) -> None:
    assert store.put("ada", b"1", replace=False)
    assert not store.put("ada", b"2", replace=False)
    assert store.get("ada") == b"1"
    assert store.put("ada", b"2", replace=True)
    store.put("bea", b"3", replace=True)
    store.remove("ada")
    assert store.names() == ["bea"]


def test_nobody_else_can_read_it(store: PasswordStore, tmp_path: Path) -> None:
    store.put("ada", b"1", replace=True)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_an_interrupted_write_is_forgotten(store: PasswordStore, tmp_path: Path) -> None:
    store.put("ada", b"1", replace=True)
    for path in list(tmp_path.glob("passwords.dbm*")):
        (tmp_path / path.name.replace("passwords.dbm", "passwords.dbm.new")).write_bytes(b"half")
    store.put("bea", b"2", replace=True)
    assert store.names() == ["ada", "bea"]
    assert not [path for path in tmp_path.iterdir() if ".new" in path.name and "lock" not in path.name]


def test_many_writers_lose_nothing(store: PasswordStore) -> None:
    threads = [threading.Thread(target=store.put, args=(f"u{n}", b"x"), kwargs={"replace": True}) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.names()) == 12


def test_the_upstream_authenticator_can_read_it(store: PasswordStore, tmp_path: Path) -> None:
    store.put("ada", hash_password("correct horse"), replace=True)
    with dbm.open(str(tmp_path / "passwords.dbm"), "r") as plain:
        assert bcrypt.checkpw(b"correct horse", plain[b"ada"])


@pytest.mark.parametrize("password", ["", "x" * 73, "ä" * 40, "a\0b"])
def test_what_is_no_password(password: str) -> None:
    with pytest.raises(ValueError, match="72"):
        hash_password(password)
    assert not is_password(password, hash_password("other"))


def tool(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str, typed: str = "") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return main(["--store", str(folder / "passwords.dbm"), *words])


def test_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool(monkeypatch, tmp_path, "check", "ada", typed="correct horse\n") == 1
    assert tool(monkeypatch, tmp_path, "set", "ada", typed="correct horse\n") == 0
    assert tool(monkeypatch, tmp_path, "check", "ada", typed="correct horse") == 0
    assert tool(monkeypatch, tmp_path, "check", "ada", typed="correct hors\n") == 1
    assert tool(monkeypatch, tmp_path, "set", "ada", typed="\n") == 2
    capsys.readouterr()
    assert tool(monkeypatch, tmp_path, "known") == 0
    assert json.loads(capsys.readouterr().out) == ["ada"]


def test_a_lock_that_is_never_let_go_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(passwords, "LOCK_LIMIT", 0.05)
    with PasswordStore(tmp_path / "passwords.dbm")._locked():
        assert tool(monkeypatch, tmp_path, "known") == 3
    assert f"another process holds {tmp_path}/passwords.dbm.lock" in capsys.readouterr().err
    assert tool(monkeypatch, tmp_path, "known") == 0


def test_nobody_is_locked_out_while_something_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: PasswordStore
) -> None:
    monkeypatch.setattr(passwords, "LOCK_LIMIT", 0.0)
    slow, seen = bcrypt.hashpw, []

    def hashing(*words: bytes) -> bytes:
        seen.append(("hash", store.names()))
        return slow(*words)

    class Typing(io.StringIO):
        """Somebody who takes their time."""

        def readline(self, size: int | None = -1) -> str:
            seen.append(("type", store.names()))
            return "correct horse"

    monkeypatch.setattr(bcrypt, "hashpw", hashing)
    monkeypatch.setattr("sys.stdin", Typing())
    assert main(["--store", str(tmp_path / "passwords.dbm"), "set", "ada"]) == 0
    assert seen == [("type", []), ("hash", [])]
    assert store.names() == ["ada"]


# The tool, which says when it waits for a password; and who starts it.
TOOL = """
import sys
from hubd.hubside import passwords

class Typing:
    def readline(self):
        print("waits", flush=True)
        return sys.__stdin__.readline()

sys.stdin = Typing()
passwords.main(sys.argv[1:])
"""
STARTS = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.real_programs
def test_the_tool_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Its standard input stays open here, as that of an installation may in whatever else it started."""
    argv = (sys.executable, "-c", STARTS, TOOL, "--store", str(tmp_path / "passwords.dbm"), "set", "ada")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout and parent.stdin
        assert parent.stdout.readline() == b"waits\n"
        parent.kill()
        assert select.select([parent.stdout], [], [], 20)[0], "the tool lives on"
        assert parent.stdout.read() == b""


def sign_in(authenticator: HubdAuthenticator, name: str, password: str) -> tuple[str | None, str]:
    handler = SimpleNamespace(custom_login_error="")
    answer = authenticator.authenticate(handler, {"username": name, "password": password})
    return asyncio.run(answer), handler.custom_login_error


@pytest.fixture
def authenticator(tmp_path: Path) -> HubdAuthenticator:
    return HubdAuthenticator(dbm_path=str(tmp_path / "passwords.dbm"), allowed_users={"ada", "bea"})


def test_only_the_declared_sign_in(authenticator: HubdAuthenticator) -> None:
    assert sign_in(authenticator, "root", "whatever it is") == (None, "")
    assert sign_in(authenticator, "root", "whatever it is") == (None, "")


def test_the_first_password_is_kept(authenticator: HubdAuthenticator) -> None:
    assert sign_in(authenticator, "Ada", "correct horse")[0] == "ada"
    assert sign_in(authenticator, "ada", "correct horse")[0] == "ada"
    assert sign_in(authenticator, "ada", "another horse")[0] is None


@pytest.mark.parametrize("password", ["short", "x" * 80, "with\0zero"])
def test_a_first_password_that_will_not_do_is_explained(authenticator: HubdAuthenticator, password: str) -> None:
    name, words = sign_in(authenticator, "ada", password)
    assert name is None
    assert words.startswith("Please choose")
    assert "success" not in authenticator.reset_password("ada", password)


def test_of_two_first_passwords_one_wins(authenticator: HubdAuthenticator) -> None:
    async def both() -> list[str | None]:
        ask = [authenticator.authenticate(SimpleNamespace(), {"username": "ada", "password": f"password {n}"}) for n in range(2)]
        return await asyncio.gather(*ask)

    assert sorted(map(str, asyncio.run(both()))) == ["None", "ada"]


@pytest.mark.parametrize("damage", ["rubbish", "locked"])
def test_a_store_that_cannot_be_used_is_told_and_lets_nobody_in(
    authenticator: HubdAuthenticator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    assert sign_in(authenticator, "ada", "a long password") == ("ada", "")
    monkeypatch.setattr("hubd.hubside.passwords.LOCK_LIMIT", 0.0)
    held = (tmp_path / "passwords.dbm.lock").open("w")
    if damage == "locked":
        fcntl.flock(held, fcntl.LOCK_EX)
    else:
        for path in tmp_path.glob("passwords.dbm*"):
            path.write_bytes(b"rubbish" * 1000)
    who, told = sign_in(authenticator, "ada", "a long password")
    assert who is None
    assert "Please tell whoever runs this hub" in told
    held.close()


def test_the_deleted_are_forgotten(authenticator: HubdAuthenticator) -> None:
    sign_in(authenticator, "ada", "correct horse")
    authenticator.delete_user(SimpleNamespace(name="ada"))
    assert sign_in(authenticator, "ada", "correct horse")[0] is None


def test_a_changed_password(authenticator: HubdAuthenticator) -> None:
    sign_in(authenticator, "ada", "correct horse")
    assert "success" in authenticator.reset_password("ada", "battery staple")
    assert sign_in(authenticator, "ada", "battery staple")[0] == "ada"
