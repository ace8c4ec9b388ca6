"""The job that asks a manager what it would install: what it runs, what it reports, and that nothing else is left."""

from __future__ import annotations

import fcntl
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCommands

from hubd.jobs import rattler_child
from hubd.jobs.run import run
from hubd.tools.lock import CondaPackage, Lock, lock_text
from hubd.tools.solved import NAME, Solved, parse_solved

UV, CONDA, PYTHON = "/opt/hub/hub/bin/uv", "/opt/hub/conda/bin/conda", "/opt/hub/hub/bin/python"
SHA = "a" * 64


class Rig:
    """A job's surroundings. spec: as hubd writes it."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.folder = folder / "cache", folder / "reports/solve-geo"
        self.cache.mkdir()
        self.folder.mkdir(parents=True)
        self.commands = FakeCommands()
        self.spec: dict[str, Any] = {
            "do": "solve", "job": "solve-geo", "environment": "geo", "digest": "d", "manager": "uv",
            "packages": ["python=3.12", "ipykernel"], "pip": [], "lock": "", "source": {}, "requirements": "",
            "channels": ["conda-forge"], "conda": "/opt/hub/conda", "uv": UV, "cache": str(self.cache),
            "pythons": str(folder / "pythons"), "smoke": "python", "result": str(self.folder / "report.json"), "tries": 0,
            "limits": {"memory": None, "cpu": None, "time": 7200},
        }  # fmt: skip

    def run(self, **change: Any) -> dict[str, Any]:
        """Do it; gives the report. Nothing but that and the answer may be left of it."""
        run({**self.spec, **change}, commands=self.commands)  # type: ignore[arg-type]
        left = {path.name for path in self.folder.iterdir()}
        assert left <= {"report.json", NAME}, left
        return dict(json.loads((self.folder / "report.json").read_text()))

    @property
    def solved(self) -> Solved:
        return parse_solved((self.folder / NAME).read_text())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def by_uv(rig: Rig, *, python_is_there: bool = True, download: str | int = "Would download 2 packages\n") -> None:
    def make(argv: tuple[str, ...]) -> int | None:
        if "--no-python-downloads" in argv and not python_is_there:
            return 2
        (Path(argv[-1]) / "pyvenv.cfg").write_text("version_info = 3.12.4\n")
        return None

    def compile_list(argv: tuple[str, ...]) -> None:
        Path(argv[argv.index("--output-file") + 1]).write_text(f"numpy==2.4 --hash=sha256:{SHA}\n")

    rig.commands.answers.update({
        (UV, "venv"): make, (UV, "pip", "compile"): compile_list, (UV, "pip", "install"): download,
    })  # fmt: skip


def test_by_uv(rig: Rig) -> None:
    by_uv(rig)
    assert rig.run(pip=["cowsay"])["state"] == "done"
    assert rig.solved == Solved(
        lock=Lock(manager="uv", platform=rig.solved.lock.platform, python="3.12", pip=(f"numpy==2.4 --hash=sha256:{SHA}",)),
        downloads=2,
    )
    assert (rig.cache / "asked.txt").read_text() == "ipykernel\ncowsay\n"
    make, _, install = rig.commands.ran
    assert make[-1] == str(rig.folder / "work/environment"), "no generation"
    assert "--dry-run" in install
    assert rig.commands.options[0]["environment"]["UV_PYTHON_INSTALL_DIR"] == rig.spec["pythons"]


def test_a_python_that_is_not_there_is_fetched_and_not_kept(rig: Rig) -> None:
    by_uv(rig, python_is_there=False)
    assert rig.run()["state"] == "done"
    assert rig.solved.lock.python == "3.12"
    where = [each["environment"]["UV_PYTHON_INSTALL_DIR"] for each in rig.commands.options]
    assert where == [rig.spec["pythons"], *[str(rig.folder / "work/pythons")] * 3]


def test_how_much_comes_may_stay_unknown(rig: Rig) -> None:
    by_uv(rig, download=2)
    assert rig.run()["state"] == "done"
    assert rig.solved.downloads is None


def test_a_locked_list_needs_no_solving(rig: Rig, tmp_path: Path) -> None:
    by_uv(rig)
    (tmp_path / "list.txt").write_text(f"jupyterlab==4.5 \\\n    --hash=sha256:{SHA}\n")
    assert rig.run(requirements=str(tmp_path / "list.txt"))["state"] == "done"
    assert rig.solved.lock.pip == (f"jupyterlab==4.5 --hash=sha256:{SHA}",)
    assert [argv[1:3] for argv in rig.commands.ran] == [("venv", "--allow-existing"), ("pip", "install")]


LINK = [{"name": name, "version": "1", "build_string": "0", "base_url": "https://x"} for name in ("python", "ipykernel")]
ANSWER = {"success": True, "dry_run": True, "actions": {"PREFIX": "/x", "LINK": LINK, "FETCH": [{"name": "python", "size": 9}]}}


def test_by_conda(rig: Rig) -> None:
    rig.commands.answers[CONDA,] = json.dumps(ANSWER)
    assert rig.run(manager="conda", pip=["cowsay==6.1"])["state"] == "done"
    found = rig.solved
    assert [(each.name, each.version, each.build) for each in found.lock.conda] == [("python", "1", "0"), ("ipykernel", "1", "0")]
    assert (found.unsolved, found.downloads, found.size) == (("cowsay==6.1",), 1, 9)
    (argv,) = rig.commands.ran
    assert argv[1:3] == ("create", "--dry-run")
    assert rig.commands.options[0]["environment"]["CONDA_PKGS_DIRS"] == str(rig.cache / "conda-pkgs")


WRONG: list[tuple[Any, str]] = [
    ("", "conda could not build the environment"),
    (json.dumps({"success": True}), "conda could not build the environment"),
    (json.dumps({**ANSWER, "actions": {"LINK": LINK[:1]}}), "conda left the environment incomplete"),
    (json.dumps({"exception_name": "PackagesNotFoundError", "packages": ["nunpy"], "message": "no"}),
     "a package is not in the channels"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "what"), WRONG)
def test_what_conda_could_not_do(rig: Rig, answer: str, what: str) -> None:
    rig.commands.answers[CONDA,] = answer
    report = rig.run(manager="conda")
    assert (report["state"], report["what"]) == ("failed", what)


def test_a_conda_that_the_job_may_not_even_look_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Path.lstat

    def refuse(path: Path) -> Any:
        if path.is_relative_to("/root/bin"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    report = rig.run(manager="conda", conda="/root/bin/micromamba")
    assert report["what"] == "/root/bin/micromamba cannot be used"
    assert report["why"] == "the account that builds may not go there" and "correct conda.path" in report["fix"]
    assert (report["retry"], rig.commands.ran) == (False, [])


def test_by_rattler(rig: Rig) -> None:
    package = ["python", "3.12", "h", "https://x/linux-64/python-3.12-h.conda", SHA]
    rig.commands.answers[PYTHON,] = json.dumps({"solved": [package], "downloads": 1, "size": None})
    assert rig.run(manager="rattler", pip=["cowsay"])["state"] == "done"
    assert rig.solved.lock == Lock(manager="rattler", platform=rig.solved.lock.platform, conda=(CondaPackage(*package),))
    assert (rig.solved.unsolved, rig.solved.downloads, rig.solved.size) == (("cowsay",), 1, None)
    assert json.loads(rig.commands.options[0]["stdin"])["only_solve"] is True


def test_what_rattler_could_not_do(rig: Rig) -> None:
    rig.commands.answers[PYTHON,] = json.dumps({"failed": "SolverError", "text": "no"})
    assert rig.run(manager="rattler")["what"] == "the packages do not fit together"


def test_a_lock_behind_an_address_needs_no_manager(rig: Rig) -> None:
    lock = Lock(manager="conda", platform="linux-64", conda=(CondaPackage("a", "1", "0", "https://x/noarch/a-1-0.conda"),))
    assert rig.run(manager="conda", lock=lock_text(lock))["state"] == "done"
    assert rig.solved == Solved(lock=lock)
    assert rig.commands.ran == []


def test_what_is_asked_for_elsewhere_is_fetched_first(rig: Rig) -> None:
    lock = Lock(manager="conda", platform="linux-64", conda=(CondaPackage("a", "1", "0", "https://x/noarch/a-1-0.conda"),))

    class Fetches:
        def download(self, place: str, path: Path, *, sha256: str) -> None:
            assert (place, sha256) == ("https://x/a.lock", SHA)
            path.write_text(lock_text(lock))

    source = {"kind": "lock", "place": "https://x/a.lock", "sha256": SHA}
    run({**rig.spec, "manager": "conda", "source": source}, commands=rig.commands, web=Fetches())  # type: ignore[arg-type]
    assert (rig.solved, rig.commands.ran) == (Solved(lock=lock), [])


def test_a_solve_waits_for_the_cache_as_builds_do(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    by_uv(rig)
    phases = []
    with (rig.cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def sleep(seconds: float) -> None:
            phases.append(json.loads((rig.folder / "report.json").read_text())["phase"])
            fcntl.flock(lock, fcntl.LOCK_UN)

        monkeypatch.setattr("hubd.jobs.environment.time.sleep", sleep)
        assert rig.run()["state"] == "done"
    assert phases == ["waiting for another build"]


class _Index:
    def contains_record(self, record: Any) -> bool:
        return bool(record == "there")


class _Cache:
    async def index(self) -> _Index:
        return _Index()


def test_the_child_tells_and_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stdin:
        class buffer:  # noqa: N801
            @staticmethod
            def read() -> str:
                order = {"prefix": "/x", "cache": str(tmp_path), "specs": ["a"], "channels": [], "packages": []}
                return json.dumps({**order, "only_solve": True})

    class Record(str):
        __slots__ = ("size",)

    records = [Record("there"), Record("not there")]
    records[0].size, records[1].size = 5, 7

    async def solved(*_: Any) -> list[Record]:
        return records

    monkeypatch.setattr(sys, "stdin", Stdin)
    monkeypatch.setattr(rattler_child, "solved", solved)
    monkeypatch.setattr(rattler_child, "told", str)
    monkeypatch.setattr(rattler_child.PackageCache, "new_layered", lambda *_: _Cache())
    monkeypatch.setattr(rattler_child.rattler, "install", lambda *_, **__: pytest.fail("it installs"))
    assert rattler_child.main() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"solved": ["there", "not there"], "downloads": 1, "size": 7}
