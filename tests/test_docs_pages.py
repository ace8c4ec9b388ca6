"""The written pages: what they link to is there, and the commands, options, files and codes they name are the program's."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bootstrap
from hubd import layout as layout_module
from hubd.cli.main import root
from hubd.config.parse import parse
from hubd.errors import ExitCode
from hubd.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
WRITTEN = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("plugins/*/README.md")]
BY_NAME = {str(path.relative_to(ROOT)): path for path in WRITTEN}

every_page = pytest.mark.parametrize("name", BY_NAME)


def text_of(path: Path) -> str:
    return path.read_text()


def prose_of(text: str) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, *kinds: str) -> Iterator[str]:
    for kind, body in re.findall(r"^```(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if kind in kinds:
            yield body


def anchors(path: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", prose_of(text_of(path)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---------------------------------------------------------------- pages and links


def test_every_page_is_in_a_table_of_contents_and_the_other_way_round() -> None:
    listed = {line for toctree in blocks(text_of(DOCS / "index.md"), "{toctree}") for line in toctree.splitlines() if "/" in line}
    assert listed == {str(path.relative_to(DOCS).with_suffix("")) for path in PAGES if path.name != "index.md"}


@every_page
def test_a_page_has_one_title_and_nothing_before_it(name: str) -> None:
    prose = re.sub(r"<!--.*?-->", "", prose_of(text_of(BY_NAME[name])), flags=re.DOTALL)
    assert prose.lstrip().startswith("# ")
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1


@every_page
def test_links_lead_somewhere(name: str) -> None:
    path = BY_NAME[name]
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(text_of(path))):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert not lost


@every_page
def test_references_between_pages_lead_somewhere(name: str) -> None:
    path = BY_NAME[name]
    lost = []
    for written in re.findall(r"\{doc\}`([^`]+)`", text_of(path)):
        target = re.sub(r".*<(.+)>", r"\1", written)
        there = DOCS / target[1:] if target.startswith("/") else path.parent / target
        if not there.with_suffix(".md").exists():
            lost.append(written)
    assert not lost


# Addresses that are the same for every reader.
ANYBODYS = ("repo.anaconda.com", "conda.anaconda.org", "192.0.2.17", "ADDRESS:8080", "keepachangelog.com", "semver.org")


@every_page
def test_pages_name_no_place_of_the_people_who_write_them(name: str) -> None:
    hosts = re.findall(r"https?://([^/\s)`'\"]+)", text_of(BY_NAME[name]))
    strange = [host for host in hosts if not host.endswith(("example.org", "…")) and host not in ANYBODYS]
    assert not strange
    assert "localhost:" not in text_of(BY_NAME[name])


# ---------------------------------------------------------------- what the pages say about the program


def commands_in(text: str, program: str, *, in_prose: bool = True) -> Iterator[list[str]]:
    """The words of each command line in a page's code blocks, and of those in its sentences that have arguments."""
    lines = [line for block in blocks(text, "", "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(rf"`({program} [^`]+)`", prose_of(text).replace("\n", " ")) if in_prose else []
    for line in lines:
        found = re.match(rf"(?:\$ |sudo )*{program}( .*|$)", line.strip())
        if not found or re.search(r"^hubd puts|…|\w\|\w|\[[A-Z]+\]| [A-Z]+\.\.\.", line.strip()):
            continue
        yield from _split(found[1])


def _split(line: str) -> Iterator[list[str]]:
    for part in re.split(r" && | \|\| |; |>/dev/null", line):
        words = shlex.split(part.strip().removeprefix("hubd "), comments=True)
        if words:
            yield words


# A plugin's; those that are not there yet; a placeholder; and what status says.
NO_COMMANDS = ("announce", "upgrade", "uninstall", "NAME", "is")


@every_page
def test_commands_and_their_options_exist(name: str) -> None:
    for words in commands_in(text_of(BY_NAME[name]), "hubd"):
        command: click.Command = root
        if words[0] in NO_COMMANDS:
            continue
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            below = command.get_command(click.Context(command), words.pop(0))
            assert below is not None, f"there is no such command: {words}"
            command = below
        known = {option for each in command.params for option in each.opts} | {"--help", "-h"}
        assert {word for word in words if re.match(r"-\D", word)} <= known, words


@every_page
def test_options_of_bootstrap_exist(name: str) -> None:
    known = {option for action in bootstrap.option_parser()._actions for option in action.option_strings}
    for words in commands_in(text_of(BY_NAME[name]), r"(?:python3 )?bootstrap\.py"):
        assert {word for word in words if word.startswith("--")} <= known


START = """\
people:
  admins: [ada]
  users: [bea, cid]
  groups:
    course:
      members: [bea]
environments:
  science:
    packages: [ipykernel, numpy]
  geo:
    packages: [ipykernel, cartopy]
plugins: [hubd-announcement]
"""
REFUSED = {"limits.memory lots"}
NOT_FOR_A_TEST = ("edit", "schema", "validate", "show")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # a checkout that is not root's is fine here
    layout = Layout(tmp_path / "hub")
    layout.state.mkdir(parents=True)
    layout.config_file.write_text(START)
    return layout


@pytest.mark.parametrize("name", [name for name in BY_NAME if not name.startswith("docs/reference/")])
def test_changes_of_the_configuration_are_accepted(name: str, layout: Layout, tmp_path: Path) -> None:
    """Each `hubd config …` of a page, one after the other, on a file with the names that pages use."""
    text = text_of(BY_NAME[name]).replace("/srv/", f"{tmp_path}/")
    for body in blocks(text, "python"):
        (tmp_path / "hubd-motd").mkdir(exist_ok=True)
        (tmp_path / "hubd-motd/hubd_motd.py").write_text(body)
    for words in commands_in(text, "hubd", in_prose=False):
        placeholders = any(re.search(r"\$\(|\b[A-Z]{4,}\b", word) for word in words)
        if words[0] == "config" and words[1:] and words[1] not in NOT_FOR_A_TEST and not placeholders:
            result = CliRunner().invoke(root, ["--prefix", str(layout.prefix), *words])
            assert (result.exit_code == 0) == (" ".join(words[2:]) not in REFUSED), (words, result.output, result.exception)


@every_page
def test_configurations_and_python_in_pages_are_valid(name: str) -> None:
    for body in blocks(text_of(BY_NAME[name]), "python"):
        if "docs/reference/" not in name:  # there they are signatures
            ast.parse(body)
    for body in blocks(text_of(BY_NAME[name]), "yaml"):
        if "plugins:" not in body:
            parse(body)


def test_the_exit_codes_are_the_programs() -> None:
    table = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", text_of(DOCS / "reference/exit-codes.md"), flags=re.MULTILINE))
    assert {int(code) for code in table} == {int(code) for code in ExitCode}


def test_every_path_account_and_unit_is_in_the_table_of_files() -> None:
    page = text_of(DOCS / "reference/files-and-accounts.md")
    layout = Layout()
    paths = [getattr(layout, name) for name, value in vars(Layout).items() if isinstance(value, property)]
    names = [str(path.relative_to(layout.prefix)) for path in paths if path.is_relative_to(layout.prefix)]
    names += [str(path) for path in paths if path.is_relative_to(layout.run)]
    names += [value for name, value in vars(layout_module).items() if name.endswith(("_ACCOUNT", "_GROUP", "_UNIT", "_SOCKET"))]
    assert [name for name in names if name not in page] == []
