"""A finished generation is closed, and says by every way of installing that it is shared."""

from __future__ import annotations

import configparser
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubd.jobs.seal import seal
from hubd.jobs.shared import SENTENCE, STARTUP, guard_pip, refuse_changes

SAID = SENTENCE.format("science")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    for folder in ("bin", "lib/python3.12/site-packages/numpy", "share"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_the_pip_of_conda_is_told_by_its_own_means(prefix: Path, tmp_path: Path) -> None:
    (prefix / "conda-meta").mkdir()
    cached = tmp_path / "cached"
    cached.write_text("of the package")
    os.link(cached, prefix / "lib/python3.12/EXTERNALLY-MANAGED")
    refuse_changes(prefix, "science")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(prefix / "lib/python3.12/EXTERNALLY-MANAGED")
    assert parser["externally-managed"]["Error"] == SAID
    assert cached.read_text() == "of the package", "the package cache is not written to"
    assert not (prefix / "bin/pip").exists()


def test_who_may_make_environments_is_told_how() -> None:
    assert "environments.science.packages PACKAGE), or make one of your own, if you may: hubd env create NAME PACKAGE" in SAID


def test_where_there_is_no_pip_one_stands_in_for_it(prefix: Path) -> None:
    refuse_changes(prefix, "science")
    start = prefix / "bin/pip"
    assert f"{prefix}/bin/python" in start.read_text() and os.access(start, os.X_OK)
    with pytest.raises(SystemExit) as ended:
        exec((prefix / "lib/python3.12/site-packages/pip/__main__.py").read_text(), {})
    assert ended.value.code == SAID


def test_a_pip_that_somebody_asked_for_stays(prefix: Path) -> None:
    pip = prefix / "lib/python3.12/site-packages/pip"
    pip.mkdir()
    (pip / "__main__.py").write_text("pip itself")
    refuse_changes(prefix, "science")
    assert (pip / "__main__.py").read_text() == "pip itself"
    assert not (prefix / "bin/pip").exists()


def test_an_environment_without_python_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lib/R").mkdir(parents=True)
    refuse_changes(tmp_path, "stats")
    assert os.listdir(tmp_path) == ["lib"]


INSTALL = """class InstallCommand:
    def run(self, options, args):
        return "installed"
"""
# Where pip keeps its commands: since version 10, and before.
COMMANDS = ("pip._internal.commands", "pip.commands")


def pip_of(prefix: Path, package: str, *, conda: bool = True) -> Path:
    """A pip that knows nothing of PEP 668, with a compiled file of each Python; its module that installs."""
    if conda:
        (prefix / "conda-meta").mkdir()
    folder = prefix / "lib/python2.7/site-packages" / package.replace(".", "/")
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("install.pyc", "__pycache__/install.cpython-38.pyc", "__pycache__/list.cpython-38.pyc"):
        (folder / name).touch()
    (folder / "uninstall.py").write_text(INSTALL.replace("Install", "Uninstall"))
    (folder / "install.py").write_text(INSTALL)
    return folder / "install.py"


def run_of(module: Path, package: str, patch: pytest.MonkeyPatch, *, python: Path) -> Callable[..., str]:
    """What a pip's module does with options and words, when the Python of the environment `python` runs it."""
    above = package.removesuffix(".commands")
    modules = {name: types.ModuleType(name) for name in (above, package, f"{above}.exceptions")}
    modules[f"{above}.exceptions"].InstallationError = UsageError  # type: ignore[attr-defined]
    for name, each in modules.items():
        patch.setitem(sys.modules, name, each)
    patch.setattr(sys, "prefix", str(python))
    names: dict[str, Any] = {"__package__": package, "__name__": f"{package}.{module.stem}", "__file__": str(module)}
    exec(module.read_text(), names)
    run: Callable[..., str] = names[f"{module.stem.capitalize()}Command"]().run
    return run


@pytest.mark.parametrize("package", COMMANDS)
@pytest.mark.parametrize("command", ["install", "uninstall"])
@pytest.mark.parametrize("conda", [True, False])
def test_a_pip_that_does_not_heed_pep_668_is_taught(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, package: str, command: str, conda: bool
) -> None:
    module = pip_of(prefix, package, conda=conda).with_name(f"{command}.py")
    guard_pip(prefix, "science")
    run = run_of(module, package, monkeypatch, python=prefix)
    with pytest.raises(UsageError) as refused:
        run(types.SimpleNamespace(target_dir=None, root_path=""), ["numpy"])
    assert str(refused.value) == SAID
    assert run(types.SimpleNamespace(target_dir="/home/ada/x"), ["numpy"]) == "installed"
    assert run(types.SimpleNamespace(dry_run=True), ["numpy"]) == "installed", "it changes nothing"


def test_a_taught_pip_that_another_environments_python_runs_changes_that_one(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = pip_of(prefix, COMMANDS[0], conda=False)
    guard_pip(prefix, "science")
    run = run_of(module, COMMANDS[0], monkeypatch, python=tmp_path / "home/ada/envs/mine")
    assert run(types.SimpleNamespace(), ["numpy"]) == "installed"


def test_what_was_compiled_of_a_taught_pip_goes_and_the_cache_is_left(prefix: Path, tmp_path: Path) -> None:
    module = pip_of(prefix, COMMANDS[0])
    os.link(module, tmp_path / "cached")
    guard_pip(prefix, "science")
    assert (tmp_path / "cached").read_text() == INSTALL
    left = sorted(path.name for path in module.parent.rglob("*.pyc"))
    assert left == ["list.cpython-38.pyc"], "it would be run in the place of what is written now"


KNOWS = f"{INSTALL}# check_externally_managed()\n"


def test_a_pip_of_condas_that_knows_pep_668_stays_as_it_is(prefix: Path) -> None:
    module = pip_of(prefix, COMMANDS[0])
    module.write_text(KNOWS)
    guard_pip(prefix, "science")
    assert module.read_text() == KNOWS
    assert module.with_name("uninstall.py").read_text() == INSTALL.replace("Install", "Uninstall")


def test_in_a_venv_a_pip_that_knows_pep_668_heeds_it_no_more_than_others(prefix: Path) -> None:
    module = pip_of(prefix, COMMANDS[0], conda=False)
    module.write_text(KNOWS)
    guard_pip(prefix, "science")
    assert SAID in module.read_text()
    assert SAID in module.with_name("uninstall.py").read_text()


class UsageError(Exception):
    """IPython's."""


class Shell:
    """As much of IPython as a startup file sees. magics: by name."""

    def __init__(self) -> None:
        self.magics: dict[str, Callable[[str], str]] = {name: f"{name} ran {{}}".format for name in ("pip", "conda", "uv")}

    def find_line_magic(self, name: str) -> Callable[[str], str] | None:
        return self.magics.get(name)

    def register_magic_function(self, function: Callable[[str], str], kind: str, name: str) -> None:
        assert kind == "line"
        self.magics[name] = function


MAGICS = [
    # magic, what is typed after it, whether it is refused
    ("pip", "install numpy", True),
    ("pip", "-q install numpy", True),
    ("pip", "install --user numpy", True),
    ("pip", "uninstall -y numpy", True),
    ("pip", "install --target=/home/ada/x numpy", False),
    ("pip", "install -t /home/ada/x numpy", False),
    ("pip", "list", False),
    ("pip", "show install", False),
    ("pip", "", False),
    ("conda", "install -y numpy", True),
    ("conda", "update --all", True),
    ("conda", "install -n mine numpy", False),
    ("conda", "create -n mine numpy", False),
    ("conda", "list", False),
    ("uv", "pip install numpy", True),
    ("uv", "pip sync x.txt", True),
    ("uv", "pip list", False),
    ("uv", "tool", False),
]


@pytest.fixture
def shell(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """What an IPython is that runs the environment's startup file; `start` runs it."""
    shell = Shell()
    modules: dict[str, dict[str, Any]] = {
        "IPython": {"get_ipython": lambda: shell}, "IPython.core": {}, "IPython.core.error": {"UsageError": UsageError},
    }  # fmt: skip
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return shell


def start(prefix: Path) -> None:
    refuse_changes(prefix, "science")
    names: dict[str, Any] = {}
    exec((prefix / STARTUP).read_text(), names)
    assert names.keys() == {"__builtins__"}, "a notebook finds nothing of it among its names"


@pytest.mark.parametrize(("magic", "line", "refused"), MAGICS)
def test_magics_that_would_change_it_say_so(prefix: Path, shell: Shell, magic: str, line: str, refused: bool) -> None:
    start(prefix)
    if refused:
        with pytest.raises(UsageError, match="science is shared and cannot be changed here"):
            shell.magics[magic](line)
    else:
        assert shell.magics[magic](line) == f"{magic} ran {line}"


def test_an_ipython_that_has_none_of_these_magics_says_so_too(prefix: Path, shell: Shell) -> None:
    shell.magics.clear()
    start(prefix)
    assert shell.magics.keys() == {"pip", "conda"}
    for name, run in shell.magics.items():
        with pytest.raises(UsageError, match="science is shared and cannot be changed here"):
            run("install numpy")
        with pytest.raises(UsageError, match=f"^Line magic function `%{name}` not found.$"):
            run("list")


def test_a_closed_generation_cannot_be_written_and_knows_its_folders(prefix: Path, tmp_path: Path) -> None:
    (prefix / "conda-meta").mkdir()
    for name in ("bin/python", "lib/python3.12/site-packages/numpy/a.py"):
        (prefix / name).touch(mode=0o755)
    (prefix / "bin/python3").symlink_to("python")
    (prefix / "lib64").symlink_to("lib")
    (prefix / "outside").symlink_to("/nowhere")
    (prefix / "lib/R").mkdir()
    (prefix / "lib/R/library").symlink_to("/usr")
    found = seal(prefix)
    open_ones = [path for path in prefix.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222]
    assert open_ones == []
    assert (prefix / "bin/python").stat().st_mode & 0o777 == 0o555
    assert found.keys() == {"bin", "conda-meta", "lib", "lib/python3.12/site-packages"}
    assert all((prefix / name).stat().st_mtime_ns == when for name, when in found.items())
    assert (prefix / "lib/python3.12/site-packages/__pycache__").is_dir(), "running it as root is no change"
