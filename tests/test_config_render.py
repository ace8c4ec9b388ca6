"""The generated pages: never stale, complete, and true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hubd.config import render, shape
from hubd.config.model import Config
from hubd.config.parse import parse
from hubd.config.problems import did_you_mean, listed, quoted
from hubd.config.shape import NOTHING

CHECKOUT = Path(__file__).parent.parent
PRESETS = ("demo", "course", "hackweek", "research-team")
OPTIONS = {".".join(map(str, path)): option for path, option in shape.walk(Config)}


@pytest.mark.parametrize("name", sorted(render.pages()))
def test_generated_pages_are_fresh(name: str) -> None:
    remedy = "run `python -m hubd.config.render .` and look at what it changed"
    assert (CHECKOUT / name).read_text(encoding="utf-8") == render.pages()[name], remedy


def test_the_example_without_its_marks_says_every_default() -> None:
    text = re.sub(r"(?m)^#(?=[^ #\n]|  )", "", render.example())
    assert parse(text) == Config()
    assert set(parse(text).model_fields_set) == set(Config.model_fields)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_option_says_what_it_is(name: str) -> None:
    option = OPTIONS[name]
    assert re.fullmatch(r"[A-Z].*[^.]\.", option.description), "one sentence"
    assert ". " not in option.description
    assert option.examples or option.kind == "section"
    assert option.default is not NOTHING or name.startswith(("plugins", "environments.NAME.publish.", "environments.NAME.git."))
    assert option.kind != "any"
    heading, row = f"## `{name}`", f"| `{name.rpartition('.')[2]}` |"
    assert heading in render.reference() or row in render.reference() or f"## `{name}." in render.reference() or "plugins" in name


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    config = parse((CHECKOUT / "config" / "presets" / f"{name}.yaml").read_bytes())
    assert config.people.admins == ("ada",)
    assert config.environments
    assert config.limits.memory


def test_the_schema_says_what_the_model_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(render.schema())
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for good in (
        {},
        {"limits": {"memory": "1.5 GiB", "cpu": 2}},
        {"plugins": ["hubd-a", {"name": "hubd-b"}]},
        {"limits": {"memory": None}},
    ):
        assert check.is_valid(good)
        parse(json.dumps(good))
    wrong: tuple[dict[str, Any], ...] = (
        {"limts": {}},
        {"limits": {"memory": "lots"}},
        {"hub": {"port": 0}},
        {"people": {"users": ["Ada"]}},
        {"limits": None},
    )
    assert not [bad for bad in wrong if check.is_valid(bad)]
    for name in PRESETS:
        text = (CHECKOUT / "config" / "presets" / f"{name}.yaml").read_bytes()
        assert check.is_valid(parse(text).model_dump(mode="json"))


def test_completion_knows_the_names_in_the_file() -> None:
    names = [name for name, _ in shape.paths(Config, {"environments": {"a.b": {}, "c": {}}})]
    assert {"limits.memory", 'environments."a.b".packages', "environments.c.kernel.language"} <= set(names)
    assert not [name for name in names if "NAME" in name]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (listed([]), ""),
        (listed(["a", "b", "c"]), "`a`, `b` and `c`"),
        (did_you_mean("Memroy", ["cpu", "memory"]), "memory"),
        (did_you_mean("zebra", ["cpu", "memory"]), ""),
        (quoted("a\x1b[31m"), "`a\ufffd[31m`"),
        (quoted("x" * 100), f"`{'x' * 60}…`"),
    ],
)
def test_words(said: str, wanted: str) -> None:
    assert said == wanted
