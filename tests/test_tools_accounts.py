"""The account programs: the exact words."""

from __future__ import annotations

from hubd.tools import accounts


def test_commands() -> None:
    assert accounts.add_person("ada", homes="/home") == (
        "useradd", "--create-home", "--base-dir", "/home", "--shell", "/bin/bash", "--user-group", "--comment", "made by hubd",
        "--key", "HOME_MODE=0700", "--", "ada",
    )  # fmt: skip
    assert accounts.add_system_account("hubd-hub", home="/x") == (
        "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/x", "--shell", "/usr/sbin/nologin",
        "--comment", "made by hubd", "--", "hubd-hub",
    )  # fmt: skip
    assert accounts.add_group("g") == ("groupadd", "--system", "--", "g")
    assert accounts.set_members("g", ["a", "b"]) == ("gpasswd", "--members", "a,b", "g")
    assert accounts.set_members("g", []) == ("gpasswd", "--members", "", "g")
    assert accounts.close_account("ada") == ("usermod", "--lock", "--expiredate", "1", "--", "ada")
    assert accounts.open_account("ada") == ("usermod", "--expiredate", "", "--", "ada")
