"""`hubd env …`: words and JSON, and what people without rights see."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd.cli.env_change import _following, build_lines, rollback_lines
from hubd.cli.env_look import list_lines, show_lines, why_lines
from hubd.cli.env_names import complete_environment, state_words
from hubd.cli.main import run
from hubd.errors import ExitCode, HubdError
from hubd.host import files
from hubd.resources.job import order_path, result_path
from hubd.tools.lock import SAVED, CondaPackage, Lock, lock_text
from hubd.words import about, day, table


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine without a daemon, on which everything is right, and an empty home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HUBD_OWN_ENVIRONMENTS", "JUPYTER_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("hubd.host.local_host", lambda layout, **options: host)
    monkeypatch.setattr(sys.modules["hubd.cli.main"], "layout_of", lambda prefix: host.layout)
    for module in ("env_names", "env_change"):
        monkeypatch.setattr(f"hubd.cli.{module}.daemon_answers", lambda layout: False)
    made = Machine(host, owners, monkeypatch)
    made.begin()
    return made


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = ExitCode.DONE) -> str:
    """What a command printed."""
    assert run(list(words)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out + err


def test_list(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    head, line = said(capsys, "env", "list").splitlines()
    assert head.split() == ["NAME", "STATE", "GENERATION", "BUILT", "BY", "KERNEL", "FOR"]
    assert line.split() == ["science", "right", "1", "uv", "science", "everybody"]
    assert "OWN" in said(capsys, "env", "list", "--sizes")
    found = json.loads(said(capsys, "env", "list", "--sizes", "--json"))
    assert found["environments"][0]["disk"]["own"] > 0
    assert found["disk"] == found["environments"][0]["disk"]


def own(home: Path) -> Path:
    """An environment that somebody made by uv, and what is none."""
    prefix = home / "envs/maps"
    for folder in ("share/jupyter/kernels/python3", "lib/python3.12/site-packages/numpy-2.3.dist-info"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9\nversion_info = 3.12.1\n")
    (home / "envs/notes").mkdir()
    return prefix


def test_ones_own_are_listed_and_shown_to_their_person(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = own(Path.home())
    (prefix.parent / "science/conda-meta").mkdir(parents=True)
    (prefix.parent / "science/conda-meta/history").touch()
    _, _, maps, science, twice = said(capsys, "env", "list").splitlines()
    assert twice == "science is there twice: `hubd-env science` is the hub's, `hubd-env --own science` is yours."
    assert maps.split()[:3] == ["maps", "my", "own"] and maps.endswith("  uv     maps (my own)  me alone")
    assert science.split()[:3] == ["science", "my", "own"] and "conda" in science
    found = json.loads(said(capsys, "env", "list", "--sizes", "--json"))
    assert [each["name"] for each in found["environments"]] == ["science"]
    assert found["own"][0]["disk"]["own"] > 0
    lines = said(capsys, "env", "show", "maps").splitlines()
    assert lines[0].startswith("maps: my own, made 2") and lines[0].endswith(" by uv")
    assert lines[1] == "  kernel maps (my own), for me alone"
    assert lines[2].startswith("  1 package, ") and lines[2].endswith(f"in {prefix}")
    shown = json.loads(said(capsys, "env", "show", "maps", "--json"))
    assert (shown["own"], shown["python"], shown["packages"]) == (True, "3.12", 1)
    assert "an environment of your own" in said(capsys, "env", "why", "maps")
    shown = said(capsys, "env", "show", "science")
    assert shown.startswith("science: right\n") and shown.endswith(f"\n{twice}\n"), "the hub's, as hubd-env takes it"
    for words in (("science (my own)",), ("--own", "science")):
        shown = said(capsys, "env", "show", *words)
        assert shown.startswith("science: my own, made 2") and "In a terminal: hubd-env --own science " in shown
    assert "A shell in it: hubd-env --own science " in said(capsys, "env", "why", "science (my own)")
    assert "no environment none of your own" in said(capsys, "env", "show", "none (my own)", code=ExitCode.USAGE)
    assert "there is no environment 'notes'" in said(capsys, "env", "show", "notes", code=ExitCode.USAGE)


def test_a_folder_that_may_not_be_read_hides_none_of_the_others(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = own(Path.home()) / "share/jupyter/kernels"
    children = files.children

    def refuses(folder: Path) -> Any:
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return children(folder)

    monkeypatch.setattr(files, "children", refuses)
    found = json.loads(said(capsys, "env", "list", "--json"))
    assert [(each["name"], each["kernel"]) for each in found["own"]] == [("maps", False)]


def test_show(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    lines = said(capsys, "env", "show", "science").splitlines()
    assert lines[:2] == ["science: right", "  kernel science, for everybody"]
    assert lines[3].endswith("switched on, as config.yaml asks") and lines[3].split()[0] == "2"
    assert lines[4].split()[0] == "1" and "switched on" not in lines[4]
    found = json.loads(said(capsys, "env", "show", "science", "--json"))
    assert [each["number"] for each in found["generations"]] == [2, 1]
    assert found["generations"][0]["disk"]["own"] > 0


def test_builds_of_the_same_can_be_told_apart(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    def remarks() -> list[str]:
        rows = said(capsys, "env", "show", "science").splitlines()[3:]
        return [row.rpartition("  ")[2] for row in rows if row.split()[0].isdigit()]

    for _ in range(2):
        assert run(["env", "build", "science", "--no-wait"]) == ExitCode.DONE
        machine.settle()
    capsys.readouterr()
    same, last = "an earlier build of the same", "goes with the next build"
    assert remarks() == ["switched on, as config.yaml asks", same, f"{same}, {last}"]
    assert run(["env", "rollback", "science", "--to", "1"]) == ExitCode.DONE
    machine.settle()
    capsys.readouterr()
    assert remarks() == ["as config.yaml asks", same, f"switched on, {same}"]
    machine.write(CONFIG + "    keep: 0\n")
    machine.host.processes[machine.layout.envs / "science/2"] = 1
    assert remarks() == ["as config.yaml asks, goes with the next build", f"{same}, goes when the programs that use it end",
                         f"switched on, {same}"]  # fmt: skip
    machine.host.processes.clear()
    assert remarks()[1] == f"{same}, goes with the next pass"


def test_show_tells_what_each_generation_brought(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    for number, version in ((1, "2.3"), (2, "2.4")):
        pins = (f"numpy=={version} --hash=sha256:{'a' * 64}",)
        (machine.layout.envs / f"science/{number}" / SAVED).write_text(lock_text(Lock(manager="uv", platform="x-y", pip=pins)))
    assert "  generation 1 → 2: numpy 2.3 → 2.4\n" in said(capsys, "env", "show", "science")
    assert "science: generation 2 → 1: numpy 2.4 → 2.3\n" in said(capsys, "env", "rollback", "science")


def test_show_tells_what_is_past_its_end_of_life(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    saved = machine.layout.envs / "science/1" / SAVED
    built = CondaPackage("python", "2.7.18", "h_0", "https://c.example/linux-64/python-2.7.18-h_0.conda")
    by_uv = Lock(manager="uv", platform="x-y", python="3.9.1", pip=(f"numpy==2.3 --hash=sha256:{'a' * 64}",))
    for version, lock in (("2.7.18", Lock(manager="conda", platform="x-y", conda=(built,))), ("3.9.1", by_uv)):
        saved.write_text(lock_text(lock))
        lines = said(capsys, "env", "show", "science").splitlines()
        assert lines[2] == f"  its Python {version} is past its end of life"
    saved.write_text(lock_text(replace(by_uv, python="3.13")))
    assert "end of life" not in said(capsys, "env", "show", "science")


def test_why(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "env", "why", "science") == "science: right; nothing failed\n"
    machine.write(CONFIG.replace("manager: uv", "manager: conda") + "conda: {path: /nowhere}\n")
    told = said(capsys, "env", "why", "science")
    assert told.startswith("✗ science cannot be built without the conda in /nowhere\n  because there is no conda at /nowhere")
    assert "Correct conda.path" in told and "People have generation 1 meanwhile." in told
    assert json.loads(said(capsys, "env", "why", "science", "--json"))["trouble"]["what"].startswith("science cannot be built")


def test_why_names_the_conda_that_it_waits_for(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.slow = True
    machine.write(CONFIG + "  stats: {packages: [ipykernel], manager: conda}\n")
    machine.make()
    waits = f"it waits for conda in {machine.layout.conda} (installing: starting)"
    assert said(capsys, "env", "why", "stats") == f"stats: waiting, build stats with conda from 1 package; {waits}\n"
    machine.host.init.units.pop("hubd-job-conda.service")
    order = json.loads(order_path(machine.layout, "conda").read_text())
    report = {"state": "failed", "digest": order["digest"], "what": "conda was not downloaded", "why": "no route",
              "ended": machine.host.now}  # fmt: skip
    result_path(machine.layout, "conda").write_text(json.dumps(report))
    for later in (60, 400):  # it is tried again after a while, and has failed also when that is due
        machine.host.now += later
        told = said(capsys, "env", "why", "stats")
        assert told.startswith(f"✗ stats cannot be built without conda in {machine.layout.conda}\n")
        assert "\n  because conda was not downloaded: no route\n" in told, later
    assert "  It is tried again at the next pass, or at once by `hubd apply`.\n" in told


def test_the_words_of_a_failure() -> None:
    trouble = {"what": "no numpyy", "why": "because of its name", "fix": "Mend it.", "tries": 2, "ended": 1000, "next_try": 1600,
               "log": ["solving", "no numpyy"]}  # fmt: skip
    found = {"name": "science", "generation": None, "trouble": trouble}
    assert list(why_lines(found, 1060)) == [
        "✗ no numpyy",
        "  because of its name",
        "  Mend it.",
        "  2 tries, the last 1 minute ago; tried again by itself in 9 minutes, or at once by `hubd apply`",
        "  People have no kernel of it yet.",
        "  The end of its log (all of it: hubd logs job-env-science):",
        "    solving",
        "    no numpyy",
    ]
    earlier = ["starting", "solving", "no network", "starting", *(f"line {number}" for number in range(30)), "no \x1b[2Jnumpyy"]
    long = {**found, "trouble": {**trouble, "log": earlier}}
    shown = [line.strip() for line in list(why_lines(long, 1060))[6:]]
    assert shown == [*(f"line {number}" for number in range(11, 30)), "no numpyy"], "the end of the newest try, safe on a screen"
    assert len(list(why_lines(long, 1060, earlier=True))[6:]) == len(earlier)
    short = {**found, "trouble": {**trouble, "log": ["solving", "no network", "starting", "solving", "no numpyy"]}}
    assert [line.strip() for line in list(why_lines(short, 1060))[6:]] == ["solving", "no numpyy"]
    assert "at the next pass" in list(why_lines(found, 1700))[3]
    rarely = {**found, "trouble": {**trouble, "retry": False, "next_try": 1000 + 86400}}
    hardly = "  2 tries, the last 1 minute ago; the same again would hardly help, and is tried in"
    assert list(why_lines(rarely, 1060))[3] == f"{hardly} 24 hours"
    assert list(why_lines(rarely, 1060 + 85000))[3].endswith("and is tried in 22 minutes")
    assert list(why_lines(rarely, 99_999))[3].endswith("and is tried at the next pass")


def test_the_words_for_none() -> None:
    assert list(list_lines({"environments": []})) == ["There is no environment."]
    found = {"name": "geo", "state": "waiting", "say": "build it", "kernels": [], "generations": []}
    assert list(show_lines(found)) == ["geo: waiting, build it", "  nothing is built yet"]


@pytest.mark.parametrize("words", [["show"], ["why"]])
def test_a_name_that_is_none(machine: Machine, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "env", *words, "sciense", code=ExitCode.USAGE)
    assert "there is no environment 'sciense'" in told and "Did you mean science?" in told


def test_who_may_not_ask_the_daemon_sees_what_is_in_place(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(layout: object) -> bool:
        raise HubdError("you may not ask hubd")

    monkeypatch.setattr("hubd.cli.env_names.daemon_answers", refuse)
    machine.write("limits: {memry: 1G}\n")
    told = said(capsys, "env", "list")
    assert "science  in place  1" in told and "Only what is in place is shown" in told


@pytest.mark.parametrize(
    ("told_by_server", "kernel", "ends"),
    [
        (["everyone", "course"], '{"display_name": "Science"}', ["Science", "me"]),
        (["course"], '{"display_name": "Science"}', ["not", "me"]),
        (["everyone"], None, ["not", "me"]),
        (["everyone"], "[", ["not", "me"]),
        (["../elsewhere"], '{"display_name": "Science"}', ["uv"]),
        ([], '{"display_name": "Science"}', ["uv"]),
    ],
)
def test_a_server_knows_which_environments_are_for_its_person(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    told_by_server: list[str], kernel: str | None, ends: list[str],
) -> None:  # fmt: skip
    place = machine.layout.audience("everyone") / "kernels/science/kernel.json"
    place.write_text(kernel) if kernel else place.unlink()
    monkeypatch.setenv("JUPYTER_PATH", ":".join(str(machine.layout.audiences / name) for name in told_by_server))
    line = said(capsys, "env", "list").splitlines()[1]
    assert line.split()[-2:] == ["science", "everybody"], "whoever reads config.yaml is told more"
    machine.write("limits: {memry: 1G}\n")
    line = said(capsys, "env", "list").splitlines()[1]
    assert line.split()[-len(ends):] == ends, line


def test_the_daemon_is_asked_where_one_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def talk(layout: object, request: object) -> tuple[ExitCode, dict[str, object]]:
        asked.append(request)
        return ExitCode.USAGE, {"error": {"what": "no such thing", "why": "", "fix": "", "retry": False}}

    monkeypatch.setattr("hubd.cli.env_names.daemon_answers", lambda layout: True)
    monkeypatch.setattr("hubd.cli.env_names.talk", talk)
    assert said(capsys, "env", "why", "x", code=ExitCode.USAGE) == "✗ no such thing\n"
    assert asked == [{"do": "environments", "name": "x"}]


def test_rollback_and_forward_again(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no older generation" in said(capsys, "env", "rollback", "science", code=ExitCode.FAILED)
    machine.write(CONFIG.replace("ipykernel", "ipykernel, numpy"))
    machine.settle()
    machine.host.processes[machine.layout.envs / "science/2"] = 1
    told = said(capsys, "env", "rollback", "science")
    assert "science: generation 2 → 1; 1 program that runs keeps generation 2 until the end\n" in told
    assert "Forward again: hubd env rollback science --undo\n" in told
    assert "rolled back to generation 1 already; nothing changed." in said(capsys, "env", "rollback", "science")
    assert "rolled back" in said(capsys, "env", "list")
    assert "There are: 2, 1." in said(capsys, "env", "rollback", "science", "--to", "7", code=ExitCode.USAGE)
    found, _ = json.JSONDecoder().raw_decode(said(capsys, "env", "rollback", "science", "--undo", "--json"))
    assert (found["before"], found["generation"], found["state"]) == (1, 2, "right")
    assert "science is not rolled back; nothing changed.\n" in said(capsys, "env", "rollback", "science", "--undo")


@pytest.mark.parametrize("words", [["x", "--to", "0"], ["x", "--to", "one"], ["x", "--to", "1", "--undo"], []])
def test_what_a_rollback_cannot_mean(machine: Machine, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "env", "rollback", *words, code=ExitCode.USAGE)


def test_rollback_with_a_file_that_is_not_valid(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.write("limits: {memry: 1G}\n")
    assert "memory" in said(capsys, "env", "rollback", "science", code=ExitCode.CONFIG_INVALID)


def test_build_anew(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "env", "build", "science")
    assert "build science with uv" in told
    assert "hubd is not running" in told
    assert said(capsys, "env", "build", "sciense", code=ExitCode.USAGE).startswith("✗ there is no environment 'sciense'")
    machine.slow = True
    told = said(capsys, "env", "build", "science", "--no-wait")
    assert "science: building: starting\nFollow it: hubd logs -f job-env-science\n" in told
    found, _ = json.JSONDecoder().raw_decode(said(capsys, "env", "build", "science", "--no-wait", "--json"))
    assert found["state"] == "building"


@pytest.mark.parametrize("words", [("build",), ("rollback", "--undo")])
def test_who_stops_following_reads_that_the_build_goes_on(
    machine: Machine, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hubd.cli.env_change.make_here", interrupted)
    told = said(capsys, "env", *words, "science", code=ExitCode.INTERRUPTED)
    assert told.startswith("✗ interrupted; a build of science that has begun goes on\n")
    assert "hubd logs -f job-env-science" in told


STATES = [
    # state, its sentence, what is said after the name, and below the table of `list`
    ("right", "", "right", []),
    ("building", "building: solving", "building: solving", ["geo: building: solving"]),
    ("changed by hand", "geo was changed by hand", "changed by hand", []),
    ("failed", "geo is not built: no numpyy", "failed, geo is not built: no numpyy", ["geo is not built: no numpyy"]),
    ("rolled back", "to generation 1, instead", "rolled back, to generation 1, instead", ["geo: to generation 1, instead"]),
]


@pytest.mark.parametrize(("state", "say", "words", "below"), STATES)
def test_nothing_is_said_twice_of_a_state(state: str, say: str, words: str, below: list[str]) -> None:
    found = {"name": "geo", "state": state, "say": say, "generation": 1, "built": 0, "manager": "uv", "kernels": []}
    assert state_words(found) == words
    assert list(list_lines({"environments": [found]}))[2:] == below


BUILT: list[tuple[dict[str, object], list[str]]] = [
    ({"before": 0, "generation": 1}, ["geo: generation none → 1"]),
    ({"generation": 3, "difference": "numpy 2.3 → 2.4"}, ["geo: generation 2 → 3: numpy 2.3 → 2.4"]),
    ({}, ["geo: right", "Follow it: hubd logs -f job-env-geo"]),
    ({"trouble": {"what": "no numpy", "why": "of its pin", "fix": ""}},
     ["✗ no numpy", "  because of its pin", "All of it: hubd env why geo"]),
]  # fmt: skip


@pytest.mark.parametrize(("found", "lines"), BUILT)
def test_the_words_of_a_build(found: dict[str, object], lines: list[str]) -> None:
    whole = {"name": "geo", "before": 2, "generation": 2, "state": "right", "say": "", "trouble": None, **found}
    assert list(build_lines(whole)) == lines


def test_of_one_build_only_its_own_phases_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    events = [{"kind": "job", "id": f"env-{name}", "say": f"solving [{name}]", "result": ""} for name in ("geo", "sci")]
    events.append({"kind": "step", "id": "x", "say": "build", "result": ""})
    with _following("geo", quiet=False) as hear:
        for event in events:
            hear(event)
    assert capsys.readouterr().out == "  … geo: solving [geo]\n  → build\n"
    with _following("geo", quiet=True) as hear:
        hear(events[0])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with _following("geo", quiet=False) as hear:
        for event in events:
            hear(event)
    shown = capsys.readouterr().out
    assert "→ build" in shown and "env-geo" not in shown


WAYS: list[tuple[dict[str, object], list[str]]] = [
    ({"before": 0, "generation": 1}, ["geo: generation none → 1"]),
    ({"generation": 1, "programs": 3}, ["geo: generation 2 → 1; 3 programs that run keep generation 2 until the end"]),
    ({"generation": 1, "programs": 1, "difference": "+1"},
     ["geo: generation 2 → 1: +1; 1 program that runs keeps generation 2 until the end"]),
    ({"state": "building", "say": "building: solving"},
     ["geo: generation 2 stays until what config.yaml asks for is built",
      "building: solving. Follow it: hubd logs -f job-env-geo"]),
    ({"trouble": {"what": "no numpy", "why": "", "fix": ""}},
     ["✗ no numpy", "geo: generation 2 stays meanwhile. All of it: hubd env why geo"]),
]  # fmt: skip


@pytest.mark.parametrize(("found", "lines"), WAYS)
def test_the_words_of_a_rollback(found: dict[str, object], lines: list[str]) -> None:
    whole = {"name": "geo", "unchanged": "", "before": 2, "generation": 2, "programs": 0, "state": "right", "say": "", **found}
    assert list(rollback_lines(whole)) == lines


def test_names_are_completed(machine: Machine) -> None:
    (machine.layout.envs / "sediment").mkdir()
    (machine.layout.envs / ".pythons").mkdir()
    machine.write(CONFIG.replace("  science:", "  geo: {packages: [ipykernel]}\n  science:"))
    ctx = SimpleNamespace(obj=SimpleNamespace(layout=machine.layout))
    assert [item.value for item in complete_environment(ctx, None, "s")] == ["science", "sediment"]  # type: ignore[arg-type]
    assert [item.value for item in complete_environment(ctx, None, "")] == ["geo", "science", "sediment"]  # type: ignore[arg-type]


SIZES = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (1_900_000_000, "1.9 GB"), (10**16, "10000 TB")]


@pytest.mark.parametrize(("count", "words"), SIZES)
def test_sizes_in_words(count: int, words: str) -> None:
    assert about(count) == words


def test_tables_and_days() -> None:
    assert table([("a", "bcd", ""), ("efg", "h", "i")]) == ["a    bcd", "efg  h    i"]
    assert day(0) == "" and len(day(1_700_000_000)) == len("2023-11-14 22:13")
