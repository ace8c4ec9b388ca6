"""Environments of people's own: who may ask, what of a request counts, what runs as whom, and what is said of the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.daemon.own import OwnEnvironments
from hubd.flow import published
from hubd.host.init import UnitState
from hubd.host.sockets import Peer
from hubd.layout import USERS_GROUP
from hubd.tools.lock import CondaPackage, Lock, lock_text
from hubd.tools.program import Program

BEA, ROOT = Peer(1, 1001), Peer(2, 0)
POLICY = {
    "people": ["bea", "cid"],
    "own": {"bea": {"number": 3, "size": 1 << 30}},
    "own_manager": "uv",
    "own_conda": "/opt/hub/conda",
    "own_channels": ["conda-forge"],
    "builds": {"memory": None, "cpu": 1.5, "time": 600},
}
PACKAGE = CondaPackage("a", "1", "0", "https://c/linux-64/a-1-0.conda", "0" * 64)
LOCK = Lock(manager="conda", platform="linux-64", conda=(PACKAGE,))


@pytest.fixture
def machine(host: FakeHost, monkeypatch: pytest.MonkeyPatch, me: str) -> FakeHost:
    for name, uid in (("bea", 1001), ("cid", 1002), (me, 0)):
        host.accounts.add(name, uid, home=host.layout.homes / name)
    host.accounts.groups[USERS_GROUP] = frozenset({"bea", "cid"})
    monkeypatch.setattr(Peer, "name", property(lambda peer: {1001: "bea", 1002: "cid"}.get(peer.uid, "root")))
    host.layout.state.mkdir(parents=True)
    host.layout.run.mkdir(parents=True, exist_ok=True)
    host.layout.servers_policy.write_text(json.dumps(POLICY))
    return host


@pytest.fixture(autouse=True)
def _owners(owners: Any) -> None:
    """Folders may be given to people who are not on this machine."""


def ask(host: FakeHost, peer: Peer = BEA, **request: Any) -> tuple[int, dict[str, Any], list[str]]:
    """The exit code, the last answer, and the phases that were told."""
    whole = {"do": "create", "name": "geo", "packages": [], **request}
    *before, last = OwnEnvironments(lambda: host, woken.append).answer(whole, peer)
    return int(last["code"]), dict(last["done"]), [each["event"]["say"] for each in before if "event" in each]


# Why a pass was asked for.
woken: list[str] = []


def ends(host: FakeHost, **report: Any) -> list[dict[str, Any]]:
    """Jobs end at once, with this report; gives what they were told to do."""
    orders: list[dict[str, Any]] = []

    def run(program: Program) -> None:
        orders.append(json.loads(Path(program.argv[-1]).read_text()))
        if report:
            Path(orders[-1]["result"]).write_text(json.dumps(report))
        if report.get("state") == "done" and orders[-1]["do"] == "own-lock":
            Path(orders[-1]["lock_file"]).write_text(lock_text(LOCK))
        host.init.units[program.name] = UnitState(program.name, True, "inactive")

    host.init.on_run = run
    return orders


def test_an_environment_is_made_as_the_person_in_that_persons_home(machine: FakeHost) -> None:
    orders = ends(machine, state="done")
    code, said, _ = ask(machine, packages=["six"])
    home = machine.layout.homes / "bea"
    assert (code, said) == (0, {"name": "geo", "path": f"{home}/envs/geo", "packages": ["six", "ipykernel", "pip"]})
    (order,) = orders
    assert (order["do"], order["manager"], order["prefix"]) == ("own", "uv", f"{home}/envs/geo")
    assert order["also_from"] == str(machine.layout.packages)
    assert (order["number"], order["size"], order["limits"]["cpu"]) == (3, 1 << 30, 1.5)
    program = machine.init.started["hubd-own-bea.service"]
    properties = dict(program.properties)
    assert program.user == "bea"
    assert not program.restart and not program.install
    assert (properties["NoNewPrivileges"], properties["CPUQuota"], properties["OOMScoreAdjust"]) == ("yes", "150%", "500")
    inaccessible = [value for key, value in program.properties if key == "InaccessiblePaths"]
    assert f"-{machine.layout.state}" in inaccessible


@pytest.mark.parametrize("kernel", ["ipykernel", "ipykernel=6", "ipykernel>=6", "r-irkernel"])
def test_a_kernel_that_was_asked_for_is_not_added_again(machine: FakeHost, kernel: str) -> None:
    ends(machine, state="done")
    pip = [] if kernel == "r-irkernel" else ["pip"]
    assert ask(machine, packages=[kernel])[1]["packages"] == [kernel, *pip]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "../geo"}, "cannot be the name"),
    ({"name": "../cid/geo", "do": "withdraw"}, "cannot be the name"),
    ({"name": "geo", "do": "withdraw", "for": "../cid"}, "may not do that for ../cid"),
    ({"name": ".geo"}, "cannot be the name"),
    ({"name": ""}, "cannot be the name"),
    ({"name": "g" * 64}, "cannot be the name"),
    ({"name": 7}, "cannot be the name"),
    ({"packages": ["--prefix=/etc"]}, "is not a package"),
    ({"packages": ["../x"]}, "is not a package"),
    ({"packages": ["six"] * 501}, "more than 500"),
    ({"packages": 7}, "not understood"),
    ({"packages": ["a @ x://" + ";" * 100_000]}, "too long"),
    ({"name": "science"}, "science is an environment of this hub's already"),
    ({"manager": "pip"}, "no manager"),
    ({"do": "destroy"}, "not understood"),
    ({"for": "cid"}, "may not do that for cid"),
    ({"for": "root"}, "may not do that for root"),
]


@pytest.mark.parametrize(("request_", "why"), REFUSED, ids=[str(row[0])[:40] for row in REFUSED])
def test_what_makes_no_sense_starts_nothing(machine: FakeHost, request_: dict[str, Any], why: str) -> None:
    (machine.layout.envs / "science").mkdir(parents=True)
    code, said, _ = ask(machine, **request_)
    assert code != 0
    assert why in said["error"]["what"]
    assert machine.init.did == []


def test_who_may_not_is_told_whom_to_ask(machine: FakeHost) -> None:
    code, said, _ = ask(machine, Peer(1, 1002))
    assert (code, said["error"]["what"]) == (1, "cid may not make environments")
    assert "Ask whoever runs this hub" in said["error"]["fix"]
    assert machine.init.did == []


def test_one_at_a_time(machine: FakeHost) -> None:
    machine.init.units["hubd-own-bea.service"] = UnitState("hubd-own-bea.service", True, "active")
    code, said, _ = ask(machine)
    assert (code, said["error"]["retry"]) == (1, True)
    assert machine.init.did == []


def test_a_failure_is_told_with_its_cause(machine: FakeHost) -> None:
    ends(machine, state="failed", what="a package is not in the channels", why="sixx", fix="Correct the name.")
    code, said, _ = ask(machine)
    assert (code, said["error"]["why"]) == (1, "sixx")


@pytest.mark.parametrize("report", [{}, {"state": "running", "phase": "solving"}, {"state": 7}])
def test_one_that_was_killed_is_no_success(machine: FakeHost, report: dict[str, Any]) -> None:
    ends(machine, **report)
    code, said, _ = ask(machine)
    assert (code, said["error"]["what"]) == (1, "it did not come to its end")


def test_what_a_person_asks_to_offer_is_kept_until_somebody_decides(machine: FakeHost) -> None:
    orders = ends(machine, state="done")
    assert ask(machine, do="request")[1] == {"owner": "bea", "environment": "geo", "packages": 1}
    assert published.requests(machine.layout) == {"bea": ["geo"]}
    assert woken[-1] == "bea asks to offer 'geo' to others", "status tells it at once"
    assert ask(machine, ROOT, do="request", **{"for": "bea"}, name="other")[0] == 0
    assert [order["for"] for order in orders] == ["", "bea"], "a job that finds nothing knows whom it tells"
    published.accept(machine.layout, "bea", "geo", lock=published.asked(machine.layout, "bea", "geo"))
    assert published.requests(machine.layout) == {"bea": ["other"]}
    assert (machine.layout.published / "bea/geo.lock").read_text() == lock_text(LOCK)


def test_what_was_asked_for_is_taken_back_by_whoever_asked_and_nobody_else(machine: FakeHost) -> None:
    ends(machine, state="done")
    ask(machine, do="request")
    cid = Peer(1, 1002)
    assert ask(machine, cid, do="withdraw")[1]["error"]["why"] == "nothing of yours waits for a yes or a no"
    assert ask(machine, cid, do="withdraw", **{"for": "bea"})[1]["error"]["what"] == "cid may not do that for bea"
    assert published.requests(machine.layout) == {"bea": ["geo"]}
    code, said, _ = ask(machine, do="withdraw", name="other")
    assert (code, said["error"]["why"]) == (2, "what waits for a yes or a no is geo")
    machine.layout.servers_policy.write_text(json.dumps({**POLICY, "own": {}}))
    started = len(machine.init.did)
    assert ask(machine, do="withdraw")[:2] == (0, {"owner": "bea", "environment": "geo"}), "who may make none any more, too"
    assert published.requests(machine.layout) == {}
    assert woken[-1] == "bea does not ask to offer 'geo' any more", "status forgets it at once"
    assert len(machine.init.did) == started, "no program is needed for that"
    assert ask(machine, do="withdraw")[0] == 2


def test_nobody_asks_for_more_than_somebody_can_look_at(machine: FakeHost) -> None:
    orders = ends(machine, state="done")
    for number in range(published.MOST_REQUESTS):
        assert ask(machine, do="request", name=f"geo-{number}")[0] == 0
    for more in ({}, {"for": "bea"}):
        code, said, _ = ask(machine, do="request", name="more", **more)
        assert (code, said["error"]["what"]) == (1, "you have asked to offer 10 environments already")
        assert "geo-0, geo-1" in said["error"]["why"]
    assert len(orders) == published.MOST_REQUESTS, "and nothing was started for it"
    assert ask(machine, do="request", name="geo-3")[0] == 0, "it takes the place of the one before"
    assert ask(machine, ROOT, do="request", name="more", **{"for": "bea"})[0] == 0, "root says yes at once"


def test_a_lock_that_is_none_is_not_kept(machine: FakeHost) -> None:
    ends(machine, state="done")
    run = machine.init.on_run

    def spoiled(program: Program) -> None:
        run(program)
        (machine.layout.run / "own/bea/lock.yaml").write_text("conda: [/etc/shadow]\n")

    machine.init.on_run = spoiled
    assert ask(machine, do="request")[0] == 1
    assert published.requests(machine.layout) == {}


def test_a_link_in_the_place_of_the_lock_is_not_followed(machine: FakeHost, tmp_path: Path) -> None:
    ends(machine, state="done")
    run = machine.init.on_run
    (tmp_path / "secret").write_text(lock_text(LOCK))

    def linked(program: Program) -> None:
        run(program)
        place = machine.layout.run / "own/bea/lock.yaml"
        place.unlink()
        place.symlink_to(tmp_path / "secret")

    machine.init.on_run = linked
    assert ask(machine, do="request")[0] == 1
    assert published.requests(machine.layout) == {}


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_names_lead_nowhere_else(machine: FakeHost, name: str) -> None:
    for call in (published.asked, published.decline):
        with pytest.raises(Exception, match="cannot be a name"):
            call(machine.layout, "bea", name)


UNCHECKED = [
    replace(LOCK, conda=(replace(PACKAGE, sha256=""),)),
    replace(LOCK, conda=(replace(PACKAGE, url="file:///home/bea/linux-64/a-1-0.conda"),)),
    Lock(manager="uv", platform="linux-64", python="3.11", pip=("mine @ https://bea.example.org/mine-1-py3-none-any.whl",)),
]


@pytest.mark.parametrize("lock", UNCHECKED, ids=["no checksum", "a file", "an address"])
def test_what_nobody_can_check_is_not_kept_for_others(machine: FakeHost, lock: Lock) -> None:
    ends(machine, state="done")
    run = machine.init.on_run

    def written(program: Program) -> None:
        run(program)
        (machine.layout.run / "own/bea/lock.yaml").write_text(lock_text(lock))

    machine.init.on_run = written
    code, said, _ = ask(machine, do="request")
    assert (code, said["error"]["why"]) == (1, "nobody can check what is downloaded")
    assert published.requests(machine.layout) == {}


def test_a_full_disk_is_told(machine: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(program: Program) -> None:
        raise OSError(28, "No space left on device")

    machine.init.on_run = full
    code, said, _ = ask(machine)
    assert (code, said["error"]["why"]) == (1, "No space left on device")


def test_root_is_told_where_it_comes_from(machine: FakeHost) -> None:
    ends(machine, state="done")
    ask(machine, do="request")
    assert published.origins(published.asked(machine.layout, "bea", "geo")) == ["https://c"]
