"""Pictures and moving parts in a notebook, in a real browser: JupyterLab draws what kernels of the declared packages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Browser, browser
from hub import HubMachine

NAME, SHOWN = "widgets", "With widgets"
# plotly asks for nbformat when it shows a figure, and names it nowhere as what it needs.
PACKAGES = "[ipykernel, ipywidgets, matplotlib, anywidget, plotly, nbformat, jupyter-bokeh]"

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(value=20, min=0, max=100)
label = ipywidgets.Label()
def show(_):
    label.value = f"twice is {2 * slider.value}"
slider.observe(show, names="value")
show(None)
ipywidgets.VBox([slider, label])
"""
FIGURE = """
%matplotlib inline
import matplotlib.pyplot as plt
plt.plot([1, 3, 2]);
"""
# What moves and is no slider: a widget that brings its own script, plotly as data and as a widget, bokeh with Python behind it.
ANYWIDGET = """
import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = "export default { render({ model, el }) { el.innerHTML = `<b class='counted'>${model.get('count')} sheep</b>` } }"
    count = traitlets.Int(7).tag(sync=True)
Counter()
"""
PLOTLY = """
import plotly.graph_objects as go
go.Figure(go.Bar(y=[2, 3, 1]), layout={"title": "Bars of plotly"})
"""
PLOTLY_WIDGET = PLOTLY.replace("go.Figure(", "go.FigureWidget(")
BOKEH = """
from bokeh.io import output_notebook
from bokeh.plotting import figure
from bokeh.resources import INLINE
from jupyter_bokeh import BokehModel
output_notebook(INLINE, hide_banner=True)
plot = figure(height=200, title="Lines of bokeh")
plot.line([1, 2, 3], [1, 3, 2])
BokehModel(plot)
"""


@pytest.fixture(scope="module")
def machine(hub_machine: HubMachine) -> HubMachine:
    """The machine with an environment that has ipywidgets and the like in it, from PyPI."""
    entry = f"{{packages: {PACKAGES}, manager: uv, kernel: {{display_name: {SHOWN}}}}}"
    hub_machine.hubd("config", "set", f"environments.{NAME}", entry)
    done = hub_machine.hubd("apply", "--yes", "--wait", timeout=600)
    assert done.code == 0, done
    return hub_machine


def signed_in(window: Browser, machine: HubMachine) -> Browser:
    window.sign_in("ada", machine.passwords["ada"])
    window.page.wait_for_url("**/user/ada/lab**")  # with what was open when she left
    window.start_afresh("ada")
    return window


def test_moving_a_slider_changes_the_number(machine: HubMachine, artefacts: Path) -> None:
    with browser(machine.hub.url, artefacts) as window:
        signed_in(window, machine).run_cell(SLIDER, SHOWN)
        page = window.page
        page.get_by_text("twice is 40").wait_for()
        handle = page.locator(".widget-slider .noUi-handle")
        handle.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.get_by_text("twice is 46").wait_for()
        window.picture("slider")
    assert window.problems == []


def test_a_figure_of_matplotlib_stands_below_its_cell(machine: HubMachine, artefacts: Path) -> None:
    with browser(machine.hub.url, artefacts) as window:
        signed_in(window, machine).run_cell(FIGURE, SHOWN)
        image = window.page.locator(".jp-OutputArea-output img")
        image.wait_for()
        window.picture("figure")
        assert (image.get_attribute("src") or "").startswith("data:image/png;base64,")
        assert image.evaluate("image => image.naturalWidth") > 200
    assert window.problems == []


DRAWN = [
    ("anywidget", ANYWIDGET, ".jp-OutputArea-output .counted", "7 sheep"),
    ("plotly", PLOTLY, ".jp-OutputArea .js-plotly-plot .gtitle", "Bars of plotly"),
    ("plotly-widget", PLOTLY_WIDGET, ".jp-OutputArea .js-plotly-plot .gtitle", "Bars of plotly"),
    ("bokeh", BOKEH, ".jp-OutputArea-output .bk-Figure", ""),
]
ERROR = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'


@pytest.mark.parametrize(("name", "code", "where", "text"), DRAWN, ids=[each[0] for each in DRAWN])
def test_what_moves_is_drawn(machine: HubMachine, artefacts: Path, name: str, code: str, where: str, text: str) -> None:
    with browser(machine.hub.url, artefacts) as window:
        signed_in(window, machine).run_cell(code, SHOWN)
        found = window.page.locator(where).first
        found.wait_for(timeout=60_000)
        window.picture(name)
        assert text in (found.text_content() or "")
        assert window.page.locator(ERROR).count() == 0
    assert window.problems == []


def test_jupyterlab_reaches_no_other_machine_for_it(machine: HubMachine, artefacts: Path) -> None:
    """Widgets, plotly and bokeh come from the server environment, not from somebody's web server."""
    asked: list[str] = []
    with browser(machine.hub.url, artefacts) as window:
        window.page.on("request", lambda request: asked.append(request.url))
        signed_in(window, machine).run_cell(PLOTLY, SHOWN)
        window.page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    home = (machine.hub.url, machine.hub.url.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in asked if not url.startswith(home)] == []
