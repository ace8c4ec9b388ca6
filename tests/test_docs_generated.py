"""The generated reference pages are what the code says today."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from hubd import api
from hubd.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
generate = importlib.import_module("generate")  # a program of this repository, no package
PAGES: dict[str, str] = generate.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_not_stale(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name], "run `python docs/generate.py`"


def test_every_command_has_its_words() -> None:
    page = PAGES[generate.CLI]
    assert [name for name in COMMANDS if f"## `hubd {name}`\n" not in page] == []
    assert "### `hubd announce`" in page
    assert "| `--no-lock-wait` | Leave with exit code 6" in page


def test_every_hook_has_a_signature_and_a_meaning() -> None:
    page = PAGES[generate.HOOKS]
    hooks = [name for name in vars(sys.modules["hubd.hooks"]) if name.startswith("hubd_")]
    assert len(hooks) >= 5
    for name in hooks:
        section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert f"def {name}(" in section
        assert len(section.partition("```\n\n")[2].split()) > 5


def test_all_that_a_plugin_may_import_is_told() -> None:
    page = PAGES[generate.HOOKS]
    table = page.partition("## hubd.api")[2].partition("## Resources")[0]
    rows = {line.split("`")[1]: line.split("|")[2].strip() for line in table.splitlines() if line.startswith("| `")}
    assert rows.keys() == set(api.__all__)
    assert [name for name, meaning in rows.items() if not meaning] == []


def test_every_option_of_bootstrap_is_there() -> None:
    page = PAGES[generate.BOOTSTRAP]
    for option in ("--admin", "--admin-password-file", "--config", "--preset", "--source", "--sha256", "--prefix", "--port",
                   "--plugin", "--yes", "--no-progress-page"):  # fmt: skip
        assert f"| `{option}`" in page
