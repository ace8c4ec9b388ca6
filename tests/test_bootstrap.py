"""bootstrap.py as values and files: options, preflight, generations, page, log. Needs no network, no root."""

from __future__ import annotations

import ast
import http.client
import importlib.util
import io
import json
import os
import stat
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parent.parent / "bootstrap.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load()
TEXT = FILE.read_text(encoding="utf-8")


# --- the file itself


def test_parses_on_python_3_6() -> None:
    ast.parse(TEXT, feature_version=(3, 6))
    assert TEXT.isascii()  # an old Python in the C locale reads it too


def test_imports_the_standard_library_only() -> None:
    found = {
        node.names[0].name.split(".")[0] for node in ast.walk(ast.parse(TEXT)) if isinstance(node, ast.Import)
    }
    found |= {str(n.module).split(".")[0] for n in ast.walk(ast.parse(TEXT)) if isinstance(n, ast.ImportFrom)}
    assert found <= sys.stdlib_module_names


def acts(node: ast.stmt) -> bool:
    """Whether a top-level statement does more than define something."""
    passive = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
    return not isinstance(node, passive) and not (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def test_a_file_cut_off_anywhere_runs_nothing() -> None:
    """Every top-level statement but the last only defines something, and no part of it does more."""
    lines = TEXT.splitlines(keepends=True)
    for node in ast.parse(TEXT).body:
        start, end = node.lineno - 1, node.end_lineno or node.lineno
        whole = "".join(lines[start:end])
        cuts = [whole] if end < len(lines) else []
        cuts += ["".join(lines[start:stop]) for stop in range(start + 1, end)]
        cuts += [whole[:-count] for count in range(2, min(len(whole), 60))] if end == len(lines) else []
        for cut in cuts:
            assert not runs_something(cut), cut[-80:]


def runs_something(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False  # Python refuses the whole file
    return any(acts(node) and any(isinstance(part, ast.Call) for part in ast.walk(node)) for node in body)


def test_the_complete_file_runs_main_on_its_last_line() -> None:
    assert acts(ast.parse(TEXT).body[-1])
    assert "main(" in TEXT.splitlines()[-1]


def test_names_no_registry_and_no_foreign_distribution() -> None:
    assert not [
        word for word in ("pypi" + ".org", "python" + "hosted", "debian" + ".org", "ubuntu" + ".com") if word in TEXT.lower()
    ]
    assert bootstrap.DISTRIBUTION == "jupyter-hubd"


def test_the_version_is_the_package_s_own() -> None:
    import hubd

    assert hubd.__version__ == bootstrap.VERSION


# --- options


@pytest.mark.parametrize(
    "argv",
    [
        ["--unknown"],
        ["--adm", "ada"],
        ["--prefix", ""],
        ["--port", "0"],
        ["--port", "65536"],
        ["--port", "http"],
        ["--admin", "ada:secret"],
        ["--admin", "-x"],
        ["--source", "https://example.org/x.whl"],
        ["--source", "x.whl", "--sha256", "abc"],
        ["--sha256", "0" * 64],
        ["--source", "ftp://example.org/x.whl", "--sha256", "0" * 64],
        ["--config", "gopher://example.org/c.yaml"],
        ["--admin-password", "secret"],
        ["extra"],
    ],
)
def test_wrong_usage_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bootstrap.parse_options(argv)
    assert ended.value.code == 2
    assert "bootstrap.py: error:" in capsys.readouterr().err


def test_options_are_handed_to_the_installer_but_for_those_that_are_ours() -> None:
    given = "--admin ada --admin bea --admin-password-file /f --preset course --prefix /p --plugin x --yes"
    options = bootstrap.parse_options(given.split())
    words = " ".join(bootstrap.installer_arguments(options, 8000, "/c.yaml", 7))
    wanted = "--prefix /p --port 8000 --admin ada --admin bea --admin-password-file /f --config /c.yaml"
    assert words == wanted + " --preset course --plugin x --yes --events 7"
    assert "--port" not in bootstrap.installer_arguments(options, None, None, 7)


# --- preflight


GOOD = bootstrap.Facts(
    uid=0,
    os_id="debian",
    os_version="12",
    os_name="Debian GNU/Linux 12 (bookworm)",
    architecture="x86_64",
    version=(3, 11, 2),
    python="/usr/bin/python3.11",
    python_fault="",
    memory=2 * 10**9,
    disk=20 * 10**9,
    installed=False,
    prefix_fault="",
    port=80,
    port_holder="",
    network_faults=(),
    lock_pid=None,
    file_faults=(),
)
OPTIONS = bootstrap.parse_options([])


def test_a_good_machine_has_no_problem() -> None:
    assert bootstrap.problems(GOOD, OPTIONS) == []


BAD = {
    "uid": (1000, "root"),
    "os_id": ("fedora", "not a system"),
    "architecture": ("riscv64", "riscv64"),
    "version": ((3, 9, 2), "Python 3.9.2"),
    "memory": (512 * 10**6, "memory"),
    "disk": (3 * 10**9, "3.0 GB are free"),
    "port_holder": ("nginx (process 77)", "nginx (process 77)"),
    "network_faults": (("the Python package index cannot be reached",), "index cannot be reached"),
    "file_faults": ((bootstrap.Problem("--config /x cannot be read", "name another"),), "--config"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_problem_is_named_alone(name: str) -> None:
    value, words = BAD[name]
    found = bootstrap.problems(GOOD._replace(**{name: value}), OPTIONS)
    assert len(found) == 1 and words in found[0].what and found[0].cure


def test_all_problems_are_named_together_each_with_its_cure() -> None:
    facts = GOOD._replace(**{name: value for name, (value, _) in BAD.items()})
    stream = io.StringIO()
    found = bootstrap.problems(facts, OPTIONS)
    assert bootstrap.report_problems(found, stream) == bootstrap.FAILED
    for _, words in BAD.values():
        assert words in stream.getvalue()
    assert all(problem.cure in stream.getvalue() for problem in found)


def test_another_run_is_exit_code_6_and_its_progress_page_is_no_problem_of_its_own() -> None:
    found = bootstrap.problems(GOOD._replace(lock_pid=99, port_holder="python3.11 (process 99)"), OPTIONS)
    assert [problem.code for problem in found] == [bootstrap.LOCKED]
    assert "99" in found[0].what
    assert bootstrap.report_problems(found, io.StringIO()) == bootstrap.LOCKED


def test_a_repair_needs_neither_the_network_nor_the_room_of_a_first_installation() -> None:
    facts = GOOD._replace(installed=True, disk=2 * 10**9, network_faults=("no route",))
    assert bootstrap.problems(facts, OPTIONS) == []


@pytest.mark.parametrize(
    ("os_id", "version", "supported"),
    [
        ("debian", "11", False),
        ("debian", "12", True),
        ("debian", "13", True),
        ("debian", "", False),
        ("ubuntu", "20.04", False),
        ("ubuntu", "22.04", True),
        ("ubuntu", "22.10", False),
        ("ubuntu", "24.04", True),
        ("ubuntu", "26.04", True),
        ("linuxmint", "22", False),
        ("", "", False),
    ],
)
def test_supported_systems(os_id: str, version: str, supported: bool) -> None:
    assert bootstrap.supported_system(os_id, version) is supported


def test_an_old_python_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 10, "final", 0))
    monkeypatch.setattr(bootstrap, "network_faults", lambda *_: [])
    monkeypatch.setattr(bootstrap.signal, "signal", lambda *_: None)
    assert bootstrap.main(["--prefix", "/nowhere"]) == 1
    assert "this is Python 3.8.10, and 3.11 or newer is needed" in capsys.readouterr().err


def proc(tmp_path: Path, *, port: int, pid: int, exe: str) -> Path:
    """A /proc in which process `pid` listens on `port`."""
    root = tmp_path / "proc"
    (root / "net").mkdir(parents=True)
    line = f"0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 x\n"
    (root / "net" / "tcp").write_text("sl local_address\n" + line)
    (root / str(pid) / "fd").mkdir(parents=True)
    (root / str(pid) / "fd" / "5").symlink_to("socket:[4711]")
    (root / str(pid) / "exe").symlink_to(exe)
    return root


def test_the_holder_of_a_port_is_named(tmp_path: Path) -> None:
    root = proc(tmp_path, port=80, pid=321, exe="/usr/sbin/nginx")
    prefix = str(tmp_path / "hub")
    assert bootstrap.port_holder(80, prefix, proc=str(root)) == "nginx (process 321)"
    assert bootstrap.port_holder(81, prefix, proc=str(root)) == ""


@pytest.mark.parametrize(("installed", "free"), [(True, True), (False, False)])
def test_our_own_proxy_of_an_earlier_run_does_not_take_the_port(
    tmp_path: Path, installed: bool, free: bool
) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "versions").mkdir(parents=True)
    if installed:
        (prefix / "hub").symlink_to("versions/hub-0123456789ab")
    root = proc(tmp_path, port=80, pid=5, exe=f"{prefix}/versions/hub-0123456789ab/bin/traefik")
    assert (bootstrap.port_holder(80, str(prefix), proc=str(root)) == "") is free


def test_systemd_counts_as_ours_only_with_the_hub_s_socket_unit(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "hub").symlink_to("versions/x")
    root = proc(tmp_path, port=80, pid=1, exe="/usr/lib/systemd/systemd")

    def holder() -> str:
        return str(bootstrap.port_holder(80, str(tmp_path), proc=str(root), units=str(tmp_path / "units")))

    assert holder() == "systemd (process 1)"
    (tmp_path / "units" / "jupyterhub-proxy.socket").touch()
    assert holder() == ""


def test_the_first_free_port_is_none_of_the_hub_s_own() -> None:
    assert bootstrap.first_free_port({}) == 8000
    assert bootstrap.first_free_port({port: [] for port in range(8000, 8099)}) == 8100


@pytest.mark.parametrize("prefix", ["/", "/with space", "/per%cent", '/quo"te'])
def test_prefixes_that_units_and_scripts_could_not_name_are_refused(prefix: str) -> None:
    assert "cannot be used" in bootstrap.prefix_fault(prefix)


def test_somebody_else_s_folder_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "closed_folder", lambda path: "")
    assert bootstrap.prefix_fault(str(tmp_path)) == ""
    (tmp_path / "photos").mkdir()
    assert "photos" in bootstrap.prefix_fault(str(tmp_path))
    (tmp_path / "config.yaml").touch()
    assert bootstrap.prefix_fault(str(tmp_path)) == ""


def test_a_prefix_below_a_closed_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    assert bootstrap.closed_folder(str(tmp_path / "home" / "x")) != ""


def test_the_index_comes_from_this_machine_s_own_settings(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    assert bootstrap.configured_index({}, [str(conf)]) == "https://mirror.example/simple"
    assert bootstrap.configured_index({"PIP_INDEX_URL": "http://a/b"}, [str(conf)]) == "http://a/b"
    assert bootstrap.configured_index({}, [str(tmp_path / "none")]) == ""
    assert bootstrap.host_and_port("https://me:pw@mirror.example:8443/x") == ("mirror.example", 8443)
    assert bootstrap.host_and_port("file:///srv/simple") is None


def test_options_name_files_that_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    options = bootstrap.parse_options(
        [
            "--config",
            f"{tmp_path}/none",
            "--admin-password-file",
            f"{tmp_path}/empty",
            "--source",
            str(tmp_path),
        ]
    )
    found = [problem.what for problem in bootstrap.file_faults(options)]
    assert len(found) == 3
    assert "empty" in found[0] and "No such file" in found[1] and "not a checkout" in found[2]


ADMINS = [
    ("ada", True), ("a", True), ("_x", True), ("a-b_9", True), ("a" * 32, True), ("hubda", True), ("systemdx", True),
    ("a" * 33, False), ("Ada", False), ("9a", False), ("a.b", False), ("ada@uni", False), ("a/b", False),
    ("root", False), ("www-data", False), ("sudo", False), ("ssl-cert", False), ("hubd-hub", False), ("systemd-x", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "good"), ADMINS)
def test_an_admin_is_refused_before_anything_happens_by_the_rule_of_the_config(name: str, good: bool) -> None:
    from pydantic import TypeAdapter, ValidationError

    from hubd.config.names import Account

    options = bootstrap.parse_options(["--admin", name])
    found = bootstrap.problems(GOOD, options)
    assert [problem.code for problem in found] == ([] if good else [bootstrap.USAGE])
    assert all(f"--admin {name}: " in problem.what and problem.cure for problem in found)
    try:
        TypeAdapter(Account).validate_python(name)
        assert good
    except ValidationError:
        assert not good


def test_the_names_of_the_system_are_those_of_the_config() -> None:
    from hubd.config.names import SYSTEM_ACCOUNTS, SYSTEM_GROUPS

    assert bootstrap.SYSTEM_NAMES == SYSTEM_ACCOUNTS | SYSTEM_GROUPS


def test_wrong_words_alone_are_exit_code_2_and_beside_other_problems_1() -> None:
    wrong = bootstrap.Problem("a", "b", bootstrap.USAGE)
    assert bootstrap.report_problems([wrong, wrong], io.StringIO()) == bootstrap.USAGE
    assert bootstrap.report_problems([wrong, bootstrap.Problem("a", "b")], io.StringIO()) == bootstrap.FAILED


def test_a_preset_is_one_of_the_source(tmp_path: Path) -> None:
    checkout = str(FILE.parent)
    found = list(bootstrap.preset_faults("corse", checkout))
    assert [problem.code for problem in found] == [bootstrap.USAGE]
    assert "'corse'" in found[0].what and "course, demo" in found[0].cure
    for preset, source in (("course", checkout), (None, checkout), ("x", None), ("x", "https://a/b"), ("x", str(tmp_path))):
        assert not list(bootstrap.preset_faults(preset, source))
    assert found[0] in bootstrap.file_faults(bootstrap.parse_options(["--preset", "corse"]))


def test_every_exit_code_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bootstrap.parse_options(["--help"])
    said = " ".join(capsys.readouterr().out.partition("Exit codes:")[2].split())
    assert [part.split()[0] for part in said.split(", ")] == ["0", "1", "2", "3", "5", "6", "130"]


# --- one run at a time


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    path = str(tmp_path / "bootstrap.lock")
    assert bootstrap.lock_holder(path) is None
    with bootstrap.one_run(path):
        assert bootstrap.lock_holder(path) == os.getpid()
        with pytest.raises(bootstrap.Stop) as stopped, bootstrap.one_run(path):
            pass
        assert stopped.value.code == bootstrap.LOCKED and str(os.getpid()) in stopped.value.what
    assert bootstrap.lock_holder(path) is None


# --- pip's settings in uv's words


def test_pip_settings_a_variable_wins_over_install_over_global() -> None:
    listed = (
        "global.index-url='https://g/simple'\ninstall.index-url='https://i/simple'\nglobal.timeout='60'\n"
    )
    assert bootstrap.pip_settings(listed)["index-url"] == "https://i/simple"
    assert bootstrap.pip_settings(":env:.index-url='https://e/s'\n" + listed)["index-url"] == "https://e/s"
    assert bootstrap.pip_settings("nonsense\nx=y\n") == {}


def test_uv_is_told_what_pip_is_told(tmp_path: Path) -> None:
    told = bootstrap.uv_settings(
        {
            "index-url": "https://i/s",
            "extra-index-url": "\nhttps://a/s\nhttps://b/s",
            "find-links": f"{tmp_path} /not-there https://l/",
            "cert": "/c",
        }
    )
    assert told == {
        "UV_DEFAULT_INDEX": "https://i/s",
        "UV_INDEX": "https://a/s https://b/s",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path},https://l/",
        "SSL_CERT_FILE": "/c",
    }


def test_the_environment_of_called_programs() -> None:
    given = {
        "PATH": "/x",
        "PYTHONPATH": "/evil",
        "PIP_USER": "1",
        "PIP_INDEX_URL": "http://m",
        "UV_PYTHON": "3.9",
    }
    env = bootstrap.clean_environment(given)
    assert env["PIP_INDEX_URL"] == "http://m" and "/usr/sbin" in env["PATH"]
    assert not {"PYTHONPATH", "PIP_USER", "UV_PYTHON"} & set(env)


# --- keys, generations, link


def test_the_key_is_stable_and_changes_with_each_part() -> None:
    key = bootstrap.generation_key("reqs", "digest", "python cpython-311")
    assert key == bootstrap.generation_key("reqs", "digest", "python cpython-311")
    assert len(key) == 12 and int(key, 16) >= 0
    others = [
        ("reqs2", "digest", "p"),
        ("reqs", "digest2", "p"),
        ("reqs", "digest", "p2"),
        ("reqsd", "igest", "p"),
    ]
    assert len({bootstrap.generation_key(*parts) for parts in others} | {key}) == 5


def checkout(folder: Path) -> Path:
    (folder / "hubd").mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / "tests").mkdir()
    (folder / ".git").mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "jupyter-hubd"\n')
    (folder / "hubd" / "__init__.py").write_text("")
    (folder / "tests" / "test_x.py").write_text("")
    for name in ("hub", "uv"):
        (folder / "config" / f"requirements-{name}.txt").write_text(f"{name}==1\n")
    return folder


def test_a_checkout_is_copied_without_what_is_not_installed_and_its_digest_is_of_its_content(
    tmp_path: Path,
) -> None:
    tree = checkout(tmp_path / "a")
    first = bootstrap.copy_tree(str(tree), str(tmp_path / "copy1"))
    assert first.requirements == {"hub": "hub==1\n", "uv": "uv==1\n"}
    assert sorted(os.listdir(first.path)) == ["config", "hubd", "pyproject.toml"]
    (tree / "tests" / "test_y.py").write_text("more")
    (tree / "hubd" / "__pycache__").mkdir()
    os.utime(tree / "pyproject.toml", (1, 1))
    assert bootstrap.copy_tree(str(tree), str(tmp_path / "copy2")).digest == first.digest
    (tree / "hubd" / "__init__.py").write_text("x = 1\n")
    assert bootstrap.copy_tree(str(tree), str(tmp_path / "copy3")).digest != first.digest


def test_the_link_is_switched_by_rename_even_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    link = tmp_path / "hub"
    (tmp_path / "hub.new").symlink_to("left-by-a-kill")
    for name in ("hub-000000000001", "hub-000000000002"):
        (tmp_path / "versions" / name).mkdir(parents=True)
        bootstrap.switch_link(str(link), str(tmp_path / "versions" / name))
        assert os.readlink(link) == f"versions/{name}"
    assert sorted(os.listdir(tmp_path)) == ["hub", "versions"]


def generations(tmp_path: Path, complete: list[str], half: list[str]) -> tuple[str, str]:
    versions = tmp_path / "versions"
    for age, name in enumerate(complete + half):
        (versions / name / "bin").mkdir(parents=True)
        if name in complete:
            (versions / name / ".complete").touch()
        os.utime(versions / name, (1000 + age, 1000 + age))
    return str(versions), str(tmp_path / "hub")


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    complete = ["hub-00000000000a", "uv-00000000000a", "server-00000000000a"]
    half = [
        "hub-00000000000b",
        "hub-00000000000c",
        "uv-00000000000b",
        "source-x1",
        "server-00000000000b",
        ".cache",
        "mine",
    ]
    versions, link = generations(tmp_path, complete, half)
    os.symlink("versions/hub-00000000000c", link)  # what is live stays, whatever it lacks
    gone = bootstrap.clean_leftovers(versions, link)
    assert gone == ["hub-00000000000b", "source-x1", "uv-00000000000b"]
    assert sorted(os.listdir(versions)) == sorted(set(complete + half) - set(gone))


def test_the_live_generation_and_the_last_that_worked_are_kept(tmp_path: Path) -> None:
    names = [f"hub-{number:012x}" for number in range(4)]
    versions, link = generations(
        tmp_path, [*names, "uv-000000000001", "uv-000000000002", "server-00000000000a"], []
    )
    Path(versions, names[1], ".worked").touch()
    os.symlink(f"versions/{names[3]}", link)
    bootstrap.prune(versions, link, os.path.join(versions, "uv-000000000002"))
    assert sorted(os.listdir(versions)) == [names[1], names[3], "server-00000000000a", "uv-000000000002"]


def environment(folder: Path) -> Path:
    place = folder / "lib" / "python3.11" / "site-packages"
    (place / "x-1.dist-info").mkdir(parents=True)
    (place / "x.py").write_text("12345")
    (place / "x-1.dist-info" / "RECORD").write_text(
        "x.py,sha256=a,5\nx-1.dist-info/RECORD,,\n../../../bin/x,,\n"
    )
    (folder / "bin").mkdir()
    (folder / "bin" / "x").touch()
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / ".complete").touch()
    return place


def test_a_whole_generation_is_taken_a_damaged_one_is_made_again_beside_it(tmp_path: Path) -> None:
    name = "hub-00000000000a"
    place = environment(tmp_path / name)
    assert bootstrap.generation(str(tmp_path), "hub", "00000000000a") == (str(tmp_path / name), True)
    (place / "x.py").write_text("")
    again = str(tmp_path / f"{name}-r1")
    assert bootstrap.damaged(str(tmp_path / name)) == str(place / "x.py")
    assert bootstrap.generation(str(tmp_path), "hub", "00000000000a") == (again, False)
    environment(Path(again))
    assert bootstrap.generation(str(tmp_path), "hub", "00000000000a") == (again, True)


def test_the_mark_of_completeness_is_written_whole(tmp_path: Path) -> None:
    assert not bootstrap.is_complete(str(tmp_path))
    bootstrap.mark_complete(str(tmp_path))
    assert bootstrap.is_complete(str(tmp_path))
    assert os.listdir(tmp_path) == [".complete"]


# --- archives


def test_a_source_archive_is_unpacked_and_read(tmp_path: Path) -> None:
    tree = checkout(tmp_path / "jupyter_hubd-1")
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        archive.add(tree, "jupyter_hubd-1")
    (tmp_path / "out").mkdir()
    source = bootstrap.open_source(str(tmp_path / "s.tar.gz"), str(tmp_path / "out"))
    assert source.requirements["uv"] == "uv==1\n"
    assert source.digest == bootstrap.copy_tree(str(tree), str(tmp_path / "copy")).digest


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_archives_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(bootstrap.Stop, match="cannot be read"):
        bootstrap.open_source(str(tmp_path / "s.zip"), str(tmp_path))
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("x")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(bootstrap.Stop):
        bootstrap.open_source(str(tmp_path / "s.tar.gz"), str(tmp_path))


def test_a_wheel_of_another_distribution_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hubd-1-py3-none-any.whl", "w") as archive:
        archive.writestr("hubd/data/requirements-hub.txt", "")
    with pytest.raises(bootstrap.Stop) as stopped:
        bootstrap.open_source(str(tmp_path / "hubd-1-py3-none-any.whl"), str(tmp_path))
    assert "not a wheel of jupyter-hubd" in stopped.value.why


def test_a_wrong_checksum_stops(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(bootstrap.Stop, match="not the file that was meant"):
        bootstrap.check_sha256(str(tmp_path / "x"), "0" * 64)


# --- what people see


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/hub/login"), ("HEAD", "/"), ("POST", "/hub/health"), ("BREW", "/")],
)
def test_the_progress_page_answers_everything_with_503(method: str, path: str) -> None:
    progress = bootstrap.Progress(io.StringIO(), tty=False)
    progress.start("<Hub> environment")
    web = bootstrap.ProgressPage(progress, 0)
    try:
        status, headers, body = ask(web.server.server_address[1], method, path)
    finally:
        web.close()
    assert status == 503
    assert headers["Retry-After"] == "5" and "no-store" in headers["Cache-Control"]
    assert "Server" not in headers  # nothing about this machine
    if method == "HEAD":
        assert body == b""
    else:
        assert b"&lt;Hub&gt; environment" in body and b"refresh" in body


def test_the_port_is_free_after_the_page_and_a_taken_port_is_no_error() -> None:
    progress = bootstrap.Progress(io.StringIO(), tty=False)
    first = bootstrap.ProgressPage(progress, 0)
    port = first.server.server_address[1]
    second = bootstrap.ProgressPage(progress, port)
    assert second.server is None
    second.close()
    first.close()
    third = bootstrap.ProgressPage(progress, port)
    assert third.server is not None
    third.close()


def run_in(tmp_path: Path, terminal: io.StringIO) -> object:
    options = bootstrap.parse_options(["--prefix", str(tmp_path)])
    log = bootstrap.Log(str(tmp_path / "install.log"))
    environ = bootstrap.clean_environment(os.environ)
    return bootstrap.Run(options, sys.executable, log, bootstrap.Progress(terminal, tty=False), environ)


def test_what_the_installer_says_reaches_the_terminal_and_never_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.StringIO()
    run = run_in(tmp_path, terminal)
    events = [
        {"step": "Miniconda", "state": "start"},
        {"step": "Miniconda", "state": "done", "seconds": 61.5},
        {"say": "Password of ada: s3cret-once"},
        {"url": "http://hub.example/"},
    ]
    for event in events:
        bootstrap.handle_event(run, json.dumps(event).encode(), None)
    bootstrap.handle_event(run, b"Password: s3cret-once", None)
    log = (tmp_path / "install.log").read_text()
    assert "s3cret-once" not in log and "Miniconda" in log
    assert "s3cret-once" in capsys.readouterr().out
    assert "61.5 s  Miniconda" in terminal.getvalue() and "s3cret" not in terminal.getvalue()


def test_why_the_installer_stopped_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_in(tmp_path, io.StringIO())
    python = tmp_path / "hub/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        """for words in "no such person" "  line 7"; do\n  echo "$words" >&2\n"""
        """  echo "{\\"error\\": \\"$words\\"}" > "/dev/fd/$last"\ndone\nexit 3\n"""
    )
    python.chmod(0o755)
    with pytest.raises(bootstrap.Stop) as stopped:
        bootstrap.hand_over(run, GOOD, None, None, {"PATH": os.environ["PATH"]})
    told = io.StringIO()
    assert bootstrap.report_stop(stopped.value, told) == 3
    assert told.getvalue().startswith("\nStopped: the installer did not finish.\n  | no such person\n  |   line 7\n")
    assert told.getvalue().count("no such person") == told.getvalue().count("line 7") == 1
    assert capsys.readouterr().out == ""
    assert "no such person" in (tmp_path / "install.log").read_text()


def test_the_log_is_root_s_alone_has_the_output_and_no_password_of_an_address(tmp_path: Path) -> None:
    run = run_in(tmp_path, io.StringIO())
    log = tmp_path / "install.log"
    bootstrap.call(run, "sh", "-c", "echo out; echo err >&2; : https://ada:s3cret@mirror.example/x")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert text.splitlines().count("out") == 1 and text.splitlines().count("err") == 1
    assert "s3cret" not in text and "://***@mirror.example" in text


def test_a_failed_program_is_explained_with_its_last_lines(tmp_path: Path) -> None:
    run = run_in(tmp_path, io.StringIO())
    with pytest.raises(bootstrap.Stop) as stopped:
        bootstrap.call(run, "sh", "-c", "echo Temporary failure in name resolution; exit 3")
    assert "exited with 3" in stopped.value.what
    assert stopped.value.why == "the package index cannot be reached" and "PIP_INDEX_URL" in stopped.value.fix
    assert stopped.value.output == "Temporary failure in name resolution"


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    run = run_in(tmp_path, io.StringIO())
    with pytest.raises(bootstrap.Stop, match="did not end"):
        bootstrap.call(run, "sh", "-c", f"(sleep 1.5; touch {tmp_path}/alive) & sleep 9", minutes=0.005)
    time.sleep(1.5)
    assert not (tmp_path / "alive").exists()


def test_a_tty_shows_the_command_below_the_step() -> None:
    terminal = io.StringIO()
    progress = bootstrap.Progress(terminal, tty=True)
    progress.start("Hub environment")
    progress.run("uv pip install https://ada:pw@mirror.example/")
    progress.end("Hub environment", "done")
    progress.close()
    assert "uv pip install https://***@mirror.example/" in terminal.getvalue()
    assert terminal.getvalue().count("Hub environment\n") == 1


def test_an_interruption_ends_the_run_even_where_a_failed_program_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path, io.StringIO())
    called = []

    def interrupted(_run: object, *argv: str, **_: object) -> None:
        called.append(argv)
        bootstrap.on_signal(bootstrap.signal.SIGTERM, None)

    monkeypatch.setattr(bootstrap, "call", interrupted)
    monkeypatch.setattr(bootstrap.signal, "signal", lambda *_: None)
    monkeypatch.setattr(bootstrap, "missing_packages", lambda python: ["git"])
    with pytest.raises(bootstrap.Interrupted) as ended:
        bootstrap.install_packages(run)
    assert len(called) == 1 and ended.value.as_stop().code == 130
