"""Environments that people make themselves: in their homes, as themselves, and offered to others when somebody says yes."""

from __future__ import annotations

import json
import re

import pytest

from hub import DISPLAYED, KERNEL, HubMachine
from hubclient import Server

# As bea types it in a terminal of JupyterLab.
TYPED = (
    "import subprocess; done = subprocess.run({!r}, shell=True, capture_output=True, text=True); "
    "print(done.returncode, done.stdout, done.stderr)"
)
OWN = "own-mine"


@pytest.fixture(scope="module")
def machine(hub_machine: HubMachine) -> HubMachine:
    hub_machine.hubd("config", "add-item", "people.users", "bea", "cid")
    group = "{members: [bea], environments: own, own_limits: {number: 2}}"
    hub_machine.hubd("config", "set", "people.groups.power", group)
    hub_machine.hubd("config", "set", "environments.closed", "{packages: [ipykernel], manager: uv, audience: [admins]}")
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=600)
    assert done.code == 0, done
    return hub_machine


@pytest.fixture(scope="module")
def servers(machine: HubMachine) -> dict[str, Server]:
    return {name: machine.sign_in(name).start_server() for name in ("bea", "cid")}


def typed(server: Server, words: str) -> tuple[int, str]:
    """The exit code and the output of what somebody types in the server's terminal."""
    code, _, text = server.run(TYPED.format(words), KERNEL).partition(" ")
    return int(code), text


def test_who_may_not_is_told_whom_to_ask(servers: dict[str, Server]) -> None:
    code, told = typed(servers["cid"], "hubd env create mine six")
    assert code == 1
    assert "cid may not make environments" in told
    assert "Ask whoever runs this hub" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(("words", "code"), [("../up six", 1), ("mine ../x", 1), ("mine six --manager pip", 2), ("", 2)])
def test_what_makes_no_sense_is_refused(servers: dict[str, Server], words: str, code: int) -> None:
    found, told = typed(servers["bea"], f"hubd env create {words}")
    assert (found, "Traceback" in told) == (code, False), told
    assert servers["bea"].run("import os; print(os.path.exists(os.path.expanduser('~/envs')))", KERNEL) == "False\n"


def test_it_is_a_kernel_of_its_maker_at_once_and_of_nobody_else(machine: HubMachine, servers: dict[str, Server]) -> None:
    code, told = typed(servers["bea"], "hubd env create mine six")
    assert code == 0, told
    assert "mine is there: the kernel `mine (my own)`" in told
    assert re.search("installing|putting packages in place", told), "it says how far it is"
    assert servers["bea"].kernelspecs() == {KERNEL: DISPLAYED, OWN: "mine (my own)"}
    assert servers["bea"].run("import six, sys; print(sys.prefix)", OWN) == "/home/bea/envs/mine\n"
    assert servers["cid"].kernelspecs() == {KERNEL: DISPLAYED}
    assert not machine.run(("find", "/home/bea", "!", "-user", "bea")).out, "nothing in a home is somebody else's"


def test_a_terminal_of_it(servers: dict[str, Server]) -> None:
    code, told = typed(servers["bea"], "hubd-env mine python -c 'import six, sys; print(sys.prefix)'")
    assert (code, told.split()) == (0, ["/home/bea/envs/mine"])
    assert "mine (my own)" in typed(servers["bea"], "hubd-env")[1]
    assert re.search(r"^mine +my own +\d.* me alone", typed(servers["bea"], "hubd env list")[1], re.MULTILINE)
    code, told = typed(servers["bea"], "hubd env show mine")
    assert (code, told.startswith("mine: my own, made 2")) == (0, True), told
    assert "mine" not in typed(servers["cid"], "hubd env list")[1]


def test_the_list_says_which_of_the_hubs_are_for_the_person_who_asks(servers: dict[str, Server]) -> None:
    for server in servers.values():
        code, told = typed(server, "hubd env list")
        assert code == 0, told
        assert re.search(rf"^{KERNEL} +in place .* {re.escape(DISPLAYED)} +me\b", told, re.MULTILINE), told
        assert re.search(r"^closed +in place .* uv +not me\b", told, re.MULTILINE), told


def test_a_failure_leaves_nothing_and_names_the_package(machine: HubMachine, servers: dict[str, Server]) -> None:
    code, told = typed(servers["bea"], "hubd env create broken hubd-there-is-no-such-package")
    assert code == 1
    assert "hubd-there-is-no-such-package" in told
    assert machine.run(("ls", "-A", "/home/bea/envs")).out.split() == ["mine"]


def test_its_maker_can_change_it(servers: dict[str, Server]) -> None:
    assert typed(servers["bea"], "hubd-env mine pip install -q toolz")[0] == 0
    assert servers["bea"].run("import toolz; print(toolz.__name__)", OWN) == "toolz\n"


def test_one_that_was_killed_is_not_offered_and_nothing_of_it_is_lost(machine: HubMachine, servers: dict[str, Server]) -> None:
    machine.shell("cd /home/bea/envs; cp -a mine second; rm -rf second/bin; touch .second.unfinished; chown bea: .second*")
    assert servers["bea"].kernelspecs().keys() == {KERNEL, OWN}
    code, told = typed(servers["bea"], "hubd env create second")
    assert (code, "an earlier build of it was killed" in told, "rm -rf" in told) == (1, True, True), told
    assert typed(servers["bea"], "rm -rf ~/envs/second ~/envs/.second.unfinished")[0] == 0
    code, told = typed(servers["bea"], "hubd env create second")
    assert code == 0, told
    assert servers["bea"].kernelspecs().keys() == {KERNEL, OWN, "own-second"}


def test_more_than_the_group_gives_is_refused_and_removing_is_the_persons_own_affair(servers: dict[str, Server]) -> None:
    typed(servers["bea"], "mkdir -p ~/envs/mine ~/envs/second")
    code, told = typed(servers["bea"], "hubd env create third")
    assert code == 1
    assert "you may have 2 environments" in told
    assert "there are mine, second" in told
    assert typed(servers["bea"], "rm -rf ~/envs/second")[0] == 0
    assert servers["bea"].kernelspecs().keys() == {KERNEL, OWN}


def test_what_takes_more_than_the_group_gives_is_not_kept(machine: HubMachine, servers: dict[str, Server]) -> None:
    machine.hubd("config", "set", "people.groups.power.own_limits", "{number: 3, size: 160M}")
    machine.hubd("apply", "--yes")
    code, told = typed(servers["bea"], "hubd env create large six sympy numpy")
    assert (code, "your environments may take 160M" in told, "with large they would take" in told) == (1, True, True), told
    assert machine.run(("ls", "-A", "/home/bea/envs")).out.split() == ["mine"]
    machine.hubd("config", "set", "people.groups.power.own_limits", "{number: 2}")
    machine.hubd("apply", "--yes")


def test_nobody_asks_for_somebody_else(machine: HubMachine) -> None:
    ask = "import json, socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hubd/people.sock');"
    ask += "s.sendall(json.dumps({'do': 'request', 'for': 'bea', 'name': 'mine'}).encode() + b'\\n'); print(s.makefile().read())"
    for words in (ask, ask.replace("request", "withdraw")):
        told = machine.run(("/usr/bin/python3", "-c", words), user="cid").out
        assert "cid may not do that for bea" in told
    assert machine.run(("/usr/bin/python3", "-c", ask), user="nobody", check=False).code != 0


def pip_changes_nothing(machine: HubMachine, server: Server, prefix: str) -> None:
    """cid's pip in what was bea's: hers had one, so it has one; it is everybody's now, and refuses to change it."""
    for pip in ("pip", "python -m pip"):
        done = machine.run(("hubd-env", "beas", *pip.split(), "install", "cowsay"), check=False, user="cid")
        assert (done.code, "Permission denied" in done.err) == (1, False), done
        assert "The environment beas is shared and cannot be changed here" in done.err, done
    consists = ("find", prefix, "/home/cid/.local/lib", "-printf", "%p %s %T@ %l\n")
    before = machine.run(consists, check=False).out
    said = server.run("%pip install cowsay", "beas")
    assert "The environment beas is shared and cannot be changed here" in said and "Traceback" not in said, said
    assert "or make one of your own, if you may: hubd env create NAME PACKAGE" in said, said
    assert machine.run(consists, check=False).out == before, "nothing came into it, and nothing into a home"
    assert "No module named 'cowsay'" in server.run("import cowsay", "beas")
    machine.run(("hubd-env", "beas", "pip", "install", "-q", "--target", "/tmp/cids", "cowsay"), user="cid")


def test_what_its_maker_asks_for_is_offered_when_an_admin_says_yes(machine: HubMachine, servers: dict[str, Server]) -> None:
    code, told = typed(servers["bea"], "hubd env publish mine --request")
    assert code == 0, told
    assert "hubd env publish bea/mine" in told
    code, told = typed(servers["cid"], "hubd env publish bea/mine --audience everyone")
    assert (code, "you may not decide about that" in told) == (1, True), told
    # What config.yaml cannot have is refused before anything is taken from the request.
    refused = machine.hubd("env", "publish", "bea/mine", "--audience", "nobody-knows", check=False)
    assert (refused.code, machine.path("/opt/hub/published/bea/mine.lock").exists()) == (3, False), refused
    said = "bea asks to offer the environment mine to others"
    machine.wait_until(lambda: said in machine.hubd("status").out, "status to tell it without being asked for a pass", timeout=30)
    # An admin of the hub says it by sudo, which asks these for no password.
    assert machine.hubd("env", "publish", "bea/mine", "--as", "beas", user="ada", check=False).code == 1
    approved = ("sudo", "-n", "hubd", "env", "publish", "bea/mine", "--as", "beas", "--audience", "everyone")
    assert "It comes from: PyPI" in machine.run(approved, user="ada").out
    done = machine.hubd("apply", "--yes", "--wait", timeout=300)
    assert done.code == 0, done
    assert servers["cid"].kernelspecs() == {KERNEL: DISPLAYED, "beas": "beas (by bea)"}
    machine.shell("cp -a /home/bea/envs/mine /home/bea/envs/beas")
    for words in ("--own beas", "\"beas (my own)\""):
        shown = typed(servers["bea"], f"hubd-env {words} python -c 'import sys; print(sys.prefix)'")
        assert shown == (0, "/home/bea/envs/beas\n \n"), shown
    typed(servers["bea"], "rm -rf ~/envs/beas")
    # It consists of the same, and of nothing of bea's.
    typed(servers["bea"], "rm -rf ~/envs/mine")
    told = servers["cid"].run("import six, sys; print(sys.prefix)", "beas")
    assert re.fullmatch(r"/opt/hub/envs/beas/\d+\n", told)
    pip_changes_nothing(machine, servers["cid"], told.strip())
    assert machine.run(("hubd-env", "beas", "gdalinfo"), check=False, user="cid").code == 127
    assert machine.run(("stat", "-c", "%U", "/opt/hub/envs/beas/current/bin/python")).out.strip() in ("hubd-build", "root")
    assert "asks to offer" not in machine.hubd("status").out
    assert json.loads(machine.hubd("config", "get", "environments.beas.publish", "--json").out or "{}")["owner"] == "bea"


def test_a_no_forgets_what_was_asked(machine: HubMachine, servers: dict[str, Server]) -> None:
    assert typed(servers["bea"], "hubd env create mine six")[0] == 0
    assert typed(servers["bea"], "hubd env publish mine --request")[0] == 0
    assert typed(servers["cid"], "hubd env publish mine --withdraw")[0] == 2, "it is bea's"
    code, told = typed(servers["bea"], "hubd env publish mine --withdraw")
    assert (code, "Nobody is asked to offer mine any more" in told) == (0, True), told
    machine.wait_until(lambda: "asks to offer" not in machine.hubd("status").out, "status to forget it", timeout=30)
    assert machine.hubd("env", "publish", "bea/mine", "--decline", check=False).code == 2
    assert typed(servers["bea"], "hubd env publish mine --request")[0] == 0
    assert machine.hubd("env", "publish", "bea/mine", "--decline").code == 0
    machine.wait_until(lambda: "asks to offer" not in machine.hubd("status").out, "status to forget it", timeout=30)
    assert machine.hubd("env", "publish", "bea/mine", "--decline", check=False).code == 2
    assert servers["bea"].kernelspecs().keys() >= {KERNEL, OWN}, "the environment itself stays"
