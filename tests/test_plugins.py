"""Plugins from a folder: found, loaded anew when they change, and fenced when they raise: named, and the rest goes on."""

from __future__ import annotations

import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest

from hubd.config.parse import declared_plugins
from hubd.config.problems import ConfigInvalid
from hubd.flow import status
from hubd.flow.desired import desired, with_hub_settings
from hubd.flow.plan import plan
from hubd.flow.source import config_of, plugins_of
from hubd.flow.values import Desired, Pass
from hubd.hooks import Wanted
from hubd.layout import Layout
from hubd.plugin_loader import Plugins, load

GOOD = """
    from hubd.api import Notice, Section, hookimpl

    class Board(Section):
        pass

    @hookimpl
    def hubd_config_sections():
        return {"board": Board}

    @hookimpl
    def hubd_notices(wanted):
        return [Notice("the board is here")]
"""
AT_IMPORT = "raise RuntimeError('no reason at all')"
IN_SECTIONS = """
    from hubd.api import hookimpl

    @hookimpl
    def hubd_config_sections():
        raise RuntimeError("no reason at all")
"""
IN_RESOURCES = """
    from hubd.api import Section, hookimpl

    class Bad(Section):
        x: int = 0

    @hookimpl
    def hubd_config_sections():
        return {"bad": Bad}

    @hookimpl
    def hubd_resources(wanted):
        yield from ()
        raise RuntimeError("no reason at all")
"""


class Site:
    """Plugins in a folder of this test, and a config.yaml that declares them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, Layout(folder / "hub")
        self.declared: list[str] = []

    def plugin(self, code: str, name: str = "") -> str:
        """A plugin made of `code`; a name of its own, as modules are for the whole process."""
        name = name or f"hubd-p{uuid.uuid4().hex[:10]}"
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / f"{name.replace('-', '_')}.py").write_text(textwrap.dedent(code))
        if name not in self.declared:
            self.declared.append(name)
        return name

    def text(self, more: str = "") -> bytes:
        entries = "".join(f"- {{name: {name}, source: {self.folder / name}}}\n" for name in self.declared)
        plugins = f"plugins:\n{entries}" if entries else ""
        return f"people: {{admins: [ada]}}\n{plugins}{more}".encode()

    def load(self) -> Plugins:
        return load(declared_plugins(self.text()), bundled=self.folder)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    # Whose files these are is looked at for root only, and the folder of tests may be anybody's.
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return Site(tmp_path)


def look(site: Site, more: str = "") -> tuple[Desired, dict[str, Any]]:
    """What is wanted, and what status tells, of a pass over a machine where all is right."""
    text = site.text(more)
    plugins = plugins_of(text, site.layout)
    facts = {"environment-manager": {"manager": "uv"}, "server-list": {"path": "/l", "digest": "1"}, "hub": {"version": "v"}}
    wanted = with_hub_settings(Wanted(config_of(text, plugins, site.layout), site.layout, facts), plugins)
    wishes = desired(wanted, plugins)
    whole = Pass(plan((), (), {}), broken=wishes.broken)
    return wishes, status.last_pass(whole, wanted, plugins, started=0, ended=1, damaged="")


def test_a_plugin_is_loaded_from_its_folder(site: Site) -> None:
    site.plugin(GOOD)
    _, told = look(site, "board: {}\n")
    assert told["notices"][-1]["say"] == "the board is here"
    assert not told["trouble"]


@pytest.mark.parametrize("code", [AT_IMPORT, IN_SECTIONS, IN_RESOURCES])
def test_a_plugin_that_raises_is_named_and_the_rest_goes_on(site: Site, code: str) -> None:
    alone, _ = look(replaced(site))
    bad = site.plugin(code)
    site.plugin(GOOD)
    wishes, told = look(site, "bad: {x: 1}\n")
    assert [each.id for each in wishes.resources] == [each.id for each in alone.resources]
    assert [(each["what"], each["why"].endswith("RuntimeError: no reason at all")) for each in told["trouble"]] == [
        (f"the plugin {bad} is left out", True)
    ]
    assert told["notices"][-1]["say"] == "the board is here"


ODD = [
    ("import sys\nsys.exit('bye')", "SystemExit: bye"),
    ("class Mute(Exception):\n    def __str__(self):\n        raise KeyError\nraise Mute", "Mute: it does not say why"),
    ("def __getattr__(name):\n    raise KeyError(name)", "KeyError: 'hubd_"),
    ("raise RuntimeError('\\x1b]0;evil\\x07 no\\u202ename')", "RuntimeError: noname"),
]


@pytest.mark.parametrize(("code", "why"), ODD)
def test_a_plugin_that_raises_in_an_odd_way_is_named_too(site: Site, code: str, why: str) -> None:
    bad = site.plugin(code)
    site.plugin(GOOD)
    _, told = look(site)
    assert [(each["what"], why in each["why"]) for each in told["trouble"]] == [(f"the plugin {bad} is left out", True)]
    assert told["notices"][-1]["say"] == "the board is here"


def replaced(site: Site) -> Site:
    other = Site(site.folder)
    other.layout = site.layout
    return other


def test_a_section_nobody_brings_is_refused_while_all_plugins_are_well(site: Site) -> None:
    site.plugin(GOOD)
    with pytest.raises(ConfigInvalid):
        look(site, "bad: {x: 1}\n")


def test_the_core_is_still_checked_while_a_plugin_is_broken(site: Site) -> None:
    site.plugin(AT_IMPORT)
    with pytest.raises(ConfigInvalid):
        look(site, "bad: {x: 1}\nlimits: {memry: 1G}\n")


def test_what_cannot_be_loaded_says_why(site: Site) -> None:
    assert "does not come with hubd" in load(declared_plugins(b"plugins: [hubd-nowhere]"), bundled=site.folder).broken[0].why
    assert "/gone is not there" in load(
        declared_plugins(b"plugins: [{name: hubd-gone, source: /gone}]"), bundled=site.folder
    ).broken[0].why
    site.plugin("def (:")
    assert "SyntaxError" in site.load().broken[0].why


def test_a_hook_that_does_not_exist_is_an_error_and_no_silence(site: Site) -> None:
    site.plugin("from hubd.api import hookimpl\n@hookimpl\ndef hubd_resorces(wanted): return ()\n")
    assert "hubd_resorces" in site.load().broken[0].why


def test_a_plugin_that_was_mended_is_loaded_anew(site: Site) -> None:
    name = site.plugin(IN_SECTIONS)
    plugins = site.load()
    plugins.sections()
    assert plugins.broken
    site.plugin(GOOD, name)
    again = site.load()
    assert list(again.sections()) == ["board"]
    assert not again.broken


def test_a_plugin_that_moved_is_loaded_from_its_new_place(site: Site) -> None:
    name = site.plugin(IN_SECTIONS)
    site.load()
    moved = replaced(site)
    moved.folder = site.folder / "elsewhere"
    moved.folder.mkdir()
    moved.plugin(GOOD, name)
    assert list(moved.load().sections()) == ["board"]


def test_two_plugins_do_not_share_a_section(site: Site) -> None:
    site.plugin(GOOD)
    second = site.plugin(GOOD)
    plugins = site.load()
    assert list(plugins.sections()) == ["board"]
    assert [(each.plugin, each.why) for each in plugins.broken] == [(second, "the section `board` belongs to another plugin")]


def test_files_that_others_can_change_are_refused_to_root(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name = site.plugin(GOOD)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (site.folder / name).chmod(0o777)
    assert "can be changed by others than root" in site.load().broken[0].why


def test_a_plugin_cannot_take_a_section_of_the_core(site: Site) -> None:
    site.plugin(GOOD.replace('"board"', '"people"'))
    _, told = look(site)
    assert told["trouble"][0]["why"] == "`people` is a section of hubd's own"


@pytest.mark.parametrize(
    ("hook", "arguments", "answer", "why"),
    [
        ("hubd_resources", "wanted", "None", "TypeError: 'NoneType' object is not iterable"),
        ("hubd_resources", "wanted", "['file']", "TypeError: it gives 'file'"),
        ("hubd_resources", "wanted", "{}", "TypeError: it gives a dict"),
        ("hubd_notices", "wanted", "['look']", "TypeError: it gives 'look'"),
        ("hubd_hub_settings", "wanted", "[]", "TypeError: it gives a tuple"),
        ("hubd_hub_settings", "wanted", "{'A': 1}", "TypeError: it gives 1"),
        ("hubd_hub_settings", "wanted", "{'A': {'x': {1}}}", "TypeError: Object of type set is not JSON serializable"),
        ("hubd_config_sections", "", "{'mine': int}", "TypeError: it gives <class 'int'>"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_fenced_too(site: Site, hook: str, arguments: str, answer: str, why: str) -> None:
    site.plugin(f"from hubd.api import hookimpl\n@hookimpl\ndef {hook}({arguments}): return {answer}\n")
    _, told = look(site)
    assert [each["why"] for each in told["trouble"]] == [f"{hook}: {why}"]


def test_settings_reach_the_hub(site: Site) -> None:
    site.plugin("from hubd.api import hookimpl\n@hookimpl\ndef hubd_hub_settings(wanted): return {'A': {'x': 1}}\n")
    text = site.text()
    plugins = plugins_of(text, site.layout)
    wanted = Wanted(config_of(text, plugins, site.layout), site.layout)
    assert with_hub_settings(wanted, plugins).hub_settings["A"] == {"x": 1}
