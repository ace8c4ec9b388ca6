"""Every hook is typed, explained, listed in the reference, tested, and really used."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest

from hubd import api, hooks
from hubd.plugin_loader import BUILT_IN

ROOT = Path(__file__).resolve().parent.parent
HOOKS = sorted(name for name in vars(hooks) if name.startswith("hubd_"))


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_typed_and_explained(name: str) -> None:
    hook = getattr(hooks, name)
    hints = typing.get_type_hints(hook, vars(hooks) | {"click": importlib.import_module("click")})
    assert "return" in hints
    assert set(inspect.signature(hook).parameters) == hints.keys() - {"return"}
    assert (inspect.getdoc(hook) or "").rstrip().endswith(".")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_in_the_reference(name: str) -> None:
    page = (ROOT / "docs/reference/hooks.md").read_text()
    assert name in page
    assert (inspect.getdoc(getattr(hooks, name)) or "").split(".")[0] in page.replace("\n", " ")


def implementers(name: str) -> list[str]:
    """The built-in parts and bundled plugins that implement a hook."""
    files = [*(ROOT / "hubd/parts").glob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]
    return [
        str(file)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name == name
        and "hookimpl" in {ast.unparse(each) for each in node.decorator_list}
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_used(name: str) -> None:
    assert implementers(name)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_tested(name: str) -> None:
    tests = [path for folder in ("tests", "plugins") for path in (ROOT / folder).rglob("test_*.py") if path != Path(__file__)]
    assert any(name in path.read_text() for path in tests)


def test_every_implementation_has_a_hook_and_its_arguments() -> None:
    for part in BUILT_IN:
        module = importlib.import_module(f"hubd.parts.{part}")
        for name, function in vars(module).items():
            if name.startswith("hubd_"):
                assert name in HOOKS, f"{part}: {name}"
                assert list(inspect.signature(function).parameters) == list(inspect.signature(getattr(hooks, name)).parameters)


def test_built_in_parts_do_nothing_but_through_hooks() -> None:
    # Nothing in the flow knows a part by its name.
    for path in [*(ROOT / "hubd/flow").glob("*.py"), ROOT / "hubd/show.py"]:
        assert not re.search(r"hubd\.parts", path.read_text()), path.name


def test_the_public_surface_is_what_it_says() -> None:
    assert sorted(api.__all__) == api.__all__ or set(api.__all__)
    for name in api.__all__:
        assert hasattr(api, name)
        assert inspect.getdoc(getattr(api, name))
