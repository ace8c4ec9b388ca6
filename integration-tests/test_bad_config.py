"""A config.yaml that cannot be used: every command says what is wrong and where, nothing is changed, the hub goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub import HubMachine
from watcher import Watcher

CONFIG = "/opt/hub/config.yaml"

ASKED = (("config", "validate"), ("plan",), ("apply", "--yes"), ("status",))

# What hubd made and must leave alone, and the processes that must go on.
FINGERPRINT = """
cat /etc/systemd/system/hubd* /etc/systemd/system/jupyterhub* | sha256sum
find /opt/hub/kernels /opt/hub/jupyterhub_config.d -type f -exec sha256sum {} + | sort
readlink /opt/hub/hub /opt/hub/server
ls /opt/hub/envs /opt/hub/versions
getent passwd; getent group
systemctl show --value --property=MainPID jupyterhub jupyterhub-proxy
python3 -c 'import json; print(sorted(json.load(open("/opt/hub/state/record.json"))["owned"]))'
"""

MANY = """\
people:
  admins: ada
  users: [bea, Root!, 7]
  gruops: {}
  groups: {staff: {member: [ada]}}
limits: {memory: lots, cpus: 2}
environments:
  science:
    packages: ipykernel
    managr: uv
    kernel: {display_nam: x, language: cobol}
hub: {port: high}
proxy: {port: 99999}
daemon: {interval: soon}
surprise: true
"""

ENVIRONMENTS = """\
environments:
  plain:
    packages: [numpy]
  stats: {packages: [r-base], kernel: {language: R}}
  ../x: {packages: [ipykernel]}
  a/b: {packages: [ipykernel]}
  /etc: {packages: [ipykernel]}
"""

# name → (the file's bytes, what must be said: a line each, as `hubd config validate` prints it)
BAD: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("line 1, column 1: the file is empty",)),
    "blank": (b" \n\n", ("the file is empty",)),
    "comments": (b"# people:\n#  admins: [ada]\n", ("the file holds nothing but comments",)),
    "null": (b"null\n", ("line 1, column 1: the file is empty",)),
    "null-section": (b"people:\nlimits: {memory: 1G}\n", ("line 1, column 1: people: is empty",)),
    "list": (b"- people\n- limits\n", ("line 1, column 1: the file is not made of sections",)),
    "tabs": (
        b"people:\n\tadmins: [ada]\n\tusers: [bea]\n",
        ("line 2, column 1: the line is indented with a tab", "line 3, column 1: the line is indented with a tab"),
    ),
    "twice": (
        b"limits: {cpu: 1}\npeople:\n  admins: [ada]\n  admins: [bea]\nlimits: {cpu: 2}\n",
        ("line 4, column 3: ", "line 5, column 1: "),
    ),
    "not-yaml": (b"people: {admins: [ada}\n", ("line 1, column 22",)),
    "not-utf-8": (b"people:\n  admins: [\xe4da]\n", ("line 2, column 12: the file is not UTF-8 text: byte 19 is 0xe4",)),
    "binary": (b"\x7fELF\x02\x01\x00" * 9, ("line 1, column 1: there is a character that a text file should not have (U+007F)",)),
    "many": (
        MANY.encode(),
        (
            "line 2, column 11: people.admins: ",
            "line 3, column 16: people.users",
            "line 3, column 23: people.users",
            "line 4, column 3: people.gruops: is not an option; did you mean `people.groups`?",
            "line 5, column 20: people.groups.staff.member: is not an option; did you mean `people.groups.staff.members`?",
            "line 6, column 18: limits.memory: ",
            "line 6, column 24: limits.cpus: is not an option; did you mean `limits.cpu`?",
            "line 9, column 15: environments.science.packages: ",
            "line 10, column 5: environments.science.managr: is not an option; did you mean `environments.science.manager`?",
            "line 11, column 14: environments.science.kernel.display_nam: is not an option; "
            "did you mean `environments.science.kernel.display_name`?",
            "line 11, column 40: environments.science.kernel.language: ",
            "line 12, column 13: hub.port: ",
            "line 13, column 15: proxy.port: ",
            "line 14, column 20: daemon.interval: ",
            "line 15, column 1: surprise: is not an option",
        ),
    ),
    "environments": (
        ENVIRONMENTS.encode(),
        (
            "line 3, column 15: environments.plain.packages: ipykernel is not among the packages, "
            "and the python kernel needs it; add `- ipykernel`",
            "line 4, column 21: environments.stats.packages: r-irkernel is not among the packages, "
            "and the R kernel needs it; add `- r-irkernel`",
            'line 5, column 3: environments."../x": `../x` is not a name that an environment can have',
            'line 6, column 3: environments."a/b": `a/b` is not a name that an environment can have',
            'line 7, column 3: environments."/etc": `/etc` is not a name that an environment can have',
        ),
    ),
    "garbage": (bytes(range(256)) * 4096, ("the file is not UTF-8 text",)),
    "text": (b"no hub was ever configured by prose. " * 30_000, ("line 1, column 1: ",)),
    "nested": (b"people: " + b"[" * 500_000, ("line 1, column ",)),
}

# name → (how it comes about, what must be said)
UNREADABLE = {
    "directory": (f"rm {CONFIG}; mkdir {CONFIG}", "something that is not a file is in its place"),
    "dangling": (f"ln -sfn /nowhere/config.yaml {CONFIG}", "there is no such file"),
    "loop": (f"rm {CONFIG}; ln -s {CONFIG} {CONFIG}", "the file can't be read"),
    "device": (f"rm {CONFIG}; mknod {CONFIG} c 1 5", "something that is not a file is in its place"),
    "pipe": (f"rm {CONFIG}; mkfifo {CONFIG}", "something that is not a file is in its place"),
    "removed": (f"rm {CONFIG}", "there is no such file"),
}


@pytest.fixture(scope="module")
def steady(hub_machine: HubMachine) -> Iterator[HubMachine]:
    """The machine of this module, watched: whatever its config.yaml is, the hub answers and nothing is touched."""
    hub_machine.hubd("apply", "--yes")
    good = hub_machine.read(CONFIG)
    before = hub_machine.shell(FINGERPRINT).out
    pages = {"hub": hub_machine.url(path="/hub/health"), "sign-in": hub_machine.url(path="/hub/login")}
    with Watcher(pages, every=0.2) as watcher:
        yield hub_machine
        _mend(hub_machine, good)
        hub_machine.wait_until(lambda: hub_machine.status()["state"] == "right", "the hub right again by itself")
    assert (watcher.bad("hub"), watcher.bad("sign-in")) == ([], []), watcher.summary()
    assert hub_machine.shell(FINGERPRINT).out == before


@pytest.fixture
def mended(steady: HubMachine) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes in the place of config.yaml; afterwards the good one is back."""
    good = steady.read(CONFIG)
    yield lambda data: _write(steady, data)
    _mend(steady, good)


@pytest.mark.parametrize("name", BAD)
def test_bad_text_is_told_with_its_lines_and_changes_nothing(
    steady: HubMachine, mended: Callable[[bytes], None], name: str
) -> None:
    data, expected = BAD[name]
    before = steady.shell(FINGERPRINT).out
    mended(data)
    for words in ASKED:
        done = steady.hubd(*words, check=False, timeout=60)
        said = done.out + done.err
        assert done.code == 3, done
        assert [line for line in expected if line not in said] == [], done
        assert "Traceback" not in said, done
    assert steady.shell(FINGERPRINT).out == before


@pytest.mark.parametrize("name", UNREADABLE)
def test_file_that_cannot_be_read_is_told_and_changes_nothing(
    steady: HubMachine, mended: Callable[[bytes], None], name: str
) -> None:
    how, expected = UNREADABLE[name]
    before = steady.shell(FINGERPRINT).out
    steady.shell(how)
    for words in ASKED:
        done = steady.hubd(*words, check=False, timeout=60)
        assert (done.code, expected in done.out + done.err, "Traceback" in done.err) == (3, True, False), done
    assert steady.shell(FINGERPRINT).out == before


def test_daemon_says_by_itself_what_is_wrong_and_goes_on_by_itself_when_it_is_mended(steady: HubMachine) -> None:
    good = steady.read(CONFIG)
    steady.hubd("apply", "--yes")
    before = steady.status()
    assert before["state"] == "right", before
    _write(steady, b"people:\n  admin: [ada]\n")
    steady.wait_until(lambda: steady.status()["state"] == "invalid", "the daemon to see the bad file")
    told = steady.status()["config_problems"]
    assert told == ["line 2, column 3: people.admin: is not an option; did you mean `people.admins`?"]
    shown = steady.hubd("status", check=False).out
    assert "config.yaml has problems" in shown, shown
    assert told[0] in shown, shown
    assert "nothing was changed" in steady.show("daemon", "StatusText")
    _mend(steady, good)
    steady.wait_until(lambda: steady.status()["state"] == "right", "the daemon to see the mended file")


def test_set_refuses_what_would_not_be_valid_and_does_not_mend_what_is_not(
    steady: HubMachine, mended: Callable[[bytes], None]
) -> None:
    good = steady.read(CONFIG)
    refused = steady.hubd("config", "set", "limits.memory", "lots", check=False)
    assert (refused.code, "limits.memory" in refused.err) == (3, True), refused
    assert steady.read(CONFIG) == good
    bad = good.replace("people:", "peple:")
    mended(bad.encode())
    refused = steady.hubd("config", "set", "limits.memory", "2G", check=False)
    assert (refused.code, "peple" in refused.err) == (3, True), refused
    assert steady.read(CONFIG) == bad


def test_daemon_that_starts_with_a_bad_file_leaves_everything_as_it_is(
    steady: HubMachine, mended: Callable[[bytes], None]
) -> None:
    before = steady.shell(FINGERPRINT).out
    mended(b"people:\n")
    steady.run(("systemctl", "restart", "hubd"))
    steady.wait_until(lambda: steady.status()["state"] == "invalid", "the new daemon to see the bad file")
    assert steady.hub.healthy()
    assert steady.shell(FINGERPRINT).out == before


def _write(machine: HubMachine, data: bytes) -> None:
    """In one rename, as an editor would."""
    place: Path = machine.path(CONFIG)
    aside = place.with_name(".new-config.yaml")
    aside.write_bytes(data)
    aside.chmod(0o640)
    aside.rename(place)


def _mend(machine: HubMachine, good: str) -> None:
    if machine.path(CONFIG).is_dir():
        machine.path(CONFIG).rmdir()
    _write(machine, good.encode())
    machine.run(("chgrp", "hubd-admins", CONFIG))
