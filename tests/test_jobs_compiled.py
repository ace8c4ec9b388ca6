"""Compiled Python modules: made once for each package, shared by all environments that have it, never trusted when cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeCommands

from hubd.host import files
from hubd.host.web import Web
from hubd.jobs.compiled import compile_python, forget_unshared
from hubd.jobs.work import Work

SITE = "lib/python3.12/site-packages"
COMPILED = f"{SITE}/a/__pycache__/mod.cpython-312.pyc"


class Shop:
    """Environments with one package, and a compiler that makes a file for each module it is told of."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands = folder, FakeCommands()
        (folder / "cache").mkdir()
        spec = {"do": "environment", "cache": str(folder / "cache"), "limits": {"time": 60}}
        self.work = Work(spec, self.commands, Web(), print)  # type: ignore[arg-type]

    def environment(
        self, name: str, *, content: str = "a" * 64, python: str = "3.12.1",
        extra: tuple[str, ...] = (), own: tuple[str, ...] = (),
    ) -> Path:  # fmt: skip
        """A prefix with Python and the package `a`. extra: files beside its module. own: those with the prefix in them."""
        prefix = self.folder / name
        for path in (f"{SITE}/a/mod.py", "bin/python", *extra, *own):
            (prefix / path).parent.mkdir(parents=True, exist_ok=True)
            (prefix / path).write_text("source")
        (prefix / "conda-meta").mkdir()
        (prefix / f"conda-meta/python-{python}-h_0.json").write_text("{}")
        paths = [{"_path": path, "path_type": "hardlink"} for path in (f"{SITE}/a/mod.py", *extra)]
        paths += [{"_path": path, "path_type": "hardlink", "prefix_placeholder": "/built/there"} for path in own]
        record = {"sha256": content, "paths_data": {"paths": paths}}
        (prefix / "conda-meta/a-1-0.json").write_text(json.dumps(record))
        self.commands.answers[f"{prefix}/bin/python",] = lambda argv: self.compile()
        return prefix

    def compile(self) -> str:
        for source in self.commands.options[-1]["stdin"].decode().split():
            path = Path(source)
            target = path.parent / "__pycache__" / f"{path.stem}.cpython-312.pyc"
            target.parent.mkdir(exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_text("compiled")
        return ""

    def build(self, name: str, *, content: str = "a" * 64) -> Path:
        prefix = self.environment(name, content=content)
        compile_python(self.work, prefix)
        return prefix


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_package_is_compiled_once_and_shared(shop: Shop) -> None:
    one, two = shop.build("one"), shop.build("two")
    assert len(shop.commands.ran) == 1
    assert (two / COMPILED).samefile(one / COMPILED)
    start, unnamed = (f"{one}/bin/python", "-m", "compileall", "-q", "-j", "0", "-f"), ("-s", str(one))
    # The name of one environment is not to be seen in another, and what is there already counts for nothing.
    assert shop.commands.ran[0] == (*start, *unnamed, "--invalidation-mode", "unchecked-hash", "-i", "-")
    options = shop.commands.options[0]
    assert (options["line"], options["environment"]) == (None, {"HOME": str(shop.folder / "cache")}), "nothing for the log"


def test_what_conda_compiled_is_replaced_by_what_is_shared(shop: Shop) -> None:
    one, two = shop.build("one"), shop.environment("two")
    (two / COMPILED).parent.mkdir()
    (two / COMPILED).write_text("made by conda for this environment")
    compile_python(shop.work, two)
    assert (two / COMPILED).samefile(one / COMPILED)


def test_another_build_of_a_package_is_compiled_for_itself(shop: Shop) -> None:
    shop.build("one")
    shop.build("two", content="b" * 64)
    assert len(shop.commands.ran) == 2


@pytest.mark.parametrize("found", ["comp", "compiled, and more"])
def test_what_is_cut_off_or_changed_is_compiled_anew(shop: Shop, found: str) -> None:
    one = shop.build("one")
    (kept,) = (shop.folder / "cache").rglob("*.pyc")
    kept.unlink()
    kept.write_text(found)
    two = shop.build("two")
    assert (two / COMPILED).read_text() == (one / COMPILED).read_text() == "compiled"
    assert shop.build("three") and len(shop.commands.ran) == 2, "and kept"


@pytest.mark.parametrize("sizes", [b"", b"[]", b"{not json"])
def test_a_list_that_cannot_be_read_counts_as_none(shop: Shop, sizes: bytes) -> None:
    shop.build("one")
    next((shop.folder / "cache").rglob("sizes.json")).write_bytes(sizes)
    shop.build("two")
    assert len(shop.commands.ran) == 2


def test_a_compiled_file_that_the_package_brings_stays(shop: Shop) -> None:
    prefix = shop.environment("one", extra=(COMPILED,))
    compile_python(shop.work, prefix)
    assert shop.commands.ran == []
    assert (prefix / COMPILED).read_text() == "source"


def test_a_module_that_does_not_compile_is_not_tried_each_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "compile", lambda: 1)
    shop.build("one")
    two = shop.build("two")
    assert len(shop.commands.ran) == 1
    assert not (two / COMPILED).exists()


def test_the_oldest_python_whose_files_can_be_shared(shop: Shop) -> None:
    compile_python(shop.work, shop.environment("one", python="3.9.0"))
    assert "unchecked-hash" in shop.commands.ran[0]


@pytest.mark.parametrize("version", ["2.7.18", "3.8.20"])
def test_an_older_python_compiles_for_its_environment_alone(shop: Shop, version: str) -> None:
    prefix = shop.environment("one", python=version)
    shop.commands.answers[f"{prefix}/bin/python",] = ""
    compile_python(shop.work, prefix)
    assert shop.commands.ran == [(f"{prefix}/bin/python", "-m", "compileall", "-q", f"{prefix}/lib/python3.12")]


def test_what_its_owner_may_edit_is_compared_with_its_source(shop: Shop) -> None:
    prefix = shop.environment("one")
    shop.commands.answers[f"{prefix}/bin/python",] = ""
    compile_python(replace(shop.work, spec={**shop.work.spec, "do": "own"}), prefix)
    assert shop.commands.ran == [(f"{prefix}/bin/python", "-m", "compileall", "-q", f"{prefix}/lib/python3.12")]


@pytest.mark.parametrize("record", [
    {"sha256": None, "paths_data": {"paths": [{"_path": f"{SITE}/a/mod.py", "path_type": "hardlink"}]}},
    {"sha256": "a" * 64, "paths_data": {"paths": [{"_path": f"{SITE}/a/mod.py", "path_type": "softlink"}]}},
    {"sha256": "a" * 64, "paths_data": None},
    {},
])  # fmt: skip
def test_what_no_record_tells_the_content_of_is_not_shared(shop: Shop, record: dict[str, object]) -> None:
    prefix = shop.environment("one")
    (prefix / "conda-meta/a-1-0.json").write_text(json.dumps(record))
    compile_python(shop.work, prefix)
    assert shop.commands.ran == []


def test_what_is_empty_is_not_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = shop.folder / "one" / COMPILED

    def cut_off() -> str:
        compiled.parent.mkdir()
        compiled.touch()
        return ""

    monkeypatch.setattr(shop, "compile", cut_off)
    shop.build("one")
    assert not (shop.build("two") / COMPILED).exists()


def test_without_python_nothing_is_compiled(shop: Shop) -> None:
    prefix = shop.environment("one")
    (prefix / "bin/python").unlink()
    compile_python(shop.work, prefix)
    assert shop.commands.ran == []


STANDARD, COMPILED_STANDARD = "lib/python3.12/this.py", "lib/python3.12/__pycache__/this.cpython-312.pyc"


def test_modules_of_python_itself_are_shared_too(shop: Shop) -> None:
    one, two = (shop.environment(name, extra=(STANDARD, "share/a/script.py")) for name in ("one", "two"))
    for prefix in (one, two):
        compile_python(shop.work, prefix)
    assert (two / COMPILED_STANDARD).samefile(one / COMPILED_STANDARD)
    assert not (one / "share/a/__pycache__").exists(), "what no Python finds there needs no compiling"


def test_a_module_with_the_path_of_its_environment_is_not_shared(shop: Shop) -> None:
    for name in ("one", "two"):
        prefix = shop.environment(name, own=(STANDARD,))
        compile_python(shop.work, prefix)
        assert not (prefix / COMPILED_STANDARD).exists()
        assert (prefix / COMPILED).exists()


def test_what_was_compiled_for_packages_that_are_gone_is_forgotten(shop: Shop) -> None:
    one = shop.build("one")
    gone = shop.build("gone", content="b" * 64)
    files.clear(gone)
    forget_unshared(shop.folder / "cache")
    (kept,) = (shop.folder / "cache").rglob("*.pyc")
    assert kept.samefile(one / COMPILED)
