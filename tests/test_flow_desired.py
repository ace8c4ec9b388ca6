"""Wishes of parts and plugins: put in order, and fenced where they cannot stand together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from fakes import Thing

from hubd import hooks
from hubd.config.model import Config
from hubd.errors import HubdError
from hubd.flow.desired import desired, notices, with_hub_settings
from hubd.hooks import Notice, Wanted
from hubd.layout import Layout
from hubd.plugin_loader import Plugins

WANTED = Wanted(Config(), Layout())


def thing(label: str, *needs: str, wanted: str = "on") -> Thing:
    return Thing(label=label, world={}, wanted=wanted, needs=tuple(f"thing:{need}" for need in needs))


def plugins(**given: Any) -> Plugins:
    """Each a plugin with one hook: a list of resources, or of notices, or settings of the hub."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    for name, answer in given.items():
        manager.register(SimpleNamespace(**_hooks(answer)), name=name)
    return Plugins(manager)


def _hooks(answer: Any) -> dict[str, Any]:
    def hook(wanted: Wanted) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    if isinstance(answer, dict):
        return {"hubd_hub_settings": hook}
    is_notice = isinstance(answer, list) and answer and isinstance(answer[0], Notice)
    return {"hubd_notices" if is_notice else "hubd_resources": hook}


def labels(found: Any) -> list[str]:
    return [resource.label for resource in found.resources]


def test_each_comes_after_what_it_needs_across_plugins() -> None:
    found = desired(WANTED, plugins(one=[thing("roof", "wall"), thing("floor")], two=[thing("wall", "floor")]))
    assert labels(found).index("floor") < labels(found).index("wall") < labels(found).index("roof")
    assert found.owners == {"thing:roof": "one", "thing:floor": "one", "thing:wall": "two"}
    assert found.broken == ()


def test_the_order_is_the_same_each_time() -> None:
    def once() -> list[str]:
        return labels(desired(WANTED, plugins(one=[thing(f"t{number}", *(["t0"] if number else [])) for number in range(50)])))

    assert once() == once()


def test_what_comes_first_comes_first_also_where_it_is_not_needed() -> None:
    second = Thing(label="a", world={}, follows=("thing:b", "thing:nobody wants it"))
    assert labels(desired(WANTED, plugins(one=[second, thing("b")]))) == ["b", "a"]


def test_a_circle_is_told_with_its_members() -> None:
    with pytest.raises(HubdError) as caught:
        desired(WANTED, plugins(one=[thing("a", "b"), thing("b", "a")]))
    assert "circle" in caught.value.what
    assert "thing:a" in caught.value.why
    assert "thing:b" in caught.value.why


def test_two_who_want_the_same_thing_differently_part_at_the_second() -> None:
    found = desired(WANTED, plugins(one=[thing("a")], two=[thing("a", wanted="off"), thing("b")], three=[thing("c")]))
    assert sorted(labels(found)) == ["a", "c"]
    assert [(each.plugin, each.why) for each in found.broken] == [("two", "thing:a is wanted differently by one")]


def test_two_who_want_the_same_may() -> None:
    found = desired(WANTED, plugins(one=[thing("a")], two=[thing("a"), thing("b", "a")]))
    assert sorted(labels(found)) == ["a", "b"]
    assert found.owners["thing:a"] == "one"


def test_one_who_contradicts_itself_is_fenced() -> None:
    found = desired(WANTED, plugins(one=[thing("a"), thing("a", wanted="off")], two=[thing("b")]))
    assert labels(found) == ["b"]
    assert found.broken[0].why == "thing:a is wanted differently by itself"


def test_one_whose_need_nobody_provides_is_fenced_and_so_on() -> None:
    found = desired(WANTED, plugins(one=[thing("a", "nothing")], two=[thing("b", "a"), thing("c")], three=[thing("d")]))
    assert labels(found) == ["d"]
    assert [each.plugin for each in found.broken] == ["one", "two"]
    assert found.broken[0].why == "thing:a needs thing:nothing, which nobody provides"


def test_one_that_raises_takes_its_wishes_along() -> None:
    found = desired(WANTED, plugins(one=ValueError("oh"), two=[thing("a")]))
    assert labels(found) == ["a"]
    assert [(each.plugin, each.why) for each in found.broken] == [("one", "hubd_resources: ValueError: oh")]


SETTINGS = [
    # settings of one and two, merged, who is fenced
    ({"A": {"x": 1}}, {"A": {"y": 2}}, {"A": {"x": 1, "y": 2}}, []),
    ({"A": {"x": 1}}, {"A": {"x": 1}}, {"A": {"x": 1}}, []),
    ({"A": {"x": 1}}, {"A": {"x": 2, "y": 3}, "B": {"z": 1}}, {"A": {"x": 1}}, ["two"]),
    ({"A": {"x": 1}}, {"B": {"x": 2}}, {"A": {"x": 1}, "B": {"x": 2}}, []),
]


@pytest.mark.parametrize(("one", "two", "merged", "fenced"), SETTINGS)
def test_settings_of_the_hub(one: Any, two: Any, merged: Any, fenced: list[str]) -> None:
    known = plugins(one=one, two=two)
    assert with_hub_settings(WANTED, known).hub_settings == merged
    assert [each.plugin for each in known.broken] == fenced
    if fenced:
        assert known.broken[0].why == "it sets A.x, which one set to something else"


def test_one_that_is_fenced_for_its_settings_has_no_resources_either() -> None:
    known = plugins(one={"A": {"x": 1}}, two={"A": {"x": 2}})
    known.manager.get_plugin("two").hubd_resources = lambda wanted: [thing("a")]
    assert desired(with_hub_settings(WANTED, known), known).resources == ()


def test_notices_of_all() -> None:
    found = notices(WANTED, plugins(one=[Notice("a")], two=RuntimeError("x"), three=[Notice("b", "do")]))
    assert found == (Notice("a"), Notice("b", "do"))
