"""`hubd-env`: which generation it goes into, with which variables, and what is said where there is none."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hubd.cli import env_shell
from hubd.cli.main import run
from hubd.errors import ExitCode, HubdError, NoProgram
from hubd.host import commands
from hubd.resources.generation import MARK, Generations


class Became(BaseException):
    """What the program would have gone on as."""

    def __init__(self, argv: tuple[str, ...], environment: Mapping[str, str], start: str) -> None:
        self.argv, self.environment, self.start = argv, environment, start


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub with two environments: the second generation of science is switched on, geo is not built yet."""
    monkeypatch.setenv("HUBD_PREFIX", str(tmp_path))
    for name, number in (("science", 1), ("science", 2), ("geo", 1), (".pythons-environments", 1)):
        (tmp_path / "envs" / name / str(number)).mkdir(parents=True)
    generations = Generations(folder=tmp_path / "envs/science", link=tmp_path / "envs/science/current")
    for number in (1, 2):
        activation = {"GDAL_DATA": f"/data of/{number}", "PYTHONNOUSERSITE": "1"}
        (generations.path(number) / MARK).write_text(json.dumps({"digest": "d", "activation": activation}))
    generations.switch(2)

    def become(argv: tuple[str, ...], program: str, environment: Mapping[str, str]) -> None:
        lines = Path(argv[2]).read_text() if argv[1:2] == ("--rcfile",) else ""
        raise Became(argv, environment, lines)

    monkeypatch.setattr(os, "execvpe", lambda program, argv, environment: become(argv, program, environment))
    return tmp_path


def env(*words: str) -> int:
    return run(list(words), command=env_shell.env_shell, name="hubd-env")


def test_a_command_has_the_variables_of_the_kernel(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "stays")
    with pytest.raises(Became) as became:
        env("science", "python", "-c", "1", "--help")
    found = became.value
    assert found.argv == ("python", "-c", "1", "--help")
    assert found.environment["PATH"] == f"{prefix}/envs/science/2/bin:/usr/local/bin:/usr/bin:/bin"
    assert (found.environment["GDAL_DATA"], found.environment["MINE"]) == ("/data of/2", "stays")


def test_a_shell_takes_the_persons_settings_first_and_shows_where_one_is(prefix: Path) -> None:
    with pytest.raises(Became) as became:
        env("science")
    found = became.value
    assert (found.argv[:2], found.argv[3:]) == (("bash", "--rcfile"), ("-i",))
    lines = found.start.splitlines()
    assert lines[0].endswith(". ~/.bashrc")
    assert "export GDAL_DATA='/data of/2'" in lines[1:]
    assert lines[-1] == "PS1='(science) '$PS1"


def test_without_a_name_what_there_is_is_listed(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert env() == ExitCode.DONE
    assert capsys.readouterr().out == "science\n"


WRONG = [
    ("sciense", ExitCode.USAGE, "✗ there is no environment sciense\n  because there are science\n"),
    ("../envs/science", ExitCode.USAGE, "✗ there is no environment ../envs/science\n"),
    (".pythons-environments", ExitCode.USAGE, "✗ there is no environment .pythons-environments\n"),
    ("geo", ExitCode.FAILED, "✗ the environment geo is not there yet\n"),
]


@pytest.mark.parametrize(("name", "code", "told"), WRONG)
def test_what_there_is_not_is_told(prefix: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, told: str) -> None:
    assert env(name, "true") == code
    assert capsys.readouterr().err.startswith(told)


def test_a_hub_without_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HUBD_PREFIX", str(tmp_path))
    assert env("science") == ExitCode.USAGE
    assert "none is built yet" in capsys.readouterr().err
    assert (env(), capsys.readouterr().out) == (ExitCode.DONE, "")


REFUSED: list[tuple[OSError, str]] = [
    (FileNotFoundError(2, "No such file"), "there is no program nosuch"),
    (PermissionError(13, "Permission denied"), "nosuch could not be started: Permission denied"),
]


@pytest.mark.parametrize(("error", "told"), REFUSED)
def test_a_program_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, error: OSError, told: str) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, "execvpe", refuse)
    with pytest.raises(HubdError) as caught:
        commands.become(("nosuch",), {"PATH": "/bin"})
    assert str(caught.value) == told
    assert isinstance(caught.value, NoProgram) == isinstance(error, FileNotFoundError)


ADD = "The environment science is shared and cannot be changed here: ask whoever runs this hub to add what you need"


@pytest.mark.parametrize("words", ["gdalinfo x.tif", "pip install six", "pip3.12 list"])
def test_a_program_that_a_shared_environment_has_not(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    become = os.execvpe

    def refuse(program: str, argv: tuple[str, ...], environment: Mapping[str, str]) -> None:
        if program == "gdalinfo":
            raise FileNotFoundError(2, "No such file")
        become(program, argv, environment)  # the machine's pip is there, and is not the one that is meant

    monkeypatch.setattr(os, "execvpe", refuse)
    assert env("science", *words.split()) == ExitCode.NO_PROGRAM
    told = capsys.readouterr().err
    assert told.startswith(f"✗ there is no program {words.split()[0]} in science\n  {ADD}"), told


def test_a_pip_that_a_shared_environment_has_answers_itself(prefix: Path) -> None:
    (prefix / "envs/science/2/bin").mkdir()
    (prefix / "envs/science/2/bin/pip").touch()
    with pytest.raises(Became) as became:
        env("science", "pip", "list")
    assert became.value.argv == ("pip", "list")


@pytest.fixture
def mine(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of one's own called `mine`, and one called as a shared one is."""
    monkeypatch.setenv("HUBD_OWN_ENVIRONMENTS", str(prefix / "home/envs"))
    for name in ("mine", "science", "half"):
        folder = prefix / "home/envs" / name / "conda-meta"
        folder.mkdir(parents=True)
        (folder / "history").touch()
    (prefix / "home/envs/.half.unfinished").touch()
    return prefix / "home/envs/mine"


def test_an_environment_of_ones_own(prefix: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Became) as became:
        env("mine", "python")
    assert became.value.argv == ("python",)
    assert became.value.environment["CONDA_PREFIX"] == str(mine)
    assert became.value.environment["PATH"].startswith(f"{mine}/bin:")
    assert env() == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["science", "mine (my own)", "science (my own)"]
    assert err == "science is there twice: `hubd-env science` is the hub's, `hubd-env --own science` is yours.\n"
    assert env("half") == ExitCode.USAGE
    assert env("../envs/mine") == ExitCode.USAGE


def test_a_shared_environment_is_not_hidden_by_ones_own(prefix: Path, mine: Path) -> None:
    with pytest.raises(Became) as became:
        env("science", "python")
    assert became.value.environment["GDAL_DATA"] == "/data of/2"


@pytest.mark.parametrize("words", [("--own", "science"), ("science (my own)",), ("--own", "science (my own)"), ("--own", "mine")])
def test_ones_own_is_meant_by_its_title_and_where_that_is_said(prefix: Path, mine: Path, words: tuple[str, ...]) -> None:
    name = words[-1].removesuffix(" (my own)")
    with pytest.raises(Became) as became:
        env(*words, "python", "--own")
    assert became.value.argv == ("python", "--own")
    assert became.value.environment["CONDA_PREFIX"] == str(mine.with_name(name))


@pytest.mark.parametrize("words", [("--own", "geo"), ("geo (my own)",), ("--own", "half")])
def test_a_shared_one_is_not_taken_for_ones_own(
    prefix: Path, mine: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert env(*words) == ExitCode.USAGE
    name = words[-1].removesuffix(" (my own)")
    assert capsys.readouterr().err == f"✗ there is no environment {name} of your own\n  because there are mine, science\n"


def test_activation_scripts_of_ones_own_run_first(prefix: Path, mine: Path) -> None:
    scripts = mine / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "a b.sh").write_text("export GDAL_DATA=here\n")
    with pytest.raises(Became) as became:
        env("mine", "gdalinfo", "--", "x")
    assert became.value.argv[-5:] == (f"{scripts}/a b.sh", "--", "gdalinfo", "--", "x")
    with pytest.raises(Became) as shell:
        env("mine")
    assert f". '{scripts}/a b.sh'" in shell.value.start.splitlines()


@pytest.mark.real_programs
@pytest.mark.parametrize("pip", [True, False])
def test_a_program_that_ones_own_has_not_even_when_activated(prefix: Path, mine: Path, pip: bool) -> None:
    (mine / "etc/conda/activate.d").mkdir(parents=True)
    (mine / "etc/conda/activate.d/a.sh").write_text(f"PATH=$PATH:{mine}/late\n")
    for name in ("late/there", "bin/pip") if pip else ("late/there",):
        (mine / name).parent.mkdir(exist_ok=True)
        (mine / name).write_text("#!/bin/sh\necho it ran $1\n")
        (mine / name).chmod(0o755)
    said = []
    for word in ("there", "gone"):
        with pytest.raises(Became) as became:
            env("mine", word, "x")
        done = subprocess.run(became.value.argv, env=became.value.environment, capture_output=True, text=True)
        said.append((done.returncode, done.stdout, done.stderr))
    anew = f"Make it anew with the package that has it: rm -rf {mine}   then: hubd env create mine PACKAGE …"
    add = "Install the package that has it: hubd-env mine pip install PACKAGE" if pip else anew
    assert said == [(0, "it ran x\n", ""), (127, "", f"✗ there is no program gone in mine\n  {add}\n")]
