"""`hubd env diff`, `lock` and `export`: what generations consist of, as words, JSON and files."""

from __future__ import annotations

import json
import shlex
import sys
from types import SimpleNamespace

import pytest
from click.shell_completion import ShellComplete
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.cli.env_names import complete_generation
from hubd.cli.main import Context, root, run
from hubd.errors import ExitCode
from hubd.resources.environment import Environment
from hubd.tools.lock import SAVED, CondaPackage, Lock, lock_text

SHA = "a" * 64
HASH = f" --hash=sha256:{SHA}"


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which two generations of science are whole, each with a lock of conda packages and a pip part."""
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: host.layout)
    monkeypatch.setattr("hubd.cli.env_names.daemon_answers", lambda layout: False)
    made = Machine(host, owners, monkeypatch)
    made.begin(CONFIG, CONFIG.replace("ipykernel", "ipykernel, numpy"))
    put(made, 1, conda("scipy-1.1-0", "ipykernel-6.29-h1_0"), "six==1.0")
    put(made, 2, conda("numpy-2.4-0", "ipykernel-6.29-h1_1"), "six==1.1")
    return made


def conda(*files: str, channel: str = "https://conda.anaconda.org/conda-forge") -> tuple[CondaPackage, ...]:
    found = (each.rsplit("-", 2) for each in files)
    return tuple(CondaPackage(*each, f"{channel}/noarch/{'-'.join(each)}.conda", SHA) for each in found)


def put(machine: Machine, number: int, packages: tuple[CondaPackage, ...], *pip: str) -> None:
    lock = Lock(manager="conda", platform="linux-64", conda=packages, pip=tuple(pin + HASH for pin in pip))
    (machine.layout.envs / f"science/{number}" / SAVED).write_text(lock_text(lock))


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = ExitCode.DONE) -> str:
    """What a command printed."""
    assert run(["env", *words]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return str(out + err)


def test_two_generations_compared(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "diff", "science").splitlines() == [
        "science: generation 1 → 2: +1 −1, six 1.0 → 1.1, 1 of the same version built anew",
        "  + numpy 2.4",
        "  − scipy 1.1",
        "  * ipykernel 6.29, build h1_0 → h1_1",
        "  * six 1.0 → 1.1 (PyPI)",
    ]
    assert "generation 2 → 1: +1 −1, six 1.1 → 1.0" in said(capsys, "diff", "science", "2", "1")
    assert said(capsys, "diff", "science", "2") == "science: generation 2 → 2: the same packages\n"
    found = json.loads(said(capsys, "diff", "science", "--json"))
    assert (found["from"], found["to"], found["added"][0]["name"]) == (1, 2, "numpy")
    six = {"name": "six", "source": "PyPI", "before": {"version": "1.0", "build": ""}, "after": {"version": "1.1", "build": ""}}
    assert found["changed"][1] == six


def test_generations_of_two_managers_are_compared_by_name(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    lock = Lock(manager="uv", platform="linux-64", python="3.12", pip=(f"SciPy==1.2{HASH}", f"six==1.0{HASH}"))
    (machine.layout.envs / "science/2" / SAVED).write_text(lock_text(lock))
    assert said(capsys, "diff", "science").splitlines() == [
        "science: generation 1 → 2: by uv instead of conda, +1 −1, SciPy 1.1 → 1.2",
        "  + python 3.12",
        "  − ipykernel 6.29",
        "  * SciPy 1.1 → 1.2",
    ]


NOT_COMPARED = [
    (("science", "7"), ExitCode.USAGE, "science has no generation 7\n  There are: 2, 1."),
    (("science", "1", "9"), ExitCode.USAGE, "science has no generation 9"),
    (("sciense",), ExitCode.USAGE, "Did you mean science?"),
    (("../../etc",), ExitCode.USAGE, "there is no environment"),
    ((".hidden",), ExitCode.USAGE, "there is no environment"),
    (("science", "0"), ExitCode.USAGE, "0 is not in the range"),
    (("server",), ExitCode.FAILED, "server has no generation before 1 to compare it with"),
]


@pytest.mark.parametrize(("words", "code", "told"), NOT_COMPARED)
def test_what_cannot_be_compared(
    machine: Machine, words: tuple[str, ...], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.layout.envs / ".hidden").mkdir()
    assert told in said(capsys, "diff", *words, code=code)


def test_the_oldest_one_can_be_compared_with_newer_ones(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (machine.layout.envs / "science/current").unlink()
    (machine.layout.envs / "science/current").symlink_to("1")
    told = said(capsys, "diff", "science", code=ExitCode.FAILED)
    assert told.endswith("  With generation 2, which is newer: hubd env diff science 2 1\n"), told


def test_one_that_is_not_built_yet(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (machine.layout.envs / "new/1").mkdir(parents=True)
    assert "nothing of new is built yet" in said(capsys, "diff", "new", code=ExitCode.FAILED)
    (machine.layout.envs / "science/current").unlink()
    assert "no generation of science is switched on" in said(capsys, "diff", "science", code=ExitCode.USAGE)


BAD_LOCKS = [
    (None, "is not there"),
    ("numpy\n", "cannot be used: it is not a lock that can be built"),
    (f"manager: uv\nplatform: linux-64\npip:\n  - 'six==1\x1b[2J{HASH}'\n", "cannot be used"),
]


@pytest.mark.parametrize(("text", "told"), BAD_LOCKS)
def test_a_lock_that_a_build_spoilt_is_told(
    machine: Machine, text: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = machine.layout.envs / "science/2" / SAVED
    path.unlink()
    if text:
        path.write_text(text)
    answer = said(capsys, "diff", "science", code=ExitCode.FAILED)
    assert f"{SAVED} {told}" in answer
    assert "\x1b" not in answer


def test_generations_are_completed(machine: Machine) -> None:
    def completed(name: str | None, start: str) -> list[str]:
        ctx = SimpleNamespace(obj=SimpleNamespace(layout=machine.layout), params={"name": name}, args=[])
        return [item.value for item in complete_generation(ctx, None, start)]  # type: ignore[arg-type]

    assert completed("science", "") == ["2", "1"]
    assert completed("science", "1") == ["1"]
    assert completed("nobody", "") == completed(None, "") == []


def test_the_servers_own_generations_are_compared_too(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    lock = Lock(manager="uv", platform="linux-64", pip=(f"jupyterlab==4.5{HASH}",))
    (machine.layout.versions / "server-1" / SAVED).write_text(lock_text(lock))
    assert said(capsys, "diff", "server", "1", "1") == "server: generation 1 → 1: the same packages\n"


CONFIGS = [
    # the section before, the place, what config.yaml is to be changed by
    ("{packages: [ipykernel], keep: 5, kernel: {display_name: A b}}", None,
     "hubd config set environments.science '{lock: environments/science.lock, keep: 5, kernel: {display_name: A b}}'"),
    ("{packages: [ipykernel], manager: uv}", None,
     "hubd config set environments.science '{lock: environments/science.lock, manager: conda}'"),
    ("{lock: environments/other.lock}", None, "hubd config set environments.science.lock environments/science.lock"),
    ("{lock: environments/other.lock, manager: uv}", None,
     "hubd config set environments.science '{lock: environments/science.lock, manager: conda}'"),
    ("{lock: environments/other.lock}", "away/it s.lock", "hubd config set environments.science.lock '"),
    ("{lock: environments/science.lock}", None, ""),
    (f"{{lock: environments/science.lock, git: {{url: 'https://x.example/y', commit: {'ab' * 20}}}, keep: 5}}", None,
     "hubd config set environments.science '{lock: environments/science.lock, keep: 5}'"),
    (None, None, "hubd config set environments.science '{lock: environments/science.lock}'"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "place", "use"), CONFIGS)
def test_a_lock_is_written_and_how_to_use_it_is_said(
    machine: Machine, section: str | None, place: str | None, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.write(f"environments: {{science: {section}}}\n" if section else "[")
    (machine.layout.prefix.parent / "away").mkdir()
    path = machine.layout.prefix.parent / place if place else machine.layout.prefix / "environments/science.lock"
    told = said(capsys, "lock", "science", *(("--to", str(path)) if place else ()))
    assert told.startswith(f"{path}: the lock of science, generation 2\n")
    assert f"To build science from it: {use}" in told if use else told.endswith("config.yaml builds science from it.\n")
    assert path.read_text() == (machine.layout.envs / "science/2" / SAVED).read_text()
    assert "already" in said(capsys, "lock", "science", *(("--to", str(path)) if place else ()))


def test_the_command_that_is_said_is_taken(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    use = json.loads(said(capsys, "lock", "science", "--json"))["use"]
    assert run(shlex.split(use)[1:]) == ExitCode.DONE
    capsys.readouterr()
    assert "config.yaml builds science from it." in said(capsys, "lock", "science")
    assert "environment:science" in {gap.resource.id for gap in machine.make(act=False).plan.changes}


def test_a_lock_of_another_generation_and_on_the_terminal(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    text = (machine.layout.envs / "science/1" / SAVED).read_text()
    assert said(capsys, "lock", "science", "--generation", "1", "--to", "-") == text
    assert not (machine.layout.prefix / "environments").exists()
    assert "exclude each other" in said(capsys, "lock", "science", "--to", "-", "--json", code=ExitCode.USAGE)
    assert "no generation 5" in said(capsys, "lock", "science", "--generation", "5", code=ExitCode.USAGE)


def test_another_file_is_not_written_over(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    path = machine.layout.prefix / "environments/science.lock"
    path.parent.mkdir()
    path.write_text("mine\n")
    path.chmod(0o600)
    assert "Write over it: --force." in said(capsys, "lock", "science", code=ExitCode.FAILED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        assert "Write over it: sudo, and --force." in said(capsys, "lock", "science", code=ExitCode.FAILED)
    assert path.read_text() == "mine\n"
    said(capsys, "lock", "science", "--force")
    assert path.read_text().startswith("# hubd lock")
    assert path.stat().st_mode & 0o777 == 0o600, "who could not read it still cannot"
    path.unlink()
    path.mkdir()
    assert "is not a file" in said(capsys, "lock", "science", "--force", code=ExitCode.FAILED)
    told = said(capsys, "lock", "science", "--to", str(path / "a/b.lock"), code=ExitCode.FAILED)
    assert "could not be written" in told and "Use sudo, or write to another place: --to FILE." in told


SHARING = """\
environments:
  science: {lock: environments/science.lock}
  maps: {lock: environments/../environments/science.lock}
  whole: {lock: PREFIX/environments/science.lock}
  old: {lock: environments/science.lock, frozen: true}
  other: {lock: environments/other.lock}
  cloned: {lock: environments/science.lock, git: {url: 'https://x.example/y', commit: COMMIT}}
  broken: []
"""


def test_what_else_is_built_from_that_file_is_named_before_and_after(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    path = machine.layout.prefix / "environments/science.lock"
    path.parent.mkdir()
    path.write_text("theirs\n")
    machine.write(SHARING.replace("PREFIX", str(machine.layout.prefix)).replace("COMMIT", "ab" * 20))
    assert "because config.yaml builds science, maps, whole from it\n" in said(capsys, "lock", "science", code=ExitCode.FAILED)
    told = said(capsys, "lock", "science", "--force")
    assert "config.yaml builds maps, whole from it, too, and does so anew now: `hubd plan` shows how.\n" in told
    assert "from it, too" not in said(capsys, "lock", "science", "--force"), "it is the same as before"
    machine.write("[")
    assert "an environment may be built from it" in said(capsys, "lock", "science", "--generation", "1", code=ExitCode.FAILED)


def test_an_export_is_taken_back(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "export", "science")
    assert text.startswith("# The environment science, generation 2, as it was built on this hub.\n")
    (machine.layout.prefix / "science.yml").write_text(text)
    machine.write("environments: {again: {file: science.yml, manager: conda}}\n")
    wished = {gap.resource.id: gap.resource for gap in machine.make(act=False).plan.changes}["environment:again"]
    assert isinstance(wished, Environment)
    assert (wished.packages, wished.pip, wished.channels) == (
        ("ipykernel=6.29=h1_1", "numpy=2.4=0"), ("six==1.1",), ("conda-forge",)
    )  # fmt: skip
    found = json.loads(said(capsys, "export", "science", "--generation", "1", "--json"))
    assert found["dependencies"] == ["ipykernel=6.29=h1_0", "scipy=1.1=0", {"pip": ["six==1.0"]}]


LINES = [
    # what was typed, and what it is completed to
    ("env ex", ["export"]),
    *((f"env {verb} sc", ["science"]) for verb in ("build", "diff", "export", "lock", "rollback", "show", "why")),
    ("env diff science ", ["2", "1"]),
    ("env diff science 1 2", ["2"]),
    ("env lock science --generation ", ["2", "1"]),
    ("env export --generation 1 sc", ["science"]),
    ("env rollback science --to ", ["2", "1"]),
    ("env gc --d", ["--dry-run"]),
]


@pytest.mark.parametrize(("typed", "completed"), LINES)
def test_a_shell_completes_names_and_numbers(machine: Machine, typed: str, completed: list[str]) -> None:
    before, _, word = typed.rpartition(" ")
    complete = ShellComplete(root, {"obj": Context(machine.layout)}, "hubd", "_HUBD_COMPLETE")
    assert [item.value for item in complete.get_completions(before.split(), word)] == completed
