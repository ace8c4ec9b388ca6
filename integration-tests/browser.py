"""A person at a real browser: headless Chromium signs in, sees JupyterLab, runs a cell; pictures are kept as artefacts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = (
    "--no-sandbox",  # root may not run it otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
SECOND = 1000.0


class Browser:
    """One browser window at a hub. pictures: the folder screenshots go to; problems: errors the pages' scripts had."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self.page, self.url, self.pictures = page, url.rstrip("/"), pictures
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def sign_in(self, name: str, password: str) -> None:
        """Fill in the hub's form and follow to where it leads: JupyterLab's launcher, or the page that says why not."""
        self.page.goto(f"{self.url}/hub/login")
        self.picture("sign-in")
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", password)
        self.page.click("#login_submit")

    def wait_for_launcher(self, *, timeout: float = 120) -> None:
        """Wait until JupyterLab has drawn its launcher."""
        self.page.wait_for_url("**/user/**/lab**", timeout=timeout * SECOND)
        self.page.wait_for_selector(".jp-Launcher", timeout=timeout * SECOND)

    def start_afresh(self, name: str) -> None:
        """Go to JupyterLab without the notebooks that were open when this person left it."""
        self.page.goto(f"{self.url}/user/{name}/lab?reset")
        self.wait_for_launcher()

    def launcher_kernels(self) -> list[str]:
        """The names of the kernels that the launcher starts notebooks with."""
        labels = self.page.locator('.jp-LauncherCard[data-category="Notebook"] .jp-LauncherCard-label')
        return sorted(label.inner_text().strip() for label in labels.all())

    def run_cell(self, code: str, kernel: str, *, timeout: float = 90) -> str:
        """Start a notebook from the launcher's card of this display name, run a cell in it, give what it prints."""
        self.page.click(f'.jp-LauncherCard[data-category="Notebook"][title*="{kernel}"]', timeout=timeout * SECOND)
        editor = self.page.locator(".jp-Notebook .jp-Cell .cm-content").first
        editor.click(timeout=timeout * SECOND)
        # The kernel's name stands in the toolbar from the start; the filled circle goes when it is ready.
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=timeout * SECOND)
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        output = self.page.locator(".jp-Notebook .jp-OutputArea-output").first
        output.wait_for(timeout=timeout * SECOND)
        return output.inner_text()

    def picture(self, name: str) -> Path:
        """Keep a screenshot."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        file = self.pictures / f"{name}.png"
        self.page.screenshot(path=str(file))
        return file


@contextmanager
def browser(url: str, pictures: Path) -> Iterator[Browser]:
    """A new browser with nothing remembered, closed at the end; if the block fails, its last page is kept as a picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise RuntimeError("no Chromium here: run `apt-get install chromium`, or start the tests by ./tests/run")
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            seen = Browser(window.new_page(viewport={"width": 1280, "height": 800}), url, pictures)
            try:
                yield seen
            except BaseException:
                seen.picture("failure")
                raise
        finally:
            window.close()
