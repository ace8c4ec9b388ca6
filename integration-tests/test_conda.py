"""Environments by conda: a real channel and a stand-in for its installer on this host; every wrong turn told in a sentence."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from channel.build import MADE, REAL_MICROMAMBA, UNLIKE
from channel.old_python import WHY_WITHOUT
from conda_site import Site, environment
from hub import KERNEL, HubMachine
from web import web_server

CHOICE = "/opt/hub/state/facts/environment-manager.json"


def test_uv_was_chosen_where_no_conda_was_to_be_had_and_status_has_the_way_back(hub_machine: HubMachine) -> None:
    assert json.loads(hub_machine.read(CHOICE))["manager"] == "uv"
    shown = hub_machine.hubd("status").out
    assert f"uv builds {KERNEL}" in shown, shown
    assert f"To use conda: hubd config set environments.{KERNEL}.manager conda" in shown, shown


def test_installer_with_another_checksum_is_not_run(site: Site) -> None:
    said = site.apply(site.config(environment("first", "python=3.11, ipykernel"), sha256="f" * 64))
    assert said.startswith("5 "), said
    told = site.trouble("conda:/opt/hub/conda")
    assert "is not the file it should be" in told, told
    assert site.sha256 in told and "f" * 64 in told, told
    assert not site.machine.path("/opt/hub/conda/bin/conda").exists()
    assert site.machine.hub.healthy()


def test_installer_that_cannot_be_reached_is_told(site: Site) -> None:
    site.web.failures["Miniconda"] = 503
    said = site.apply(site.config(environment("first", "python=3.11, ipykernel")))
    site.web.failures.clear()
    assert said.startswith("5 "), said
    assert "503" in site.trouble("conda:/opt/hub/conda")


def test_environment_by_conda_runs_a_cell(site: Site) -> None:
    said = site.apply(site.config(environment("first", "python=3.11, ipykernel, numpy")))
    assert said.startswith("0 "), said
    found = site.run("import sys, numpy; print(sys.prefix, numpy.arange(4).sum())", "first")
    assert found.startswith("/opt/hub/envs/first/"), found
    assert found.endswith(" 6\n"), found
    prefix = found.split()[0]
    assert site.machine.path(f"{prefix}/conda-meta/history").exists()
    owner = site.machine.run(("stat", "-c", "%U", f"{prefix}/bin/python3.11", "/opt/hub/conda/bin/conda")).out.split()
    assert set(owner) <= {"hubd-build", "root"}


def lock_of(site: Site, name: str) -> str:
    return site.machine.read(f"/opt/hub/envs/{name}/current/.hubd-lock.yaml")


def test_a_pip_part_comes_on_top_and_is_in_the_lock(site: Site) -> None:
    added = environment("both", "python=3.11, ipykernel") + "    pip: [cowsay==6.1]\n"
    if not site.machine.path("/opt/hub/conda/bin/conda").exists():  # where this test runs alone
        site.apply(site.config(environment("first", "python=3.11, ipykernel")))
    foretold = site.foretold(site.config(added), "both")
    assert "its pip part (cowsay==6.1) is solved only when it is built" in foretold["tells"], foretold
    said = site.apply(site.config(added))
    assert said.startswith("0 "), said
    same_as_foretold(site, "both", foretold)
    assert site.run("import cowsay; print(cowsay.__version__)", "both") == "6.1\n"
    lock = lock_of(site, "both")
    assert re.search(r"^  - 'cowsay==6\.1( --hash=sha256:[0-9a-f]{64})+'$", lock, re.MULTILINE), lock
    assert re.search(rf"^  - '{site.web.url}/tests/noarch/ipykernel-\S+\.conda#sha256:[0-9a-f]{{64}}'$", lock, re.MULTILINE), lock
    # What conda installed is not pip's to replace, and what was built before goes on.
    wrong = added.replace("cowsay==6.1", "cowsay==6.1, packaging==24.2")
    assert site.apply(site.config(wrong)).startswith("5 ")
    told = site.trouble("environment:both")
    assert "the pip part would replace packaging" in told, told
    assert "packaging==24.2" in told, told
    assert site.run("import cowsay; print(cowsay.__version__)", "both") == "6.1\n"
    assert site.apply(site.config(wrong.replace("packaging==24.2", "there-is-none-such-4711"))).startswith("5 ")
    told = site.trouble("environment:both")
    assert "the pip part cannot be installed" in told, told
    assert "there-is-none-such-4711" in told, told


def same_as_foretold(site: Site, name: str, change: dict[str, Any]) -> None:
    """A first build has exactly the packages that its plan told."""
    assert change["code"] == 0 and change["error"] is None, change
    conda = re.findall(r"^  - '\S+/(\S+?)\.conda#", lock_of(site, name), re.MULTILINE)
    solved = change["forecast"]["solved"]
    pins = [] if solved["unsolved"] else re.findall(r"^  - '(\S+==[^ ']+)", lock_of(site, name), re.MULTILINE)
    told = [each for each in solved["added"] if each["source"] != "python"]
    words = {"conda": "{name}-{version}-{build}", "PyPI": "{name}=={version}"}
    assert sorted(words[each["source"]].format(**each) for each in told) == sorted([*conda, *pins]) != [], change


def locked(name: str, manager: str, place: str = "") -> str:
    return f"  {name}:\n    lock: {place or f'environments/{name}.lock'}\n    manager: {manager}\n"


def test_a_lock_is_built_again_exactly_and_never_from_another_file(site: Site) -> None:
    machine = site.machine
    added = environment("both", "python=3.11, ipykernel") + "    pip: [cowsay==6.1]\n"
    assert site.apply(site.config(added)).startswith("0 ")
    lock = lock_of(site, "both")
    machine.run(("mkdir", "-p", "/opt/hub/environments"))
    machine.write("/opt/hub/environments/again.lock", lock)
    said = site.apply(site.config(added + locked("again", "conda")))
    assert said.startswith("0 "), said
    assert lock_of(site, "again") == lock
    show = "import cowsay, sys; print(cowsay.__version__, sys.prefix)"
    assert site.run(show, "again") == "6.1 /opt/hub/envs/again/1\n"
    for wrong, words in (
        (re.sub(r"(ipykernel-\S+#sha256:)[0-9a-f]{8}", r"\g<1>00000000", lock), ("is not the file it should be", "ipykernel")),
        (re.sub(r"(--hash=sha256:)[0-9a-f]{8}", r"\g<1>00000000", lock), ("is not the file it should be", "cowsay==6.1")),
        (lock + "channels: [x]\n", ("environments/again.lock cannot be used", f"line {len(lock.splitlines()) + 1}: ")),
    ):
        machine.write("/opt/hub/environments/again.lock", wrong)
        assert site.apply(site.config(added + locked("again", "conda"))).startswith("5 ")
        told = site.trouble("environment:again")
        assert all(word in told for word in words), told
        assert site.run(show, "again") == "6.1 /opt/hub/envs/again/1\n", "the one before goes on"


def test_rattler_builds_condas_lock_again_and_never_from_another_file(site: Site) -> None:
    added = environment("both", "python=3.11, ipykernel") + "    pip: [cowsay==6.1]\n"
    assert site.apply(site.config(added)).startswith("0 ")
    lock, place = lock_of(site, "both"), "/opt/hub/environments/rebuilt.lock"
    site.machine.run(("mkdir", "-p", "/opt/hub/environments"))
    site.machine.write(place, lock)
    said = site.apply(site.config(added + locked("rebuilt", "rattler")))
    assert said.startswith("0 "), said
    assert lock_of(site, "rebuilt") == lock.replace("manager: conda", "manager: rattler")
    show = "import cowsay, sys; print(cowsay.__version__, sys.prefix)"
    before = site.run(show, "rebuilt")
    assert before.startswith("6.1 /opt/hub/envs/rebuilt/"), before
    site.machine.write(place, re.sub(r"(ipykernel-\S+#sha256:)[0-9a-f]{8}", r"\g<1>00000000", lock))
    assert site.apply(site.config(added + locked("rebuilt", "rattler"))).startswith("5 ")
    told = site.trouble("environment:rebuilt")
    assert "is not the file it should be" in told and "ipykernel" in told, told
    assert site.run(show, "rebuilt") == before, "the one before goes on"


FILE = """\
name: theirs
channels:
  - {channel}
  - nodefaults
dependencies:
  - python=3.11
  - ipykernel
  - pip:
    - cowsay==6.1
prefix: /home/ada/miniconda3/envs/theirs
"""


def test_an_environment_file_behind_an_address(site: Site, tmp_path: Path) -> None:
    text = FILE.format(channel=f"{site.web.url}/tests")
    (tmp_path / "environment.yml").write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    with web_server(tmp_path, site.machine.net.host) as web:
        added = f"  theirs:\n    file: {web.url}/environment.yml\n    sha256: '{'0' * 64}'\n    manager: conda\n"
        assert site.apply(site.config(added)).startswith("5 ")
        told = site.trouble("environment:theirs")
        assert "is not the file it should be" in told, told
        assert sha256 in told, told
        said = site.apply(site.config(added.replace("0" * 64, sha256)))
        assert said.startswith("0 "), said
        assert site.run("import cowsay; print(cowsay.__version__)", "theirs") == "6.1\n"
        # What is wrong with another one is told with its line, and this one stays.
        (tmp_path / "environment.yml").write_text(text.replace("    - cowsay==6.1", "    - -e git+https://x.example/y"))
        sha256 = hashlib.sha256((tmp_path / "environment.yml").read_bytes()).hexdigest()
        assert site.apply(site.config(added.replace("0" * 64, sha256))).startswith("5 ")
    told = site.trouble("environment:theirs")
    assert "line 9" in told and "editable installation" in told, told
    assert site.run("import cowsay; print(cowsay.__version__)", "theirs") == "6.1\n"


def git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "core.hooksPath=/dev/null")
    argv = ("git", "-C", str(folder), *settings, *words)
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=more")
    return git(folder, "rev-parse", "HEAD")


def test_an_environment_file_of_a_repository_at_a_commit(site: Site, tmp_path: Path) -> None:
    machine, source, harmed, none = site.machine, tmp_path / "course", "/opt/hub/envs/.cache/harmed", "ab" * 20
    (source / "environments").mkdir(parents=True)
    text = FILE.replace("  - pip:\n    - cowsay==6.1\n", "").format(channel=f"{site.web.url}/tests")
    (source / "environments/r.yml").write_text(text)
    git(source, "init", "--quiet")
    first = commit(source)
    # What comes later, on the branch, is not what was asked for.
    (source / "environments/r.yml").unlink()
    (source / "environments/r.yml").symlink_to("/opt/hub/config.yaml")
    second = commit(source)
    (tmp_path / "again").symlink_to(source)

    def added(name: str, url: str, at: str) -> str:
        return f"  {name}:\n    file: environments/r.yml\n    git: {{url: '{url}', commit: {at}}}\n    manager: conda\n"

    # What the machine's own git is set to do is not done for a build, nor what a repository is set to that is somebody else's.
    machine.copy_in(source / ".git", "/srv/course/.git")
    hook = "uploadpack.packObjectsHook /srv/hook"
    machine.shell(
        f"printf '#!/bin/sh\\ntouch {harmed}\\n' > /srv/hook && chmod 755 /srv/hook && git config --system {hook} && "
        "git config --system url.http://127.0.0.1:1/.insteadOf http:// && "
        f"git config -f /srv/course/.git/config {hook} && chown -R ada: /srv/course"
    )
    with web_server(tmp_path, machine.net.host) as web:
        course = added("course", f"{web.url}/git/course", first)
        said = site.apply(site.config(course))
        assert said.startswith("0 "), said
        assert f"from the file environments/r.yml of {web.url}/git/course at {first[:12]}" in said, said
        assert "/tests/noarch/ipykernel-" in lock_of(site, "course")
        asked = [path for path in web.requests if "/git/course" in path]
        wrong = added("none", f"{web.url}/git/again", none) + added("linked", "file:///srv/course", second)
        assert site.apply(site.config(course + wrong)).startswith("5 ")
        assert f"/git/again has no commit {none}" in site.trouble("environment:none")
        assert asked == [path for path in web.requests if "/git/course" in path], "what is right needs no network"
    told = site.trouble("environment:linked")
    assert "environments/r.yml is a symbolic link, and none is followed" in told, told
    assert not machine.path(harmed).exists(), "a hook was run"
    assert not machine.path("/opt/hub/envs/.cache/repository").exists(), "a copy was left behind"
    machine.run(("rm", "/etc/gitconfig"))


def test_a_file_on_the_disk_is_built_and_locks_and_exports_of_it_are_built_again(site: Site) -> None:
    machine, place = site.machine, "/opt/hub/environments/r.yml"
    many = "".join(f"  - ipykernel>=0.{number}\n" for number in range(2000))
    text = FILE.format(channel=f"{site.web.url}/tests").replace("  - ipykernel\n", "  - ipykernel\n" + many)
    added = "  r:\n    file: environments/r.yml\n    manager: conda\n"
    machine.write(place, text)
    said = site.apply(site.config(added))
    assert said.startswith("0 "), said
    assert "r: environments/r.yml: its `prefix:` is not used" in machine.hubd("status").out
    spec = machine.read("/opt/hub/kernels/everyone/kernels/r/kernel.json")
    edited = text.replace(many, f"  - {UNLIKE.format(4)}\n")
    machine.write(place, edited.replace("  - ipykernel\n", "\t- ipykernel\n"))
    assert site.apply(site.config(added)).startswith("5 ")
    told = site.trouble("environment:r")
    assert "environments/r.yml cannot be used" in told and "line 7, column 1: " in told and "a tab" in told, told
    assert machine.read("/opt/hub/kernels/everyone/kernels/r/kernel.json") == spec
    assert site.run("import cowsay, sys; print(cowsay.__version__, sys.prefix)", "r") == "6.1 /opt/hub/envs/r/1\n"
    machine.write(place, edited)
    # A generation by rattler follows one by conda.
    by_rattler = added.replace("conda", "rattler")
    said = site.apply(site.config(by_rattler))
    assert said.startswith("0 "), said
    compared = machine.hubd("env", "diff", "r", user="ada").out.splitlines()
    assert compared == ["r: generation 1 → 2: by rattler instead of conda, +1", f"  + {UNLIKE.format(4)} 1.0"], compared
    machine.hubd("env", "lock", "r")
    machine.write("/opt/hub/environments/exported.yml", machine.hubd("env", "export", "r", "--generation", "1").out)
    exported = "  exported:\n    file: environments/exported.yml\n    manager: conda\n"
    said = site.apply(site.config(by_rattler + exported + locked("again", "conda", "environments/r.lock")))
    assert said.startswith("0 "), said
    assert lock_of(site, "again") == lock_of(site, "r").replace("manager: rattler", "manager: conda")
    assert lock_of(site, "exported") == machine.read("/opt/hub/envs/r/1/.hubd-lock.yaml")
    for name in ("again", "exported"):
        assert site.run("import cowsay; print(cowsay.__version__)", name) == "6.1\n"


def test_environments_that_are_nearly_the_same_share_what_they_have_on_the_disk(site: Site) -> None:
    names = [f"near-{number}" for number in range(5, 8)]
    added = "".join(environment(name, f"python=3.11, ipykernel, {UNLIKE.format(name[-1])}") for name in names)
    said = site.apply(site.config(added))
    assert said.startswith("0 "), said
    found = json.loads(site.machine.hubd("env", "list", "--sizes", "--json").out)
    disk = {each["name"]: each["disk"] for each in found["environments"]}
    assert all(abs(use["own"] + use["shared"] - du(site, name)) <= BLOCK for name, use in disk.items()), disk
    assert abs(found["disk"]["own"] + found["disk"]["shared"] - du(site, *disk)) <= BLOCK * len(disk), found
    assert all(disk[name]["shared"] > 5 * disk[name]["own"] for name in names), disk
    assert du(site, *names) < 1.5 * du(site, names[0]), "three take about as much as one"


# Bytes: du counts the folder itself, too.
BLOCK = 4096


def du(site: Site, *names: str) -> int:
    """Bytes that these environments take together on the disk."""
    return int(site.machine.run(("du", "-csB1", *(f"/opt/hub/envs/{name}" for name in names))).out.splitlines()[-1].split()[0])


def test_uv_builds_a_lock_again_and_a_frozen_one_never(site: Site) -> None:
    machine = site.machine
    added = environment("pinned", "ipykernel, cowsay=6.1", "uv")
    foretold = site.foretold(site.config(added), "pinned")
    assert site.apply(site.config(added)).startswith("0 ")
    same_as_foretold(site, "pinned", foretold)
    lock = lock_of(site, "pinned")
    assert re.search(r"^  - 'cowsay==6\.1( --hash=sha256:[0-9a-f]{64})+'$", lock, re.MULTILINE), lock
    machine.run(("mkdir", "-p", "/opt/hub/environments"))
    machine.write("/opt/hub/environments/again.lock", lock)
    said = site.apply(site.config(added + locked("again", "uv")))
    assert said.startswith("0 "), said
    assert lock_of(site, "again") == lock
    frozen = environment("pinned", "ipykernel, cowsay=5", "uv") + "    frozen: true\n"
    said = site.apply(site.config(frozen))
    assert said.startswith("0 "), said
    assert site.run("import cowsay; print(cowsay.__version__)", "pinned") == "6.1\n"
    assert "pinned is frozen" in machine.hubd("status").out


def test_environment_by_rattler_needs_no_conda(site: Site) -> None:
    site.machine.run(("rm", "-rf", "/opt/hub/conda"))
    added = environment("second", "python=3.11, ipykernel, numpy", "rattler")
    foretold = site.foretold(site.config(added), "second")
    said = site.apply(site.config(added))
    assert said.startswith("0 "), said
    same_as_foretold(site, "second", foretold)
    found = site.run("import sys, numpy; print(sys.prefix, numpy.arange(4).sum(), numpy.__cached__)", "second")
    prefix, total, compiled = found.split()
    assert prefix.startswith("/opt/hub/envs/second/") and total == "6", found
    assert not site.machine.path("/opt/hub/conda").exists()
    assert site.machine.path(compiled).exists(), "nobody may write there later"
    assert "::numpy-" in site.machine.read(f"{prefix}/conda-meta/history")
    assert "sha256:" in site.machine.read(f"{prefix}/.hubd-lock.yaml")
    module = site.machine.run(("stat", "-c", "%h", f"{prefix}/lib/python3.11/site-packages/numpy/__init__.py")).out
    assert int(module) > 1, "a hard link"


WRONG = {
    "missing": ("python=3.11, ipykernel, there-is-none-such", "there-is-none-such"),
    "version": ("python=3.11, ipykernel, numpy=99", "numpy"),
    "unsatisfiable": ("python=3.11, ipykernel, hubd-test-old", "hubd-test-old"),
    "postlink": ("python=3.11, ipykernel, hubd-test-postlink", "post-link"),
}


@pytest.mark.parametrize("manager", ["conda", "rattler"])
@pytest.mark.parametrize("name", WRONG)
def test_packages_that_cannot_be_had_are_one_sentence(site: Site, name: str, manager: str) -> None:
    packages, expected = WRONG[name]
    added = environment("first", "python=3.11, ipykernel, numpy") + environment("wrong", packages, manager)
    said = site.apply(site.config(added))
    assert said.startswith("5 "), said
    told = site.trouble("environment:wrong")
    assert expected in told, told
    assert "{" not in told and "Traceback" not in told and len(told) < 1000, told
    assert site.run("print(6 * 7)", "first") == "42\n", "the others go on"


@pytest.mark.parametrize("manager", ["conda", "rattler"])
def test_people_make_environments_from_channels_and_offer_them_to_others(site: Site, manager: str) -> None:
    assert site.apply(site.config(environment("first", "python=3.11, ipykernel"))).startswith("0 ")
    name, before = f"by-{manager}", len(site.web.requests)
    made = site.machine.hubd("env", "create", name, "python=3.11", "numpy", "--manager", manager, user="ada", timeout=600)
    assert f"{name} (my own)" in made.out
    fetched = downloads(site, before)
    assert bool([path for path in fetched if "/python-3.11" in path]) == (manager == "rattler"), "conda takes what the hub has"
    code = "import sys, numpy; print(sys.prefix, numpy.arange(4).sum())"
    assert site.run(code, f"own-{name}") == f"/home/ada/envs/{name} 6\n"
    site.machine.hubd("env", "publish", name, "--request", user="ada")
    site.machine.hubd("env", "publish", f"ada/{name}", "--audience", "everyone")
    assert site.machine.hubd("apply", "--yes", "--wait", timeout=600).code == 0
    assert re.fullmatch(rf"/opt/hub/envs/{name}/\d+ 6\n", site.run(code, name))
    own = site.machine.read(f"/home/ada/envs/{name}/.hubd-lock.yaml")
    assert site.machine.read(f"/opt/hub/envs/{name}/current/.hubd-lock.yaml") == own, "the same packages, each with its checksum"


def downloads(site: Site, before: int) -> list[str]:
    """The packages that were fetched after so many requests."""
    return [path for path in site.web.requests[before:] if path.endswith((".conda", ".tar.bz2"))]


def test_r_of_ones_own_by_conda(site: Site) -> None:
    assert site.apply(site.config(environment("first", "python=3.11, ipykernel"))).startswith("0 ")
    made = ("env", "create", "my-r", "r-base", "r-irkernel", "--manager", "conda")
    assert "my-r (my own)" in site.machine.hubd(*made, user="ada", timeout=600).out
    found = site.run('cat(R.home(), Sys.getenv("R_HOME"), 6 * 7)', "own-my-r")
    assert found == "/home/ada/envs/my-r/lib/R /home/ada/envs/my-r/lib/R 42", found


def test_conda_in_a_shell_knows_where_environments_go_and_from_which_channel(site: Site) -> None:
    machine = site.machine
    assert site.apply(site.config(environment("first", "python=3.11, ipykernel"))).startswith("0 ")
    # As over ssh: without the variables of a server. Nothing but the prepared settings says where to.
    conda = "cd && /opt/hub/conda/bin/conda create --json --yes --name typed python=3.11 ipykernel"
    before = len(site.web.requests)
    machine.shell(conda, user="ada", timeout=300)
    assert (len(site.web.requests) > before, downloads(site, before)) == (True, []), "the hub has them all"
    assert site.run("import sys; print(sys.prefix)", "own-typed") == "/home/ada/envs/typed\n"
    assert machine.run(("stat", "-c", "%U %a", "/home/ada/.condarc")).out.split() == ["ada", "644"]
    # What is in there is ada's, whatever it is.
    machine.write("/home/ada/.condarc", "channels: []\n")
    assert machine.hubd("apply", "--yes").code == 0
    assert machine.read("/home/ada/.condarc") == "channels: []\n"
    machine.shell("rm -rf ~/.condarc ~/envs/typed; ln -s /etc/shadow ~/.condarc", user="ada")
    assert machine.hubd("apply", "--yes").code == 0
    assert machine.run(("readlink", "/home/ada/.condarc")).out == "/etc/shadow\n"
    machine.run(("rm", "/home/ada/.condarc"))
    machine.hubd("apply", "--yes")
    assert site.web.url in machine.read("/home/ada/.condarc")


PACKAGES = "/opt/hub/envs/.packages"


def test_people_read_the_hubs_packages_and_what_no_generation_consists_of_goes(site: Site) -> None:
    machine = site.machine
    assert site.apply(site.config(environment("first", "python=3.11, ipykernel"))).startswith("0 ")
    package = machine.shell(f"echo {PACKAGES}/python-3.11*", user="ada").out.strip()
    for place in (f"{PACKAGES}/x", f"{PACKAGES}/urls.txt", f"{package}/x", f"{package}/info/index.json"):
        assert machine.shell(f"echo >> {place}", user="ada", check=False).code, place
    assert machine.shell("ls /opt/hub/envs/.cache", user="ada", check=False).code, "or people could hold the locks of builds"
    assert not machine.shell(f"find {PACKAGES} -perm /022 ! -type l; find {PACKAGES} ! -user hubd-build").out
    # A package of a generation that is gone: builds have it, and people.
    cache = "/opt/hub/envs/.cache/conda-pkgs"
    machine.shell(f"mkdir -p {cache}/old-1-0/info; echo > {cache}/old-1-0/info/index.json; cp -al {cache}/old-1-0 {PACKAGES}")
    machine.shell(f"chown -R hubd-build {cache}/old-1-0 {PACKAGES}/old-1-0")
    machine.hubd("env", "gc", timeout=300)
    left = machine.shell(f"ls -d {PACKAGES}/* {cache}/*").out.split()
    assert package in left
    assert f"{cache}/{package.rpartition('/')[2]}" in left
    assert not [path for path in left if path.endswith("/old-1-0")]


def test_auto_chooses_conda_where_it_answers_and_keeps_to_it(site: Site) -> None:
    machine = site.machine
    machine.run(("rm", CHOICE))
    added = environment("first", "python=3.11, ipykernel, numpy") + environment("auto", "python=3.11, ipykernel", "auto")
    said = site.apply(site.config(added))
    assert said.startswith("0 "), said
    assert "use conda: its installer and channel answer" in said, said
    assert json.loads(machine.read(CHOICE))["manager"] == "conda"
    assert site.run("import os, sys; print(os.path.exists(sys.prefix + '/conda-meta'))", "auto") == "True\n"
    # Nobody changes to uv because the channel is away for a day.
    site.web.failures |= dict.fromkeys(("tests", "real"), 503)
    assert site.machine.hubd("apply", "--yes").code == 0
    site.web.failures.clear()
    assert json.loads(machine.read(CHOICE))["manager"] == "conda"


def test_conda_of_somebody_else_is_used_and_left_alone(site: Site) -> None:
    machine = site.machine
    machine.shell(f"curl -fsS {site.web.url}/Miniconda.sh -o /root/conda.sh && sh /root/conda.sh -b -p /srv/conda")
    before = machine.shell("find /srv/conda -printf '%P %s %U %m\\n' | sort | sha256sum").out
    conda = f"conda:\n  path: /srv/conda\n  channels: {site.channels}\n"
    said = site.apply(site.config(environment("theirs", "python=3.11, ipykernel"), conda=conda))
    assert said.startswith("0 "), said
    assert site.run("print(6 * 7)", "theirs") == "42\n"
    assert machine.shell("find /srv/conda -printf '%P %s %U %m\\n' | sort | sha256sum").out == before
    elsewhere = conda.replace("/srv/", "/nowhere/")
    said = site.apply(site.config(environment("theirs", "python=3.11, ipykernel, pip"), conda=elsewhere))
    assert "there is no conda at /nowhere/conda" in said, said
    assert site.run("print(6 * 7)", "theirs") == "42\n"


MICROMAMBA = "/srv/bin/micromamba"


def only_micromamba(site: Site) -> str:
    """Put micromamba there and nothing beside it; gives the config that names it."""
    machine = site.machine
    if REAL_MICROMAMBA:
        machine.copy_in(Path(REAL_MICROMAMBA), MICROMAMBA)
        machine.run(("chmod", "755", MICROMAMBA))
    else:
        machine.run(("mkdir", "-p", str(Path(MICROMAMBA).parent)))
        # What it needs lies where the link leads.
        installer = f"curl -fsS {site.web.url}/Miniconda.sh -o /root/conda.sh && sh /root/conda.sh -b -p /srv/conda"
        machine.shell(f"[ -e /srv/conda ] || {{ {installer}; }}")
        machine.run(("ln", "-sf", "/srv/conda/lib/standin/micromamba", MICROMAMBA))
    return f"conda:\n  path: {MICROMAMBA}\n  channels: {site.channels}\n"


def test_micromamba_alone_builds_says_what_is_wrong_and_builds_its_lock_again(site: Site) -> None:
    machine, conda = site.machine, only_micromamba(site)
    added = environment("small", f"python=3.11, ipykernel, {UNLIKE.format(9)}")
    said = site.apply(site.config(added, conda=conda))
    assert said.startswith("0 "), said
    assert machine.read("/opt/hub/envs/small/1/conda-meta/history").count(f"{MICROMAMBA} install ") == 1
    lock = lock_of(site, "small")
    machine.write("/opt/hub/environments/same.lock", lock)
    nunpy = environment("small", "python=3.11, ipykernel, nunpy")
    said = site.apply(site.config(nunpy + locked("same", "conda"), conda=conda))
    assert said.startswith("5 "), said
    told = site.trouble("environment:small")
    assert "a package is not in the channels" in told and "nunpy" in told and len(told) < 400, told
    assert lock_of(site, "same") == lock


@pytest.mark.parametrize("manager", ["conda", "rattler"])
def test_r_is_built_and_runs_a_cell(site: Site, manager: str) -> None:
    entry = environment("stats", "r-base, r-irkernel", manager) + "    kernel: {language: R, display_name: R}\n"
    said = site.apply(site.config(entry))
    assert said.startswith("0 "), said
    code = 'cat(R.home(), round(summary(lm(mpg ~ wt, mtcars))$r.squared, 4), nchar("ä"), Sys.which("R"))'
    home, fit, length, program = site.run(code, "stats").split()
    assert home.startswith("/opt/hub/envs/stats/") and home.endswith("/lib/R"), home
    assert (fit, length, program) == ("0.7528", "1", home.replace("/lib/R", "/bin/R"))


OLD_NOTEBOOK = "/opt/hub/old.ipynb"
OLD_CELLS = ("print u'\xe4', 7 / 2", "exec 'x = 7 / 2'\nassert `x` == '3'")
OLD = """\
  legacy: {packages: [python=2.7, ipykernel=4], frozen: true, manager: conda}
  ancient: {packages: [python=2.7, ipykernel=4, pip], frozen: true, manager: rattler, smoke: old.ipynb}
"""


def test_python_2_7_by_declaration_with_nothing_else_to_do(site: Site, conda_channel: Path) -> None:
    why = conda_channel / MADE / WHY_WITHOUT
    if why.exists():
        pytest.skip(why.read_text())
    machine = site.machine
    cells = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in OLD_CELLS]
    machine.write(OLD_NOTEBOOK, json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    said = site.apply(site.config(OLD))
    assert said.startswith("0 "), said
    server, show = machine.sign_in("ada").start_server(), "import sys, IPython; print sys.version_info[:2], IPython.__file__"
    for name in ("legacy", "ancient"):
        prefix = f"/opt/hub/envs/{name}/1"
        compiled = f"{prefix}/lib/python2.7/site-packages/IPython/__init__.pyc"
        assert server.run(show, name) == f"(2, 7) {compiled}\n"
        assert server.run("!which python; echo $CONDA_PREFIX", name).split() == [f"{prefix}/bin/python", prefix]
        past = f"{name} is frozen: it stays as it was built, and Python 2.7 is past its end of life"
        assert past in machine.hubd("status").out
        assert "its Python 2.7.18 is past its end of life" in machine.hubd("env", "show", name).out
        spec = json.loads(machine.read(f"/opt/hub/kernels/everyone/kernels/{name}/kernel.json"))
        assert spec["metadata"] == {"debugger": False}
    refused = "The environment ancient is shared and cannot be changed here"
    for command in ("%pip install cowsay", "!pip install cowsay", "!pip install --user cowsay"):
        assert refused in server.run(command, "ancient"), command
    said = site.apply(site.config(OLD.replace("ipykernel=4", "ipykernel=4, cowsay")))
    assert said.startswith("0 "), said
    assert [server.run(show, name).split("/")[5] for name in ("legacy", "ancient")] == ["1", "1"], "frozen"
