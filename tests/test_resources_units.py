"""Units, services, addresses, ports, limits and packages: decision tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.errors import CommandFailed, HubdError
from hubd.host.init import UnitState
from hubd.host.web import Answer
from hubd.resources.limits import SeenServers, ServerLimits, microseconds
from hubd.resources.listening import Listening, OwnPort, PortFree
from hubd.resources.package import Packages
from hubd.resources.service import Answering, Service, telling_line
from hubd.resources.unit import NoUnit, Unit
from hubd.tools.program import Listener, Program

PROGRAM = Program(name="x.service", description="x", argv=("/bin/x",), settings="new")
REFUSED = CommandFailed(("systemctl", "restart", "x.service"), code=1, output="Job for x.service failed")


def state(active: str = "active", settings: str = "new", enabled: bool = True, **more: Any) -> UnitState:
    return UnitState("x.service", True, active, settings=settings, enabled=enabled, **more)


SERVICES = [
    (UnitState("x.service"), ["start x.service"]),
    (state("failed"), ["start x.service"]),
    # One that is between two crashes does not run.
    (state("activating"), ["start x.service"]),
    (state(), []),
    (state("reloading"), []),
    (state(settings="old"), ["restart x.service with its new settings; nobody notices"]),
    (state(settings=""), ["restart x.service with its new settings; nobody notices"]),
    (state(enabled=False), ["start x.service at every boot"]),
    (state(lost=Path("/a")), ["restart x.service, as another /a is there than it was started with; nobody notices"]),
]


@pytest.mark.parametrize(("seen", "said"), SERVICES)
def test_service(seen: UnitState, said: list[str]) -> None:
    wish = Service(unit="x.service", settings="new", effect="nobody notices")
    assert [step.say for step in wish.steps(seen)] == said


def test_a_service_without_settings_is_not_restarted_for_them() -> None:
    assert Service(unit="x.service").steps(state(settings="whatever")) == ()


def test_a_service_is_mended(host: FakeHost) -> None:
    host.init.define(PROGRAM)
    wish = Service(unit="x.service", settings="new")
    for seen in (wish.observe(host), state(settings="old"), state(enabled=False)):
        for step in wish.steps(seen):
            step.do(host)
        assert wish.steps(wish.observe(host)) == ()


def test_a_service_whose_folder_is_another_is_restarted(host: FakeHost) -> None:
    host.init.define(PROGRAM)
    wish = Service(unit="x.service", folders=(Path("/a"), Path("/b")))
    host.replace(Path("/b"))
    assert [step.say for step in wish.steps(wish.observe(host))] == ["start x.service"], "what does not run has lost nothing"
    host.init.start("x.service")
    assert wish.steps(wish.observe(host)) == ()
    host.replace(Path("/b"))
    for step in wish.steps(wish.observe(host)):
        step.do(host)
    assert host.init.did[-1] == ("restart", "x.service")
    assert wish.steps(wish.observe(host)) == ()


def test_one_that_was_just_started_may_not_have_opened_its_folders_yet(host: FakeHost) -> None:
    host.init.define(PROGRAM)
    host.init.start("x.service")
    wish = Service(unit="x.service", folders=(Path("/a"),))
    host.replace(Path("/a"))
    assert wish.observe(host).lost
    host.init.units["x.service"] = replace(host.init.units["x.service"], fresh=True)
    assert wish.steps(wish.observe(host)) == ()


def test_a_service_that_does_not_start_tells_the_line_of_its_log(host: FakeHost) -> None:
    host.init.define(PROGRAM)
    host.init.broken["x.service"] = REFUSED
    host.init.logs["x.service"] = ("starting", "ValueError: no such port", "bye")
    for seen in (UnitState("x.service"), state(settings="old")):
        with pytest.raises(HubdError) as caught:
            Service(unit="x.service", settings="new").steps(seen)[0].do(host)
        assert caught.value.why == "its log says: ValueError: no such port"
        assert caught.value.fix == "Read its log: hubd logs x"
        assert caught.value.retry


LOGS = [
    ((), ""),
    (("", "  "), ""),
    (("hello", "bye"), "bye"),
    (("PermissionError: denied", "bye"), "PermissionError: denied"),
    (("error one", "error two", "bye"), "error two"),
    (("bind: address already in use", "x.service: Main process exited, code=exited, failed"), "bind: address already in use"),
    (("x" * 1000 + " error", "bye"), "x" * 399 + "…"),
    # People's own programs write the logs of their servers.
    (("\x1b]0;title\x07\x1b[2JMemoryError:\x08 no\ud800 room\u202e",), "MemoryError: no room"),
    (("The hub does not start: a.py, line 1", "bye", "Failed to start x.service - X."), "The hub does not start: a.py, line 1"),
    (("\x1b[31mERR\x1b[0m bind: permission denied", "x.service: Failed with result"), "ERR bind: permission denied"),
    (("x.service: Failed with result",), "x.service: Failed with result"),
]


@pytest.mark.parametrize(("lines", "told"), LOGS)
def test_the_line_of_a_log_that_tells_why(lines: tuple[str, ...], told: str) -> None:
    assert telling_line(lines) == told


@pytest.fixture
def runs(host: FakeHost) -> None:
    host.init.units["x.service"] = state()


@pytest.mark.parametrize(("unit", "behind"), [("y.service", ""), ("x.service", "y.service")])
def test_nobody_is_asked_while_what_should_answer_does_not_run(host: FakeHost, runs: None, unit: str, behind: str) -> None:
    """Where systemd holds the port a connection would be taken, and wait."""
    wish = Answering(label="the hub", url="http://127.0.0.1:1/x", unit=unit, behind=behind, deadline=2)
    assert wish.observe(host) == Answer(0, why="y.service does not run")
    assert len(wish.steps(wish.observe(host))) == 1
    assert host.web.asked == []
    host.init.units["y.service"] = state("active")
    assert wish.observe(host).status == 200


def test_answering_waits_no_longer_than_its_deadline(host: FakeHost, runs: None) -> None:
    wish = Answering(label="the hub", url="http://127.0.0.1:1/x", unit="x.service", deadline=2)
    answers = iter([Answer(0), Answer(503), Answer(404), Answer(200), Answer(200)])
    host.web.answer = lambda *_: next(answers)
    (step,) = wish.steps(wish.observe(host))
    step.do(host)
    assert sum(host.slept) == pytest.approx(0.2)
    host.web.answer = lambda *_: Answer(404)
    with pytest.raises(HubdError) as caught:
        step.do(host)
    assert 2 <= sum(host.slept) - 0.2 < 2.2
    assert caught.value.why == "it answers 404"


@pytest.mark.parametrize("status", [0, 204, 301, 404, 500, 503])
def test_only_200_is_an_answer(host: FakeHost, runs: None, status: int) -> None:
    wish = Answering(label="the hub", url="http://127.0.0.1:1/x", unit="x.service", deadline=2)
    host.web.answer = lambda *_: Answer(status)
    assert len(wish.steps(wish.observe(host))) == 1


LISTENS = [
    # address, how systemd shows it, whether that is right
    ("80", "[::]:80 (Stream)", True),
    ("80", "0.0.0.0:80 (Stream)", True),
    ("80", "80 (Stream)", True),
    ("80", "[::]:8000 (Stream)", False),
    ("80", "127.0.0.1:80 (Stream)", False),
    ("127.0.0.1:80", "127.0.0.1:80 (Stream)", True),
    ("127.0.0.1:80", "[::]:80 (Stream)", False),
    ("[::1]:80", "[::1]:80 (Stream)", True),
    ("80", "", False),
]


@pytest.mark.parametrize(("address", "shown", "right"), LISTENS)
def test_listening(address: str, shown: str, right: bool) -> None:
    wish = Listening(unit="x.socket", address=address, service="x.service")
    assert (wish.steps(UnitState("x.socket", True, "active", enabled=True, listen=shown)) == ()) is right


@pytest.mark.parametrize("options", [{"active": "inactive"}, {"active": "failed"}, {"enabled": False}])
def test_a_port_that_is_not_held(options: dict[str, Any]) -> None:
    seen = UnitState("x.socket", **{"known": True, "active": "active", "enabled": True, "listen": "[::]:80", **options})
    assert len(Listening(unit="x.socket", address="80", service="x.service").steps(seen)) == 1


HELD = 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("{}",pid={},fd=6))\n'


@pytest.fixture
def listening(host: FakeHost) -> Listening:
    host.init.define(Listener(name="x.socket", description="x", service="x.service", address="80", descriptor="http"))
    host.init.did.clear()
    return Listening(unit="x.socket", address="80", service="x.service")


def test_listening_stops_the_service_first(host: FakeHost, listening: Listening) -> None:
    listening.steps(UnitState("x.socket"))[0].do(host)
    assert host.init.did == [("stop", "x.service"), ("restart", "x.socket")]


PORTS = [("", ""), (HELD.format("systemd", 1), ""), (HELD.format("nginx", 4711), "nginx (process 4711) holds it")]


@pytest.mark.parametrize(("held", "why"), PORTS)
def test_a_port_of_another_program_is_left_alone_and_the_program_named(host: FakeHost, held: str, why: str) -> None:
    host.commands.answers["ss",] = held
    wish = PortFree(unit="x.socket", address="80", service="x.service")
    seen = wish.observe(host)
    progress = wish.progress(seen)
    assert wish.steps(seen) == ()
    assert (progress.error.why if progress and progress.error else "") == why
    assert host.commands.ran == [("ss", "-Hltnp", "sport = :80")]


def test_a_port_that_is_ours_costs_no_question(host: FakeHost, listening: Listening) -> None:
    host.init.restart("x.socket")
    assert PortFree(unit="x.socket", address="80", service="x.service").observe(host) == ""
    assert host.commands.ran == []


ELSEWHERE = [("127.0.0.1", True), ("0.0.0.0", True), ("*", True), ("[::]", True), ("127.0.0.1%lo", True),
             ("127.0.0.2", False), ("10.0.0.5", False)]  # fmt: skip


@pytest.mark.parametrize(("there", "taken"), ELSEWHERE)
def test_a_port_of_another_address_is_in_nobodys_way(host: FakeHost, there: str, taken: bool) -> None:
    host.commands.answers["ss",] = HELD.format("python3", 4711).replace("0.0.0.0:80 ", f"{there}:80 ")
    assert PortFree(unit="x.socket", address="127.0.0.1:80", service="x.service").observe(host) == (
        "python3 (process 4711)" if taken else ""
    )
    assert PortFree(unit="x.socket", address="80", service="x.service").observe(host) == "python3 (process 4711)"


@pytest.mark.parametrize(("pid", "taken"), [(4711, False), (4712, True), (0, True)])
def test_a_port_that_the_service_itself_still_has_is_no_strangers(host: FakeHost, pid: int, taken: bool) -> None:
    """The file of its socket unit was taken away: systemd let go of the port, and the service did not."""
    host.holding.add((4711, 80))
    host.init.units["x.service"] = state(pid=pid)
    host.commands.answers["ss",] = HELD.format("traefik", 4711)
    wish = PortFree(unit="x.socket", address="80", service="x.service")
    assert (wish.progress(wish.observe(host)) is not None) is taken


@pytest.mark.parametrize(
    ("listening", "held", "why"),
    [
        (frozenset(), "", ""),
        (frozenset({970}), "", ""),  # the hub itself
        (frozenset({1001}), HELD.format("python3", 4711), "python3 (process 4711) holds it"),
        (frozenset({970, 0}), "", "a program of root holds it"),
    ],
)
def test_a_port_for_one_account_alone(host: FakeHost, listening: frozenset[int], held: str, why: str) -> None:
    host.accounts.add("hubd-hub", uid=970)
    host.listening[15001] = listening
    host.commands.answers["ss",] = held
    wish = OwnPort(port=15001, account="hubd-hub", setting="hub.port")
    progress = wish.progress(wish.observe(host))
    error = progress.error if progress else None
    assert (error.why if error else "") == why
    assert error is None or "hubd config set hub.port" in error.fix


def test_a_port_that_cannot_be_held_for_another_reason(host: FakeHost, listening: Listening) -> None:
    host.init.broken["x.socket"] = REFUSED
    with pytest.raises(HubdError) as caught:
        listening.steps(UnitState("x.socket"))[0].do(host)
    assert (caught.value.why, caught.value.retry) == ("Job for x.service failed", True)


def test_unit(host: FakeHost) -> None:
    wish = Unit(unit=PROGRAM)
    assert [step.say for step in wish.steps(wish.observe(host))] == ["create the unit x.service"]
    wish.steps(wish.observe(host))[0].do(host)
    assert wish.steps(wish.observe(host)) == ()
    changed = Unit(unit=Program(name="x.service", description="x", argv=("/bin/y",)))
    assert [step.say for step in changed.steps(changed.observe(host))] == ["change the unit x.service"]
    # Defining starts nothing.
    assert host.init.did == [("define", "x.service")]


def test_a_unit_no_longer_wanted_is_stopped_and_removed(host: FakeHost) -> None:
    host.init.define(PROGRAM)
    gone = Unit.gone(Unit(unit=PROGRAM).memo() or {})
    assert gone == NoUnit(unit="x.service")
    gone.steps(gone.observe(host))[0].do(host)
    assert host.init.did[-2:] == [("stop", "x.service"), ("undefine", "x.service")]
    assert gone.steps(gone.observe(host)) == ()


LIMITS = [
    # memory, cpu, as systemd shows them, whether that is right
    (None, None, "infinity", "infinity", True),
    (1 << 30, 2.0, "1073741824", "2s", True),
    (1 << 30, 0.5, "1073741824", "500ms", True),
    (1 << 30, 1.5, "1073741824", "1.500000s", True),
    (1 << 30, 0.333, "1073741824", "330ms", True),
    (1 << 30, 61.5, "1073741824", "1min 1.500000s", True),
    (1 << 30, None, "infinity", "infinity", False),
    (None, 2.0, "infinity", "1s", False),
    (None, None, "1073741824", "infinity", False),
]


@pytest.mark.parametrize(("memory", "cpu", "shown_memory", "shown_cpu", "right"), LIMITS)
def test_limits(memory: int | None, cpu: float | None, shown_memory: str, shown_cpu: str, right: bool) -> None:
    seen = SeenServers({"hubd-user-ada.service": UnitState("u", memory=shown_memory, cpu=shown_cpu)}, enforced=True)
    steps = ServerLimits(memory=memory, cpu=cpu).steps(seen)
    assert (steps == ()) is right
    if steps:
        assert steps[0].say == "change the limits of the running servers of ada"


def test_limits_that_cannot_be_enforced_are_no_gap() -> None:
    seen = SeenServers({"hubd-user-ada.service": UnitState("u")}, enforced=False)
    assert ServerLimits(memory=1, cpu=1).steps(seen) == ()


def test_limits_are_set_on_those_that_run_and_differ(host: FakeHost) -> None:
    for name, active, memory in (("ada", "active", "5"), ("bea", "inactive", "5"), ("cid", "active", "7")):
        unit = f"hubd-user-{name}.service"
        host.init.units[unit] = UnitState(unit, active=active, memory=memory, cpu="infinity")
    host.init.units["jupyterhub.service"] = UnitState("jupyterhub.service", active="active")
    wish = ServerLimits(memory=7, cpu=None)
    wish.steps(wish.observe(host))[0].do(host)
    assert host.init.limits == [("hubd-user-ada.service", (("MemoryMax", "7"), ("CPUQuota", "")))]


SPANS = [
    ("500ms", 500_000), ("1.500000s", 1_500_000), ("1s 500ms", 1_500_000), ("1min", 60_000_000), ("1min 4s", 64_000_000),
    ("infinity", None), ("", None), ("[not set]", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SPANS)
def test_a_time_as_systemd_prints_it(text: str, expected: int | None) -> None:
    assert microseconds(text) == expected


def test_packages(host: FakeHost) -> None:
    wish = Packages(label="base", packages=("sudo", "git"))
    host.commands.answers["dpkg-query",] = "sudo installed\n"
    (step,) = wish.steps(wish.observe(host))
    assert step.say == "install git from the distribution"
    step.do(host)
    assert [argv[:2] for argv in host.commands.ran] == [("dpkg-query", "--show"), ("apt-get", "install")]
    assert host.commands.ran[1][-1] == "git"
    assert host.commands.options[1]["environment"] == {"DEBIAN_FRONTEND": "noninteractive"}
    host.commands.answers["dpkg-query",] = "sudo installed\ngit installed\n"
    assert wish.steps(wish.observe(host)) == ()
    assert wish.memo() is None


def test_old_package_lists_are_fetched_once_and_then_it_is_told(host: FakeHost) -> None:
    tries = iter([100, 0, 100, 100])
    host.commands.answers["apt-get", "install"] = lambda argv: next(tries)
    step = Packages(label="base", packages=("git",)).steps(frozenset())[0]
    step.do(host)
    assert [argv[1] for argv in host.commands.ran] == ["install", "update", "install"]
    with pytest.raises(HubdError) as caught:
        step.do(host)
    assert (caught.value.what, caught.value.why, caught.value.retry) == ("git could not be installed", "it went wrong", True)
