"""Files, folders, links and secrets: what is seen, what is done about it, and that a second look is content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeHost

from hubd.flow.plan import gap_of
from hubd.host import files
from hubd.resources.base import Resource
from hubd.resources.directory import Directory
from hubd.resources.file import ClosedFile, File, NoFile, SeenFile
from hubd.resources.link import Link, NoLink
from hubd.resources.nothing_else import NothingElse
from hubd.resources.secret import Secret


def close(resource: Resource, host: FakeHost) -> list[str]:
    """Do all steps, look again, and give what was said."""
    steps = resource.steps(resource.observe(host))
    for step in steps:
        step.do(host)
    assert resource.steps(resource.observe(host)) == ()
    return [step.say for step in steps]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thing"


Wish = Callable[..., File]


@pytest.fixture
def file(path: Path, me: str, my_group: str) -> Wish:
    def wish(**options: object) -> File:
        return File(**{"path": path, "content": b"new", "owner": me, "group": my_group, "mode": 0o640, **options})  # type: ignore[arg-type]

    return wish


FILES = [
    # what lies there and its mode, the step's verb, the content afterwards
    (None, 0, ["create"], b"new"),
    (b"new", 0o640, [], b"new"),
    (b"old", 0o640, ["write"], b"new"),
    (b"old", 0o600, ["write"], b"new"),
    (b"new", 0o644, ["set owner and mode of"], b"new"),
    (b"new", 0o4640, ["set owner and mode of"], b"new"),
]


@pytest.mark.parametrize(("before", "before_mode", "verbs", "after"), FILES)
def test_file(
    file: Wish, path: Path, host: FakeHost, before: bytes | None, before_mode: int, verbs: list[str], after: bytes
) -> None:
    if before is not None:
        path.write_bytes(before)
        path.chmod(before_mode)
    assert close(file(meaning="a test"), host) == [f"{verb} {path} (a test)" for verb in verbs]
    assert (path.read_bytes(), mode(path)) == (after, 0o640)


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_left_alone(file: Wish, path: Path, host: FakeHost) -> None:
    target = path.with_name("target")
    target.write_bytes(b"new")
    path.symlink_to(target)
    close(file(), host)
    assert not path.is_symlink()
    assert (target.read_bytes(), mode(target) & 0o400) == (b"new", 0o400)


def test_another_owner_is_a_gap(file: Wish, path: Path, host: FakeHost) -> None:
    close(file(), host)
    assert file(owner="somebody").steps(file().observe(host))[0].say.startswith("set owner and mode")


def test_a_kept_file_belongs_to_whoever_edits_it(file: Wish, path: Path, host: FakeHost) -> None:
    close(file(keep=True), host)
    path.write_bytes(b"edited")
    assert close(file(keep=True), host) == []
    assert path.read_bytes() == b"edited"
    assert file(keep=True).memo() is None


@pytest.mark.parametrize("kind", ["file", "link", "directory", "none"])
def test_only_what_hubd_wrote_is_removed(path: Path, host: FakeHost, file: Wish, kind: str) -> None:
    {"file": path.touch, "link": lambda: path.symlink_to("x"), "directory": path.mkdir, "none": lambda: None}[kind]()
    gone = File.gone(file().memo() or {})
    assert gone == NoFile(path=path)
    assert close(gone, host) == ([f"remove {path}"] if kind == "file" else [])
    assert os.path.lexists(path) is (kind in ("link", "directory"))


CLOSED = [
    (SeenFile("file", "", 0o640, "root", "admins"), True),
    (SeenFile("file", "", 0o660, "root", "admins"), True),  # root's own decision
    (SeenFile("file", "", 0o644, "root", "admins"), False),
    (SeenFile("file", "", 0o642, "root", "admins"), False),
    (SeenFile("file", "", 0o640, "ada", "admins"), False),
    (SeenFile("file", "", 0o640, "root", "root"), False),
    (SeenFile("link", "", 0o777, "root", "root"), True),
    (SeenFile(), True),
]


@pytest.mark.parametrize(("seen", "right"), CLOSED)
def test_a_file_that_root_obeys_is_closed_to_others(path: Path, seen: SeenFile, right: bool) -> None:
    assert (ClosedFile(path=path, group="admins").steps(seen) == ()) is right


DIRECTORIES = [
    (None, ["make the folder"]),
    (0o750, []),
    (0o777, ["set owner and mode of the folder"]),
    (0o2750, ["set owner and mode of the folder"]),
]


@pytest.mark.parametrize(("before", "verbs"), DIRECTORIES)
def test_directory(path: Path, host: FakeHost, me: str, my_group: str, before: int | None, verbs: list[str]) -> None:
    if before is not None:
        path.mkdir()
        path.chmod(before)
        (path / "kept").touch()
    wish = Directory(path=path, mode=0o750, owner=me, group=my_group)
    assert close(wish, host) == [f"{verb} {path}" for verb in verbs]
    assert mode(path) == 0o750
    assert (path / "kept").exists() is (before is not None)
    assert wish.memo() is None


IN_THE_WAY: list[tuple[Resource, str, str]] = [
    (Directory(path=Path("x y")), "file", "should be a folder"),
    (Directory(path=Path("x y")), "link", "should be a folder"),
    (Directory(path=Path("x y")), "special file", "should be a folder"),
    (File(path=Path("x y"), content=b"new"), "folder", "should be a file"),
    (File(path=Path("x y"), content=b"new", keep=True), "folder", "should be a file"),
    (Secret(path=Path("x y")), "folder", "should be a file"),
    (Link(path=Path("x y"), target="z"), "folder", "should be a link"),
]


@pytest.mark.parametrize(("wish", "kind", "what"), IN_THE_WAY)
def test_something_that_may_hold_work_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: FakeHost, wish: Resource, kind: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make = {"file": os.mknod, "link": lambda path: os.symlink("/", path), "folder": os.mkdir, "special file": os.mkfifo}
    make[kind]("x y")
    gap = gap_of(wish, wish.observe(host))
    assert gap and gap.error and gap.progress
    assert (gap.steps, gap.progress.say, gap.error.what) == ((), f"a {kind} is in its place", f"x y {what}")
    assert (gap.error.why, gap.error.fix) == (f"it is a {kind}", "Move it out of the way: mv 'x y' 'x y.old'")


def test_nothing_in_the_way_is_no_trouble(path: Path, host: FakeHost, file: Wish, me: str, my_group: str) -> None:
    folder = Directory(path=path.with_name("folder"), owner=me, group=my_group)
    for wish in (file(), folder, Secret(path=path.with_name("secret"), owner=me), Link(path=path.with_name("link"), target="x")):
        assert wish.progress(wish.observe(host)) is None
        wish.steps(wish.observe(host))[0].do(host)
        assert wish.progress(wish.observe(host)) is None


@pytest.mark.parametrize("before", ["nothing", "right", "other", "dangling", "file"])
def test_link(path: Path, host: FakeHost, before: str) -> None:
    if before == "file":
        path.touch()
    elif before != "nothing":
        path.symlink_to({"right": "versions/2", "other": "versions/1", "dangling": "gone"}[before])
    said = close(Link(path=path, target="versions/2"), host)
    assert said == ([] if before == "right" else [f"switch {path} to versions/2"])
    assert os.readlink(path) == "versions/2"
    assert os.listdir(path.parent) == ["thing"]


@pytest.mark.parametrize("kind", ["file", "link", "none"])
def test_only_a_link_is_removed_for_a_link(path: Path, host: FakeHost, kind: str) -> None:
    {"file": path.touch, "link": lambda: path.symlink_to("x"), "none": lambda: None}[kind]()
    gone = Link.gone(Link(path=path, target="x").memo() or {})
    assert gone == NoLink(path=path)
    close(gone, host)
    assert os.path.lexists(path) is (kind == "file")


SECRETS = [
    (None, 0, True),
    ("a0" * 32, 0o600, False),
    ("a0" * 32 + "\n", 0o644, False),
    ("a0" * 40, 0o600, False),
    ("short", 0o600, True),
    ("", 0o600, True),
    ("x" * 64, 0o600, True),
    ("a0" * 32 + "\0", 0o600, True),
    ("a0" * 40_000_000, 0o600, True),
]


@pytest.mark.parametrize(("before", "before_mode", "made"), SECRETS)
def test_secret(path: Path, host: FakeHost, me: str, before: str | None, before_mode: int, made: bool) -> None:
    if before is not None:
        path.write_text(before)
        path.chmod(before_mode)
    close(Secret(path=path, owner=me, meaning="key"), host)
    assert mode(path) == 0o600
    text = path.read_text()
    assert (text != before) is made
    if made:
        assert len(bytes.fromhex(text.strip())) == 32
    assert Secret(path=path).memo() is None


def test_what_needs_a_secret_waits_until_the_facts_tell_of_it(path: Path, host: FakeHost, me: str) -> None:
    wish = Secret(path=path, owner=me, known=False)
    assert wish.steps(wish.observe(host))
    wish.steps(wish.observe(host))[0].do(host)
    seen = wish.observe(host)
    progress = wish.progress(seen)
    assert (wish.steps(seen), progress and progress.error) == ((), None)
    assert progress
    assert Secret(path=path, owner=me).progress(seen) is None


def test_no_two_secrets_are_the_same(tmp_path: Path, host: FakeHost, me: str) -> None:
    for name in "ab":
        close(Secret(path=tmp_path / name, owner=me), host)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_no_plan_and_no_error_shows_a_secret(path: Path, host: FakeHost, me: str) -> None:
    said = close(Secret(path=path, owner=me, meaning="key"), host)
    assert path.read_text().strip() not in "".join(said)


def test_a_file_too_large_to_be_hubds_is_written_anew(host: FakeHost, file: Wish, path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(files.MAX_READ + 1)
    assert close(file(), host)[0].startswith("write ")
    assert path.read_bytes() == b"new"


def test_what_is_not_hubds_in_a_folder_that_a_program_reads_is_told_and_left(tmp_path: Path, host: FakeHost) -> None:
    wish = NothingElse(folder=tmp_path, ending=".toml", known=frozenset(("rules.toml",)), reader="the proxy")
    for name in ("rules.toml", ".rules.toml.x", "notes.txt"):
        (tmp_path / name).touch()
    assert wish.progress(wish.observe(host)) is None
    (tmp_path / "mine.toml").touch()
    assert wish.steps(wish.observe(host)) == ()
    progress = wish.progress(wish.observe(host))
    assert progress and progress.error
    assert f"mv {tmp_path}/mine.toml {tmp_path}/mine.toml.old" in progress.error.fix
