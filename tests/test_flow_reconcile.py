"""Whole passes over a machine in a folder: from nothing to a hub, and everything that may happen to it."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeHost, Owners
from machine import CONFIG, Machine

from hubd import show
from hubd.config.problems import ConfigInvalid
from hubd.errors import CommandFailed, ExitCode, HubdError
from hubd.flow import record
from hubd.flow.reconcile import reconcile
from hubd.flow.status import exit_code
from hubd.flow.values import Result
from hubd.host.web import Answer
from hubd.layout import HUB_SECRETS, HUB_UNIT, PROXY_UNIT

FIXED, RUNNING, FAILED, HELD = Result.FIXED, Result.RUNNING, Result.FAILED, Result.HELD


@pytest.fixture
def machine(host: FakeHost, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(host, owners, monkeypatch)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in sorted(folder.rglob("*"))}


def test_from_nothing_to_a_hub_and_then_nothing_to_do(machine: Machine) -> None:
    first = machine.make()
    failed = [(outcome.id, outcome.error) for outcome in first.outcomes if outcome.result is FAILED]
    assert not failed
    layout, accounts = machine.layout, machine.host.accounts
    assert accounts.groups["hubd-admins"] == {"ada"}
    assert accounts.groups["hubd-users"] == {"ada", "bea", "cid"}
    assert (layout.homes / "bea/notebooks").is_dir()
    machine.settle()
    assert machine.people == {"ada": True, "bea": False, "cid": False}
    assert machine.groups == {"course": {"ada", "bea"}}
    spec = json.loads((layout.kernels / "kernels/science/kernel.json").read_text())
    assert Path(spec["argv"][0]).is_relative_to(layout.envs / "science")
    assert layout.server.readlink() == Path("versions/server-1")
    assert machine.make(act=False).plan.gaps == ()
    assert exit_code(machine.make()) is ExitCode.DONE


def test_a_plan_changes_nothing_at_all(machine: Machine) -> None:
    before = snapshot(machine.layout.prefix.parent)
    found = machine.make(act=False)
    assert len(found.plan.changes) > 30
    assert found.outcomes == ()
    assert snapshot(machine.layout.prefix.parent) == before
    assert machine.host.init.did == []
    assert {argv[0] for argv in machine.host.commands.ran} <= {"dpkg-query", "ss"}


def test_a_pass_with_nothing_to_do_writes_only_the_record(machine: Machine) -> None:
    machine.begin()
    before, did = snapshot(machine.layout.prefix.parent), len(machine.host.init.did)
    machine.make()
    after = snapshot(machine.layout.prefix.parent)
    assert {path for path in after if after[path] != before.get(path)} == {str(machine.layout.record), str(machine.layout.state)}
    assert len(machine.host.init.did) == did


BAD = [
    "",
    "people:\n\tadmins: [ada]\n",
    "people: {admins: [ada]}\npeople: {}\n",
    "limits: {memry: 1G}\n",
    "\0\xff",
    "people: {admins: 7}\n",
    "a" * 1_000_000,
    "limits: {memory: lots}\n",
    "[]\n",
]


@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize("text", BAD[1:], ids=range(len(BAD) - 1))
def test_a_bad_config_changes_nothing(machine: Machine, text: str, act: bool) -> None:
    machine.write(text)
    before = snapshot(machine.layout.prefix.parent)
    with pytest.raises(ConfigInvalid) as caught:
        machine.make(act=act)
    assert caught.value.problems
    assert snapshot(machine.layout.prefix.parent) == before
    assert (machine.host.init.did, machine.host.commands.ran, machine.events) == ([], [], [])


def test_a_missing_config_and_a_folder_in_its_place_are_problems_too(machine: Machine) -> None:
    machine.layout.config_file.unlink()
    with pytest.raises(ConfigInvalid):
        machine.make()
    machine.layout.config_file.mkdir()
    with pytest.raises(ConfigInvalid):
        machine.make()


def test_a_person_taken_off_the_list_loses_what_the_list_gave_and_keeps_the_home(machine: Machine) -> None:
    machine.begin()
    machine.write(CONFIG.replace("[ada, bea]", "[ada]").replace("users: [bea, cid]", "users: [cid]"))
    plan = machine.make(act=False).plan
    assert [gap.resource.id for gap in plan.gaps if gap.removal] == ["closed-person:bea"]
    machine.settle()
    accounts = machine.host.accounts
    assert accounts.people["bea"].closed
    assert "bea" not in accounts.groups["hubd-users"]
    assert "bea" not in machine.people
    assert "bea" not in machine.groups["course"]
    assert (machine.layout.homes / "bea/notebooks").is_dir()
    # And back again.
    machine.write(CONFIG)
    machine.settle()
    assert not accounts.people["bea"].closed
    assert "bea" in machine.people


def test_an_admin_no_more(machine: Machine) -> None:
    machine.begin()
    machine.write(CONFIG.replace("admins: [ada]", "admins: [bea]").replace("users: [bea", "users: [ada"))
    machine.settle()
    assert machine.host.accounts.groups["hubd-admins"] == {"bea"}
    assert machine.people == {"ada": False, "bea": True, "cid": False}
    assert not machine.host.accounts.people["ada"].closed


def test_a_slow_build_holds_its_kernel_and_nobody_else(machine: Machine) -> None:
    machine.begin()
    machine.slow = True
    machine.write(CONFIG + "  maths: {packages: [ipykernel, sympy], manager: uv}\n")
    results = machine.results(machine.make())
    kernel = f"kernel:{machine.layout.kernels / 'kernels/maths'}"
    assert (results["environment:maths"], results[kernel]) == (RUNNING, HELD)
    machine.write((CONFIG + "  maths: {packages: [ipykernel, sympy], manager: uv}\n").replace("cid]", "cid, dan]"))
    results = machine.results(machine.make())
    assert (results["environment:maths"], results["person:dan"]) == (RUNNING, FIXED)
    assert machine.people["dan"] is False
    machine.finish("env-maths")
    machine.settle()
    assert (machine.layout.kernels / "kernels/maths/kernel.json").exists()


def test_an_environment_no_longer_declared_goes_with_its_kernel_once_nobody_uses_it(machine: Machine) -> None:
    machine.begin()
    folder = machine.layout.envs / "science"
    machine.host.processes[folder] = 2
    machine.write(CONFIG[: CONFIG.index("environments:")])
    assert machine.results(machine.make())[f"no-environment:{folder}"] is RUNNING
    assert folder.exists()
    assert not (machine.layout.kernels / "kernels/science/kernel.json").exists()
    machine.host.processes.clear()
    machine.settle()
    assert not folder.exists()


DRIFT = [
    lambda machine: (machine.layout.state / "jupyterhub.json").write_text("{}"),
    lambda machine: (machine.layout.proxy_state / "traefik.toml").unlink(),
    lambda machine: (machine.layout.state / "servers.json").chmod(0o644),
    lambda machine: machine.layout.server.unlink(),
    lambda machine: machine.layout.secrets.chmod(0o777),
    lambda machine: machine.host.init.units.pop(HUB_UNIT),
    lambda machine: machine.host.init.units.pop(PROXY_UNIT),
    lambda machine: machine.host.init.defined.pop(HUB_UNIT),
    lambda machine: machine.host.accounts.groups.update({"hubd-admins": frozenset({"ada", "mallory"})}),
    lambda machine: machine.people.update(bea=True, mallory=True),
    lambda machine: machine.groups.pop("course"),
    lambda machine: (machine.layout.hub_state / "cookie_secret").unlink(),
    lambda machine: shutil.rmtree(machine.layout.envs / "science"),
    lambda machine: (machine.layout.homes / "bea").chmod(0o755),
]


@pytest.mark.parametrize("drift", DRIFT, ids=range(len(DRIFT)))
def test_drift_is_seen_and_repaired(machine: Machine, drift: object) -> None:
    machine.begin()
    drift(machine)  # type: ignore[operator]
    assert machine.make(act=False).plan.changes
    machine.settle()
    assert machine.make(act=False).plan.gaps == ()
    assert "mallory" not in machine.people


def test_a_machine_that_is_copied_for_a_test_is_at_rest(machine: Machine) -> None:
    machine.begin()
    machine.begin()
    assert machine.host.init.state(HUB_UNIT).is_active
    assert not machine.make().outcomes


def test_new_settings_restart_the_hub_once_and_only_the_hub(machine: Machine) -> None:
    machine.begin()
    machine.host.init.did.clear()
    (machine.layout.config_d / "mine.py").write_text("c.X = 1")
    machine.settle()
    assert machine.host.init.did == [("define", HUB_UNIT), ("restart", HUB_UNIT)]


@pytest.mark.parametrize("name", HUB_SECRETS)
def test_a_secret_made_anew_restarts_the_hub_once_and_nobody_asks_it_before(machine: Machine, name: str) -> None:
    machine.begin()
    old = (machine.layout.hub_state / name).read_text()
    machine.host.init.did.clear()
    machine.host.web.asked.clear()
    (machine.layout.hub_state / name).unlink()
    first = machine.make()
    assert (machine.layout.hub_state / name).read_text() != old
    assert first.facts_changed
    assert machine.results(first)[f"service:{HUB_UNIT}"] is HELD
    assert not first.of(FAILED)
    machine.settle()
    assert [what for what in machine.host.init.did if what[0] != "define"] == [("restart", HUB_UNIT)]


def test_another_folder_of_the_routes_restarts_the_proxy_and_then_the_hub(machine: Machine) -> None:
    machine.begin()
    machine.host.init.did.clear()
    shutil.rmtree(machine.layout.proxy_rules)
    machine.host.replace(machine.layout.proxy_rules)
    machine.make()
    assert (machine.layout.proxy_rules / "hubd.toml").exists()
    assert machine.host.init.did == [("restart", PROXY_UNIT), ("restart", HUB_UNIT)]


def test_the_first_start_of_the_hub_is_with_its_secrets(machine: Machine) -> None:
    machine.begin()
    assert [what for what in machine.host.init.did if what[1] == HUB_UNIT].count(("start", HUB_UNIT)) == 1
    assert ("restart", HUB_UNIT) not in machine.host.init.did


def test_people_and_limits_and_kernels_never_restart_the_hub(machine: Machine) -> None:
    machine.begin()
    machine.host.init.did.clear()
    text = CONFIG.replace("cid]", "cid, dan]").replace("1G", "2G") + "  maths: {packages: [ipykernel], manager: uv}\n"
    machine.write(text)
    machine.settle()
    assert [name for _, name in machine.host.init.did] == ["hubd-job-env-maths.service"]


def test_a_kill_between_step_and_restart_heals(machine: Machine) -> None:
    machine.begin()
    stop = threading.Event()
    (machine.layout.config_d / "mine.py").write_text("c.X = 1")
    reconcile(machine.host, act=True, stop=stop, tell=lambda event: stop.set() if "unit:" in event.id else None)
    assert not machine.host.init.did.count(("restart", HUB_UNIT))
    machine.settle()
    assert machine.host.init.did.count(("restart", HUB_UNIT)) == 1


def test_a_hub_that_does_not_start_fails_with_the_line_that_tells_why(machine: Machine) -> None:
    machine.host.init.broken[HUB_UNIT] = CommandFailed(("systemctl", "restart"), code=1, output="no")
    machine.host.init.logs[HUB_UNIT] = ("starting", "OSError: port 15001 in use", "Main process exited, code=1")
    machine.make()
    whole = machine.make()
    results = machine.results(whole)
    assert (results[f"service:{HUB_UNIT}"], results["answer:the hub"], results["hub-people:all"]) == (FAILED, HELD, HELD)
    assert machine.host.init.state(PROXY_UNIT).is_active
    assert "bea" in machine.host.accounts.people
    trouble = record.read(machine.layout).last["trouble"]
    assert "port 15001 in use" in trouble[0]["why"]
    assert exit_code(whole) is ExitCode.PARTLY_APPLIED


def test_a_hub_that_does_not_answer_fails_within_its_deadline(machine: Machine) -> None:
    machine.write(CONFIG + "hub: {start_deadline: 5 s}\n")
    machine.host.web.answer = lambda method, url, body: Answer(503)
    machine.make()
    results = machine.make().outcomes
    failed = next(outcome for outcome in results if outcome.id == "answer:the hub")
    assert failed.error is not None
    assert "within 5 seconds" in failed.error.what
    assert "503" in failed.error.why
    assert 4.9 < sum(machine.host.slept) < 5.3


def test_a_damaged_record_is_told_once_and_nothing_is_lost(machine: Machine) -> None:
    machine.begin()
    machine.layout.record.write_text("{")
    assert machine.make().outcomes == ()
    assert record.read(machine.layout).last["trouble"][0]["id"] == "record"
    assert list(machine.layout.state.glob("record.json*damaged"))
    machine.make()
    again = record.read(machine.layout)
    assert (again.last["trouble"], again.damaged) == ([], "")
    assert "person:bea" in again.owned


def test_what_is_about_to_be_made_is_owned_before_it_is(machine: Machine) -> None:
    seen: list[bool] = []

    def look(argv: tuple[str, ...]) -> None:
        seen.append("person:bea" in record.read(machine.layout).owned)
        raise KeyboardInterrupt

    machine.host.commands.answers["useradd", "--create-home"] = look
    with pytest.raises(KeyboardInterrupt):
        machine.make()
    assert set(seen) == {True}


def test_a_person_dropped_while_a_choice_is_made_is_closed_afterwards(machine: Machine) -> None:
    machine.begin()
    text = (
        CONFIG.replace("users: [bea, cid]", "users: [cid]").replace("[ada, bea]", "[ada]").replace("manager: uv", "manager: auto")
    )
    machine.host.web.down["https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"] = "no route"
    machine.write(text)
    first = machine.make()
    assert first.facts_changed
    assert machine.results(first)["choice:environment-manager"] is FIXED
    assert not machine.host.accounts.people["bea"].closed
    machine.settle()
    assert machine.host.accounts.people["bea"].closed
    assert any("uv builds science" in notice["say"] for notice in record.read(machine.layout).last["notices"])


def test_a_plan_says_what_a_new_choice_of_manager_may_cost(machine: Machine) -> None:
    machine.write(CONFIG.replace("manager: uv", "manager: auto") + "  maths: {packages: [ipykernel], manager: uv}\n")
    down = "https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"
    machine.host.web.down[down] = "no route"
    lines = list(show.plan_lines(show.plan_json(machine.make(act=False))))
    assert not any("if it comes to" in line for line in lines), "nothing is built yet"
    machine.settle()
    (machine.layout.facts / "environment-manager.json").unlink()
    lines = list(show.plan_lines(show.plan_json(machine.make(act=False))))
    at = lines.index("  * find out whether conda can be had, else use uv")
    assert lines[at + 1] == "      if it comes to conda, science, built by uv, is built anew"


def test_without_systemd_the_same_hub_stands_without_a_port_holder(machine: Machine) -> None:
    machine.host.init.enforces = False
    machine.settle()
    assert machine.people == {"ada": True, "bea": False, "cid": False}
    assert set(machine.host.init.defined) == {HUB_UNIT, PROXY_UNIT}


def plugin(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> str:
    folder = machine.layout.prefix.parent / name
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr("hubd.plugin_loader._refuse_others_files", lambda folder: None)
    head = "from hubd.api import *\nfrom pathlib import Path\n@hookimpl\ndef hubd_resources(wanted):\n"
    (folder / f"{name.replace('-', '_')}.py").write_text(head + body)
    return f"plugins: [{{name: {name}, source: {folder}}}]\n"


def test_a_plugin_comes_and_goes_by_declaration(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.layout.prefix.parent / "made-by-a-plugin"
    line = plugin(machine, monkeypatch, "comes-and-goes", f"    yield File(path=Path({str(path)!r}), content=b'x')\n")
    machine.write(CONFIG + line)
    machine.settle()
    assert path.read_bytes() == b"x"
    machine.write(CONFIG)
    machine.settle()
    assert not path.exists()


def test_a_plugin_that_begins_to_raise_keeps_what_it_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path, switch = machine.layout.prefix.parent / "kept", machine.layout.prefix.parent / "switch"
    body = (
        f"    if Path({str(switch)!r}).exists(): raise ValueError('oh')\n    yield File(path=Path({str(path)!r}), content=b'x')\n"
    )
    machine.write(CONFIG + plugin(machine, monkeypatch, "begins-to-raise", body))
    machine.settle()
    switch.touch()
    whole = machine.make()
    assert [each.plugin for each in whole.broken] == ["begins-to-raise"]
    assert exit_code(whole) is ExitCode.PARTLY_APPLIED
    assert path.exists()
    switch.unlink()
    path.unlink()
    machine.settle()
    assert path.exists()


def test_a_full_disk_fails_what_needs_it_and_the_next_pass_heals(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from hubd.host import files

    write = files.write_atomic

    def full(path: Path, *arguments: object, **options: object) -> None:
        if path.name == "servers.json":
            raise HubdError(f"{path} could not be written", why="No space left on device", retry=True)
        write(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "write_atomic", full)
    whole = machine.make()
    assert [outcome.id for outcome in whole.of(FAILED)] == [f"file:{machine.layout.servers_policy}"]
    monkeypatch.setattr(files, "write_atomic", write)
    machine.settle()


def test_a_clock_set_back_changes_nothing(machine: Machine) -> None:
    machine.begin()
    machine.host.now -= 10**8
    assert machine.make().outcomes == ()


def test_servers_that_run_get_new_limits_at_once(machine: Machine) -> None:
    from hubd.host.init import UnitState

    machine.settle()
    running = UnitState("hubd-user-bea.service", True, "active", memory=str(1 << 30), cpu="2s")
    machine.host.init.units[running.name] = running
    assert machine.make().outcomes == ()
    machine.write(CONFIG.replace("memory: 1G", "memory: 2G"))
    changes = {gap.resource.id for gap in machine.make(act=False).plan.changes}
    assert changes == {f"file:{machine.layout.servers_policy}", "server-limits:everybody"}
    machine.make()
    assert machine.host.init.limits == [(running.name, (("MemoryMax", str(2 << 30)), ("CPUQuota", "200%")))]
    machine.host.init.units[running.name] = replace(running, memory=str(2 << 30))
    assert machine.make().outcomes == ()
