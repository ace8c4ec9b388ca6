"""What is read from config.yaml, and everything that is refused: each with its line, its path and what to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field, ValidationError

from hubd.config.model import Config, config_model
from hubd.config.parse import declared_plugins, parse, unreadable
from hubd.config.path import dotted, keys
from hubd.config.problems import ConfigInvalid
from hubd.config.section import Section
from hubd.errors import ExitCode, HubdError, UsageError

WHOLE = """\
people:
  admins: [ada]
  users: [bea, cid]
  groups: {staff: {members: [ada, bea]}}
limits: {memory: 1G, cpu: 2}
environments:
  science:
    packages: [python=3.12, ipykernel, numpy]
    kernel: {display_name: Science, language: python}
  stats: {packages: [conda-forge::R-irkernel=1.3], kernel: {language: R}}
default_environment: science
hub: {start_deadline: 90 s}
proxy: {port: 8080, address: 127.0.0.1}
conda: {path: /opt/c, url: {x86_64: https://mirror.example.org/m.sh}}
daemon: {interval: 1h 30m}
plugins: [hubd-announcement, {name: hubd-mine, source: /srv/mine}]
"""


class Announcement(Section):
    """A message for everybody."""

    message: str = Field(default="", description="What people read.", examples=["Back at noon."])
    loud: bool = Field(default=False, description="Whether it blinks.", examples=[True])


SECTIONS: Mapping[str, type[Section]] = {"announcement": Announcement}


def refused(text: bytes | str, sections: Mapping[str, type[Section]] | None = None) -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, sections)
    return caught.value


def test_a_whole_configuration_is_read() -> None:
    config = parse(WHOLE)
    assert config.people.everybody == ("ada", "bea", "cid")
    assert config.people.groups["staff"].members == ("ada", "bea")
    assert (config.limits.memory, config.limits.cpu) == (1024**3, 2.0)
    assert config.environments["science"].packages == ("python=3.12", "ipykernel", "numpy")
    assert (config.hub.start_deadline, config.hub.port, config.daemon.interval) == (90, 15001, 5400)
    assert config.conda.url.x86_64 == "https://mirror.example.org/m.sh"
    assert config.conda.url.aarch64.startswith("https://")
    assert [(plugin.name, plugin.source) for plugin in config.plugins] == [
        ("hubd-announcement", None),
        ("hubd-mine", "/srv/mine"),
    ]


def test_every_section_may_be_left_out() -> None:
    assert parse("{}") == parse("people: {}") == Config()


AUDIENCES = [
    ("", ("everyone",)),
    (", audience: everyone", ("everyone",)),
    (", audience: [everyone]", ("everyone",)),
    (", audience: [admins]", ("admins",)),
    (", audience: [staff, admins, course]", ("staff", "admins", "course")),
]


@pytest.mark.parametrize(("written", "audience"), AUDIENCES)
def test_whom_a_kernel_is_for(written: str, audience: tuple[str, ...]) -> None:
    config = parse(f"people: {{groups: {{staff: {{}}, course: {{}}}}}}\nenvironments: {{a: {{manager: uv{written}}}}}")
    assert config.environments["a"].audience == audience


def test_who_is_in_which_audience() -> None:
    people = parse("people: {admins: [ada], users: [bea, cid], groups: {staff: {members: [ada, bea]}, none: {}}}").people
    assert people.audiences == {"admins": ("ada",), "staff": ("ada", "bea"), "none": ()}


def test_a_configuration_never_changes() -> None:
    with pytest.raises(ValidationError):
        parse(WHOLE).limits.memory = 1


def test_a_plugins_section_is_as_strict_as_the_others() -> None:
    announcement = parse("announcement: {message: hello}", SECTIONS).section("announcement")
    assert announcement == Announcement(message="hello")
    assert parse("{}", SECTIONS).section("announcement") == Announcement()
    problems = refused("announcement: {mesage: hello, loud: 1}", SECTIONS).problems
    assert [(it.name, it.line) for it in problems] == [("announcement.mesage", 1), ("announcement.loud", 1)]
    assert "`announcement.message`" in problems[0].fix


def test_models_with_plugins_are_built_once_and_never_shadow_a_section() -> None:
    assert config_model(SECTIONS) is config_model(dict(SECTIONS))
    assert config_model({}) is Config
    with pytest.raises(ValueError, match="limits"):
        config_model({"limits": Announcement})
    with pytest.raises(KeyError):
        Config().section("people")


def test_the_section_of_a_plugin_that_cannot_be_loaded_may_be_left_alone() -> None:
    assert parse("announcement: {anything: 1}", unread=("announcement",)) == Config()
    assert "plugin" in refused("announcement: {anything: 1}").problems[0].fix


GOOD_PACKAGES = [
    "numpy", "r-irkernel", "conda-forge::numpy", "conda-forge/linux-64::numpy", "conda-forge::R-irkernel=1.3", "_libgcc_mutex",
    "zope.interface", "numpy=2.1", "numpy=2.1.*", "numpy=2.1=py312_0", "numpy==2.1", "numpy>=2,<3", "numpy >=2, <3", "numpy!=2.0",
    "numpy~=2.0", "numpy===2.0", "numpy 2.1", "numpy 2.1 py312_0", "python=3.12", "numpy 1.26.*|2.*", "torch==2.1+cu118",
    "tzdata=2024a", "openssl==1!3.0", "dask[complete]", "dask[complete, array]>=2024.1", "numpy[version='>=2']", "pytz (>=2024)",
    'tomli; python_version < "3.11"', "tomli>=2 ; sys_platform == 'linux'", "mine @ https://example.org/mine-1.0.tar.gz",
    "mine@http://127.0.0.1:8000/mine-1.0-py3-none-any.whl", "mine[all] @ git+https://example.org/mine.git@v1#egg=mine",
    "mine @ file:///srv/wheels/mine-1.0.tar.gz", "mine @ https://example.org/a.whl ; python_version > '3'",
]  # fmt: skip
BAD_PACKAGES = [
    "../../x", "/etc/passwd", ".", "..", "./x", "~/x", "x/y", "x/../../etc", "C:\\x", "x\\y", "-e .", "-e x", "--index-url=https://x",
    "--index-url https://x", "-r list.txt", "numpy --pre", "numpy -e .", "numpy\t-e .", "git+file:///srv/x", "git+https://x/y.git",
    "https://example.org/mine.whl", "file:///etc/passwd", "mine.whl", "mine-1.0.tar.gz", "mine-1.0.tar.bz2", "mine-1.0-0.conda",
    "mine @ ../x", "mine @ /etc/passwd", "@ https://x", "@list.txt", "numpy @", "channel::../x", "../x::numpy", "::numpy",
    "a\x1bb::numpy", "channel::", "numpy[", "numpy[all", "numpy[url=file:///etc/x]", "numpy==../x", "numpy=2:1", "numpy>=2@x",
    "*", "=2.1", "nümpy", "numpy≥2", "$HOME", "`id`", "numpy\n-e .", "", " numpy",
]  # fmt: skip


@pytest.mark.parametrize("package", GOOD_PACKAGES)
def test_what_is_a_package(package: str) -> None:
    config = parse(json.dumps({"environments": {"a": {"packages": ["ipykernel", package]}}}))
    assert config.environments["a"].packages == ("ipykernel", package)


@pytest.mark.parametrize("package", BAD_PACKAGES)
def test_what_cannot_be_a_package(package: str) -> None:
    (problem,) = refused(json.dumps({"environments": {"a": {"packages": ["ipykernel", package]}}})).problems
    assert (problem.name, "is not a package" in problem.message) == ("environments.a.packages[1]", True)
    assert problem.fix.startswith("write a package such as numpy, ")


PLACES = ["environments/r.yml", "/srv/r.yml", "./r.yml", "a b.lock"]


@pytest.mark.parametrize("place", PLACES)
def test_where_a_lock_or_a_file_may_be(place: str) -> None:
    assert parse(f"environments: {{a: {{file: '{place}', pip: [six], channels: [c]}}}}").files == (place,)
    assert parse(f"environments: {{a: {{lock: '{place}', frozen: true}}, b: {{lock: '{place}'}}}}").files == (place,)


def test_what_is_behind_an_address_is_no_file_of_this_machine() -> None:
    assert parse(f"environments: {{a: {{lock: 'https://x.example/a.lock', sha256: '{'a' * 64}'}}}}").files == ()


def test_a_kernel_may_come_from_the_pip_part() -> None:
    assert parse("environments: {a: {packages: [python], pip: [ipykernel]}}").environments["a"].pip == ("ipykernel",)


def test_plugins_are_found_before_the_rest_is_understood() -> None:
    text = "announcement: {a: 1}\nplugins: [hubd-a, 3, Bad Name, {name: hubd-b}, {nme: x}]\nlimits: 7\n"
    assert [plugin.name for plugin in declared_plugins(text)] == ["hubd-a", "hubd-b"]
    assert declared_plugins("plugins: hubd-a") == declared_plugins("people: {}") == ()


# text, path, line, column, words of the message, words of the fix
WRONG: list[tuple[str, str, int, int, str, str]] = [
    ("limts: {}", "limts", 1, 1, "not an option", "did you mean `limits`"),
    ("limits: {memroy: 1G}", "limits.memroy", 1, 10, "not an option", "`limits.memory`?"),
    ("limits: {users: 1}", "limits.users", 1, 10, "not an option", "`people.users`?"),
    ("memory: 1G", "memory", 1, 1, "not an option", "`limits.memory`"),
    (
        "environments:\n  a:\n    kernel: {name: x}",
        "environments.a.kernel.name",
        3,
        14,
        "not an option",
        "display_name",
    ),
    ("people: {groups: {g: {member: []}}}", "people.groups.g.member", 1, 23, "not an option", "`people.groups.g.members`?"),
    ("limits:\n", "limits", 1, 1, "is empty", "remove the line"),
    ("people: {users: }", "people.users", 1, 10, "is empty", "`[bea, cid]`"),
    ("hub:\n  port: ~", "hub.port", 2, 3, "no value", "`15001`"),
    ("environments:\n  a:\n", "environments.a", 2, 3, "is empty", "packages"),
    ("people: []", "people", 1, 9, "is a list", "`admins: [ada]`"),
    ("people: {users: ada}", "people.users", 1, 17, "is text (`ada`)", "`[bea, cid]`"),
    ("people: {users: [007]}", "people.users[0]", 1, 18, "is a number (`007`), not text", 'quotes: "007"'),
    ("people: {users: [[a]]}", "people.users[0]", 1, 18, "is a list", "write text"),
    ("people: {users: [Ada]}", "people.users[0]", 1, 18, "`Ada` is not a name", "small letters"),
    ("people: {users: [" + "a" * 33 + "]}", "people.users[0]", 1, 18, "is not a name", "32"),
    ('people: {users: ["ada\\n"]}', "people.users[0]", 1, 18, "is not a name", "letters"),
    ("people: {users: [../x]}", "people.users[0]", 1, 18, "is not a name", "letters"),
    ("people: {admins: [root]}", "people.admins[0]", 1, 19, "system itself", "another"),
    ("people: {admins: [hubd-hub]}", "people.admins[0]", 1, 19, "system itself", "another"),
    ("people: {users: [sudo]}", "people.users[0]", 1, 18, "system itself", "another"),
    ("people: {users: [a, b, a]}", "people.users[2]", 1, 24, "in this list twice", "remove"),
    ("people: {groups: {root: {}}}", "people.groups.root", 1, 19, "system itself", "another"),
    ("people: {users: [a], groups: {a: {}}}", "people.groups.a", 1, 34, "name of a person", "another"),
    (
        "people: {groups: {g: {members: [eve]}}}",
        "people.groups.g.members[0]",
        1,
        33,
        "not one of the people",
        "add",
    ),
    ("limits: {memory: lots}", "limits.memory", 1, 18, "`lots` is not a size", "1G"),
    ("limits: {memory: 1 GG}", "limits.memory", 1, 18, "is not a size", "512M"),
    ("limits: {memory: yes}", "limits.memory", 1, 18, "`yes` is not a size", "512M"),
    ('limits: {cpu: "2"}', "limits.cpu", 1, 15, "`2` is not a number of", "0.5"),
    ("limits: {cpu: true}", "limits.cpu", 1, 15, "is not a number of", "0.5"),
    ("limits: {cpu: .inf}", "limits.cpu", 1, 15, "cores above zero", "0.5"),
    ("limits: {cpu: .nan}", "limits.cpu", 1, 15, "cores above zero", "0.5"),
    ("limits: {cpu: -1}", "limits.cpu", 1, 15, "cores above zero", "0.5"),
    ("limits: {cpu: 0}", "limits.cpu", 1, 15, "cores above zero", "0.5"),
    ("limits: {cpu: 0.049}", "limits.cpu", 1, 15, "`0.049` is too little for a server", "write at least 0.05"),
    ("limits: {cpu: 1e-9}", "limits.cpu", 1, 15, "too little for a server", "write at least 0.05"),
    ("builds: {memory: 1}", "builds.memory", 1, 18, "`1` is too little for a build", "write at least 128M"),
    ("builds: {cpu: 0.01}", "builds.cpu", 1, 15, "`0.01` is too little for a build", "write at least 0.05"),
    ("builds: {time: 2}", "builds.time", 1, 16, "`2` is too short for a build", "write at least 5 s, such as 2 h"),
    ("builds: {time: 8 d}", "builds.time", 1, 16, "`8 d` is longer than any build", "write at most 7 d"),
    ("builds: {time: long}", "builds.time", 1, 16, "`long` is not a duration", "5 min"),
    ("daemon: {interval: soon}", "daemon.interval", 1, 20, "`soon` is not a duration", "5 min"),
    ("hub: {port: '80'}", "hub.port", 1, 13, "is text (`80`)", "remove the quotes: 80"),
    ("hub: {port: eighty}", "hub.port", 1, 13, "is text (`eighty`)", "whole number"),
    ("hub: {port: 8.5}", "hub.port", 1, 13, "is a number (`8.5`)", "whole number"),
    ("hub: {port: 0}", "hub.port", 1, 13, "`0` is too small", "at least 1"),
    ("hub: {port: 70000}", "hub.port", 1, 13, "`70000` is too large", "at most 65535"),
    ("hub: {port: 80}", "hub.port", 1, 13, "already taken by proxy.port", "own port"),
    ('proxy: {address: "::1%lo"}', "proxy.address", 1, 18, "network interface", "without the part from `%`"),
    ("proxy: {address: everywhere}", "proxy.address", 1, 18, "not an IP address", "127.0.0.1"),
    ("environments: {../a: {}}", 'environments."../a"', 1, 16, "`../a` is not a name", "such as science"),
    ("environments: {server: {}}", "environments.server", 1, 16, "that JupyterLab itself runs from", "such as science"),
    ("environments: {7: {}}", "environments.7", 1, 16, "`7` is not a name", "such as science"),
    (
        "environments: {a: {packages: [numpy]}}",
        "environments.a.packages",
        1,
        30,
        "ipykernel is not",
        "add `- ipykernel`",
    ),
    (
        "environments: {a: {kernel: {language: R}, packages: [r-base]}}",
        "environments.a.packages",
        1,
        53,
        "r-irkernel",
        "add",
    ),
    (
        "environments: {a: {kernel: {language: R}, packages: [r-irkernel], manager: uv}}",
        "environments.a.manager",
        1,
        76,
        "uv cannot install R, as PyPI has none",
        "write `conda`, or `rattler`",
    ),
    (
        "environments: {a: {packages: [ipykernel, -e x]}}",
        "environments.a.packages[1]",
        1,
        42,
        "is not a package",
        "numpy",
    ),
    (
        "environments: {a: {manager: cnda}}",
        "environments.a.manager",
        1,
        29,
        "not a choice",
        "did you mean `conda`",
    ),
    ("environments: {a: {manager: 3}}", "environments.a.manager", 1, 29, "is a number", "auto, conda, rattler, uv"),
    ("environments: {a: {pip: [-e x]}}", "environments.a.pip[0]", 1, 26, "is not a package", "numpy"),
    ("environments: {a: {lock: -x}}", "environments.a.lock", 1, 26, "neither a file nor an address", "https://"),
    ("environments: {a: {file: 'ftp://x/y'}}", "environments.a.file", 1, 26, "neither a file nor an address", "start with /"),
    ("environments: {a: {file: 'https://x/y'}}", "environments.a.file", 1, 26, "needs the checksum", "add `sha256:`"),
    (f"environments: {{a: {{sha256: '{'a' * 64}'}}}}", "environments.a.sha256", 1, 28, "neither a `lock` nor", "remove it"),
    ("environments: {a: {lock: x, file: y}}", "environments.a.file", 1, 35, "together with `lock`", "keep one"),
    ("environments: {a: {lock: x, packages: [ipykernel]}}", "environments.a.packages", 1, 39, "together with `lock`", "one"),
    ("environments: {a: {lock: x, pip: [six]}}", "environments.a.pip", 1, 34, "together with `lock`", "one"),
    ("environments: {a: {lock: x, channels: [c]}}", "environments.a.channels", 1, 39, "together with `lock`", "one"),
    ("environments: {a: {file: x, packages: [ipykernel]}}", "environments.a.packages", 1, 39, "together with `file`", "one"),
    ("environments: {a: {frozen: yes}}", "environments.a.frozen", 1, 28, "is text", "true"),
    ("environments: {a: {audience: [x]}}", "environments.a.audience[0]", 1, 31, "is not one of the groups", "everyone, admins"),
    (
        "people: {groups: {staff: {}}}\nenvironments:\n  a:\n    audience: [admins, staf]",
        "environments.a.audience[1]",
        4,
        24,
        "`staf` is not one of the groups",
        "did you mean `staff`?",
    ),
    ("environments: {a: {audience: admins}}", "environments.a.audience", 1, 30, "is text", "a list such as `[students, staff]`"),
    ("environments: {a: {audience: []}}", "environments.a.audience", 1, 30, "names nobody", "write `everyone`"),
    ("environments: {a: {audience: [admins, everyone]}}", "environments.a.audience", 1, 30, "everybody already", "remove"),
    ("environments: {a: {audience: [admins, admins]}}", "environments.a.audience[1]", 1, 39, "twice", "remove one"),
    ("people: {groups: {everyone: {}}}", "people.groups.everyone", 1, 19, "is an audience that is always there", "another name"),
    ("people: {groups: {admins: {}}}", "people.groups.admins", 1, 19, "is an audience that is always there", "another name"),
    ("default_environment: a", "default_environment", 1, 22, "not one of the environments", "environments:"),
    (
        "environments: {a: {}}\ndefault_environment: b",
        "default_environment",
        2,
        22,
        "not one of",
        "write one of a",
    ),
    ("conda: {path: opt/c}", "conda.path", 1, 15, "not an absolute path", "/opt"),
    ("conda: {path: /root/bin/micromamba}", "conda.path", 1, 15, "below /root, of which builds see", "such as /opt/micromamba"),
    ("conda: {path: /opt/../home/ada/miniconda3}", "conda.path", 1, 15, "is below /home", "or remove the line"),
    ("conda: {path: /home}", "conda.path", 1, 15, "is below /home", "everybody may run it"),
    ("conda: {sha256: {x86_64: abc}}", "conda.sha256.x86_64", 1, 26, "not a SHA-256", "64"),
    ("conda: {url: {x86_64: ftp://a/b}}", "conda.url.x86_64", 1, 23, "not an address", "https://"),
    ("conda: {channels: [-c]}", "conda.channels[0]", 1, 20, "not a channel", "conda-forge"),
    ("plugins: hubd-a", "plugins", 1, 10, "is text", "list"),
    ("plugins: [Hubd]", "plugins[0]", 1, 11, "not a plugin's name", "hubd-announcement"),
    ("plugins: [{source: /a}]", "plugins[0].name", 1, 11, "is missing", "hubd-announcement"),
    ("plugins: [hubd-a, {name: hubd-a}]", "plugins[1]", 1, 19, "twice", "remove"),
]


@pytest.mark.parametrize(("text", "path", "line", "column", "message", "fix"), WRONG, ids=[row[0][:50] for row in WRONG])
def test_what_is_wrong_is_named(text: str, path: str, line: int, column: int, message: str, fix: str) -> None:
    problem = refused(text).problems[0]
    assert (problem.name, problem.line, problem.column) == (path, line, column)
    assert message in problem.message
    assert fix in problem.fix


def test_every_problem_is_named_at_once_in_the_order_of_the_file() -> None:
    rows = [row for row in WRONG if row[0].count("\n") == 0 and row[0].startswith(("limts", "hub: {port: 0}", "plugins: [Hubd"))]
    text = "\n".join(
        [
            *(row[0] for row in rows),
            "proxy: {prot: 1, port: x}",
            "people: {users: [A, 5], groups: {g: {members: [z]}}}",
        ]
    )
    names = [problem.name for problem in refused(text).problems]
    assert names == [
        *(row[1] for row in sorted(rows, key=lambda row: text.index(row[0]))),
        "proxy.prot",
        "proxy.port",
        "people.users[0]",
        "people.users[1]",
        "people.groups.g.members[0]",
    ]


def test_an_invalid_configuration_says_what_it_is_and_leaves_with_its_code() -> None:
    invalid = refused("limts: {}\nhub: {port: 0}")
    assert (invalid.code, invalid.code.value) == (ExitCode.CONFIG_INVALID, 3)
    assert isinstance(invalid, HubdError)
    assert list(invalid.lines()) == [str(problem) for problem in invalid.problems]
    assert str(invalid.problems[0]).startswith("line 1, column 1: limts: is not an option; did you mean `limits`?")
    assert "2 problems" in invalid.what


def test_a_thousand_problems_stay_readable() -> None:
    text = "people:\n  users:\n" + "    - NO\n" * 1000
    invalid = refused(text)
    shown = list(invalid.lines())
    assert len(shown) == 51
    assert shown[-1] == f"… and {len(invalid.problems) - 50} more problems"
    assert all(len(line) < 300 for line in refused(f"people: {{users: ['{'X' * 100_000}']}}").lines())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "no such file"),
        (FileNotFoundError(2, "No such file"), "no such file"),
        (IsADirectoryError(21, "Is a directory"), "not a file"),
        (PermissionError(13, "Permission denied"), "sudo"),
        (OSError(5, "Input/output error"), "input/output error"),
        (HubdError("it cannot be read", why="it is not a file"), "move it away"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_with_a_cure(error: Exception | None, words: str) -> None:
    invalid = unreadable("/opt/hub/config.yaml", error)
    assert invalid.code == ExitCode.CONFIG_INVALID
    assert words in str(invalid.problems[0])
    assert "/opt/hub/config.yaml" in invalid.what


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("limits.memory", ("limits", "memory")),
        ('environments."a.b".packages[0]', ("environments", "a.b", "packages", 0)),
        ("a.'b c'", ("a", "b c")),
        (r'a."x\"y"', ("a", 'x"y')),
        ("plugins[2].name", ("plugins", 2, "name")),
    ],
)
def test_paths_are_read_and_written(text: str, path: tuple[str | int, ...]) -> None:
    assert keys(text) == path
    assert keys(dotted(path)) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a"b"', "a.[", "a[x]", 'a."b', "a]"])
def test_what_is_not_a_path_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        keys(text)


def test_a_model_tells_every_problem_without_a_text_too() -> None:
    data: dict[str, Any] = {"hub": {"port": 80, "x": 1}, "default_environment": "none"}
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(data)
    assert {error["loc"] for error in caught.value.errors()} == {
        ("hub", "port"),
        ("hub", "x"),
        ("default_environment",),
    }


@pytest.mark.parametrize("memory", ["1500", "512", "127M", "100 KB"])
def test_memory_with_a_letter_forgotten_is_refused(memory: str) -> None:
    with pytest.raises(ConfigInvalid) as told:
        parse(f"limits:\n  memory: {memory}\n")
    assert [(problem.line, problem.name) for problem in told.value.problems] == [(2, "limits.memory")]
    assert "too little for a server" in str(told.value.problems[0])
