"""What becomes of a folder is seen by the list of its files, whoever shares them; what programs leave for themselves is not."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hubd.host import manifest
from hubd.host.manifest import NAME, Difference, difference, write

WITHOUT = (".mark",)
PACKAGES = "lib/python3.11/site-packages"
NUMPY = f"{PACKAGES}/numpy/__init__.py"
THEN = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An environment as a build leaves it, long ago."""
    prefix = tmp_path / "envs/1"
    for path in ("bin/python", f"{PACKAGES}/numpy/__init__.py", f"{PACKAGES}/numpy/core/a.py", "lib/python3.11/json/x.py",
                 "lib/python3.11/json/y.py", "share/data", "etc/settings"):  # fmt: skip
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text("built")
    (prefix / f"{PACKAGES}/numpy/__pycache__").mkdir()
    (prefix / f"{PACKAGES}/numpy/__pycache__/__init__.cpython-311.pyc").write_text("compiled")
    (prefix / "lib64").symlink_to("lib")
    os.mkfifo(prefix / "share/pipe")
    for path in (prefix, *prefix.rglob("*")):
        os.utime(path, (THEN, THEN), follow_symlinks=False)
    write(prefix, without=WITHOUT)
    (prefix / ".mark").write_text("{}")
    return prefix


def replace_json(folder: Path) -> None:
    shutil.rmtree(folder / "lib/python3.11/json")
    (folder / "lib/python3.11/json").write_text("a file")


EDITS: list[tuple[Callable[[Path], object], str, str, int]] = [
    # what somebody does, the first of what differs, how, how many more
    (lambda folder: (folder / NUMPY).write_text("by hand"), NUMPY, "changed", 0),
    (lambda folder: (folder / NUMPY).write_text("other"), NUMPY, "changed", 0),
    (lambda folder: os.utime(folder / "share/data"), "share/data", "changed", 0),
    (lambda folder: (folder / f"{PACKAGES}/numpy/core/new.py").touch(), f"{PACKAGES}/numpy/core/new.py", "added", 0),
    (lambda folder: (folder / "share/new/deep").mkdir(parents=True), "share/new", "added", 0),
    (lambda folder: (folder / "etc/settings").unlink(), "etc/settings", "removed", 0),
    (lambda folder: shutil.rmtree(folder / "lib/python3.11/json"), "lib/python3.11/json", "removed", 0),
    (lambda folder: shutil.rmtree(folder / "lib"), "lib", "removed", 0),
    (replace_json, "lib/python3.11/json", "changed", 2),
    (lambda folder: ((folder / "lib64").unlink(), (folder / "lib64").symlink_to("bin")), "lib64", "changed", 0),
    (lambda folder: ((folder / "share/pipe").unlink(), (folder / "share/pipe").mkdir()), "share/pipe", "changed", 0),
    (lambda folder: ((folder / "a\nb\0c".replace("\0", "?")).touch(), (folder / "z").touch()), "a?b?c", "added", 1),
    (lambda folder: (folder / "bin/\udcff").touch(), "bin/\udcff", "added", 0),
    (lambda folder: ((folder / "a").touch(), (folder / "share/data").unlink(), (folder / "z").touch()), "a", "added", 2),
]


@pytest.mark.parametrize(("edit", "path", "what", "more"), EDITS)
def test_what_somebody_did_is_seen(folder: Path, edit: Callable[[Path], object], path: str, what: str, more: int) -> None:
    edit(folder)
    found = difference(folder, without=WITHOUT)
    assert found is not None
    assert (found.path, found.what, found.more) == (path, what, more)


def test_whichever_file_goes_is_seen_to_be_gone(folder: Path) -> None:
    every = [path for path in folder.rglob("*") if path.suffix != ".pyc" and path.name not in (NAME, ".mark", "__pycache__")]
    assert len(every) > 15
    for path in every:
        path.rename(folder.parent / "away")
        found = difference(folder, without=WITHOUT)
        assert found is not None and (found.path, found.what) == (str(path.relative_to(folder)), "removed")
        (folder.parent / "away").rename(path)
        assert difference(folder, without=WITHOUT) is None


def test_the_order_in_which_a_folder_tells_its_files_does_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def reversed_order(path: bytes) -> contextlib.nullcontext[list[os.DirEntry[bytes]]]:
        with scan(path) as found:
            return contextlib.nullcontext(sorted(found, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", reversed_order)
    assert difference(folder, without=WITHOUT) is None


HARMLESS: list[Callable[[Path], object]] = [
    lambda folder: None,
    lambda folder: (folder / ".mark").write_text("another"),
    # Root runs its Python.
    lambda folder: (folder / f"{PACKAGES}/numpy/__pycache__/new.cpython-311.pyc").touch(),
    lambda folder: (folder / f"{PACKAGES}/numpy/core/__pycache__").mkdir(),
    lambda folder: shutil.rmtree(folder / f"{PACKAGES}/numpy/__pycache__"),
    lambda folder: (folder / f"{PACKAGES}/old.pyc").touch(),
    lambda folder: (folder / "var/cache/fontconfig").mkdir(parents=True) or shutil.rmtree(folder / "var"),
    # The package cache and other generations share its files, which become read-only once more.
    lambda folder: os.link(folder / "share/data", folder.parent / "other"),
    lambda folder: (folder / "share/data").chmod(0o444),
    lambda folder: (os.link(folder / "share/data", folder.parent / "other"), (folder.parent / "other").unlink()),
]


@pytest.mark.parametrize("edit", HARMLESS)
def test_what_programs_leave_and_who_shares_a_file_is_no_change(folder: Path, edit: Callable[[Path], object]) -> None:
    edit(folder)
    assert difference(folder, without=WITHOUT) is None


def test_caches_that_programs_have_below_var_do_not_count(folder: Path) -> None:
    (folder / "var/cache").mkdir(parents=True)
    write(folder, without=WITHOUT)
    (folder / "var/cache/fontconfig").mkdir()
    (folder / "var/cache/fontconfig/x").touch()
    assert difference(folder, without=WITHOUT) is None


def test_a_shared_file_that_is_edited_in_place_is_seen_in_all_that_share_it(folder: Path) -> None:
    os.link(folder / "share/data", folder.parent / "other")
    (folder.parent / "other").write_text("edited elsewhere")
    found = difference(folder, without=WITHOUT)
    assert found is not None and found.path == "share/data"


def test_when_it_was(folder: Path) -> None:
    # What is unpacked there may be older than its coming.
    (folder / "share/new").touch()
    os.utime(folder / "share/new", (5, 5))
    os.utime(folder / "share", (THEN + 7, THEN + 7))
    assert difference(folder, without=WITHOUT) == Difference("share/new", "added", (THEN + 7) * 10**9)
    (folder / "share/new").unlink()
    os.utime(folder / "share/data", (THEN + 9, THEN + 9))
    assert difference(folder, without=WITHOUT) == Difference("share/data", "changed", (THEN + 9) * 10**9)
    shutil.rmtree(folder / "bin")
    os.utime(folder, (THEN + 3, THEN + 3))
    assert difference(folder, without=WITHOUT) == Difference("bin", "removed", (THEN + 3) * 10**9, more=1)


TEXT = gzip.compress(b"text", mtime=0)
MADE_UP: list[bytes | None] = [
    None,
    b"",
    b"text",
    TEXT[:-3],
    TEXT[:12] + b"\xff\xff\xff\xff\xff",
    gzip.compress(b"x" * 3000, mtime=0),
    gzip.compress(b"\n" * 300, mtime=0),
    bytes(range(256)) * 8,
]


@pytest.mark.parametrize("data", MADE_UP)
def test_what_a_build_made_up_is_read_with_bounds(folder: Path, data: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "LONGEST", 1000)
    monkeypatch.setattr(manifest, "LONGEST_TEXT", 2000)
    monkeypatch.setattr(manifest, "MOST_LINES", 200)
    (folder / NAME).unlink()
    if data is not None:
        (folder / NAME).write_bytes(data)
    assert difference(folder, without=WITHOUT) is None


def test_names_that_lead_out_of_the_folder_lead_nowhere(folder: Path) -> None:
    text = gzip.decompress((folder / NAME).read_bytes())
    (folder / NAME).unlink()
    (folder / NAME).write_bytes(gzip.compress(b"../../etc/passwd\0001 2\n" + text, mtime=0))
    assert difference(folder, without=WITHOUT) == Difference("../../etc/passwd", "removed", 0)


def test_a_link_in_the_place_of_the_list_is_not_followed(folder: Path) -> None:
    shutil.move(folder / NAME, folder.parent / "list")
    (folder / NAME).symlink_to(folder.parent / "list")
    (folder / "etc/settings").unlink()
    assert difference(folder, without=WITHOUT) is None


def test_of_what_is_huge_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / NAME).unlink()
    monkeypatch.setattr(manifest, "MOST_LINES", 3)
    write(folder, without=WITHOUT)
    assert not (folder / NAME).exists()


def test_what_goes_meanwhile_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "bin")
    look = manifest._entries

    def removed_meanwhile(path: bytes) -> list[os.DirEntry[bytes]]:
        found = look(path)
        shutil.rmtree(folder / "share", ignore_errors=True)
        return found

    monkeypatch.setattr(manifest, "_entries", removed_meanwhile)
    found = difference(folder, without=WITHOUT)
    assert found is not None and found.path == "bin"
