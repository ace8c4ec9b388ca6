"""Jobs: what they run, what they report, and that only a proven product gets its mark."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeCommands

from hubd.errors import CommandFailed, HubdError
from hubd.host import manifest
from hubd.host.commands import Commands, Result
from hubd.host.web import Web
from hubd.jobs import damage, environment, wheels
from hubd.jobs.activation import RUN
from hubd.jobs.package_cache import package_of, take_out
from hubd.jobs.run import run
from hubd.jobs.shared import STARTUP
from hubd.jobs.work import Work
from hubd.tools.conda import platform

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
            "built_for": "d",
            "number": 3,
            "prefix": str(self.prefix),
            "manager": "uv",
            "packages": ["python=3.12", "ipykernel", "numpy=2"],
            "pip": [],
            "lock": "",
            "source": {},
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
            "limits": {"memory": None, "cpu": None, "time": 7200},
        }

    def run(self, *, end_all: Callable[[], None] = lambda: None, **change: Any) -> int:
        return run({**self.spec, **change}, commands=self.commands, end_all=end_all)  # type: ignore[arg-type]

    @property
    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.report.read_text()))

    @property
    def lock(self) -> list[str]:
        return (self.prefix / ".hubd-lock.yaml").read_text().splitlines()

    @property
    def is_marked(self) -> bool:
        return (self.prefix / ".mark").exists()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


SHA = "a" * 64
PIN = f"numpy==2.4.6 \\\n    --hash=sha256:{SHA}\n"


def solves(rig: Rig, text: str = PIN) -> None:
    """Let `uv pip compile` come to this list."""

    def compile_list(argv: tuple[str, ...]) -> None:
        target = Path(argv[argv.index("--output-file") + 1])
        assert not target.exists(), "uv stays with the versions of a list that is there"
        target.write_text(text)

    rig.commands.answers["/opt/hub/hub/bin/uv", "pip", "compile"] = compile_list


def test_an_environment_by_uv(rig: Rig) -> None:
    (rig.prefix / "left/over").mkdir(parents=True)
    (rig.prefix / "half").touch()
    (rig.cache / "solved.txt").write_text("stale==1\n")
    solves(rig)

    def install(argv: tuple[str, ...]) -> None:
        (rig.prefix / "share/unwanted/x").mkdir(parents=True)
        (rig.prefix / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.12.4\n")

    rig.commands.answers["/opt/hub/hub/bin/uv", "pip", "install"] = install
    assert rig.run(pip=["cowsay==6.1"]) == 0
    words = [argv[1:3] for argv in rig.commands.ran]
    assert words[:3] == [("venv", "--allow-existing"), ("pip", "compile"), ("pip", "install")]
    assert (rig.cache / "asked.txt").read_text() == "ipykernel\nnumpy==2.*\ncowsay==6.1\n"
    assert "--require-hashes" in rig.commands.ran[2]
    assert (rig.cache / "solved.txt").read_text() == f"numpy==2.4.6 --hash=sha256:{SHA}\n"
    assert rig.commands.ran[3] == TRIAL
    trial = json.loads(rig.commands.options[3]["stdin"])
    assert trial["kernel"]["argv"][0] == f"{rig.prefix}/bin/python"
    assert trial["kernel"]["env"]["PYTHONDONTWRITEBYTECODE"] == "1", "its files are compared meanwhile"
    assert (trial["cells"], trial["seconds"], trial["answer"]) == (rig.spec["cells"], 60, "42")
    assert rig.commands.options[0]["environment"]["UV_CACHE_DIR"] == str(rig.cache / "uv")
    there = [".hubd-files.gz", ".hubd-lock.yaml", ".mark", "pyvenv.cfg", "share"]
    assert sorted(path.name for path in rig.prefix.iterdir()) == there
    assert list((rig.prefix / "share").iterdir()) == []
    assert (rig.told["state"], rig.told["tries"], rig.told["digest"]) == ("done", 1, "d")
    assert rig.lock[3:] == ["python: '3.12'", "pip:", f"  - 'numpy==2.4.6 --hash=sha256:{SHA}'"]


def test_what_has_no_hash_is_installed_and_the_others_are_checked_nevertheless(rig: Rig) -> None:
    solves(rig, f"{PIN}mine @ git+https://git.example.org/mine@abc\n")
    assert rig.run() == 0
    assert "--require-hashes" not in rig.commands.ran[2]
    assert rig.lock[-2:] == ["  - 'mine @ git+https://git.example.org/mine@abc'", f"  - 'numpy==2.4.6 --hash=sha256:{SHA}'"]


def test_a_locked_list_is_installed_with_its_hashes_and_no_kernel_is_tried(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# made by hubd\n{PIN}")
    assert rig.run(packages=[], requirements=str(tmp_path / "list.txt"), smoke="") == 0
    assert "--require-hashes" in rig.commands.ran[1]
    assert (rig.cache / "solved.txt").read_text() == f"numpy==2.4.6 --hash=sha256:{SHA}\n"
    assert len(rig.commands.ran) == 2
    assert rig.is_marked


def by_conda(rig: Rig, *names: str, said: str = "{}") -> None:
    """Let conda install packages with these names."""

    def create(argv: tuple[str, ...]) -> str:
        (rig.prefix / "conda-meta").mkdir()
        (rig.prefix / "conda-meta/history").write_text("==> now <==\n")
        for name in names:
            url = f"https://forge.example.org/noarch/{name}-1-0.conda"
            record = {"name": name, "version": "1", "build": "0", "url": url, "sha256": SHA if name == "numpy" else None}
            (rig.prefix / f"conda-meta/{name}-1-0.json").write_text(json.dumps(record))
        return said

    rig.commands.answers["/opt/hub/conda/bin/conda",] = create


@pytest.mark.parametrize("proven", [True, False])
def test_people_get_the_packages_of_what_is_proven(rig: Rig, tmp_path: Path, proven: bool) -> None:
    by_conda(rig, "python", "ipykernel", "numpy")
    info, shared = rig.cache / "conda-pkgs/numpy-1-0/info", tmp_path / "envs/.packages"
    info.mkdir(parents=True)
    shared.mkdir()
    for record in ("index.json", "repodata_record.json"):
        (info / record).write_text("{}")

    def trial(argv: tuple[str, ...]) -> str:
        assert not any(shared.iterdir()), "nobody has it yet"
        return "{}" if proven else json.dumps({"what": "no"})

    rig.commands.answers[TRIAL] = trial
    assert rig.run(manager="conda", share_into=str(shared)) == (0 if proven else 1)
    assert sorted(path.name for path in shared.iterdir()) == (["numpy-1-0", "urls.txt"] if proven else [])
    assert not list((rig.cache / "sharing").iterdir())


def test_what_the_hub_has_is_looked_at_after_ones_own(rig: Rig) -> None:
    by_conda(rig, "python", "ipykernel", "numpy")
    rig.run(manager="conda", also_from="/opt/hub/envs/.packages")
    found = rig.commands.options[0]["environment"]["CONDA_PKGS_DIRS"]
    assert found == f"{rig.cache}/conda-pkgs,/opt/hub/envs/.packages"


def test_an_environment_by_conda(rig: Rig) -> None:
    by_conda(rig, "python", "ipykernel", "numpy")
    assert rig.run(manager="conda") == 0
    assert rig.commands.options[0]["environment"]["CONDA_PKGS_DIRS"] == str(rig.cache / "conda-pkgs")
    assert rig.is_marked
    assert rig.lock[3:] == [
        "conda:",
        "  - 'https://forge.example.org/noarch/ipykernel-1-0.conda'",
        f"  - 'https://forge.example.org/noarch/numpy-1-0.conda#sha256:{SHA}'",
        "  - 'https://forge.example.org/noarch/python-1-0.conda'",
    ]


def test_condas_exit_code_alone_is_not_believed(rig: Rig) -> None:
    assert rig.run(manager="conda") == 1
    assert rig.told["state"] == "failed"
    assert not rig.is_marked


def by_micromamba(
    rig: Rig, folder: Path, *names: str, said: str = "{}", version: str = "2.3.0\n", mark: str = "==> now <==\n"
) -> Path:
    """Let there be a micromamba and nothing else, which installs packages with these names; gives the program."""
    program = folder / "bin/micromamba"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)

    def install(argv: tuple[str, ...]) -> str:
        assert [path.name for path in rig.prefix.rglob("*")] == ["conda-meta", "history"], "it takes no other folder"
        assert (rig.prefix / "conda-meta/history").read_text() == ""
        (rig.prefix / "conda-meta/history").write_text(mark)
        for name in names:
            url = f"https://forge.example.org/noarch/{name}-1-0.conda"
            record = {"name": name, "version": "1", "build": "0", "url": url, "sha256": SHA}
            (rig.prefix / f"conda-meta/{name}-1-0.json").write_text(json.dumps(record))
        for line in said.splitlines():
            rig.commands.options[-1]["line"](line)
        return said

    rig.commands.answers[str(program), "--version"] = version
    rig.commands.answers[str(program), "install"] = install
    return program


def test_an_environment_by_micromamba_and_its_lock_again(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    came = "info     libmamba Download finished, tarball available at '/c/numpy-1-0.conda'\nwarning  libmamba odd\n"
    program = by_micromamba(rig, tmp_path / "one", "python", "ipykernel", "numpy", said=came)
    assert rig.run(manager="conda", conda=str(program)) == 0
    assert rig.is_marked
    followed = capsys.readouterr().out
    assert "downloading packages with micromamba, 1 there" in followed and "libmamba odd" in followed
    assert "tarball" not in followed, "what is told as progress is no line of the log"
    assert rig.commands.ran[0] == (str(program), "--version")
    assert rig.commands.ran[1][:2] == (str(program), "install")
    variables = rig.commands.options[1]["environment"]
    assert variables["CONDA_PKGS_DIRS"] == str(rig.cache / "conda-pkgs")
    assert variables["MAMBA_ROOT_PREFIX"] == str(rig.cache / "mamba"), "without it mamba looks for itself in PATH"
    lock = (rig.prefix / ".hubd-lock.yaml").read_text()
    assert "manager: conda" in lock, "one lock, whichever of them builds it"
    (tmp_path / "one/conda-meta").mkdir()
    assert rig.run(manager="conda", conda=str(tmp_path / "one"), lock=lock) == 0
    assert (rig.prefix / ".hubd-lock.yaml").read_text() == lock
    assert f"numpy-1-0.conda#{SHA}" in (rig.cache / "explicit.txt").read_text()
    assert rig.commands.options[-3]["environment"]["MAMBA_ROOT_PREFIX"] == str(tmp_path / "one"), "a prefix has its own settings"


INCOMPLETE: list[tuple[dict[str, Any], str]] = [
    ({"mark": ""}, "mamba could not build the environment"),
    ({"said": '{"success": true}'}, "mamba left the environment incomplete"),
    ({"version": "1.5.8\n"}, "micromamba is too old: 1.5.8"),
]


@pytest.mark.parametrize(("change", "what"), INCOMPLETE)
def test_what_micromamba_says_of_its_success_is_not_believed(rig: Rig, tmp_path: Path, change: dict[str, Any], what: str) -> None:
    program = by_micromamba(rig, tmp_path / "one", "python", "ipykernel", **change)
    assert rig.run(manager="conda", conda=str(program)) == 1
    assert what in rig.told["what"]
    assert not rig.is_marked and list(rig.prefix.iterdir()) == []


def test_a_program_is_ended_when_the_time_of_its_job_is_over(rig: Rig) -> None:
    def hangs(argv: tuple[str, ...]) -> None:
        raise CommandFailed(argv, code=None, output="")

    rig.commands.answers["/opt/hub/hub/bin/uv", "pip"] = hangs
    assert rig.run(limits={"memory": None, "cpu": None, "time": 600}) == 1
    assert 590 < rig.commands.options[0]["timeout"] <= 600
    assert rig.told["what"] == "env-science took longer than builds.time (10 min)"
    assert rig.told["why"] == f"it was ended while {rig.told['phase']}"
    assert rig.told["phase"].endswith("packages with uv")
    assert rig.told["fix"] == "If it may take longer: hubd config set builds.time 20min"


def test_what_a_program_may_take_is_what_others_left_of_the_time(rig: Rig) -> None:
    work = Work(rig.spec, rig.commands, Web(), print, began=time.monotonic() - 7000)  # type: ignore[arg-type]
    work.run(("x",))
    assert 190 < rig.commands.options[0]["timeout"] <= 200
    Work(rig.spec, rig.commands, Web(), print, began=time.monotonic() - 7300).run(("x",))  # type: ignore[arg-type]
    assert rig.commands.options[1]["timeout"] == 0


@pytest.mark.parametrize("hangs", [TRIAL, ("/bin/bash",)])
def test_a_proof_and_an_activation_may_take_what_is_left_of_the_time(rig: Rig, hangs: tuple[str, ...]) -> None:
    def hang(argv: tuple[str, ...]) -> str:
        raise CommandFailed(argv, code=None, output="")

    def make(argv: tuple[str, ...]) -> None:
        (rig.prefix / "etc/conda/activate.d").mkdir(parents=True)
        (rig.prefix / "etc/conda/activate.d/a.sh").touch()

    rig.commands.answers["/opt/hub/hub/bin/uv", "venv"] = make
    rig.commands.answers[hangs] = hang
    assert rig.run(limits={"memory": None, "cpu": None, "time": 0}) == 1
    assert rig.told["what"].startswith("env-science took longer than builds.time")
    assert rig.commands.options[-1]["timeout"] == 0


LEFT_OUT = [
    ("{}", "conda left the environment incomplete", "there is no record of numpy=2, though"),
    (json.dumps({"exception_name": "UnsatisfiableError", "message": "no"}), "the packages do not fit together", "no"),
]


@pytest.mark.parametrize(("said", "what", "why"), LEFT_OUT)
def test_a_package_that_conda_left_out_is_a_failure_whatever_it_says(rig: Rig, said: str, what: str, why: str) -> None:
    by_conda(rig, "python", "ipykernel", said=said)
    assert rig.run(manager="conda") == 1
    assert rig.told["what"] == what
    assert rig.told["why"].startswith(why)
    assert not rig.is_marked


def python_of(rig: Rig) -> None:
    (rig.prefix / "bin").mkdir()
    (rig.prefix / "bin/python").touch(mode=0o755)


UV = "/opt/hub/hub/bin/uv"


def with_pip(rig: Rig, preview: str, *, python: bool = True) -> int:
    by_conda(rig, "python", "ipykernel", "numpy")
    create: Any = rig.commands.answers["/opt/hub/conda/bin/conda",]
    rig.commands.answers["/opt/hub/conda/bin/conda",] = lambda argv: (python_of(rig) if python else None, create(argv))[1]
    rig.commands.answers[UV, "pip", "install"] = lambda argv: preview if "--dry-run" in argv else None
    return rig.run(manager="conda", pip=["cowsay", "mine @ https://x.example/mine.whl"])


def test_the_pip_part_comes_on_top_of_what_conda_installed(rig: Rig) -> None:
    solves(rig)
    assert with_pip(rig, " + cowsay==6.1\n + mine==1 (from https://x.example/mine.whl)\n") == 0
    preview, compiled, installed = (argv for argv in rig.commands.ran if argv[0] == UV)
    assert "--dry-run" in preview
    assert "--no-deps" in compiled
    assert (rig.cache / "asked.txt").read_text() == "cowsay==6.1\nmine @ https://x.example/mine.whl\n"
    assert "--require-hashes" in installed
    assert rig.lock[-2:] == ["pip:", f"  - 'numpy==2.4.6 --hash=sha256:{SHA}'"]


def test_a_pip_part_that_conda_has_already_changes_nothing(rig: Rig) -> None:
    assert with_pip(rig, "Would make no changes\n") == 0
    assert [argv for argv in rig.commands.ran if argv[0] == UV and "--dry-run" not in argv] == []


def test_the_pip_part_replaces_nothing_of_condas(rig: Rig) -> None:
    assert with_pip(rig, " + cowsay==6.1\n - numpy==2.4.6\n + numpy==1.26.4\n") == 1
    assert rig.told["what"] == "the pip part would replace numpy==2.4.6, which conda installed"
    assert rig.told["why"] == "it needs numpy==1.26.4"
    assert not rig.is_marked


def test_a_pip_part_that_fails_is_one_sentence(rig: Rig) -> None:
    rig.commands.answers[UV, "pip", "compile"] = 1
    assert with_pip(rig, " + cowsay==6.1\n") == 1
    assert rig.told["what"] == "the pip part cannot be installed: uv could not build the environment"
    assert rig.told["why"] == "it went wrong"


def test_a_pip_part_without_python_says_what_to_add(rig: Rig) -> None:
    assert with_pip(rig, "", python=False) == 1
    assert (rig.told["what"], rig.told["fix"]) == ("the pip part needs a Python", "Add `- python` to the packages.")


RATTLER = ("/opt/hub/hub/bin/python", "-m", "hubd.jobs.rattler_child")
INSTALLED = [["python", "3.12.1", "h_0", "https://x/c/linux-64/python-3.12.1-h_0.conda", SHA]]


def rattler_installs(rig: Rig, *talk: str) -> None:
    """Let the child say this, as lines that come one by one, and leave an environment."""

    def answer(argv: tuple[str, ...]) -> str:
        (rig.prefix / "conda-meta").mkdir()
        record = dict(zip(("name", "version", "build", "url", "sha256"), INSTALLED[0], strict=True))
        (rig.prefix / "conda-meta/python-2.7.18-h_0.json").write_text(json.dumps(record))
        python_of(rig)
        (rig.prefix / "lib/python2.7/site-packages").mkdir(parents=True)
        lines = [*talk, json.dumps({"installed": INSTALLED})]
        for line in lines:
            rig.commands.options[-1]["line"](line)
        return "\n".join(lines)

    rig.commands.answers[RATTLER] = answer


def test_an_environment_by_rattler(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    left = rig.cache / "rattler/pkgs/.numpy-2-0abcdef"
    left.mkdir(parents=True)
    (left.parent / ".cache.lock").touch()
    (left.parent / "numpy-1-0").mkdir()
    rattler_installs(rig, "talk")
    assert rig.run(manager="rattler") == 0
    order = json.loads(rig.commands.options[0]["stdin"])
    assert (order["specs"], order["channels"]) == (rig.spec["packages"], ["https://conda.anaconda.org/conda-forge"])
    assert order["cache"] == str(rig.cache / "rattler")
    assert sorted(path.name for path in left.parent.iterdir()) == [".cache.lock", "numpy-1-0"], "what a kill left is gone"
    assert rig.commands.ran[1][1:] == ("-m", "compileall", "-q", f"{rig.prefix}/lib/python2.7")
    history = (rig.prefix / "conda-meta/history").read_text().splitlines()
    assert "+https://x/c/linux-64::python-3.12.1-h_0" in history
    assert "manager: rattler" in (rig.prefix / ".hubd-lock.yaml").read_text()
    assert "talk" in capsys.readouterr().out
    assert rig.is_marked


def rebuilds(rig: Rig) -> str:
    """The lock of what rattler installs, by conda."""
    rattler_installs(rig)
    return f"manager: conda\nplatform: linux-64\nconda:\n  - '{INSTALLED[0][3]}#sha256:{INSTALLED[0][4]}'\n"


def test_rattler_builds_condas_lock_again(rig: Rig) -> None:
    lock = rebuilds(rig)
    assert rig.run(manager="rattler", lock=lock) == 0
    order = json.loads(rig.commands.options[0]["stdin"])
    assert (order["specs"], order["packages"]) == ([], [INSTALLED[0][3:]])
    assert rig.lock[1:] == lock.replace("manager: conda", "manager: rattler").splitlines()


def test_what_rattler_built_is_compared_with_the_lock(rig: Rig) -> None:
    lock = rebuilds(rig) + "  - 'https://x/c/noarch/numpy-1-0.conda'\n"
    assert rig.run(manager="rattler", lock=lock) == 1
    assert (rig.told["what"], rig.told["why"]) == (
        "the environment is not what its lock says", "without https://x/c/noarch/numpy-1-0.conda"
    )  # fmt: skip


def test_a_pip_part_comes_on_top_of_what_rattler_installed(rig: Rig) -> None:
    rattler_installs(rig)
    solves(rig)
    rig.commands.answers[UV, "pip", "install"] = lambda argv: " + cowsay==6.1\n" if "--dry-run" in argv else None
    assert rig.run(manager="rattler", pip=["cowsay"]) == 0
    assert rig.lock[-2:] == ["pip:", f"  - 'numpy==2.4.6 --hash=sha256:{SHA}'"]


def test_those_who_follow_see_how_far_rattler_is(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [("downloading", 1, 40), ("linking", 1, 40), ("downloading", 2, 40), ("downloading", 3, 40), ("downloading", 40, 40),
             ("linking", 39, 40), ("linking", 40, 40)]  # fmt: skip
    rattler_installs(rig, *(json.dumps({"step": step, "done": done, "total": total}) for step, done, total in steps))
    assert rig.run(manager="rattler") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if " of " in line]
    assert said == [f"{step} packages, {done} of 40" for step, done in [
        ("downloading", 1), ("downloading", 2), ("downloading", 40), ("linking", 39), ("linking", 40)
    ]]  # fmt: skip


def test_those_who_follow_see_how_far_uv_is(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    solves(rig)
    # As uv 0.11 prints it.
    lines = ("Using Python 3.11.7 environment at: uvt", "Downloading numpy (16.1MiB)", "   Building docopt==0.6.2",
             " Downloaded numpy", "Prepared 1 package in 1.42s", "Installed 6 packages in 57ms", " + numpy==2.4.6")  # fmt: skip

    def install(argv: tuple[str, ...]) -> None:
        for line in lines:
            rig.commands.options[-1]["line"](line)

    rig.commands.answers["/opt/hub/hub/bin/uv", "pip", "install"] = install
    assert rig.run() == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line not in lines][3:8] == [
        "installing 1 package with uv", "downloading numpy, 16.1MiB", "building docopt==0.6.2",
        "putting packages in place (1)", "compiling Python modules (of 6 packages)",
    ]  # fmt: skip
    assert set(lines) <= set(said), "the log has all of it"


def test_those_who_follow_see_what_a_program_prints(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = iter(range(0, 100_000, 10))
    monkeypatch.setattr("hubd.jobs.run.time.monotonic", lambda: float(next(now)))
    solves(rig)

    def install(argv: tuple[str, ...]) -> None:
        for line in ("Using Python 3.11.7", "  ", " Downloaded " + "x" * 500):
            rig.commands.options[-1]["line"](line)
            told.append(rig.told["line"])

    rig.commands.answers["/opt/hub/hub/bin/uv", "pip", "install"] = install
    assert rig.run() == 0
    assert told == ["Using Python 3.11.7", "Using Python 3.11.7", "Downloaded " + "x" * 189]
    assert rig.told["state"] == "done"


def test_those_who_follow_see_how_far_conda_is(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    conda_installs(rig, "whole")
    create = rig.commands.answers[CONDA]
    bar = '{{"fetch":"{}-1.0 | 1 MB | ","finished":{},"maxval":1,"progress":1}}'

    def told(argv: tuple[str, ...]) -> str:
        for name, finished in (("a", "false"), ("b", "false"), ("a", "true"), ("a", "true"), ("b", "true")):
            rig.commands.options[-1]["line"]("\0" + bar.format(name, finished))
        rig.commands.options[-1]["line"]("talk")
        assert callable(create)
        return str(create(argv))

    rig.commands.answers[CONDA] = told
    assert rig.run(manager="conda") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith(("downloading", "talk")) or "fetch" in line] == [
        "downloading packages with conda, 1 there", "downloading packages with conda, 2 there", "talk",
    ]  # fmt: skip


def test_a_word_of_success_from_a_rattler_that_was_killed_is_not_believed(rig: Rig) -> None:
    rig.commands.answers[RATTLER] = -9
    assert rig.run(manager="rattler") == 1
    assert rig.told["what"] == "rattler could not build the environment"
    rig.commands.answers[RATTLER] = json.dumps({"step": "solving"})
    assert rig.run(manager="rattler") == 1
    assert rig.told["what"] == "rattler could not build the environment"
    assert not rig.is_marked


def test_what_rattler_began_to_unpack_is_gone_when_it_fails(rig: Rig) -> None:
    begun = rig.cache / "rattler/pkgs/.numpy-2-0abcdef"

    def fails(argv: tuple[str, ...]) -> str:
        begun.mkdir(parents=True)
        return json.dumps({"failed": "InstallerError", "text": "No space left on device (os error 28)"})

    rig.commands.answers[RATTLER] = fails
    assert rig.run(manager="rattler") == 1
    assert (rig.told["what"], begun.exists()) == ("the disk is full", False)


CONDA = ("/opt/hub/conda/bin/conda",)
MODULE = "lib/python3.12/site-packages/a.py"


OLD_PIP = "lib/python3.12/site-packages/pip/_internal/commands/install.py"


def conda_installs(rig: Rig, *texts: str, module: str = MODULE) -> None:
    """Let conda put a package with this module in it there, run after run, and say that all went well."""
    runs = iter(texts)

    def create(argv: tuple[str, ...]) -> str:
        assert list(rig.prefix.iterdir()) == []
        (rig.prefix / module).parent.mkdir(parents=True)
        (rig.prefix / module).write_text(next(runs))
        meta = rig.prefix / "conda-meta"
        meta.mkdir()
        (meta / "history").write_text("==> now <==\n")
        entry = {"_path": module, "path_type": "hardlink", "size_in_bytes": 5, "sha256": hashlib.sha256(b"whole").hexdigest()}
        (meta / "a-1-0.json").write_text(json.dumps({"name": "a", "paths_data": {"paths": [entry]}}))
        for name in ("python", "ipykernel", "numpy"):
            (meta / f"{name}-1-0.json").write_text(json.dumps({"name": name}))
        return "{}"

    rig.commands.answers[CONDA] = create


def conda_cache(rig: Rig) -> list[str]:
    """What is in conda's package cache."""
    return sorted(path.name for path in (rig.cache / "conda-pkgs").iterdir())


@pytest.fixture
def cached(rig: Rig) -> Rig:
    """Packages are in conda's cache, unpacked and as they came."""
    for name in ("a-1-0", "b-1-0"):
        (rig.cache / "conda-pkgs" / name).mkdir(parents=True)
        (rig.cache / "conda-pkgs" / f"{name}.conda").touch()
    return rig


ANSWERS = ['{\n  "success": true,\n  "actions": {\n    "LINK": [{"name": "a"}]\n  }\n}', '{"success": true}']


@pytest.mark.parametrize("answer", ANSWERS)
def test_condas_answer_is_not_in_the_log_and_talk_is(rig: Rig, capsys: pytest.CaptureFixture[str], answer: str) -> None:
    by_conda(rig, "python", "ipykernel", "numpy")
    create: Any = rig.commands.answers["/opt/hub/conda/bin/conda",]

    def told(argv: tuple[str, ...]) -> str:
        for line in ("before", *answer.splitlines(), "after"):
            rig.commands.options[-1]["line"](line)
        return str(create(argv))

    rig.commands.answers["/opt/hub/conda/bin/conda",] = told
    assert rig.run(manager="conda") == 0
    said = capsys.readouterr().out.splitlines()
    at = said.index("before")
    assert said[at : at + 2] == ["before", "after"]


def test_what_conda_says_to_a_person_is_in_the_log_whole(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"exception_name": "LibMambaUnsatisfiableError", "message": "first line\n  └─ \x1b[31msecond line"}
    rig.commands.answers["/opt/hub/conda/bin/conda",] = json.dumps(said, indent=2)
    assert rig.run(manager="conda") == 1
    out = capsys.readouterr().out
    assert "first line\n  └─ " in out and "exception_name" not in out


def test_a_package_cut_off_in_the_cache_is_fetched_anew(cached: Rig) -> None:
    conda_installs(cached, "who", "whole")
    assert cached.run(manager="conda") == 0
    assert conda_cache(cached) == ["b-1-0", "b-1-0.conda"]
    assert (cached.prefix / MODULE).read_text() == "whole"


def test_a_package_of_the_right_length_with_other_content_too(cached: Rig) -> None:
    # The kernel may run all the same: from a compiled file that was made earlier.
    conda_installs(cached, "WHOLE", "whole")
    assert cached.run(manager="conda") == 0
    assert conda_cache(cached) == ["b-1-0", "b-1-0.conda"]


def test_a_package_that_is_like_that_each_time_is_taken_as_it_is(cached: Rig) -> None:
    conda_installs(cached, "who", "who")
    assert cached.run(manager="conda") == 0


def test_the_cache_is_left_alone_when_the_kernel_fails_and_all_is_whole(cached: Rig) -> None:
    conda_installs(cached, "whole")
    cached.commands.answers[TRIAL] = 1
    assert cached.run(manager="conda") == 1
    assert "kernel" in cached.told["what"]
    assert len(conda_cache(cached)) == 4
    assert list(cached.prefix.iterdir()) == [], "it takes no room until the next try"


def test_damage_is_the_cause_when_the_kernel_fails_as_well(cached: Rig) -> None:
    conda_installs(cached, "who", "whole")
    cached.commands.answers[TRIAL] = lambda argv: "{}" if (cached.prefix / MODULE).read_text() == "whole" else 1
    assert cached.run(manager="conda") == 0
    assert conda_cache(cached) == ["b-1-0", "b-1-0.conda"]


def test_the_files_are_compared_while_the_kernel_starts(cached: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    compared, started = threading.Event(), threading.Event()
    look = damage.look

    def begun(work: Any, prefix: Path) -> None:
        assert started.wait(20), "the kernel waits for it"
        look(work, prefix)
        compared.set()

    def starts(argv: tuple[str, ...]) -> str:
        started.set()
        assert compared.wait(20)
        return "{}"

    monkeypatch.setattr(damage, "look", begun)
    conda_installs(cached, "whole")
    cached.commands.answers[TRIAL] = starts
    assert cached.run(manager="conda") == 0


def test_a_proof_ends_when_the_files_turn_out_to_be_other_ones(cached: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    conda_installs(cached, "who", "whole")
    looks, ended = [], threading.Event()
    monkeypatch.setattr("hubd.jobs.environment.Leash", lambda: SimpleNamespace(end=ended.set))

    def proves(argv: tuple[str, ...]) -> str:
        is_whole = (cached.prefix / MODULE).read_text() == "whole"
        looks.append("proven" if is_whole else "ended" if ended.wait(5) else "proven to its end, which may take minutes")
        return "{}" if is_whole else "it was ended"

    cached.commands.answers[TRIAL] = proves
    assert cached.run(manager="conda") == 0
    assert looks == ["ended", "proven"]
    assert cached.commands.options[-1]["leash"].end == ended.set


def test_nothing_of_installer_and_proof_lives_on_when_files_are_compared_and_sealed(
    cached: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    conda_installs(cached, "whole")
    did: list[str] = []
    for name in ("_compared", "seal"):
        real = getattr(environment, name)
        monkeypatch.setattr(environment, name, lambda *given, name=name, real=real: did.append(name) or real(*given))
    cached.commands.answers[TRIAL] = lambda argv: did.append("proof") or "{}"
    assert cached.run(manager="conda", end_all=lambda: did.append("end all")) == 0
    assert (did[0], sorted(did[1:3]), did[3:]) == ("end all", ["_compared", "proof"], ["end all", "seal", "end all"])
    cached.commands.answers[TRIAL] = 1
    did.clear()
    assert cached.run(manager="conda", end_all=lambda: did.append("end all")) == 1
    assert did[-1] == "end all", "also when it fails"


def test_what_a_program_prints_steers_no_terminal(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    Work(spec={}, commands=Commands(), web=Web(), phase=print).log("  a\tb\x1b]0;evil\x07 \u202ec\x9b31m\x1b[2Jd")
    assert capsys.readouterr().out == "  a\tb c31md\n"


def test_an_old_pip_is_taught_when_the_kernel_ran_and_no_sooner(cached: Rig) -> None:
    conda_installs(cached, "whole", "whole", module=OLD_PIP)
    cached.commands.answers[TRIAL] = 1
    assert cached.run(manager="conda") == 1
    assert len(conda_cache(cached)) == 4, "what hubd writes into a package is no damage of the cache"
    cached.commands.answers[TRIAL] = "{}"
    assert cached.run(manager="conda") == 0
    assert "InstallationError" in (cached.prefix / OLD_PIP).read_text()


def conda_fails(rig: Rig, **said: str) -> None:
    answer = json.dumps({"exception_name": "CondaVerificationError", **said})
    rig.commands.answers[CONDA] = answer


def test_what_rattler_compared_itself_is_not_compared_again(rig: Rig) -> None:
    rattler_installs(rig)
    install = rig.commands.answers[RATTLER]
    assert callable(install)

    def changed_by_a_script(argv: tuple[str, ...]) -> str:
        said = str(install(argv))
        entry = {"_path": "gone", "path_type": "hardlink", "sha256": "a" * 64}
        (rig.prefix / "conda-meta/a-1-0.json").write_text(json.dumps({"paths_data": {"paths": [entry]}}))
        return said

    rig.commands.answers[RATTLER] = changed_by_a_script
    assert rig.run(manager="rattler") == 0


def test_what_conda_names_of_its_cache_is_taken_out(cached: Rig) -> None:
    conda_fails(cached, message=f"The package for a located at {cached.cache}/conda-pkgs/a-1-0 appears to be corrupted.")
    assert cached.run(manager="conda", tries=1) == 1
    assert len(cached.commands.ran) == 2
    assert conda_cache(cached) == ["b-1-0", "b-1-0.conda"]


@pytest.mark.parametrize("shelf", ["", "https/repo.example.org/forge-1-2/noarch", f"conda-forge/{platform()}"])
def test_a_package_is_taken_out_wherever_it_lies_in_the_cache(tmp_path: Path, shelf: str) -> None:
    for name in ("a-1-0/info", "a-1-0/lib/a-1-0", "b-2-0/info", "cache/a-1-0"):
        (tmp_path / shelf / name).mkdir(parents=True)
    (tmp_path / shelf / "a-1-0.conda").touch()
    assert package_of(f"{shelf}/a-1-0.conda".strip("/")) == "a-1-0"
    assert package_of(f"{shelf}/a-1-0/lib/x".strip("/")) == "a-1-0"
    take_out(tmp_path, "a-1-0")
    assert sorted(path.name for path in (tmp_path / shelf).iterdir()) == ["b-2-0", "cache"]


def test_what_conda_did_not_come_to_when_it_failed_is_looked_at_when_it_does(cached: Rig) -> None:
    conda_installs(cached, "who", "whole")
    create = cached.commands.answers[CONDA]
    conda_fails(cached, message=f"failed to link {cached.cache}/conda-pkgs/b-1-0/x: No such file or directory")
    fails = cached.commands.answers[CONDA]

    def fails_once(argv: tuple[str, ...]) -> Any:
        answer = fails if len(cached.commands.ran) == 1 else create
        return answer(argv) if callable(answer) else answer

    cached.commands.answers[CONDA] = fails_once
    assert cached.run(manager="conda") == 0
    assert conda_cache(cached) == []
    assert (cached.prefix / MODULE).read_text() == "whole"


@pytest.mark.parametrize(("tries", "left"), [(0, 4), (1, 0), (2, 4)])
def test_a_second_failure_that_nobody_explains_begins_with_an_empty_cache_once(cached: Rig, tries: int, left: int) -> None:
    conda_fails(cached, message="something")
    assert cached.run(manager="conda", tries=tries) == 1
    assert len(conda_cache(cached)) == left


@pytest.mark.parametrize(("entry", "content", "whole"), [
    ({}, b"whole", True),
    ({}, b"WHOLE", False),
    ({}, b"who", False),
    ({}, None, False),
    ({"prefix_placeholder": "/p", "sha256_in_prefix": hashlib.sha256(b"moved").hexdigest()}, b"moved", True),
    ({"prefix_placeholder": "/p", "sha256_in_prefix": hashlib.sha256(b"moved").hexdigest()}, b"whole", False),
    ({"prefix_placeholder": "/p"}, b"moved", True),
    ({"path_type": "softlink"}, None, False),
    ({"_path": "lib/python3.12/EXTERNALLY-MANAGED"}, None, True),  # hubd's own takes its place
    ({"path_type": "pyc_file"}, None, True),
])  # fmt: skip
def test_what_counts_as_damage(tmp_path: Path, entry: dict[str, str], content: bytes | None, whole: bool) -> None:
    (tmp_path / "conda-meta").mkdir()
    told = {"_path": "a", "path_type": "hardlink", "size_in_bytes": 5, "sha256": hashlib.sha256(b"whole").hexdigest(), **entry}
    (tmp_path / "conda-meta/a-1-0.json").write_text(json.dumps({"paths_data": {"paths": [told]}}))
    (tmp_path / "conda-meta/b-1-0.json").write_text("{}")
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    assert damage.damaged(tmp_path) == ([] if whole else ["a-1-0"])


RECORDS: list[tuple[str, bool, bool]] = [
    # the record of a package in site-packages, whether it came with a conda package, whether `bin/tool` counts as damaged
    ("other.py,,\n../../../bin/tool,sha256=abc,12\n", False, False),
    ('"../../../bin/tool",,\n', False, False),
    (f"../../../bin/tool,,\n{'x' * 200_000},,\n", False, False),
    ("other.py,,\n", False, True),
    ("", False, True),
    ("../../../bin/tool,,\n", True, True),
]


@pytest.mark.parametrize(("record", "of_conda", "damage_is_told"), RECORDS)
def test_what_a_package_of_pypi_put_in_the_place_of_condas_is_no_damage(
    tmp_path: Path, record: str, of_conda: bool, damage_is_told: bool
) -> None:
    path = "lib/python3.12/site-packages/new-1.dist-info/RECORD"
    for name, text in (("bin/tool", "of pip"), (path, record), ("conda-meta/b-1-0.json", "{}")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    entries = [{"_path": "bin/tool", "path_type": "hardlink", "sha256": hashlib.sha256(b"of conda").hexdigest()}]
    entries += [{"_path": path, "path_type": "hardlink"}] if of_conda else []
    (tmp_path / "conda-meta/a-1-0.json").write_text(json.dumps({"paths_data": {"paths": entries}}))
    assert damage.damaged(tmp_path) == (["a-1-0"] if damage_is_told else [])


def uv_installs(rig: Rig, *texts: str, fails: bool = False) -> None:
    """Let uv install `six` with these texts in its file, one after the other."""
    solves(rig)
    runs, packages = iter(texts), rig.prefix / "lib/python3.12/site-packages"

    def install(argv: tuple[str, ...]) -> int | None:
        (packages / "six-1.17.dist-info").mkdir(parents=True)
        (packages / "six.py").write_text(next(runs))
        (packages / "six-1.17.dist-info/RECORD").write_text(f"six.py,{digest_of('whole')},5\nsix-1.17.dist-info/RECORD,,\n")
        return 1 if fails else None

    rig.commands.answers[UV, "pip", "install"] = install


def digest_of(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


CLEANED = (UV, "cache", "clean", "six")


def test_a_file_that_was_edited_in_the_cache_of_uv_is_fetched_anew(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    # An environment that shares it was edited in place: to build it anew has to mend that.
    uv_installs(rig, "by hand", "whole")
    assert rig.run() == 0
    assert rig.commands.ran.count(CLEANED) == 1
    assert (rig.prefix / "lib/python3.12/site-packages/six.py").read_text() == "whole"
    assert "taking six out of uv's cache" in capsys.readouterr().out


def test_nothing_is_taken_out_of_the_cache_of_uv_where_all_is_whole_or_uv_failed(rig: Rig) -> None:
    uv_installs(rig, "whole")
    assert rig.run() == 0
    uv_installs(rig, "half", fails=True)
    assert rig.run() == 1
    assert CLEANED not in rig.commands.ran


def test_a_wheel_that_is_like_that_each_time_is_taken_as_it_is(rig: Rig) -> None:
    uv_installs(rig, "other", "other")
    assert rig.run() == 0
    assert rig.commands.ran.count(CLEANED) == 1


def test_a_cache_that_cannot_be_cleaned_leaves_the_reason_of_the_failure(rig: Rig) -> None:
    uv_installs(rig, "other")
    rig.commands.answers[CLEANED] = 1
    assert rig.run() == 1
    assert (rig.told["what"], rig.told["why"]) == (damage.DAMAGED, "files of six are missing or other ones")


@pytest.mark.parametrize("pip", [["six"], []])
def test_the_pip_part_is_compared_with_its_records_too(rig: Rig, pip: list[str]) -> None:
    by_conda(rig, "python", "ipykernel", "numpy")
    create: Any = rig.commands.answers["/opt/hub/conda/bin/conda",]
    record = "lib/python3.12/site-packages/own-1.dist-info/RECORD"

    def conda_installs_python(argv: tuple[str, ...]) -> str:
        python_of(rig)
        said = str(create(argv))
        # conda's own package has such a record, too, and a start line of its own.
        (rig.prefix / record).parent.mkdir(parents=True)
        (rig.prefix / record).write_text(f"own.py,{digest_of('moved')},5\n")
        entry = {"_path": record, "path_type": "hardlink"}
        (rig.prefix / "conda-meta/own-1.json").write_text(json.dumps({"paths_data": {"paths": [entry]}}))
        return said

    rig.commands.answers["/opt/hub/conda/bin/conda",] = conda_installs_python
    uv_installs(rig, "by hand", "whole")
    install: Any = rig.commands.answers[UV, "pip", "install"]
    rig.commands.answers[UV, "pip", "install"] = lambda argv: " + six==1.17\n" if "--dry-run" in argv else install(argv)
    assert rig.run(manager="conda", pip=pip) == 0
    assert rig.commands.ran.count(CLEANED) == (1 if pip else 0)


WHEELS: list[tuple[dict[str, str], list[str]]] = [
    # the records by package, with `six.py` as it is; the packages that count as damaged
    ({"six": f"six.py,{digest_of('is')},2\n"}, []),
    ({"six": f"six.py,{digest_of('was')},3\n"}, ["six"]),
    ({"six": f"gone.py,{digest_of('was')},3\n"}, ["six"]),
    # Two that bring the same file, as parts of one namespace do.
    ({"a": f"six.py,{digest_of('is')},2\n", "b": f"six.py,{digest_of('was')},3\n"}, []),
    ({"a": f"six.py,{digest_of('x')},2\n", "b": f"six.py,{digest_of('was')},3\n"}, ["a", "b"]),
    ({"six": "six.py,,\ngone.py\n\n"}, []),
    ({"six": "six.py,md5=abc,2\n"}, []),
    ({"six": f"../../../six,{digest_of('is')},2\n"}, ["six"]),
]


@pytest.mark.parametrize(("records", "names"), WHEELS)
def test_which_wheels_are_damaged(tmp_path: Path, records: dict[str, str], names: list[str]) -> None:
    packages = tmp_path / "lib/python3.12/site-packages"
    for name, text in records.items():
        (packages / f"{name}-1.dist-info").mkdir(parents=True)
        (packages / f"{name}-1.dist-info/RECORD").write_text(text)
    (packages / "six.py").write_text("is")
    assert wheels.damaged(tmp_path) == names


def test_a_build_whose_time_is_over_is_not_blamed_on_the_cache(cached: Rig) -> None:
    conda_installs(cached, "who")
    assert cached.run(manager="conda", limits={"memory": None, "cpu": None, "time": 0}) == 1
    assert cached.told["what"] == "the environment is not what its packages hold"
    assert len(conda_cache(cached)) == 4


def test_a_channel_that_is_away_empties_no_cache(cached: Rig) -> None:
    conda_fails(cached, exception_name="CondaHTTPError", message="HTTP 000")
    assert cached.run(manager="conda", tries=1) == 1
    assert len(conda_cache(cached)) == 4


FAILURES = [
    ("uv", ("/opt/hub/hub/bin/uv", "pip"), 2, "uv could not build"),
    ("uv", ("/opt/hub/hub/bin/uv", "venv"), 2, "uv could not build"),
    ("rattler", RATTLER, 1, "rattler could not build"),
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


UV_LOCK = f"manager: uv\nplatform: linux-64\npython: '3.11'\npip:\n  - 'six==1.17.0 --hash=sha256:{SHA}'\n"
URL = "https://forge.example.org/noarch"


def conda_lock(*names: str) -> str:
    lines = "".join(f"  - '{URL}/{name}-1-0.conda#sha256:{SHA}'\n" for name in names)
    return f"manager: rattler\nplatform: linux-64\nconda:\n{lines}"


def test_a_lock_of_uvs_is_built_exactly(rig: Rig) -> None:
    assert rig.run(lock=UV_LOCK, packages=[]) == 0
    venv, install = rig.commands.ran[:2]
    assert venv[venv.index("--python") + 1] == "3.11"
    assert "--require-hashes" in install and "--no-deps" in install
    assert (rig.cache / "solved.txt").read_text() == f"six==1.17.0 --hash=sha256:{SHA}\n"
    assert rig.lock[-1] == f"  - 'six==1.17.0 --hash=sha256:{SHA}'"


def test_a_lock_of_conda_packages_is_built_exactly(rig: Rig) -> None:
    by_conda(rig, "python", "numpy", said="")
    assert rig.run(manager="conda", lock=conda_lock("numpy", "python"), packages=[]) == 0
    explicit = rig.cache / "explicit.txt"
    assert rig.commands.ran[0][1:] == ("create", "--json", "--yes", "--prefix", str(rig.prefix), "--file", str(explicit))
    assert explicit.read_text() == f"@EXPLICIT\n{URL}/numpy-1-0.conda#sha256:{SHA}\n{URL}/python-1-0.conda#sha256:{SHA}\n"
    assert rig.is_marked


def test_the_pip_part_of_a_lock_is_installed_as_it_is(rig: Rig) -> None:
    by_conda(rig, "python")
    create: Any = rig.commands.answers["/opt/hub/conda/bin/conda",]
    rig.commands.answers["/opt/hub/conda/bin/conda",] = lambda argv: (python_of(rig), create(argv))[1]
    lock = conda_lock("python") + f"pip:\n  - 'six==1.17.0 --hash=sha256:{SHA}'\n"
    assert rig.run(manager="conda", lock=lock, packages=[]) == 0
    (install,) = (argv for argv in rig.commands.ran if argv[0] == UV)
    assert "--require-hashes" in install and "--dry-run" not in install
    assert rig.lock[-1] == f"  - 'six==1.17.0 --hash=sha256:{SHA}'"


OTHERWISE = [
    (("python",), "the environment is not what its lock says", f"without {URL}/numpy-1-0.conda"),
    (("python", "numpy", "more"), "the environment is not what its lock says", f"with {URL}/more-1-0.conda"),
]


@pytest.mark.parametrize(("names", "what", "why"), OTHERWISE)
def test_what_is_not_as_locked_does_not_count(rig: Rig, names: tuple[str, ...], what: str, why: str) -> None:
    by_conda(rig, *names)
    assert rig.run(manager="conda", lock=conda_lock("numpy", "python"), packages=[]) == 1
    assert (rig.told["what"], rig.told["why"]) == (what, why)
    assert not rig.is_marked


def test_another_file_than_the_lock_says_does_not_count_even_if_conda_takes_it(rig: Rig) -> None:
    by_conda(rig, "python", "numpy")
    lock = conda_lock("numpy", "python")
    assert rig.run(manager="conda", lock=lock.replace(f"numpy-1-0.conda#sha256:{SHA}", f"numpy-1-0.conda#sha256:{'b' * 64}")) == 1
    assert rig.told["what"] == "a download is not the file it should be"
    assert f"numpy-1-0.conda is {SHA}, and the lock says {'b' * 64}" in rig.told["why"]
    # Where the record does not tell, the archive in the cache does.
    (rig.cache / "conda-pkgs").mkdir()
    (rig.cache / "conda-pkgs/python-1-0.conda").write_bytes(b"evil")
    assert rig.run(manager="conda", lock=lock) == 1
    assert f"{URL}/python-1-0.conda is {hashlib.sha256(b'evil').hexdigest()}" in rig.told["why"]
    assert not rig.is_marked


@pytest.mark.parametrize(("manager", "lock", "what"), [
    ("conda", UV_LOCK, "conda cannot build this lock"),
    ("uv", conda_lock("python"), "uv cannot build this lock"),
    ("uv", "junk", "it is not a lock that can be built"),
])  # fmt: skip
def test_a_lock_that_cannot_be_built_starts_nothing(rig: Rig, manager: str, lock: str, what: str) -> None:
    assert rig.run(manager=manager, lock=lock) == 1
    assert rig.told["what"] == what
    assert rig.commands.ran == []


FILE = "channels: [mine]\ndependencies: [python, ipykernel, {pip: [six]}]\nprefix: /x\n"


def fetched(rig: Rig, tmp_path: Path, kind: str, text: str, *, sha256: str = "", **change: Any) -> int:
    """Build from what is behind an address."""
    path = tmp_path / "behind"
    path.write_text(text)
    digest = sha256 or hashlib.sha256(text.encode()).hexdigest()
    source = {"kind": kind, "place": path.as_uri(), "sha256": digest, "text": "", "channels": True}
    spec = {**rig.spec, "packages": [], "source": {**source, **change}}
    return run(spec, commands=rig.commands, web=Web())  # type: ignore[arg-type]


def test_an_environment_file_is_fetched_and_read(rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solves(rig)
    assert fetched(rig, tmp_path, "file", FILE) == 0
    assert (rig.cache / "asked.txt").read_text() == "ipykernel\nsix\n"
    assert "`prefix:` is not used" in capsys.readouterr().out
    assert sorted(path.name for path in rig.cache.iterdir()) == ["asked.txt", "build.lock", "solved.txt"]


def test_the_kernel_that_a_fetched_file_lacks_can_be_added_beside_it(rig: Rig, tmp_path: Path) -> None:
    rig.spec["pip"] = ["ipykernel"]
    solves(rig)
    assert fetched(rig, tmp_path, "file", "dependencies: [numpy]") == 0
    assert (rig.cache / "asked.txt").read_text() == "numpy\nipykernel\n"


@pytest.mark.parametrize(("own", "channel"), [(False, "conda-forge"), (True, "mine")])
def test_the_channels_of_a_file_count_unless_the_config_has_its_own(rig: Rig, tmp_path: Path, own: bool, channel: str) -> None:
    by_conda(rig, "python", "ipykernel")
    rig.spec["manager"] = "conda"
    fetched(rig, tmp_path, "file", FILE.replace(", {pip: [six]}", ""), channels=own)
    argv = rig.commands.ran[0]
    assert argv[argv.index("--channel") + 1] == channel
    assert rig.is_marked


def test_a_lock_is_fetched(rig: Rig, tmp_path: Path) -> None:
    assert fetched(rig, tmp_path, "lock", UV_LOCK) == 0
    assert rig.lock[-1] == f"  - 'six==1.17.0 --hash=sha256:{SHA}'"


@pytest.mark.parametrize(("kind", "text", "last"), [("lock", UV_LOCK, "six==1.17.0"), ("file", FILE, "numpy==2.4.6")])
def test_a_lock_or_a_file_of_a_repository_is_built(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str, text: str, last: str
) -> None:
    asked: list[Any] = []

    def text_of(work: Work, source: Any, *, most: int) -> str:
        asked.append((source["url"], source["commit"], source["place"], most))
        return text

    monkeypatch.setattr("hubd.jobs.repository.text_of", text_of)
    solves(rig)
    source = {"kind": kind, "place": "e/a", "url": "https://x.example/y", "commit": "ab" * 20, "sha256": "", "channels": True}
    assert rig.run(packages=[], source=source) == 0
    assert asked == [("https://x.example/y", "ab" * 20, "e/a", 8 * 1024 * 1024)]
    assert rig.lock[-1] == f"  - '{last} --hash=sha256:{SHA}'"


def test_what_is_wrong_in_a_file_of_a_repository_is_told_with_where_that_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.jobs.repository.text_of", lambda *_, **__: "dependencies:\n\t- x")
    source = {"kind": "file", "place": "e/a", "url": "https://x.example/y", "commit": "ab" * 20, "channels": True}
    assert rig.run(source=source) == 1
    assert rig.told["what"] == "e/a of https://x.example/y at abababababab cannot be used as it is"
    assert "line 2" in rig.told["why"]


UNUSABLE = [
    ("file", FILE, SHA, "is not the file it should be", f"expected {SHA}"),
    ("file", "dependencies: [numpy]", "", "behind cannot be used as it is", "ipykernel is not among the packages"),
    ("file", "dependencies:\n\t- x", "", "behind cannot be used as it is", "line 2"),
    ("lock", "junk", "", "it is not a lock that can be built", "line 1"),
]


@pytest.mark.parametrize(("kind", "text", "sha256", "what", "why"), UNUSABLE)
def test_what_was_fetched_and_cannot_be_used_starts_nothing(
    rig: Rig, tmp_path: Path, kind: str, text: str, sha256: str, what: str, why: str
) -> None:
    assert fetched(rig, tmp_path, kind, text, sha256=sha256) == 1
    assert what in rig.told["what"]
    assert why in rig.told["why"]
    assert rig.commands.ran == []


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
    ("", {"cell": 0, "error": "RuntimeError: Kernel didn't respond in 120 seconds"}, "its kernel does not run a cell",
     "RuntimeError: Kernel didn't respond in 120 seconds"),
    ("", {"cell": 1, "error": "NameError: x"}, "its kernel does not run a cell", "NameError: x"),
    ("", "Traceback\nbad", "its kernel does not run a cell", "bad"),
    ("n.ipynb", {"cell": 0, "error": "no"}, "its kernel does not run a cell", "no"),
    ("n.ipynb", {"cell": 3, "error": "ImportError: a\nb"}, "its notebook fails: n.ipynb in code cell 3", "b"),
    ("n.ipynb", {"cell": 3, "error": "\x1b[31mred\x07"}, "its notebook fails: n.ipynb in code cell 3", "red"),
    ("n.ipynb", {"cell": 2, "error": "", "late": True}, ENDLESS, "it may take 60 seconds"),
]  # fmt: skip


@pytest.mark.parametrize(("notebook", "found", "what", "why"), TRIALS)
def test_the_first_cell_that_fails_is_told(rig: Rig, notebook: str, found: Any, what: str, why: str) -> None:
    rig.commands.answers[TRIAL] = found if isinstance(found, str) else json.dumps(found)
    assert rig.run(notebook=notebook) == 1
    assert (rig.told["what"], rig.told["why"]) == (what, why)
    # A busy machine may be quicker the next time; a cell that fails fails again.
    assert rig.told["retry"] is (what == ENDLESS or "respond" in why)
    assert not rig.is_marked


def test_what_is_finished_is_closed_and_its_mark_says_how_it_was(rig: Rig) -> None:
    rig.commands.answers["/opt/hub/hub/bin/uv", "venv"] = lambda argv: (rig.prefix / "lib/python3.12/site-packages").mkdir(
        parents=True
    )
    assert rig.run() == 0
    assert [path for path in (rig.prefix, *rig.prefix.rglob("*")) if path.stat().st_mode & 0o222] == []
    mark = json.loads((rig.prefix / ".mark").read_text())
    assert mark["sealed"].keys() == {"bin", "lib", "lib/python3.12/site-packages"}
    assert mark["sealed"]["bin"] == (rig.prefix / "bin").stat().st_mtime_ns
    assert "The environment science is shared" in (rig.prefix / STARTUP).read_text()
    assert manifest.difference(rig.prefix, without=(".mark",)) is None
    (rig.prefix / STARTUP).chmod(0o644)
    (rig.prefix / STARTUP).write_text("pass")
    found = manifest.difference(rig.prefix, without=(".mark",))
    assert found is not None and (found.path, found.what, found.more) == (STARTUP, "changed", 0)


def test_all_is_on_the_disk_before_the_mark(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    # After a power cut a mark that is there must not stand over files that are empty.
    there: list[set[str]] = []
    monkeypatch.setattr("os.sync", lambda: there.append({path.name for path in rig.prefix.iterdir()}))
    assert rig.run() == 0
    assert there[-1] == {".hubd-files.gz", ".hubd-lock.yaml"} and rig.is_marked
    assert rig.told["phase"] == "writing it to the disk"


def test_the_mark_tells_what_was_asked_for_and_how_large_it_is(rig: Rig) -> None:
    solves(rig)
    assert rig.run(pip=["cowsay"]) == 0
    mark = json.loads((rig.prefix / ".mark").read_text())
    assert mark["packages"] == ["python=3.12", "ipykernel", "numpy=2", "cowsay"]
    assert mark["size"] > 0
    assert rig.run(packages=["x" * 300] * 400) == 0
    assert json.loads((rig.prefix / ".mark").read_text())["packages"] is None, "a mark that is too long would not count"
    assert rig.run(lock=UV_LOCK, packages=[]) == 0
    assert json.loads((rig.prefix / ".mark").read_text())["packages"] is None


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
    by_conda(rig, "python", "ipykernel", "numpy")
    create: Any = rig.commands.answers["/opt/hub/conda/bin/conda",]
    rig.commands.answers["/opt/hub/conda/bin/conda",] = lambda argv: ((rig.prefix / "lib/R").mkdir(parents=True), create(argv))[1]
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
    assert "solving 2 packages with uv" in said
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


def test_a_build_waits_for_another_as_long_as_its_own_time_lasts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    with (rig.cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def wait(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                fcntl.flock(lock, fcntl.LOCK_UN)

        monkeypatch.setattr("hubd.jobs.alone.time.sleep", wait)
        solves(rig)
        assert rig.run() == 0
        assert len(waited) == 3
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert rig.run(limits={"memory": None, "cpu": None, "time": 0}) == 1
        assert "took longer than builds.time" in rig.told["what"]
        assert rig.told["phase"] == "waiting for another build"
