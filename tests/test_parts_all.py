"""The built-in parts: config to resources. Every id once, every need provided, the same in and the same out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hubd.config.parse import parse
from hubd.flow.desired import desired, notices, with_hub_settings
from hubd.flow.values import Desired
from hubd.hooks import Wanted
from hubd.host.sockets import MOST
from hubd.layout import Layout
from hubd.plugin_loader import BUILT_IN, load
from hubd.resources.conda import Conda, ExistingConda, ManagerChoice
from hubd.resources.environment import Environment, Source
from hubd.resources.file import File
from hubd.resources.service import Answering, Service
from hubd.resources.unit import Unit
from hubd.tools.job_limits import JobLimits
from hubd.tools.notebook import Cell, first_notebook
from hubd.tools.program import Program, service_text
from hubd.words import to_build_anew

FULL = """\
people: {admins: [ada], users: [bea, cid], groups: {staff: {members: [ada, bea]}, empty: {}}}
limits: {memory: 1G, cpu: 1.5}
environments:
  science: {packages: [python=3.12, ipykernel, numpy], manager: conda, kernel: {display_name: Science}}
  maths: {packages: [ipykernel, sympy], manager: uv}
  stats: {packages: [r-irkernel], manager: conda, channels: [my-channel], kernel: {language: R}}
default_environment: maths
hub: {port: 16001, start_deadline: 30 s}
proxy: {port: 8080, address: 127.0.0.1, api_port: 9099}
"""
EMPTY = "people: {}\n"
LAYOUT = Layout(Path("/srv/hub"))
FACTS = {"hub": {"version": "versions/hub-1"}, "server-list": {"path": "/x", "digest": "d"}}


def wanted(text: str = FULL, **options: Any) -> Wanted:
    return Wanted(
        parse(text),
        LAYOUT,
        **{"facts": {**FACTS, "server-settings": {"path": "/opt/hub/versions/hub-1/hubd/serverside"}}, **options},
    )


def made(wish: Wanted) -> Desired:
    plugins = load((), bundled=Path("/nowhere"))
    found = desired(with_hub_settings(wish, plugins), plugins)
    assert found.broken == ()
    return found


def by_id(wish: Wanted) -> dict[str, Any]:
    return {resource.id: resource for resource in made(wish).resources}


TEXTS = [FULL, EMPTY, FULL.replace("manager: uv", "manager: auto"), FULL + "conda: {path: /opt/miniconda3}\n"]


@pytest.mark.parametrize("systemd", [True, False])
@pytest.mark.parametrize("text", TEXTS, ids=["full", "empty", "auto", "own-conda"])
def test_every_need_is_provided_and_comes_first(text: str, systemd: bool) -> None:
    found = made(wanted(text, systemd=systemd))
    seen: set[str] = set()
    for resource in found.resources:
        assert set(resource.needs) <= seen, resource.id
        assert resource.id not in seen
        seen.add(resource.id)
    assert set(found.owners.values()) <= set(BUILT_IN)


def test_the_same_in_gives_the_same_out() -> None:
    assert made(wanted()).resources == made(wanted()).resources


def test_nothing_is_written_outside_of_what_is_hubds() -> None:
    allowed = ("/srv/hub/", "/etc/sudoers.d/hubd")
    files = [resource for resource in by_id(wanted()).values() if isinstance(resource, File)]
    assert len(files) > 4
    assert all(str(file.path).startswith(allowed) for file in files)


def test_people_are_admins_or_not_in_every_place() -> None:
    found = by_id(wanted())
    assert found["members:hubd-admins"].members == {"ada"}
    assert found["members:hubd-users"].members == {"ada", "bea", "cid"}
    assert found["hub-people:all"].users == {"ada": True, "bea": False, "cid": False}
    assert found["hub-people:all"].groups == {"staff": {"ada", "bea"}, "empty": frozenset()}
    assert {"person:ada", "person:bea", "person:cid", "home-folder:ada/notebooks"} <= found.keys()
    assert json.loads(found["file:/srv/hub/state/servers.json"].content)["people"] == ["ada", "bea", "cid"]
    nobody = by_id(wanted(EMPTY))
    assert nobody["members:hubd-admins"].members == frozenset()
    assert nobody["hub-people:all"].users == {}


def test_conda_is_prepared_for_those_who_may_make_environments() -> None:
    may = FULL.replace("staff: {members: [ada, bea]}", "staff: {members: [bea], environments: own}")
    found = by_id(wanted(may + "conda: {path: /opt/x, channels: [conda-forge, 'https://example.org/a,b']}\n"))
    files = {identity: each for identity, each in found.items() if identity.startswith("home-file:")}
    assert files.keys() == {"home-file:ada/.condarc", "home-file:bea/.condarc"}, "admins may in any case"
    assert YAML(typ="safe").load(files["home-file:bea/.condarc"].text) == {
        "envs_dirs": ["~/envs"], "pkgs_dirs": ["~/.conda/pkgs", "/srv/hub/envs/.packages"],
        "channels": ["conda-forge", "https://example.org/a,b"],
    }  # fmt: skip
    assert not [identity for identity in by_id(wanted(EMPTY)) if identity.startswith("home-file:")], "no conda, no settings"


def test_what_holds_secrets_is_closed() -> None:
    found = by_id(wanted())
    modes = {identity: (each.mode, each.owner, each.group) for identity, each in found.items() if hasattr(each, "mode")}
    assert modes["directory:/srv/hub/state"] == (0o711, "root", "root")
    assert modes["directory:/srv/hub/state/secrets"] == (0o700, "root", "root")
    assert modes["directory:/srv/hub/state/hub"] == (0o700, "hubd-hub", "hubd-hub")
    assert modes["file:/srv/hub/state/servers.json"] == (0o600, "root", "root")
    assert modes["file:/srv/hub/state/jupyterhub.json"] == (0o640, "root", "hubd-hub")
    assert modes["directory:/srv/hub/state/proxy/rules"] == (0o3770, "root", "hubd-proxy")
    # A build writes into a folder of its own below, and puts nothing beside it.
    assert modes["directory:/srv/hub/state/reports"] == (0o711, "root", "root")
    assert modes["file:/etc/sudoers.d/hubd"][0] == 0o440


def test_limits_of_builds_reach_each_of_them_and_build_nothing_anew() -> None:
    def builds(text: str) -> dict[str, Any]:
        return {each.id: each for each in by_id(wanted(text)).values() if isinstance(each, Environment | Conda)}

    before, after = builds(FULL), builds(FULL + "builds: {memory: 4G, cpu: 1.5, time: 30 min}\n")
    assert len(after) == 5
    assert {each.limits for each in before.values()} == {JobLimits(memory=None, cpu=None, time=7200)}
    assert {each.limits for each in after.values()} == {JobLimits(memory=4 * 2**30, cpu=1.5, time=1800)}
    assert {identity: replace(each, limits=JobLimits()) for identity, each in after.items()} == {
        identity: replace(each, limits=JobLimits()) for identity, each in before.items()
    }
    assert after["environment:science"].asked == before["environment:science"].asked


def programs(wish: Wanted) -> dict[str, Program]:
    return {
        each.unit.name: each.unit for each in by_id(wish).values() if isinstance(each, Unit) and isinstance(each.unit, Program)
    }


def test_hub_and_proxy_are_not_root_and_run_from_one_generation() -> None:
    found = programs(wanted())
    assert found["jupyterhub.service"].user == "hubd-hub"
    assert found["jupyterhub-proxy.service"].user == "hubd-proxy"
    assert found["hubd.service"].user == ""
    assert found.pop("jupyterhub-port.service").user == "hubd-hub"
    for program in found.values():
        assert program.argv[0].startswith("/srv/hub/versions/hub-1/bin/")
        service_text(program)


def test_the_running_settings_are_those_of_the_unit() -> None:
    found = by_id(wanted())
    for identity in ("jupyterhub.service", "jupyterhub-proxy.service"):
        assert found[f"service:{identity}"].settings == found[f"unit:{identity}"].unit.settings != ""


def test_hub_and_proxy_have_in_use_what_is_looked_for_on_them() -> None:
    found, rules = by_id(wanted()), LAYOUT.proxy_rules
    assert found["service:jupyterhub-proxy.service"].folders == (rules,)
    assert found["unit:jupyterhub-proxy.service"].unit.directory == rules
    assert found["service:jupyterhub.service"].folders == (LAYOUT.hub_state, rules)
    assert found["unit:jupyterhub.service"].unit.directory == LAYOUT.hub_state
    settings = json.loads(found["file:/srv/hub/state/jupyterhub.json"].content)
    assert settings["hubd"]["held_folder"] == str(rules)


SETTINGS = [
    # what changes, whether hub and proxy restart
    ({}, False, False),
    ({"facts": {"hub": {"version": "versions/hub-2"}, "server-list": {"path": "/x", "digest": "d"}}}, True, True),
    (
        {
            "facts": {
                "hub": {"version": "versions/hub-1"},
                "server-list": {"path": "/x", "digest": "d"},
                "drop-ins": {"digest": "e"},
            }
        },
        True,
        False,
    ),
    (
        {
            "facts": {
                "hub": {"version": "versions/hub-1"},
                "server-list": {"path": "/x", "digest": "d"},
                "hub-secrets": {"a": "b"},
            }
        },
        True,
        False,
    ),
    ({"text": FULL.replace("16001", "16002")}, True, False),
    ({"text": FULL.replace("9099", "9098")}, True, True),
    ({"text": FULL.replace("127.0.0.1", "127.0.0.2")}, False, True),
    # What can be done live restarts nothing.
    ({"text": FULL.replace("cid]", "cid, dan]")}, False, False),
    ({"text": FULL.replace("1G", "2G")}, False, False),
    ({"text": FULL.replace("sympy", "scipy")}, False, False),
    ({"text": FULL.replace("default_environment: maths", "default_environment: science")}, False, False),
    ({"text": FULL.replace("30 s", "50 s")}, False, False),
    ({"text": FULL + "daemon: {interval: 1 min}\n"}, False, False),
]


@pytest.mark.parametrize(("change", "hub", "proxy"), SETTINGS)
def test_what_restarts_what(change: dict[str, Any], hub: bool, proxy: bool) -> None:
    before, after = by_id(wanted()), by_id(wanted(**change))
    for unit, restarts in (("jupyterhub", hub), ("jupyterhub-proxy", proxy)):
        old, new = (each[f"service:{unit}.service"] for each in (before, after))
        assert isinstance(old, Service)
        assert (old.settings != new.settings) is restarts, unit


def test_ports_and_addresses_reach_everything() -> None:
    found = by_id(wanted())
    settings = json.loads(found["file:/srv/hub/state/jupyterhub.json"].content)
    assert settings["JupyterHub"]["hub_port"] == 16001
    assert settings["TraefikProxy"]["traefik_api_url"] == "http://127.0.0.1:9099"
    answers = [each.url for each in found.values() if isinstance(each, Answering)]
    assert answers == ["http://127.0.0.1:16001/hub/health", "http://127.0.0.1:8080/hub/health"]
    assert found["listening:jupyterhub-proxy.socket"].address == "127.0.0.1:8080"
    assert found["hub-people:all"].api == "http://127.0.0.1:16001/hub/api"
    assert [each.deadline for each in found.values() if isinstance(each, Answering)] == [30, 30]


@pytest.mark.parametrize(("address", "place", "url"), [
    ("''", "80", "http://127.0.0.1:80/"), ("'::1'", "[::1]:80", "http://[::1]:80/"), ("10.0.0.5", "10.0.0.5:80", "http://10.0.0.5:80/"),
])  # fmt: skip
def test_every_kind_of_address(address: str, place: str, url: str) -> None:
    found = by_id(wanted(f"proxy: {{port: 80, address: {address}}}\n"))
    assert found["listening:jupyterhub-proxy.socket"].address == place
    assert found["answer:the hub through the proxy"].url.startswith(url)


def test_the_port_of_the_hub_is_systemds_and_a_connection_starts_no_hub() -> None:
    found = by_id(wanted())
    socket = found["unit:jupyterhub.socket"].unit
    assert (socket.address, socket.service) == ("127.0.0.1:16001", "jupyterhub-port.service")
    assert found["unit:jupyterhub-port.service"].unit.argv == ("/bin/true",)
    # Without it, the hub would be free to listen by itself.
    unit = service_text(found["unit:jupyterhub.service"].unit)
    assert {"Requires=jupyterhub.socket", "Sockets=jupyterhub.socket"} <= set(unit.splitlines())
    assert "listening:jupyterhub.socket" in found["service:jupyterhub.service"].needs
    listening = found["listening:jupyterhub.socket"]
    assert (listening.service, listening.setting) == ("jupyterhub.service", "hub.port")


@pytest.mark.parametrize(("systemd", "need"), [(True, "listening:jupyterhub.socket"), (False, "port:16001")])
def test_the_proxy_is_told_of_a_port_that_is_the_hubs(systemd: bool, need: str) -> None:
    found = by_id(wanted(systemd=systemd))
    assert need in found["file:/srv/hub/state/proxy/rules/hubd.toml"].needs


def test_without_systemd_there_is_no_port_holder_and_no_unit_of_hubd() -> None:
    found = by_id(wanted(systemd=False))
    assert not [identity for identity in found if identity.startswith("listening:")]
    assert set(programs(wanted(systemd=False))) == {"jupyterhub.service", "jupyterhub-proxy.service"}
    assert programs(wanted(systemd=False))["jupyterhub-proxy.service"].relations == ()
    said = notices(wanted(systemd=False), load((), bundled=Path("/nowhere")))
    assert any("not systemd" in notice.say for notice in said)
    assert not notices(wanted(), load((), bundled=Path("/nowhere")))


def environments(wish: Wanted) -> dict[str, Environment]:
    found = (each for each in made(wish).resources if isinstance(each, Environment))
    return {each.environment: each for each in found if not each.generations.label}


CHOICE = {"hub": {}, "server-list": {}}
MANAGERS: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
    # managers of the two in the file, further options, facts, what builds them (absent: not decided)
    ("uv", "uv", {}, {"a": "uv", "b": "uv"}),
    ("conda", "uv", {}, {"a": "conda", "b": "uv"}),
    ("auto", "uv", {}, {"b": "uv"}),
    ("auto", "conda", {}, {"b": "conda"}),
    ("auto", "auto", {"environment-manager": {"manager": "uv"}}, {"a": "uv", "b": "uv"}),
    ("auto", "uv", {"environment-manager": {"manager": "conda"}}, {"a": "conda", "b": "uv"}),
]


@pytest.mark.parametrize(("one", "two", "facts", "builders"), MANAGERS)
def test_who_builds(one: str, two: str, facts: dict[str, Any], builders: dict[str, str]) -> None:
    text = f"environments: {{a: {{packages: [ipykernel], manager: {one}}}, b: {{packages: [ipykernel], manager: {two}}}}}\n"
    wish = wanted(text, facts={**CHOICE, **facts})
    found = made(wish).resources
    assert {name: each.manager for name, each in environments(wish).items()} == builders
    assert any(isinstance(each, ManagerChoice) for each in found) is ("auto" in (one, two) and not facts)
    assert any(isinstance(each, Conda) for each in found) is ("conda" in builders.values())


def test_ones_own_conda_decides_and_is_never_installed() -> None:
    wish = wanted("environments: {a: {packages: [ipykernel]}}\nconda: {path: /opt/miniconda3}\n", facts=CHOICE)
    assert environments(wish)["a"].conda == Path("/opt/miniconda3")
    kinds = {type(each) for each in made(wish).resources}
    assert ExistingConda in kinds
    assert not kinds & {Conda, ManagerChoice}


def test_channels_are_those_of_the_environment_else_of_conda_and_none_with_uv() -> None:
    found = environments(wanted(FULL + "conda: {channels: [a, b]}\n"))
    assert {name: each.channels for name, each in found.items()} == {"science": ("a", "b"), "maths": (), "stats": ("my-channel",)}


def test_rattler_has_channels_and_needs_no_conda() -> None:
    wish = wanted(FULL.replace("manager: conda", "manager: rattler") + "conda: {channels: [a, b]}\n")
    found = environments(wish)["science"]
    assert (found.manager, found.channels, found.conda) == ("rattler", ("a", "b"), None)
    assert not any(isinstance(each, Conda) for each in made(wish).resources)


@pytest.mark.parametrize(("channels", "probe"), [
    ("[conda-forge]", "https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"),
    ("['https://mirror.example.org/forge/']", "https://mirror.example.org/forge/noarch/repodata.json"),
    ("['file:///srv/channel']", "file:///srv/channel/noarch/repodata.json"),
    ("[]", "https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"),
])  # fmt: skip
def test_what_is_tried_before_conda_is_chosen(channels: str, probe: str) -> None:
    wish = wanted(f"environments: {{a: {{packages: [ipykernel]}}}}\nconda: {{channels: {channels}}}\n", facts=CHOICE)
    (choice,) = (each for each in made(wish).resources if isinstance(each, ManagerChoice))
    assert choice.probes[1] == probe


def test_a_kernel_is_offered_only_when_its_environment_is_proven() -> None:
    found = by_id(wanted())
    kernels = {name: found[f"kernel:/srv/hub/kernels/everyone/kernels/{name}"] for name in environments(wanted())}
    for name, environment in environments(wanted()).items():
        assert kernels[name].needs[0] == f"switch:{name}"
        assert found[f"switch:{name}"].needs == (environment.id,)
        assert found[f"switch:{name}"].asked == environment.asked
        assert environment.generations == kernels[name].generations
        assert environment.generations.link == Path(f"/srv/hub/envs/{name}/current")
    assert (kernels["science"].title, kernels["science"].language) == ("Science", "python")
    assert (kernels["stats"].title, kernels["stats"].language) == ("stats", "R")


def test_a_kernel_is_offered_to_each_of_its_audiences_and_to_nobody_else() -> None:
    text = FULL.replace("sympy]", "sympy], audience: [staff, admins]").replace("numpy]", "numpy], audience: [empty]")
    found = by_id(wanted(text))
    kernels = {identity: each for identity, each in found.items() if identity.startswith("kernel:")}
    assert set(kernels) == {
        "kernel:/srv/hub/kernels/staff/kernels/maths",
        "kernel:/srv/hub/kernels/admins/kernels/maths",
        "kernel:/srv/hub/kernels/empty/kernels/science",
        "kernel:/srv/hub/kernels/everyone/kernels/stats",
    }
    said = {each.audience: each.touches.partition(":")[0] for each in kernels.values()}
    assert said == {who: who for who in ("the group staff", "the group empty", "admins", "everybody")}
    old = found["old-generations:/srv/hub/envs/maths/"]
    assert set(old.needs) == {"switch:maths", *(identity for identity in kernels if identity.endswith("/maths"))}
    # A change of the audience builds nothing.
    assert environments(wanted(text))["maths"].digest == environments(wanted())["maths"].digest
    # Servers are started into folders that are there.
    policy_file = found["file:/srv/hub/state/servers.json"]
    assert {f"directory:/srv/hub/kernels/{name}" for name in ("everyone", "admins", "staff", "empty")} <= set(policy_file.needs)


def test_fifty_groups_of_five_thousand_people_stay_a_small_policy() -> None:
    names = [f"u{number:04}" for number in range(5000)]
    groups = {f"g{number:02}": {"members": names[number::50]} for number in range(50)}
    text = json.dumps({"people": {"users": names, "groups": groups}})
    found = by_id(wanted(text))["file:/srv/hub/state/servers.json"].content
    assert len(found) < 25 * 5000


ROLLBACKS: list[tuple[Any, int]] = [
    ({"generation": 3, "instead_of": "DIGEST"}, 3),
    # Since then something else is asked for.
    ({"generation": 3, "instead_of": "another"}, 0),
    ({"generation": "3", "instead_of": "DIGEST"}, 0),
    ({"generation": -3, "instead_of": "DIGEST"}, 0),
    ({"instead_of": "DIGEST"}, 0),
    ("nonsense", 0),
    (None, 0),
]


@pytest.mark.parametrize(("fact", "held"), ROLLBACKS)
def test_going_back_lasts_until_something_else_is_asked_for(fact: Any, held: int) -> None:
    digest = environments(wanted())["science"].digest
    choice = json.loads(json.dumps(fact).replace("DIGEST", digest))
    found = environments(wanted(facts={**CHOICE, "rollbacks": {"science": choice}}))
    assert {name: each.held for name, each in found.items()} == {"science": held, "maths": 0, "stats": 0}


SHA = "a" * 64
LOCK = f"manager: uv\nplatform: linux-64\npython: '3.11'\npip:\n  - 'six==1.17.0 --hash=sha256:{SHA}'\n"
CONDA_LOCK = "manager: rattler\nplatform: linux-64\nconda:\n  - 'https://x.example/c/linux-64/python-2.7.18-0.conda'\n"
FILE = "channels: [mine]\ndependencies: [ipykernel, {pip: [six]}]\nprefix: /x\n"


def with_files(environment: str, more: str = "", **texts: str) -> Wanted:
    found = {name.replace("_", "."): {"text": text} for name, text in texts.items()}
    return wanted(f"environments: {{a: {{{environment}}}}}\n{more}", facts={**CHOICE, "files": found})


def test_a_lock_of_this_machine_is_read_and_handed_on() -> None:
    found = environments(with_files("lock: a.lock", a_lock=LOCK))["a"]
    assert (found.manager, found.packages, found.pip, found.refused) == ("uv", (), (), None)
    assert found.source is not None
    assert (found.source.text, found.source.sha256) == (LOCK, hashlib.sha256(LOCK.encode()).hexdigest())
    assert environments(with_files("lock: a.lock", a_lock=LOCK + "# more\n"))["a"].digest != found.digest
    assert environments(with_files("lock: a.lock", a_lock=CONDA_LOCK))["a"].manager == "rattler"
    assert environments(with_files("lock: a.lock", a_lock=CONDA_LOCK.replace("rattler", "mamba")))["a"].manager == "conda"
    assert environments(with_files("lock: a.lock, manager: uv", a_lock=CONDA_LOCK))["a"].manager == "uv"


UNFIT = [
    ("manager: conda", LOCK, "a cannot be built from a.lock: conda cannot build this lock", "Write `manager: uv`"),
    ("manager: uv", CONDA_LOCK, "a cannot be built from a.lock: uv cannot build this lock", "Write `manager: conda`"),
    ("manager: conda", CONDA_LOCK.replace("linux-64", "osx-64"), "a cannot be built from a.lock: the lock", "Write a lock"),
    ("manager: uv", LOCK, "", ""),
    ("manager: conda, frozen: true", LOCK, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("option", "text", "what", "fix"), UNFIT)
def test_a_lock_of_another_manager_is_refused_before_the_build(option: str, text: str, what: str, fix: str) -> None:
    refused = environments(with_files(f"lock: a.lock, {option}", a_lock=text))["a"].refused
    assert (refused is not None) == bool(what), "what is frozen may be built again from the lock that it was built with"
    if refused:
        assert refused.what.startswith(what)
        assert refused.fix.startswith(fix)


CHANNELS = [
    ("", "", FILE, ("mine",)),
    (", channels: [own]", "", FILE, ("own",)),
    ("", "conda: {channels: [usual]}\n", FILE, ("mine",)),
    ("", "conda: {channels: [usual]}\n", FILE.replace("channels: [mine]", "name: a"), ("usual",)),
]


@pytest.mark.parametrize(("option", "more", "text", "channels"), CHANNELS)
def test_an_environment_file_of_this_machine_is_read(option: str, more: str, text: str, channels: tuple[str, ...]) -> None:
    wish = with_files(f"file: a.yml, pip: [cowsay], manager: conda{option}", more, a_yml=text)
    found = environments(wish)["a"]
    assert (found.packages, found.pip, found.channels) == (("ipykernel",), ("six", "cowsay"), channels)
    assert (found.source, found.refused) == (None, None)
    said = notices(wish, load((), bundled=Path("/nowhere")))
    assert any("a.yml: its `prefix:` is not used" in notice.say for notice in said)


def test_the_kernel_that_somebody_elses_file_lacks_can_be_added_beside_it() -> None:
    found = environments(with_files("file: a.yml, pip: [ipykernel], manager: conda", a_yml="dependencies: [numpy]"))["a"]
    assert (found.packages, found.pip, found.refused) == (("numpy",), ("ipykernel",), None)


@pytest.mark.parametrize("kind", ["lock", "file"])
@pytest.mark.parametrize("own", [True, False])
def test_what_is_behind_an_address_is_left_to_the_build(kind: str, own: bool) -> None:
    option = ", channels: [own]" if own and kind == "file" else ""
    text = f"environments: {{a: {{{kind}: 'https://x.example/a', sha256: '{SHA}', manager: conda{option}}}}}\n"
    found = environments(wanted(text, facts=CHOICE))["a"]
    assert found.source == Source(kind=kind, place="https://x.example/a", sha256=SHA, channels=not option)
    assert (found.packages, found.pip) == ((), ())
    assert found.channels == (("own",) if option else ("conda-forge",))


@pytest.mark.parametrize("kind", ["lock", "file"])
def test_what_is_in_a_repository_is_left_to_the_build_which_needs_git(kind: str) -> None:
    git = f"git: {{url: 'https://x.example/course', commit: {'AB' * 20}}}"
    wish = wanted(f"environments: {{a: {{{kind}: e/a, manager: conda, {git}}}, b: {{manager: uv}}}}\n", facts=CHOICE)
    found = environments(wish)
    assert found["a"].source == Source(kind=kind, place="e/a", url="https://x.example/course", commit="ab" * 20)
    assert (found["a"].refused, found["a"].packages) == (None, ())
    assert ["packages:git" in found[name].needs for name in "ab"] == [True, False]
    assert "packages:git" in {each.id for each in made(wish).resources}
    without = wanted("environments: {b: {manager: uv}}\n", facts=CHOICE)
    assert "packages:git" not in {each.id for each in made(without).resources}


REFUSED = [
    # what the environment says, what the file holds, words
    ("lock: a.lock", "junk", ["a.lock cannot be used", "line 1: 'junk'"]),
    ("lock: away.lock", LOCK, ["away.lock cannot be read", "Put it at /srv/hub/away.lock"]),
    (f"lock: a.lock, sha256: '{SHA}'", LOCK, ["a.lock is not the file it should be", f"expected {SHA}"]),
    ("file: a.lock", "dependencies: [numpy]", ["a.lock cannot be used as it is", "add `- ipykernel`"]),
    ("file: a.lock", "dependencies:\n\t- x", ["line 2", "tab"]),
    ("file: a.lock, kernel: {language: R}", "dependencies: [ipykernel]", ["add `- r-irkernel`"]),
    ("smoke: away.ipynb", "", ["away.ipynb cannot be read", "Put it at /srv/hub/away.ipynb"]),
    ("smoke: a.ipynb", "{", ["a.ipynb cannot be used: it is not a notebook", "it is not JSON", "name another one in `smoke`"]),
    ("smoke: a.ipynb, lock: a.lock", "junk", ["a.lock cannot be used", "line 1: 'junk'"]),
]


@pytest.mark.parametrize(("environment", "text", "words"), REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason(environment: str, text: str, words: list[str]) -> None:
    manager = "rattler" if "language: R" in environment else "uv"
    found = environments(with_files(f"{environment}, manager: {manager}", a_lock=text, a_ipynb=text))["a"]
    assert found.refused is not None
    for word in words:
        assert word in f"{found.refused} {found.refused.fix}"


def test_r_is_not_left_to_uv_which_was_chosen() -> None:
    facts = {**CHOICE, "environment-manager": {"manager": "uv", "why": "no route", "at": "today"}}
    wish = wanted("environments: {a: {packages: [r-irkernel], kernel: {language: R}}}\n", facts=facts)
    refused = environments(wish)["a"].refused
    assert refused is not None
    assert refused.what == "uv cannot install R, as PyPI has none"
    assert "hubd config set environments.a.manager rattler" in refused.fix


CLOSED = [
    ("lock: a.lock", "manager: uv\nroot:secret-hash:1\nx\n", "lines 2, 3 "),
    ("file: a.lock", "root:secret-hash:1\nx: secret-hash\n", "line 2 "),
    ("file: a.lock", "dependencies: [ipykernel, 'secret-hash: x", "line 1 "),
    ("file: a.lock", "- secret-hash", "line 1 "),
]


@pytest.mark.parametrize(("environment", "text", "line"), CLOSED)
def test_of_a_file_that_not_everybody_may_read_nothing_is_quoted(environment: str, text: str, line: str) -> None:
    files = {"files": {"a.lock": {"text": text, "private": "yes"}}}
    found = environments(wanted(f"environments: {{a: {{{environment}, manager: uv}}}}", facts=files))["a"]
    assert found.refused is not None
    told = f"{found.refused} {found.refused.fix}"
    assert "a.lock cannot be used as it is" in told and line in told, told
    assert "secret" not in told and "root" not in told.replace("as root", "")


NOTEBOOK = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "import numpy"}]})


def test_a_notebook_of_this_machine_is_read_and_handed_on() -> None:
    found = environments(with_files("smoke: a.ipynb, smoke_time: 9 s, manager: uv", a_ipynb=NOTEBOOK))["a"]
    assert (found.notebook.path, found.notebook.cells, found.smoke_time) == ("a.ipynb", (Cell("import numpy"),), 9)
    assert (found.packages, found.refused) == (("ipykernel",), None)


def test_without_one_a_first_cell_in_its_language_is_run() -> None:
    for language, package in (("python", "ipykernel"), ("R", "r-irkernel")):
        text = f"packages: [{package}], kernel: {{language: {language}}}, manager: conda"
        assert environments(with_files(text))["a"].notebook == first_notebook(language)


def test_a_notebook_that_cannot_be_read_is_not_taken_for_none_and_changes_nothing_else() -> None:
    lost, plain = (environments(with_files(f"lock: a.lock{more}", a_lock=CONDA_LOCK))["a"] for more in (", smoke: b.ipynb", ""))
    assert lost.digest != plain.digest
    assert (lost.manager, lost.source) == (plain.manager, plain.source)


OUTLIVED = [
    ("packages: [python=2.7, ipykernel]", "a: Python 2.7 is past its end of life"),
    ("packages: ['python ==3.6.*', ipykernel]", "a: Python 3.6 is past its end of life"),
    ("packages: [python=3.12, ipykernel]", ""),
    ("packages: ['python>=3.6', ipykernel]", ""),
    ("packages: [python=3, ipykernel]", ""),
    ("packages: [ipykernel]", ""),
    ("lock: a.lock", "a: Python 2.7.18 is past its end of life"),
    ("packages: [python=2.7, ipykernel], frozen: true", "a is frozen: it stays as it was built, and Python 2.7 is past its"),
    ("packages: [ipykernel], frozen: true", "a is frozen: it stays as it was built"),
]


@pytest.mark.parametrize(("environment", "say"), OUTLIVED)
def test_what_is_past_its_end_of_life_is_said(environment: str, say: str) -> None:
    wish = with_files(f"{environment}, manager: conda", a_lock=CONDA_LOCK)
    said = [notice for notice in notices(wish, load((), bundled=Path("/nowhere"))) if notice.say.startswith("a")]
    assert [notice.say[: len(say)] for notice in said] == ([say] if say else [])
    assert all("environments.a.frozen" in notice.fix for notice in said)
    assert environments(wish)["a"].frozen is ("frozen" in environment)


SAYS_NOTHING_MORE = "a is frozen: it stays as it was built"
# what the one in use was built for (None: what is asked for), further options, what is said
FROZEN_FOR = [
    ("0123456789ab", "manager: conda", f"{SAYS_NOTHING_MORE}; config.yaml asks for something else by now"),
    ("0123456789ab", "manager: conda, smoke: lost.ipynb", SAYS_NOTHING_MORE),
    ("0123456789ab", "manager: auto", SAYS_NOTHING_MORE),
    (None, "manager: conda", SAYS_NOTHING_MORE),
    ("what is frozen", "manager: conda", SAYS_NOTHING_MORE),
    ("", "manager: conda", SAYS_NOTHING_MORE),
]


@pytest.mark.parametrize(("built_for", "options", "say"), FROZEN_FOR)
def test_a_frozen_one_of_which_something_else_is_asked_by_now(built_for: str | None, options: str, say: str) -> None:
    wish = with_files(f"packages: [ipykernel], frozen: true, {options}")
    digest = environments(wish)["a"].digest if built_for is None else built_for
    wish = replace(wish, facts={**wish.facts, "frozen": {"a": digest}})
    (notice,) = [each for each in notices(wish, load((), bundled=Path("/nowhere"))) if each.say.startswith("a")]
    assert (notice.say, notice.fix) == (say, to_build_anew("a", frozen=True))


def test_of_a_frozen_one_that_is_rolled_back_that_alone_is_told() -> None:
    wish = with_files("packages: [ipykernel], frozen: true, manager: conda")
    wish = replace(wish, facts={**wish.facts, "frozen": {"a": "0123456789ab"}, "rollbacks": {"a": {"generation": 1}}})
    said = [each.say for each in notices(wish, load((), bundled=Path("/nowhere"))) if each.say.startswith("a")]
    assert said == ["a is rolled back to generation 1", SAYS_NOTHING_MORE]


def policy(text: str) -> Any:
    return json.loads(by_id(wanted(text))["file:/srv/hub/state/servers.json"].content)


def test_what_is_started_for_whom() -> None:
    found = policy(FULL)
    assert found["environment"]["JUPYTER_CONFIG_PATH"] == "/opt/hub/versions/hub-1/hubd/serverside"
    assert found["memory"] == 1 << 30
    assert found["cpu"] == 1.5
    assert found["argv"][0] == "/srv/hub/server/bin/jupyterhub-singleuser"
    # The declared default comes first, the others in the order of the file.
    assert list(found["kernels"]) == ["maths", "science", "stats"]
    assert found["kernels"]["maths"] == ["everyone"]
    assert found["audiences"] == {"admins": ["ada"], "staff": ["ada", "bea"], "empty": []}
    none = policy(EMPTY)
    assert (none["memory"], none["cpu"], none["people"]) == (None, None, [])
    assert (none["kernels"], none["audiences"]) == ({}, {"admins": []})


def test_the_server_environment_is_switched_only_when_it_is_proven() -> None:
    found = by_id(wanted())
    server = found["environment:server"]
    others = [found[f"environment:{name}"] for name in ("science", "maths", "stats")]
    assert server.cache not in {each.cache for each in others}
    switch = found["switch:server"]
    assert switch.needs == (server.id,)
    assert (switch.generations.link, switch.asked) == (Path("/srv/hub/server"), server.asked)
    other = by_id(wanted(facts={**wanted().facts, "server-list": {"path": "/x", "digest": "e"}}))["environment:server"]
    assert other.asked != server.asked


def test_notices_name_drop_ins_and_the_way_back_to_conda() -> None:
    facts = {**CHOICE, "drop-ins": {"names": ["mine.py"], "digest": "x"},
             "environment-manager": {"manager": "uv", "why": "no route", "at": "today"}}  # fmt: skip
    wish = wanted("environments: {a: {packages: [ipykernel]}, b: {}, c: {manager: uv}}\n", facts=facts)
    said = notices(wish, load((), bundled=Path("/nowhere")))
    assert any("mine.py" in notice.say for notice in said)
    (choice,) = (notice for notice in said if "no route" in notice.say)
    each = [f"hubd config set environments.{name}.manager conda" for name in "ab"]
    anew = "rm /srv/hub/state/facts/environment-manager.json && hubd apply"
    cost = "where conda can be had now, all of these are built anew"
    assert choice.fix == f"To use conda: {' && '.join(each)}   To choose anew ({cost}): {anew}", "for all that uv was chosen for"


def test_the_choice_of_uv_is_told_only_of_what_it_decides() -> None:
    facts = {**CHOICE, "environment-manager": {"manager": "uv", "why": "no route", "at": "today"}}
    locked = ("autumn: {lock: autumn.lock}", "far: {lock: 'https://x.example/a.lock', sha256: " + "a" * 64 + "}",
              "maps: {publish: {owner: bea, environment: maps}}")  # fmt: skip
    plugins = load((), bundled=Path("/nowhere"))
    told = notices(wanted(f"environments: {{{', '.join(locked)}, mine: {{packages: [ipykernel]}}}}\n", facts=facts), plugins)
    assert [each.say.partition(",")[0] for each in told if "no route" in each.say] == ["uv builds mine"]
    told = notices(wanted(f"environments: {{{', '.join(locked)}}}\n", facts=facts), plugins)
    assert not [each for each in told if "no route" in each.say], "nothing was decided by it"


def test_five_thousand_people() -> None:
    names = ", ".join(f"u{number:04}" for number in range(5000))
    found = made(wanted(f"people: {{users: [{names}]}}\n"))
    assert sum(resource.kind == "person" for resource in found.resources) == 5000


def test_another_prefix_moves_everything_but_what_the_system_prescribes() -> None:
    here, there = by_id(wanted()), by_id(replace(wanted(), layout=Layout(Path("/elsewhere"))))
    stay = {identity for identity in here if identity in there}
    assert len(here) == len(there)
    assert not [identity for identity in stay if "/srv/hub" in identity]
    for each in there.values():
        assert "/srv/hub" not in repr(each), each.id


def test_hubd_itself_may_hold_more_open_files_than_it_answers_connections() -> None:
    # Each may hold the connection and a program with three pipes of two ends.
    properties = dict(by_id(wanted(systemd=True))["unit:hubd.service"].unit.properties)
    assert int(properties["LimitNOFILE"]) > 2 * MOST * 7
