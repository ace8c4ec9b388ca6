"""Writes that leave the old file or the new one, reads that cannot be led astray, and locks."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hubd.errors import ExitCode, HubdError, Locked
from hubd.host import files
from hubd.host.locks import Holder, file_lock, holder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("given", "after"), [(None, 0o644), (0o600, 0o600), (0o4755, 0o4755)])
def test_a_new_file_has_the_mode_it_is_given_whatever_the_umask(path: Path, given: int | None, after: int) -> None:
    before = os.umask(0o077)
    try:
        files.write_atomic(path, b"new", mode=given)
    finally:
        os.umask(before)
    assert (path.read_bytes(), mode(path)) == (b"new", after)
    assert os.listdir(path.parent) == ["file"]


def test_another_reader_keeps_the_old_file_whole(path: Path) -> None:
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_keep_takes_mode_and_owner_from_the_file_that_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: asked.append((uid, gid)))
    path.write_bytes(b"old")
    path.chmod(0o640)
    files.write_atomic(path, b"new", mode=0o600, keep=True)
    assert mode(path) == 0o640
    assert asked == [(path.stat().st_uid, path.stat().st_gid)]


def test_keep_writes_through_a_link_and_leaves_it_one(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"old")
    target.chmod(0o640)
    path.symlink_to("target")
    files.write_atomic(path, b"new", keep=True)
    assert path.is_symlink()
    assert (target.read_bytes(), mode(target)) == (b"new", 0o640)


def test_otherwise_a_link_is_replaced_and_its_target_left_alone(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"old")
    path.symlink_to("target")
    files.write_atomic(path, b"new")
    assert not path.is_symlink()
    assert target.read_bytes() == b"old"


def test_keep_of_nothing_uses_the_mode_given(path: Path) -> None:
    files.write_atomic(path, b"new", mode=0o600, keep=True)
    assert mode(path) == 0o600


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path.write_bytes(b"old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(HubdError) as caught:
        files.write_atomic(path, b"new")
    assert (caught.value.why, caught.value.retry) == ("No space left on device", True)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_the_temporary_file_is_closed_to_others_until_it_is_complete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fsync = os.fchmod

    def look(descriptor: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", look)
    files.write_atomic(path, b"secret", mode=0o644)
    assert seen == [0o600]


def test_an_unknown_owner_is_an_error_before_anything_is_written(path: Path) -> None:
    with pytest.raises(HubdError, match="no account or group"):
        files.write_atomic(path, b"new", owner="nobody-of-this-name")
    assert os.listdir(path.parent) == []


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(HubdError, match="could not be written"):
        files.write_atomic(tmp_path / "no/file", b"new")


READS = ["missing", "below a file", "file", "link", "folder", "pipe"]


@pytest.mark.parametrize("what", READS)
def test_read(path: Path, what: str) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    {
        "missing": lambda: None,
        "below a file": lambda: None,
        "file": lambda: path.write_bytes(b"x"),
        "link": lambda: path.symlink_to(other),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }[what]()
    if what in ("folder", "pipe"):
        with pytest.raises(HubdError, match="cannot be read"):
            files.read(path)
        return
    expected = {"file": b"x", "link": b"other"}.get(what)
    assert files.read(other / "x" if what == "below a file" else path) == expected


def test_read_without_following(path: Path) -> None:
    path.symlink_to("/etc/passwd")
    with pytest.raises(HubdError):
        files.read(path, follow=False)


def test_more_than_was_asked_for_is_refused(path: Path) -> None:
    path.write_bytes(b"x" * 2048)
    assert files.read(path, most=2048) == b"x" * 2048
    path.write_bytes(b"x" * 2049)
    with pytest.raises(HubdError) as caught:
        files.read(path, most=2048)
    assert caught.value.why == "it is larger than 2 KB"


def test_look(path: Path, me: str, my_group: str) -> None:
    assert files.look(path) is None
    assert files.look(path / "below") is None
    path.write_bytes(b"abc")
    path.chmod(0o4750)
    assert files.look(path) == files.Found("file", 0o4750, me, my_group, 3, uid=os.geteuid())
    assert files.look(path / "below") is None
    link = path.with_name("link")
    link.symlink_to("nowhere")
    found = files.look(link)
    assert found is not None
    assert (found.kind, found.target) == ("link", "nowhere")
    os.mkfifo(path.with_name("pipe"))
    found = files.look(path.with_name("pipe"))
    assert found is not None
    assert found.kind == "other"


def test_an_owner_without_a_name_is_its_number() -> None:
    assert files.owner_name(3_999_999_999) == "3999999999"
    assert files.group_name(3_999_999_999) == "3999999999"


def test_a_folder_keeps_its_content_and_never_follows_a_link(path: Path) -> None:
    files.make_directory(path, mode=0o710)
    (path / "x").touch()
    files.make_directory(path, mode=0o1777)
    assert (mode(path), os.listdir(path)) == (0o1777, ["x"])
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(HubdError):
        files.make_directory(link, mode=0o700)
    assert mode(path) == 0o1777


def test_access_is_never_set_through_a_link(path: Path) -> None:
    path.touch(0o644)
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError):
        files.set_access(link, mode=0o777)
    assert mode(path) == 0o644
    files.set_access(path, mode=0o600)
    assert mode(path) == 0o600


def test_removing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("link", "folder", "file", "nothing"):
        files.remove(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_tree_is_moved_out_of_the_way_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.touch()
    (tree / "link").symlink_to(outside)
    seen: list[bool] = []
    real = files.shutil.rmtree

    def rmtree(path: Path, **options: bool) -> None:
        seen.append(tree.exists())
        real(path, **options)

    monkeypatch.setattr(files.shutil, "rmtree", rmtree)
    files.remove_tree(tree)
    files.remove_tree(tree)
    assert seen == [False]
    assert os.listdir(tmp_path) == ["outside"]


def test_children(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / name).touch()
    assert files.children(tmp_path) == ("a", "b")
    assert files.children(tmp_path / "a") == ()
    assert files.children(tmp_path / "none") == ()


def test_a_link_is_switched_by_one_rename_and_a_failure_leaves_the_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.link(path, "one")
    files.link(path, "two")
    assert os.readlink(path) == "two"

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(HubdError):
        files.link(path, "three")
    assert os.listdir(path.parent) == ["file"]
    assert os.readlink(path) == "two"


def hold(path: Path, words: str = "4711 the daemon") -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, words.encode())
    return descriptor


def test_a_held_lock_is_told_with_its_holder(path: Path) -> None:
    descriptor = hold(path)
    with pytest.raises(Locked) as caught, file_lock(path, wait=0):
        raise AssertionError("two hold it")
    assert caught.value.why == "process 4711 holds the lock (the daemon)"
    assert caught.value.code is ExitCode.LOCKED
    assert caught.value.retry
    os.close(descriptor)
    with file_lock(path, wait=0, what="me"):
        assert path.read_text() == f"{os.getpid()} me\n"


def test_waiting_for_a_lock_is_said_once_and_ends(path: Path) -> None:
    descriptor, said = hold(path), []  # type: tuple[int, list[str]]
    with pytest.raises(Locked), file_lock(path, wait=0.12, waiting=said.append):
        raise AssertionError("two hold it")
    assert said == ["waiting for another pass to end"]

    def let_go(words: str) -> None:
        os.close(descriptor)

    with file_lock(path, wait=5, waiting=let_go):
        pass


def test_a_lock_is_freed_by_an_error_and_a_dead_holder_does_not_count(path: Path) -> None:
    path.write_text("4711 somebody who died\n")
    with pytest.raises(ZeroDivisionError), file_lock(path, wait=0):
        raise ZeroDivisionError
    with file_lock(path, wait=0):
        pass


def test_a_lock_tells_whether_its_last_holder_ended_well(path: Path) -> None:
    def seen() -> Holder | None:
        found = holder(path)
        return found and replace(found, since=0)

    assert seen() is None
    with file_lock(path, wait=0, what="a long story"):
        assert seen() == Holder(os.getpid(), "a long story", 0, holds=True)
    assert seen() is None
    with pytest.raises(ZeroDivisionError), file_lock(path, wait=0, what="a"):
        raise ZeroDivisionError
    assert seen() == Holder(os.getpid(), "a", 0, holds=False)
    path.write_text("4711 hubd started\n")  # one that was killed
    os.utime(path, (100, 100))
    assert holder(path) == Holder(4711, "hubd started", 100, holds=False)
    for words in ("", "free\n", "\xb2 x", "nonsense"):
        path.write_text(words)
        assert seen() is None
        descriptor = hold(path, "")
        assert seen() == Holder(0, "", 0, holds=True)
        os.close(descriptor)


def test_a_full_disk_keeps_nobody_from_a_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_text("free\n")
    sizes = []
    monkeypatch.setattr(os, "ftruncate", lambda descriptor, size: sizes.append(size))
    with file_lock(path, wait=0, what="x"):
        assert sizes == [len(f"{os.getpid()} x\n")], "the room that it has is never given back"
    monkeypatch.setattr(os, "pwrite", full)
    with file_lock(path, wait=0):
        pass


def test_a_lock_that_cannot_be_made_is_an_error_in_words(path: Path) -> None:
    path.mkdir()
    with pytest.raises(HubdError, match="cannot be opened"), file_lock(path, wait=0):
        pass


def test_a_lock_is_never_made_through_a_link(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    with pytest.raises(HubdError), file_lock(path, wait=0):
        pass
    assert not path.with_name("other").exists()


def test_what_is_in_a_files_place_is_told_with_how_to_move_it(tmp_path: Path) -> None:
    folder = tmp_path / "a b.py"
    folder.mkdir()
    for work in (
        lambda: files.read(folder),
        lambda: files.write_atomic(folder, b"x"),
        lambda: files.link(folder, "x"),
        lambda: file_lock(folder, wait=0).__enter__(),
    ):
        with pytest.raises(HubdError) as caught:
            work()
        assert caught.value.fix == f"Move it out of the way: mv '{folder}' '{folder}.old'"
        assert not caught.value.retry
    assert os.listdir(tmp_path) == ["a b.py"]


def test_a_link_to_itself_is_a_folder_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert files.children(tmp_path / "loop") == ()


@pytest.mark.parametrize("letters", [1, 200])
def test_folders_one_in_the_other_are_removed_however_deep(tmp_path: Path, letters: int) -> None:
    """A package of somebody else's can make them; with long names their path is longer than any that may be opened."""
    tree, kept = tmp_path / "tree", tmp_path / "kept"
    kept.write_text("not ours")
    tree.mkdir()
    at = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * letters, dir_fd=at)
        below = os.open("d" * letters, os.O_RDONLY, dir_fd=at)
        os.symlink(kept, "link", dir_fd=below)
        os.close(at)
        at = below
    os.close(at)
    files.remove_tree(tree)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    # What a removal that was killed left is removed under its own name.
    left = tmp_path / ".5.0123456789ab.hubd-gone"
    left.mkdir()
    files.remove_tree(left)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
