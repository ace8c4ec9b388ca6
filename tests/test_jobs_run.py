"""Jobs: what they run, what they report, and that only a proven product gets its mark."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCommands

from hubd.errors import CommandFailed, HubdError
from hubd.host.commands import Result
from hubd.host.web import Web
from hubd.jobs.activation import RUN
from hubd.jobs.run import run
from hubd.jobs.shared import STARTUP

TRIAL = (sys.executable, "-I", "-m", "hubd.jobs.kernel_trial")
CONDA_SAYS = json.dumps({"exception_name": "PackagesNotFoundError", "packages": ["nunpy"], "message": "no"})


class Rig:
    """A job's surroundings. spec: as the pass writes it."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.cache, self.report = folder / "envs/science/abc", folder / "cache", folder / "report.json"
        self.prefix.mkdir(parents=True)
        self.cache.mkdir()
        self.commands = FakeCommands()
        # The kernel ran all cells.
        self.commands.answers[TRIAL] = "{}"
        self.spec: dict[str, Any] = {
            "do": "environment",
            "job": "env-science",
            "environment": "science",
            "digest": "d",
            "number": 3,
            "prefix": str(self.prefix),
            "manager": "uv",
            "packages": ["python=3.12", "ipykernel", "numpy=2"],
            "requirements": "",
            "channels": ["conda-forge"],
            "conda": "/opt/hub/conda",
            "uv": "/opt/hub/hub/bin/uv",
            "cache": str(self.cache),
            "pythons": str(folder / "pythons"),
            "smoke": "python",
            "notebook": "",
            "cells": [{"source": "print(6 * 7)", "tags": []}],
            "smoke_time": 60,
            "mark": ".mark",
            "drop": ["share/unwanted"],
            "result": str(self.report),
            "tries": 0,
        }

    def run(self, **change: Any) -> int:
        return run({**self.spec, **change}, commands=self.commands)  # type: ignore[arg-type]

    @property
    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.report.read_text()))

    @property
    def is_marked(self) -> bool:
        return (self.prefix / ".mark").exists()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_an_environment_by_uv(rig: Rig) -> None:
    (rig.prefix / "left/over").mkdir(parents=True)
    (rig.prefix / "half").touch()
    rig.commands.answers["/opt/hub/hub/bin/uv", "pip"] = lambda argv: (
        (rig.prefix / "share/unwanted/x").mkdir(parents=True) and None
    )
    assert rig.run() == 0
    words = [argv[1:3] for argv in rig.commands.ran]
    assert words[:2] == [("venv", "--allow-existing"), ("pip", "install")]
    assert rig.commands.ran[1][-2:] == ("ipykernel", "numpy==2.*")
    assert rig.commands.ran[2] == TRIAL
    trial = json.loads(rig.commands.options[2]["stdin"])
    assert trial["kernel"]["argv"][0] == f"{rig.prefix}/bin/python"
    assert (trial["cells"], trial["seconds"], trial["answer"]) == (rig.spec["cells"], 60, "42")
    assert rig.commands.options[0]["environment"]["UV_CACHE_DIR"] == str(rig.cache / "uv")
    assert sorted(path.name for path in rig.prefix.iterdir()) == [".hubd-lock.yaml", ".mark", "share"]
    assert list((rig.prefix / "share").iterdir()) == []
    assert (rig.told["state"], rig.told["tries"], rig.told["digest"]) == ("done", 1, "d")


def test_a_locked_list_is_installed_with_its_hashes_and_no_kernel_is_tried(rig: Rig) -> None:
    assert rig.run(packages=[], requirements="/x/list.txt", smoke="") == 0
    assert "--require-hashes" in rig.commands.ran[1]
    assert len(rig.commands.ran) == 2
    assert rig.is_marked


def test_an_environment_by_conda(rig: Rig) -> None:
    def create(argv: tuple[str, ...]) -> str:
        (rig.prefix / "conda-meta").mkdir()
        (rig.prefix / "conda-meta/history").touch()
        return "{}"

    rig.commands.answers["/opt/hub/conda/bin/conda",] = create
    assert rig.run(manager="conda") == 0
    assert rig.commands.options[0]["environment"]["CONDA_PKGS_DIRS"] == str(rig.cache / "conda-pkgs")
    assert rig.is_marked


def test_condas_exit_code_alone_is_not_believed(rig: Rig) -> None:
    assert rig.run(manager="conda") == 1
    assert rig.told["state"] == "failed"
    assert not rig.is_marked


FAILURES = [
    ("uv", ("/opt/hub/hub/bin/uv", "pip"), 2, "uv could not build"),
    ("uv", ("/opt/hub/hub/bin/uv", "venv"), 2, "uv could not build"),
]


@pytest.mark.parametrize(("manager", "argv", "code", "what"), FAILURES)
def test_a_failed_build_has_no_mark_and_says_why(rig: Rig, manager: str, argv: tuple[str, ...], code: int, what: str) -> None:
    rig.commands.answers[argv] = code
    assert rig.run(manager=manager, tries=2) == 1
    told = rig.told
    assert told["what"].startswith(what)
    assert (told["state"], told["tries"], told["why"]) == ("failed", 3, "it went wrong")
    assert told["ended"] > 0
    assert not rig.is_marked


def test_an_environment_counts_only_when_its_kernel_ran_a_cell(rig: Rig) -> None:
    rig.commands.answers[TRIAL] = 1
    assert rig.run() == 1
    assert rig.told["what"] == "its kernel does not run a cell"
    assert rig.told["why"] == "it went wrong"
    assert rig.told["at"] > 1_700_000_000
    assert not rig.is_marked


ENDLESS = "its notebook comes to no end: n.ipynb in code cell 2"
TRIALS: list[tuple[str, dict[str, Any] | str, str, str]] = [
    # the notebook, what its trial found or printed, what is told, why
    ("", {"cell": 0, "error": "RuntimeError: no reply"}, "its kernel does not run a cell", "RuntimeError: no reply"),
    ("", {"cell": 1, "error": "NameError: x"}, "its kernel does not run a cell", "NameError: x"),
    ("", "Traceback\nbad", "its kernel does not run a cell", "bad"),
    ("n.ipynb", {"cell": 0, "error": "no"}, "its kernel does not run a cell", "no"),
    ("n.ipynb", {"cell": 3, "error": "ImportError: a\nb"}, "its notebook fails: n.ipynb in code cell 3", "b"),
    ("n.ipynb", {"cell": 3, "error": "\x1b[31mred\x07"}, "its notebook fails: n.ipynb in code cell 3", "red"),
    ("n.ipynb", {"cell": 2, "error": "", "late": True}, ENDLESS, "it may take 60 seconds"),
]


@pytest.mark.parametrize(("notebook", "found", "what", "why"), TRIALS)
def test_the_first_cell_that_fails_is_told(rig: Rig, notebook: str, found: Any, what: str, why: str) -> None:
    rig.commands.answers[TRIAL] = found if isinstance(found, str) else json.dumps(found)
    assert rig.run(notebook=notebook) == 1
    assert (rig.told["what"], rig.told["why"]) == (what, why)
    assert not rig.is_marked


def test_what_is_finished_is_closed_and_its_mark_says_how_it_was(rig: Rig) -> None:
    rig.commands.answers["/opt/hub/hub/bin/uv", "venv"] = lambda argv: (
        (rig.prefix / "lib/python3.12/site-packages").mkdir(parents=True)
    )
    assert rig.run() == 0
    assert [path for path in (rig.prefix, *rig.prefix.rglob("*")) if path.stat().st_mode & 0o222] == []
    mark = json.loads((rig.prefix / ".mark").read_text())
    assert mark["sealed"].keys() == {"bin", "lib", "lib/python3.12/site-packages"}
    assert mark["sealed"]["bin"] == (rig.prefix / "bin").stat().st_mtime_ns
    assert "The environment science is shared" in (rig.prefix / STARTUP).read_text()


def test_a_notebook_of_ones_own_need_not_print_42(rig: Rig) -> None:
    assert rig.run(notebook="n.ipynb") == 0
    assert json.loads(rig.commands.options[-1]["stdin"])["answer"] == ""


def test_what_a_notebook_prints_steers_no_terminal(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    class Loud(FakeCommands):
        def run(self, argv: tuple[str, ...], **options: Any) -> Result:
            done = super().run(argv, **options)
            return replace(done, err="\x1b]0;owned\x07hello\x1b[2J\n") if argv == TRIAL else done

    commands = Loud()
    commands.answers = rig.commands.answers
    rig.commands = commands
    assert rig.run() == 0
    said = capsys.readouterr().out
    assert "hello\n" in said
    assert "\x1b" not in said and "\x07" not in said


def activated(rig: Rig, scripts: dict[str, Any], **change: Any) -> dict[str, str]:
    """The variables of an environment whose activation scripts, by name, print so or end with such a code."""
    for name, answer in scripts.items():
        path = rig.prefix / "etc/conda/activate.d" / name
        rig.commands.answers["/bin/bash", "--noprofile", "--norc", "-c", RUN, "bash", str(path)] = answer
    rig.commands.answers["/opt/hub/hub/bin/uv", "pip"] = lambda argv: fill(rig.prefix, scripts)
    assert rig.run(**change) == 0
    trial = json.loads(rig.commands.options[-1]["stdin"])
    mark: dict[str, str] = json.loads((rig.prefix / ".mark").read_text())["activation"]
    assert mark.items() <= trial["kernel"]["env"].items(), "it is proven with what people get"
    return mark


def fill(prefix: Path, scripts: Iterable[str]) -> None:
    (prefix / "etc/conda/activate.d").mkdir(parents=True)
    for name in scripts:
        (prefix / "etc/conda/activate.d" / name).touch()


BEFORE = "A=1\0PATH=/usr/bin\0"


def test_what_activation_scripts_set_is_kept(rig: Rig) -> None:
    scripts = {
        "b.sh": BEFORE + "\0A=1\0PATH=/usr/bin:/x\0GDAL_DATA=/a\nb=c\0PWD=/\0HOME=/x\0",
        "c.sh": BEFORE + "\0A=2\0",
        "d.fish": 1,
    }
    found = activated(rig, scripts)
    assert found == {
        "PYTHONNOUSERSITE": "1", "VIRTUAL_ENV": str(rig.prefix), "PATH": "/usr/bin:/x", "GDAL_DATA": "/a\nb=c", "A": "2",
    }  # fmt: skip
    # Each sees what the one before has set.
    assert rig.commands.options[-2]["environment"]["GDAL_DATA"] == "/a\nb=c"


BROKEN_SCRIPTS: list[tuple[Any, str]] = [
    (3, "it exited with 3"),
    (CommandFailed(("bash",), code=None, output=""), "it did not end within 30 seconds"),
    (BEFORE, ""),
    (BEFORE + "\0A=" + "x" * 200_000 + "\0", "it sets too much"),
]


@pytest.mark.parametrize(("answer", "told"), BROKEN_SCRIPTS)
def test_an_activation_script_that_fails_is_told_and_ends_no_build(
    rig: Rig, capsys: pytest.CaptureFixture[str], answer: Any, told: str
) -> None:
    def fail(argv: tuple[str, ...]) -> str:
        raise answer

    scripts = {"a.sh": fail if isinstance(answer, Exception) else answer, "b.sh": BEFORE + "\0B=1\0"}
    assert activated(rig, scripts).keys() == {"PYTHONNOUSERSITE", "VIRTUAL_ENV", "B"}
    said = capsys.readouterr().out
    assert (f"the activation script a.sh failed: {told}\n" in said) is bool(told)


def test_an_environment_of_conda_and_r_has_their_variables(rig: Rig) -> None:
    def create(argv: tuple[str, ...]) -> str:
        for folder in ("conda-meta", "lib/R"):
            (rig.prefix / folder).mkdir(parents=True)
        (rig.prefix / "conda-meta/history").touch()
        return "{}"

    rig.commands.answers["/opt/hub/conda/bin/conda",] = create
    assert rig.run(manager="conda") == 0
    assert json.loads((rig.prefix / ".mark").read_text())["activation"] == {
        "PYTHONNOUSERSITE": "1", "CONDA_PREFIX": str(rig.prefix), "CONDA_DEFAULT_ENV": "science", "R_HOME": f"{rig.prefix}/lib/R",
    }  # fmt: skip


def test_a_bug_in_a_job_is_reported_too(rig: Rig) -> None:
    assert rig.run(manager="nonsense") == 1
    assert "KeyError" in rig.told["why"]


def test_those_who_follow_see_what_is_done(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.run()
    said = capsys.readouterr().out
    assert said.startswith("starting\n")
    assert "installing 2 packages with uv" in said
    assert "running a cell" in said


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 1)])
def test_conda_comes_from_a_checked_installer_only(rig: Rig, tmp_path: Path, right: bool, code: int) -> None:
    installer = tmp_path / "miniconda.sh"
    installer.write_bytes(b"#!/bin/sh\n")
    prefix = tmp_path / "conda"
    prefix.mkdir()
    (prefix / "half").touch()

    def install(argv: tuple[str, ...]) -> str:
        assert list(prefix.iterdir()) == []
        (prefix / "bin").mkdir()
        (prefix / "bin/conda").touch()
        return ""

    rig.commands.answers["bash",] = install
    digest = hashlib.sha256(b"#!/bin/sh\n").hexdigest() if right else "0" * 64
    spec = {**rig.spec, "do": "conda", "prefix": str(prefix), "url": installer.as_uri(), "sha256": digest}
    assert run(spec, commands=rig.commands, web=Web()) == code  # type: ignore[arg-type]
    assert len(rig.commands.ran) == (1 if right else 0)
    assert not (rig.cache / "miniconda.sh").exists()
    assert rig.told["state"] == ("done" if right else "failed")


def test_a_conda_installer_that_says_yes_and_does_nothing(rig: Rig, tmp_path: Path) -> None:
    class Fetched:
        def download(self, url: str, path: Path, **options: Any) -> None:
            path.touch()

    spec = {**rig.spec, "do": "conda", "prefix": str(tmp_path / "conda"), "url": "https://x", "sha256": "0"}
    assert run(spec, commands=rig.commands, web=Fetched()) == 1  # type: ignore[arg-type]
    assert rig.told["what"] == "conda's installer failed"


def test_a_download_that_fails_is_told_with_its_reason(rig: Rig) -> None:
    class Down:
        def download(self, *_: Any, **__: Any) -> None:
            raise HubdError("it could not be downloaded", why="no route", retry=True)

    spec = {**rig.spec, "do": "conda", "url": "https://x", "sha256": "0"}
    assert run(spec, commands=rig.commands, web=Down()) == 1  # type: ignore[arg-type]
    assert (rig.told["why"], rig.told["retry"]) == ("no route", True)

