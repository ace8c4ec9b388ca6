"""Accounts and groups: a snapshot, and who is closed."""

from __future__ import annotations

import grp
import pwd
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hubd.host.accounts import Accounts
from hubd.host.host import Host, Running, _Program, _started_in, has_systemd, local_host
from hubd.host.processes import Processes
from hubd.host.systemd import Systemd
from hubd.layout import Layout

TODAY = int(time.time() // 86400)
EXPIRES = [("1", True), ("0", True), (str(TODAY), True), (str(TODAY + 1), False), ("", False), ("-1", False), ("x", False)]


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names = ["ada"]

    def entries() -> list[SimpleNamespace]:
        shown = {"pw_uid": 1000, "pw_gid": 1000, "pw_dir": "/home/x", "pw_gecos": "made by hubd"}
        return [SimpleNamespace(pw_name=name, **shown) for name in names]

    monkeypatch.setattr(pwd, "getpwall", entries)
    monkeypatch.setattr(grp, "getgrall", lambda: [SimpleNamespace(gr_name="g", gr_gid=1000, gr_mem=list(names))])
    return names


@pytest.mark.parametrize(("day", "closed"), EXPIRES)
def test_closed_is_what_has_expired(tmp_path: Path, one: list[str], day: str, closed: bool) -> None:
    shadow = tmp_path / "shadow"
    shadow.write_text(f"root:*:1:0:99999:7:::\nada:!:19000:0:99999:7::{day}:\nnonsense\n")
    account = Accounts(shadow).get("ada")
    assert account is not None
    assert (account.closed, account.uid, account.home, account.comment) == (closed, 1000, Path("/home/x"), "made by hubd")


LACKS = [
    ("ada:!:19000:0:99999:7:::\n", 1000, set()),
    ("root:*:1:0:99999:7:::\n", 1000, {"shadow"}),
    ("ada:!:19000:0:99999:7:::\n", 1001, {"group"}),
    ("root:*:1:0:99999:7:::\n", 1001, {"shadow", "group"}),
    # Who may not read it cannot tell.
    ("", 1000, set()),
]


@pytest.mark.parametrize(("text", "gid", "lacks"), LACKS)
def test_what_an_account_lacks(
    tmp_path: Path, one: list[str], monkeypatch: pytest.MonkeyPatch, text: str, gid: int, lacks: set[str]
) -> None:
    (tmp_path / "shadow").write_text(text)
    monkeypatch.setattr(grp, "getgrall", lambda: [SimpleNamespace(gr_name="g", gr_gid=gid, gr_mem=[])])
    account = Accounts(tmp_path / "shadow").get("ada")
    assert account is not None
    assert account.lacks == lacks


def test_a_shadow_file_that_may_not_be_read(tmp_path: Path, one: list[str]) -> None:
    account = Accounts(tmp_path / "none").get("ada")
    assert account is not None
    assert not account.closed


def test_it_is_a_snapshot_until_it_is_told_to_look_again(tmp_path: Path, one: list[str]) -> None:
    accounts = Accounts(tmp_path / "none")
    assert accounts.get("bea") is None
    assert accounts.members("g") == {"ada"}
    assert accounts.members("nothing") is None
    one.append("bea")
    assert accounts.get("bea") is None
    accounts.forget()
    assert accounts.get("bea") is not None
    assert accounts.members("g") == {"ada", "bea"}


def test_this_machine(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert isinstance(local_host(layout, systemd=True).init, Systemd)
    assert isinstance(local_host(layout, systemd=False).init, Processes)
    assert isinstance(local_host(layout).init, Systemd if has_systemd() else Processes)


def test_who_uses_a_folder(tmp_path: Path) -> None:
    import sys

    used: Host = local_host(Layout(tmp_path), systemd=False)
    assert used.processes_using(Path(sys.executable).resolve().parent) >= 1
    assert used.processes_using(tmp_path) == 0


KERNEL = b"/home/ada/.local/share/jupyter/runtime/kernel-5f.json"
PROGRAMS = [
    # command line, file; whether it uses /e/geo/7, and whether it is a kernel
    (b"/e/geo/7/bin/python\0-m\0ipykernel_launcher\0-f\0" + KERNEL + b"\0", b"/e/geo/7/bin/python3.12", True, True),
    (b"/e/geo/7/bin/python\0-m\0ipykernel_launcher\0-f\0" + KERNEL + b"\0", b"/usr/bin/python3.11", True, True),
    (b"/e/geo/7/lib/R/bin/exec/R\0--slave\0-e\0IRkernel::main()\0--args\0" + KERNEL, b"/e/geo/7/lib/R/bin/exec/R", True, True),
    (b"python\0script.py\0", b"/e/geo/7/bin/python3.12", True, False),
    (b"/e/geo/7/bin/gdalinfo\0/data/kernel-density/x.json\0", b"", True, False),
    (b"/e/geo/77/bin/python\0-f\0" + KERNEL, b"/e/geo/77/bin/python", False, True),
    (b"", b"", False, False),
]
VARIABLES = [
    # what a program was started with, whether it uses /e/geo/7, and whether it uses /e/geo
    (b"PATH=/bin\0CONDA_PREFIX=/e/geo/7\0HOME=/home/ada\0", True, True),
    (b"VIRTUAL_ENV=/e/geo/7", True, True),
    (b"VIRTUAL_ENV=/e/geo/77\0CONDA_PREFIX=/e/geo/7/\0", True, True),
    (b"VIRTUAL_ENV=/e/geo/77\0", False, True),
    (b"MY_CONDA_PREFIX=/e/geo/7\0A=CONDA_PREFIX=/e/geo/7\0", False, False),
    (b"CONDA_PREFIX=\0VIRTUAL_ENV\0", False, False),
    (b"PATH=/e/geo/7/bin\0", False, False),
    (b"X=" + b"x" * 1_100_000 + b"\0CONDA_PREFIX=/e/geo/7\0", False, False),
    (None, False, False),
]


@pytest.mark.parametrize(("variables", "this", "any_of_it"), VARIABLES)
def test_what_a_program_was_started_in_counts(
    variables: bytes | None, this: bool, any_of_it: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shell of hubd-env runs the machine's own bash.
    if variables is not None:
        (tmp_path / "environ").write_bytes(variables)
    real = open
    monkeypatch.setattr("builtins.open", lambda path, *rest, **more: real(tmp_path / Path(path).name, *rest, **more))
    found = _Program(b"/usr/bin/bash\0--rcfile\0/dev/fd/3\0", b"/usr/bin/bash", _started_in("7"))
    assert (found.uses(Path("/e/geo/7")), found.uses(Path("/e/geo"))) == (this, any_of_it)
    assert not found.is_kernel


@pytest.mark.real_programs
def test_a_shell_that_was_started_in_a_folder_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "geo/7"
    variables = {"CONDA_PREFIX": str(folder)}
    shell = subprocess.Popen(("/bin/cat",), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables)
    assert shell.stdin and shell.stdout
    try:
        # A program has its variables a moment after it was started: what it answers, it says with them.
        shell.stdin.write(b"?")
        assert shell.stdout.read(1) == b"?"
        host = local_host(Layout(tmp_path), systemd=False)
        assert [host.processes_using(each) for each in (folder, folder.parent, tmp_path / "geo/77")] == [1, 1, 0]
        assert host.running_from(folder) == Running(others=1)
    finally:
        shell.communicate()


def test_programs_are_counted_once_and_kernels_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [_Program(command, path) for command, path, _, _ in PROGRAMS]
    asked: list[int] = []
    monkeypatch.setattr("hubd.host.host._programs", lambda: asked.append(1) or iter(found))
    host, geo = local_host(Layout(tmp_path), systemd=False), Path("/e/geo/7")
    assert [each.uses(geo) for each in found] == [uses for *_, uses, _ in PROGRAMS]
    assert [each.is_kernel for each in found] == [kernel for *_, kernel in PROGRAMS]
    assert host.processes_using(geo) == 5
    asked.clear()
    assert host.running_from(geo) == Running(kernels=3, others=2)
    found.clear()
    assert host.running_from(geo) == Running(kernels=3, others=2), "read once, however many environments ask"
    assert len(asked) == 1
    assert host.processes_using(geo) == 0, "what decides is always looked at anew"
    host.forget()
    assert host.running_from(geo) == Running()
