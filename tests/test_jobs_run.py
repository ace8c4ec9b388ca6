"""Jobs: what they run, what they report, and that only a proven product gets its mark."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCommands

from hubd.errors import HubdError
from hubd.host.web import Web
from hubd.jobs import damage, smoke_kernel
from hubd.jobs.run import run
from hubd.jobs.with_rattler import install_exactly
from hubd.jobs.work import Work
from hubd.tools.lock import CondaPackage

CONDA_SAYS = json.dumps({"exception_name": "PackagesNotFoundError", "packages": ["nunpy"], "message": "no"})


class Rig:
    """A job's surroundings. spec: as the pass writes it."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.cache, self.report = folder / "envs/science/abc", folder / "cache", folder / "report.json"
        self.prefix.mkdir(parents=True)
        self.cache.mkdir()
        self.commands = FakeCommands()
        self.spec: dict[str, Any] = {
            "do": "environment",
            "job": "env-science",
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
    assert rig.commands.ran[2][0] == f"{rig.prefix}/bin/python"
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


RATTLER = ("/opt/hub/hub/bin/python", "-m", "hubd.jobs.rattler_child")
INSTALLED = [["python", "3.12.1", "h_0", "https://x/c/linux-64/python-3.12.1-h_0.conda", "a" * 64]]


def rattler_installs(rig: Rig, *talk: str) -> None:
    """Let the child say this, as lines that come one by one, and leave an environment."""

    def answer(argv: tuple[str, ...]) -> str:
        (rig.prefix / "conda-meta").mkdir()
        (rig.prefix / "conda-meta/python-2.7.18-h_0.json").write_text("{}")
        (rig.prefix / "bin").mkdir()
        (rig.prefix / "bin/python").touch()
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
    assert rig.commands.ran[1][1:] == ("-m", "compileall", "-q", f"{rig.prefix}/lib/python2.7/site-packages")
    history = (rig.prefix / "conda-meta/history").read_text().splitlines()
    assert "+https://x/c/linux-64::python-3.12.1-h_0" in history
    assert "manager: rattler" in (rig.prefix / ".hubd-lock.yaml").read_text()
    assert "talk" in capsys.readouterr().out
    assert rig.is_marked


def test_rattler_installs_exactly_what_it_is_given(rig: Rig) -> None:
    rattler_installs(rig)
    package = CondaPackage(*INSTALLED[0])
    work = Work(rig.spec, rig.commands, Web(), print)  # type: ignore[arg-type]
    lock = install_exactly(work, rig.prefix, [package])
    order = json.loads(rig.commands.options[0]["stdin"])
    assert (order["specs"], order["packages"]) == ([], [[package.url, package.sha256]])
    assert lock.conda == (package,)


def test_those_who_follow_see_how_far_rattler_is(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [("downloading", 1, 40), ("linking", 1, 40), ("downloading", 2, 40), ("downloading", 3, 40), ("downloading", 40, 40),
             ("linking", 39, 40), ("linking", 40, 40)]  # fmt: skip
    rattler_installs(rig, *(json.dumps({"step": step, "done": done, "total": total}) for step, done, total in steps))
    assert rig.run(manager="rattler") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if " of " in line]
    assert said == [f"{step} packages, {done} of 40" for step, done in [
        ("downloading", 1), ("downloading", 2), ("downloading", 40), ("linking", 39), ("linking", 40)
    ]]  # fmt: skip


def test_a_word_of_success_from_a_rattler_that_was_killed_is_not_believed(rig: Rig) -> None:
    rig.commands.answers[RATTLER] = -9
    assert rig.run(manager="rattler") == 1
    assert rig.told["what"] == "rattler could not build the environment"
    rig.commands.answers[RATTLER] = json.dumps({"step": "solving"})
    assert rig.run(manager="rattler") == 1
    assert rig.told["what"] == "rattler could not build the environment"
    assert not rig.is_marked


CONDA = ("/opt/hub/conda/bin/conda",)
MODULE = "lib/python3.12/site-packages/a.py"


def conda_installs(rig: Rig, *texts: str) -> None:
    """Let conda put a package with this module in it there, run after run, and say that all went well."""
    runs = iter(texts)

    def create(argv: tuple[str, ...]) -> str:
        assert list(rig.prefix.iterdir()) == []
        (rig.prefix / MODULE).parent.mkdir(parents=True)
        (rig.prefix / MODULE).write_text(next(runs))
        meta = rig.prefix / "conda-meta"
        meta.mkdir()
        (meta / "history").touch()
        entry = {"_path": MODULE, "path_type": "hardlink", "size_in_bytes": 5, "sha256": hashlib.sha256(b"whole").hexdigest()}
        (meta / "a-1-0.json").write_text(json.dumps({"name": "a", "paths_data": {"paths": [entry]}}))
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
    cached.commands.answers[f"{cached.prefix}/bin/python",] = 1
    assert cached.run(manager="conda") == 1
    assert cached.told["what"] == "its kernel does not run a cell"
    assert len(conda_cache(cached)) == 4


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


def test_an_environment_counts_only_when_its_kernel_ran_a_cell(rig: Rig) -> None:
    rig.commands.answers[f"{rig.prefix}/bin/python",] = 1
    assert rig.run() == 1
    assert rig.told["what"] == "its kernel does not run a cell"
    assert rig.told["at"] > 1_700_000_000
    assert not rig.is_marked


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


@pytest.mark.parametrize(("language", "program"), [("python", "/e/bin/python"), ("R", "/e/bin/R")])
def test_how_a_kernel_is_tried(language: str, program: str) -> None:
    assert smoke_kernel.argv("/e", language)[0] == program
    assert "{connection_file}" in smoke_kernel.argv("/e", language)
    assert language in smoke_kernel.CELLS
