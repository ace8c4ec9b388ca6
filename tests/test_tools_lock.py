"""Locks: one text for one content, and the lines of explicit lists."""

from __future__ import annotations

import pytest

from hubd.errors import HubdError
from hubd.tools.lock import MOST_PROBLEMS, CondaPackage, Lock, conda_package, lock_text, parse_lock, unfit

SHA = "a" * 64
URL = "https://x.example/forge/linux-64/python-dateutil-2.9.0-pyhd8ed1ab_1.conda"


@pytest.mark.parametrize(
    ("line", "package"),
    [
        (URL, CondaPackage("python-dateutil", "2.9.0", "pyhd8ed1ab_1", URL)),
        (f" {URL}#sha256:{SHA}\n", CondaPackage("python-dateutil", "2.9.0", "pyhd8ed1ab_1", URL, SHA)),
        ("file:///srv/c/noarch/a-1-0.tar.bz2", CondaPackage("a", "1", "0", "file:///srv/c/noarch/a-1-0.tar.bz2")),
    ],
)
def test_a_line_of_an_explicit_list(line: str, package: CondaPackage) -> None:
    assert conda_package(line) == package
    assert package.line == line.strip()


@pytest.mark.parametrize(
    "line", ["", "@EXPLICIT", "numpy=2", "ftp://x/a-1-0.conda", "https://x/a-1.conda", "https://x/a-1-0.zip", f"{URL}#md5"]
)
def test_what_is_no_package(line: str) -> None:
    with pytest.raises(HubdError, match="is not the address of a conda package"):
        conda_package(line)


def test_one_content_is_one_text() -> None:
    one, two = conda_package(URL), CondaPackage("a", "1", "0", "file:///c/noarch/a-1-0.conda", SHA)
    pip = ("b==2 --hash=sha256:1", "a @ https://x/it's.whl")
    text = lock_text(Lock(manager="conda", platform="linux-64", python="3.11", conda=(one, two), pip=pip))
    assert text == lock_text(Lock(manager="conda", platform="linux-64", python="3.11", conda=(two, one), pip=pip[::-1]))
    assert text.splitlines()[1:] == [
        "manager: conda", "platform: linux-64", "python: '3.11'", "conda:", f"  - 'file:///c/noarch/a-1-0.conda#sha256:{SHA}'",
        f"  - '{URL}'", "pip:", "  - 'a @ https://x/it''s.whl'", "  - 'b==2 --hash=sha256:1'",
    ]  # fmt: skip
    assert lock_text(Lock(manager="uv", platform="linux-64")).splitlines()[1:] == ["manager: uv", "platform: linux-64"]


OTHER = URL.replace("-2.9", "-3")
HASH = f"--hash=sha256:{SHA}"
LOCKS = [
    Lock(manager="conda", platform="linux-64", conda=(conda_package(f"{URL}#sha256:{SHA}"), conda_package(OTHER))),
    Lock(manager="uv", platform="linux-aarch64", python="3.12", pip=(f"numpy==2.4.6 {HASH} {HASH}", f"six==1.17.0 {HASH}")),
    Lock(
        manager="rattler",
        platform="linux-64",
        conda=(conda_package(URL),),
        pip=(
            "it's @ https://x.example/it's.whl",
            f"mine @ https://x.example/mine.whl {HASH}",
            f"x[y]==1 ; python_version >= '3' {HASH}",
        ),
    ),
]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.manager)
def test_what_was_written_is_read(lock: Lock) -> None:
    assert parse_lock(lock_text(lock)) == lock


def test_a_lock_that_somebody_touched_by_hand_is_read_too() -> None:
    text = f"manager: uv\n\n# mine\nplatform: 'linux-64'\npython: \"3.11\"\npip:\n- six==1.17.0 {HASH}\n"
    assert parse_lock(text) == Lock(manager="uv", platform="linux-64", python="3.11", pip=(f"six==1.17.0 {HASH}",))


GOOD = f"manager: conda\nplatform: linux-64\nconda:\n  - '{URL}'\n"
PROBLEMS: list[tuple[str, list[str]]] = [
    ("", ["`manager:` is missing", "`platform:` is missing", "it names no packages"]),
    ("manager: conda\nplatform: linux-64\nconda:\n", ["it names no packages"]),
    (GOOD + "channels: [x]\n", ["line 5: 'channels: [x]' is nothing that a lock holds"]),
    (GOOD + "\tpip:\n", ["line 5: 'pip:' is nothing"]),
    (GOOD + "manager: uv\n", ["line 5: `manager` is there twice"]),
    (GOOD + "conda: []\n", ["line 5: `conda` is there twice"]),
    (GOOD + "pip: x\n", ["line 5: `pip` has no list below it but 'x'"]),
    (GOOD.replace("linux-64\n", "any where\n"), ["line 2: 'any where' is no platform"]),
    (GOOD + "python: new\n", ["line 5: 'new' is no python"]),
    ("- x\n" + GOOD, ["line 1: 'x' belongs to no list"]),
    (GOOD + "  - numpy=2\n", ["line 5: 'numpy=2' is not the address of a conda package"]),
    (GOOD + "pip:\n  - six\n  - six>=1\n", ["line 6: 'six' is not an exact version", "line 7: 'six>=1' is not an exact"]),
    (GOOD + "pip:\n  - six==1.17.0\n", ["line 6: 'six==1.17.0' has no --hash=sha256:"]),
    (GOOD + "pip:\n  - six==1 --index-url=https://x\n", ["line 6:", "is not an exact version"]),
    (GOOD + f"pip:\n  - --index-url=https://x {HASH}\n", ["line 6:"]),
    (GOOD + "pip:\n  - -r /etc/passwd\n", ["line 6:"]),
    ("<!doctype html>\n<title>Sign in</title>\n", ["line 1:", "line 2:", "`manager:` is missing"]),
    ("@EXPLICIT\n" + URL, ["line 1:", "line 2:"]),
    ("junk\n" * 50, ["line 1:", f"line {MOST_PROBLEMS}:", "and 43 more"]),
    ("a\x1b[2Jb\n", ["line 1: 'ab' is nothing"]),
]


@pytest.mark.parametrize(("text", "words"), PROBLEMS)
def test_every_problem_of_a_lock_is_told_with_its_line(text: str, words: list[str]) -> None:
    with pytest.raises(HubdError) as caught:
        parse_lock(text)
    assert caught.value.what == "it is not a lock that can be built"
    for word in words:
        assert word in caught.value.why
    assert len(caught.value.why) < 2000


def test_a_lock_of_a_newer_hubd_is_not_guessed_at() -> None:
    with pytest.raises(HubdError, match="newer hubd"):
        parse_lock("# hubd lock 2: all is new\n" + GOOD)


FITS = [
    ("conda", "conda", "linux-64", ""),
    ("conda", "rattler", "linux-64", ""),
    ("uv", "uv", "linux-64", ""),
    ("conda", "uv", "linux-64", "uv cannot build this lock"),
    ("uv", "conda", "linux-64", "conda cannot build this lock"),
    ("conda", "conda", "linux-aarch64", "the lock is for other machines"),
]


@pytest.mark.parametrize(("solved_by", "manager", "platform", "what"), FITS)
def test_who_can_build_a_lock(solved_by: str, manager: str, platform: str, what: str) -> None:
    lock = next(each for each in LOCKS if each.manager == solved_by)
    found = unfit(lock, manager, platform)
    assert (found.what if found else "") == what


def test_what_runs_anywhere_is_for_all_machines() -> None:
    noarch = conda_package(URL.replace("linux-64", "noarch"))
    assert unfit(Lock(manager="conda", platform="linux-64", conda=(noarch,)), "conda", "linux-aarch64") is None


def test_a_line_that_somebody_made_long_is_read_in_no_time() -> None:
    for line in ("a@" + ";" * 1_000_000 + " #x", "a==1" + " ;" * 500_000 + "#", "a==1" + " --hash=sha256:" * 100_000):
        with pytest.raises(HubdError):
            parse_lock(f"# hubd lock 1: x\nmanager: uv\nplatform: linux-64\npip:\n  - {line}\n")
