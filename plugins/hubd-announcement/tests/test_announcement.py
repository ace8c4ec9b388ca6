"""The announcement: what its section takes, what JupyterHub's page shows, and what the command writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from click.testing import CliRunner, Result
from jupyterhub._data import DATA_FILES_PATH

from hubd.cli.main import Context, root
from hubd.config.parse import parse
from hubd.config.problems import ConfigInvalid
from hubd.hooks import Wanted
from hubd.layout import Layout

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import hubd_announcement as plugin

FILE = "plugins: [hubd-announcement]\npeople:\n  admins: [ada]\n"


def wanted(text: str = FILE, prefix: Path = Path("/opt/hub")) -> Wanted:
    return Wanted(parse(text, dict(plugin.hubd_config_sections())), Layout(prefix))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.config_file.write_text(FILE)
    return layout


# ---------------------------------------------------------------- section, resources, settings


def test_without_a_text_there_is_an_empty_part_and_nothing_to_tell() -> None:
    folder, part = plugin.hubd_resources(wanted())
    assert (folder.name, part.name) == ("/opt/hub/state/announcement", "/opt/hub/state/announcement/hubd-announcement.html")
    assert part.needs == (folder.id,)
    assert (part.content, part.mode, part.owner) == (b"", 0o644, "root")
    assert not list(plugin.hubd_notices(wanted()))


def test_status_reminds_of_what_everybody_reads() -> None:
    (notice,) = plugin.hubd_notices(wanted(FILE + "announcement: {message: Back at noon.}\n"))
    assert notice.say == "everybody reads on the hub's pages: Back at noon"
    assert notice.fix.endswith("hubd announce --clear")


def test_a_new_text_changes_the_part_and_not_the_hubs_settings() -> None:
    before, after = wanted(), wanted(FILE + "announcement: {message: New, level: danger}\n")
    assert plugin.hubd_hub_settings(before) == plugin.hubd_hub_settings(after)
    assert list(plugin.hubd_resources(before))[1] != list(plugin.hubd_resources(after))[1]


@pytest.mark.parametrize("written", ["{message: [a]}", "{messag: a}", "{level: loud}", '{message: "a\\nb"}', "7"])
def test_what_is_no_announcement_is_refused(written: str) -> None:
    with pytest.raises(ConfigInvalid, match="line 4"):
        _raise_with_lines(f"{FILE}announcement: {written}\n")


def _raise_with_lines(text: str) -> None:
    try:
        wanted(text)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.problems, source="; ".join(error.lines())) from error


# ---------------------------------------------------------------- what people see


class Pages:
    """JupyterHub's own page template, loaded as JupyterHub loads it, over the plugin's and what it wrote."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        settings = plugin.hubd_hub_settings(wanted(prefix=prefix))
        base = str(Path(DATA_FILES_PATH) / "templates")
        paths = jinja2.FileSystemLoader([*settings["JupyterHub"]["template_paths"], base])
        prefixed = jinja2.PrefixLoader({"templates": jinja2.FileSystemLoader([base])}, "/")
        self.jinja = jinja2.Environment(loader=jinja2.ChoiceLoader([prefixed, paths]), autoescape=True)
        self.written = 0

    def write(self, announcement: str) -> None:
        part = list(plugin.hubd_resources(wanted(f"{FILE}announcement: {announcement}\n", self.prefix)))[1]
        part.path.parent.mkdir(parents=True, exist_ok=True)
        part.path.write_bytes(part.content)
        # Two writes within one tick of the clock are not what happens on a hub.
        self.written += 1
        os.utime(part.path, (self.written, self.written))

    def shown(self, **more: Any) -> str:
        page = self.jinja.get_template("page.html").render(static_url=lambda *words, **named: "", **more)
        return page.partition("</nav>")[2]


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path)


def test_a_page_is_whole_before_anything_was_written(pages: Pages) -> None:
    assert "announcement" not in pages.shown()


def test_each_new_text_is_on_the_next_page(pages: Pages) -> None:
    for text in ("First.", "Second."):
        pages.write(f"{{message: {text}, level: warning}}")
        assert f'alert-warning" role="status">{text}</div>' in pages.shown()
    pages.write("{}")
    assert "announcement" not in pages.shown()


def test_a_text_is_neither_html_nor_a_template(pages: Pages) -> None:
    pages.write("{message: \"<script>x</script> & {{ 7 * 7 }} {% include 'login.html' %} {# no #} 'q'\"}")
    shown = pages.shown()
    assert "<script>x" not in shown
    assert "49" not in shown
    assert "&lt;script&gt;x&lt;/script&gt; &amp; &#123;&#123; 7 * 7 &#125;&#125;" in shown
    assert "&#123;# no #&#125;" in shown


def test_an_announcement_that_an_admin_set_for_jupyterhub_itself_stays(pages: Pages) -> None:
    pages.write("{message: Ours}")
    shown = pages.shown(announcement="Theirs")
    assert shown.index("Theirs") < shown.index("Ours")


# ---------------------------------------------------------------- the command


def run(layout: Layout, *words: str) -> Result:
    return CliRunner().invoke(plugin.announce, list(words), obj=Context(layout))


def test_hubd_has_the_command_while_the_plugin_is_declared(layout: Layout) -> None:
    listed = CliRunner().invoke(root, ["--prefix", str(layout.prefix), "--help"]).output
    assert "announce" in listed
    layout.config_file.write_text("people: {admins: [ada]}\n")
    assert "announce" not in CliRunner().invoke(root, ["--prefix", str(layout.prefix), "--help"]).output


def test_announce_writes_text_and_level_at_once(layout: Layout) -> None:
    result = run(layout, "Back at noon: really.", "--level", "danger")
    assert result.exit_code == 0, result.exception
    assert 'announcement.message: "" → "Back at noon: really."' in result.output
    assert layout.config_file.read_text() == FILE + 'announcement:\n  message: "Back at noon: really."\n  level: danger\n'
    assert run(layout, "007").exit_code == 0
    assert 'message: "007"\n  level: danger\n' in layout.config_file.read_text()


def test_clear_leaves_the_file_as_it_was(layout: Layout) -> None:
    run(layout, "Back at noon.", "--level", "warning")
    assert run(layout, "--clear").exit_code == 0
    assert layout.config_file.read_text() == FILE
    assert "nothing changed" in run(layout, "--clear").output


@pytest.mark.parametrize(
    "words", [(), ("",), ("a", "--clear"), ("--clear", "--level", "info"), ("a", "--level", "loud"), ("a\nb",)]
)
def test_what_makes_no_sense_changes_nothing(layout: Layout, words: tuple[str, ...]) -> None:
    assert run(layout, *words).exit_code != 0
    assert layout.config_file.read_text() == FILE
