"""Edits: one option changes, everything else in the file stays as people wrote it."""

from __future__ import annotations

import copy
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from hubd.config import edit, shape
from hubd.config.model import config_model
from hubd.config.parse import parse
from hubd.config.path import dotted, keys
from hubd.config.problems import ConfigInvalid
from hubd.config.section import Section
from hubd.config.shape import NOTHING
from hubd.config.text import read
from hubd.errors import HubdError, UsageError

FILE = """\
# My hub
people:
  admins: [ada]   # me
  users:          # our people
    - bea         # assistant
    - cid

limits:
  memory: 1G   # enough

# Environments of the course
environments:
  science:
    packages:
      - python=3.12
      - ipykernel   # the kernel
    kernel: {display_name: "Science", language: python}
# end
"""


class Board(Section):
    """What a plugin might want to know."""

    code: str = Field(default="", description="A text.", examples=["x"])
    motto: str | None = Field(default=None, description="A text or nothing.", examples=["x"])
    open: bool = Field(default=True, description="Yes or no.", examples=[True])
    size: float = Field(default=1.0, description="A number.", examples=[1.5])
    count: int = Field(default=1, description="A whole number.", examples=[1])
    labels: dict[str, str] = Field(default={}, description="Texts by name.", examples=[{"a": "b"}])


SECTIONS: Mapping[str, type[Section]] = {"board": Board}

# path, what is typed, the line that is there before, the line that is there after
SETS = [
    ("limits.memory", "2G", "  memory: 1G   # enough", "  memory: 2G   # enough"),
    ("limits.memory", "1.5 GiB", "  memory: 1G   # enough", "  memory: 1.5 GiB   # enough"),
    ("limits.memory", "none", "  memory: 1G   # enough", "  memory: null   # enough"),
    ("limits.cpu", "2", "  memory: 1G   # enough", "  memory: 1G   # enough\n  cpu: 2"),
    ("limits", "{cpu: 0.5}", "  memory: 1G   # enough", "  cpu: 0.5"),
    ("proxy.port", "8080", "# end", "proxy:\n  port: 8080\n# end"),
    ("environments.science.kernel.display_name", "007", '"Science"', '"007"'),
    ("environments.science.kernel.display_name", "null", '"Science"', "null"),
    ("environments.science.kernel.display_name", '"none"', '"Science"', '"none"'),
    ("environments.science.kernel.display_name", 'say "hi": #1', '"Science"', '"say \\"hi\\": #1"'),
    ("environments.science.manager", "uv", "language: python}", "language: python}\n    manager: uv"),
    ("people.users", "bea,dora", "    - cid", "    - dora"),
    ("people.users", "[]", "    - bea         # assistant\n    - cid\n", ""),
    ("people.users", "", "  users:          # our people", "  users: []          # our people"),
    ("people.users", "[eve, finn]", "    - bea         # assistant\n    - cid", "    - eve\n    - finn"),
    ("people.admins", "ada, eve", "[ada]", "[ada, eve]"),
    ("people.groups.staff.members", "ada,bea", "    - cid", "    - cid\n  groups:\n    staff:\n      members: [ada, bea]"),
    ("conda.url.x86_64", "https://a.example/m.sh", "# end", 'conda:\n  url:\n    x86_64: "https://a.example/m.sh"\n# end'),
    ("plugins", "hubd-a,hubd-b", "# end", "plugins: [hubd-a, hubd-b]\n# end"),
    ("plugins", "[hubd-a, {name: hubd-b, source: /b}]", "# end", "plugins:\n  - hubd-a\n  - {name: hubd-b, source: /b}\n# end"),
    ("environments.r2", "{manager: conda}", "# end", "  r2:\n    manager: conda\n# end"),
    ("board.code", "007", "# end", 'board:\n  code: "007"\n# end'),
    ("board.code", "none", "# end", "board:\n  code: none\n# end"),
    ("board.code", "null", "# end", 'board:\n  code: "null"\n# end'),
    ("board.code", "yes", "# end", 'board:\n  code: "yes"\n# end'),
    ("board.code", "1.0", "# end", 'board:\n  code: "1.0"\n# end'),
    ("board.code", "[a, b]", "# end", 'board:\n  code: "[a, b]"\n# end'),
    ("board.code", "two\nlines", "# end", 'board:\n  code: "two\\x0alines"\n# end'),
    ("board.motto", "'null'", "# end", 'board:\n  motto: "null"\n# end'),
    ("board.open", "no", "# end", "board:\n  open: false\n# end"),
    ("board.size", "2", "# end", "board:\n  size: 2\n# end"),
    ("board.labels", "{a: 007, b: no}", "# end", 'board:\n  labels:\n    a: "007"\n    b: "no"\n# end'),
    ('board.labels."a.b"', "1", "# end", 'board:\n  labels:\n    a.b: "1"\n# end'),
]  # fmt: skip


def change(before: str, after: str) -> str:
    assert FILE.count(before) == 1
    return FILE.replace(before, after)


@pytest.mark.parametrize(("path", "typed", "before", "after"), SETS, ids=[f"{row[0]} = {row[1]!r}" for row in SETS])
def test_a_set_touches_its_own_lines_only(path: str, typed: str, before: str, after: str) -> None:
    if path == "people.users" and typed in ("", "[]"):
        before, after = (
            "  users:          # our people\n    - bea         # assistant\n    - cid\n",
            "  users: []          # our people\n",
        )
    edited = edit.set_value(FILE, path, typed, SECTIONS)
    assert edited.text == change(before, after)
    assert edited.changed
    assert edited.config == parse(edited.text, SECTIONS)


@pytest.mark.parametrize(
    ("path", "typed"),
    [("limits.memory", "1G"), ("limits.memory", "1024 MB"), ("people.users", "bea,cid"), ("proxy.port", "80"),
     ("limits.cpu", "none"),
     ("environments.science.kernel", "{display_name: Science, language: python}"), ("daemon.interval", "300")],
)  # fmt: skip
def test_a_value_that_is_in_force_already_changes_nothing(path: str, typed: str) -> None:
    edited = edit.set_value(FILE, path, typed)
    assert (edited.text, edited.changed, edited.before) == (FILE, False, edited.after)


UNSETS = [
    ("limits.memory", "limits:\n  memory: 1G   # enough\n", ""),
    ("people.users", "  users:          # our people\n    - bea         # assistant\n    - cid\n", ""),
    ("environments.science.kernel.language", ", language: python", ""),
    ("environments.science.kernel.display_name", 'display_name: "Science", ', ""),
    (
        "environments.science.packages",
        "    packages:\n      - python=3.12\n      - ipykernel   # the kernel\n",
        "",
    ),
    ("people", FILE[FILE.index("people:") : FILE.index("\nlimits:")], ""),
]


@pytest.mark.parametrize(("path", "before", "after"), UNSETS, ids=[row[0] for row in UNSETS])
def test_an_unset_takes_the_option_and_leaves_the_comments_around_it(path: str, before: str, after: str) -> None:
    assert edit.unset(FILE, path).text == change(before, after)


def test_unset_of_what_is_not_there_changes_nothing() -> None:
    assert not edit.unset(FILE, "proxy.port").changed


def test_the_last_option_of_a_file_leaves_an_empty_file_that_is_valid() -> None:
    assert edit.unset("# mine\nlimits: {memory: 1G}\n# end\n", "limits.memory").text == "# mine\n# end\n{}\n"
    assert edit.set_value("# mine\n{}\n", "limits.memory", "1G").text == "# mine\nlimits:\n  memory: 1G\n"


def test_an_environment_whose_last_option_goes_is_still_an_environment() -> None:
    assert edit.unset("environments:\n  a:\n    manager: uv\n", "environments.a.manager").text == "environments:\n  a: {}\n"


ITEMS = [
    ("add", "people.users", ["dora"], "    - cid", "    - cid\n    - dora"),
    ("add", "people.users", ["dora", "bea", "eve"], "    - cid", "    - cid\n    - dora\n    - eve"),
    ("add", "people.admins", ["cid"], "[ada]", "[ada, cid]"),
    ("add", "conda.channels", ["bioconda"], "# end", "conda:\n  channels: [conda-forge, bioconda]\n# end"),
    (
        "add",
        "plugins",
        ["{name: hubd-b, source: /b}"],
        "# end",
        "plugins:\n  - {name: hubd-b, source: /b}\n# end",
    ),
    (
        "add",
        "environments.science.packages",
        ["numpy>=1,<2"],
        "# the kernel",
        '# the kernel\n      - "numpy>=1,<2"',
    ),
    ("remove", "people.users", ["bea"], "    - bea         # assistant\n", ""),
    ("remove", "people.admins", ["ada"], "[ada]", "[]"),
    ("remove", "conda.channels", ["conda-forge"], "# end", "conda:\n  channels: []\n# end"),
]


@pytest.mark.parametrize(("verb", "path", "items", "before", "after"), ITEMS)
def test_items_come_and_go_with_their_own_lines(verb: str, path: str, items: list[str], before: str, after: str) -> None:
    edited = {"add": edit.add_items, "remove": edit.remove_items}[verb](FILE, path, items)
    assert edited.text == change(before, after)


def test_several_items_leave_a_list_in_brackets() -> None:
    text = "people: {users: [a, b, c, d, e]}\n"
    for gone, left in [
        ("ab", "c, d, e"),
        ("bd", "a, c, e"),
        ("de", "a, b, c"),
        ("ace", "b, d"),
        ("bcde", "a"),
    ]:
        assert edit.remove_items(text, "people.users", list(gone)).text == f"people: {{users: [{left}]}}\n"


def test_a_plugin_is_removed_by_its_name() -> None:
    text = "plugins:\n  - hubd-a\n  - {name: hubd-b, source: /b}\n"
    assert edit.remove_items(text, "plugins", ["hubd-b"]).text == "plugins:\n  - hubd-a\n"


def test_an_item_that_is_there_already_changes_nothing() -> None:
    assert not edit.add_items(FILE, "people.users", ["bea", "cid"]).changed


REFUSED: list[tuple[str, list[str], type[HubdError], str]] = [
    ("set limts.memory", ["1G"], UsageError, "did you mean `limits.memory`?"),
    ("set limits.memroy", ["1G"], UsageError, "did you mean `limits.memory`?"),
    ("set users", ["bea"], UsageError, "did you mean `people.users`?"),
    ("set limits.people", ["bea"], UsageError, "did you mean `people`?"),
    ("set environments.geo.display_name", ["Geo"], UsageError, "did you mean `environments.geo.kernel.display_name`?"),
    ("set environments.geo.nonsense", ["1"], UsageError, "environments.geo has `packages`, "),
    ("set limits.cpu", [".inf"], ConfigInvalid, "nothing was changed"),
    ("set limits.cpu", [".nan"], ConfigInvalid, "nothing was changed"),
    ("set limits.memory.x", ["1G"], UsageError, ""),
    ("set limits.memory", ["lots"], ConfigInvalid, "nothing was changed"),
    ("set proxy.port", ["none"], ConfigInvalid, ""),
    ("set proxy.port", ["eighty"], ConfigInvalid, ""),
    ("set proxy.port", ["15001"], ConfigInvalid, ""),
    ("set people", ["{admins: [ada"], ConfigInvalid, ""),
    ("set people", ["{users: [ada], users: [bea]}"], ConfigInvalid, ""),
    ("set limits", ["7"], ConfigInvalid, ""),
    ("set limits", ["null"], ConfigInvalid, ""),
    ("set people.groups.course", ["ada"], ConfigInvalid, ""),
    ("set environments", ["true"], ConfigInvalid, ""),
    ("set environments.geo", ["numpy"], ConfigInvalid, ""),
    ("set environments.science.kernel", ["R"], ConfigInvalid, ""),
    ("set people.users[7]", ["x"], UsageError, "`hubd config add-item people.users …`"),
    ("set environments.new.packages[0]", ["x"], UsageError, "`hubd config add-item environments.new.packages …`"),
    ("set plugins[99999999].name", ["x"], UsageError, "`hubd config add-item plugins …`"),
    (f"set people.users[{'9' * 5000}]", ["x"], UsageError, ""),
    ("unset people.users[7]", [], UsageError, "`hubd config get people.users`"),
    ("unset plugins[7].name", [], UsageError, "`hubd config get plugins`"),
    ("add people.users[7]", ["x"], UsageError, "`hubd config get people.users`"),
    ("remove people.users[7]", ["x"], UsageError, "`hubd config get people.users`"),
    ("set environments.science.packages", ["numpy"], ConfigInvalid, ""),
    ("set environments.a.kernel.display_name", ["x\udcff"], UsageError, "encoding"),
    ("set default_environment", ["sciences"], ConfigInvalid, ""),
    ("unset environments.science", [], ConfigInvalid, ""),
    ("add limits.memory", ["x"], UsageError, "config set"),
    ("add people.users", ["Root"], ConfigInvalid, ""),
    ("remove people.users", ["be"], UsageError, "did you mean `bea`"),
]


@pytest.mark.parametrize(("command", "given", "error", "fix"), REFUSED, ids=[row[0][:40] for row in REFUSED])
def test_what_would_not_validate_is_never_returned(command: str, given: list[str], error: type[HubdError], fix: str) -> None:
    verb, path = command.split()
    text = f"{FILE}default_environment: science\n"
    with pytest.raises(error) as caught:
        if verb == "set":
            edit.set_value(text, path, given[0])
        elif verb == "unset":
            edit.unset(text, path)
        else:
            {"add": edit.add_items, "remove": edit.remove_items}[verb](text, path, given)
    assert fix in caught.value.fix


def test_an_option_below_what_is_no_section() -> None:
    assert edit.set_value("people: []\n", "people.users", "bea").config.people.users == ("bea",)
    with pytest.raises(HubdError) as caught:
        edit.set_value("people: 3\n", "people.users", "bea")
    assert (caught.value.what, "by hand" in caught.value.fix) == ("people.users cannot be written", True)


WRITTEN = [
    ("people.users", ["bea", "cid"]),
    ("people.users[1]", "cid"),
    ("lost.anything", 1),
    ("lost.more", NOTHING),
    ("limits.cpu", NOTHING),
]


@pytest.mark.parametrize(("path", "value"), WRITTEN)
def test_what_the_file_itself_says(path: str, value: object) -> None:
    assert edit.written_at("people: {users: [bea, cid]}\nlost: {anything: 1}\n", path, unread=["lost"]) == value


@pytest.mark.parametrize("path", ["people.users[2]", "people.user", "people.users[0].x", "nothing"])
def test_what_no_file_can_say_is_a_usage_error(path: str) -> None:
    with pytest.raises(UsageError):
        edit.written_at("people: {users: [bea, cid]}\n", path)


def test_an_edit_can_mend_the_only_problem_of_a_file() -> None:
    assert edit.set_value("limits: {memory: lots}\n", "limits.memory", "1G").text == "limits: {memory: 1G}\n"
    assert edit.unset("limits: {memory: lots, cpu: 1}\n", "limits.memory").text == "limits: {cpu: 1}\n"
    assert edit.set_value("limits:\n", "limits.memory", "1G").text == "limits:\n  memory: 1G\n"
    assert edit.set_value("limits:\n  memory:   # none yet\n", "limits.memory", "1G").text == (
        "limits:\n  memory: 1G   # none yet\n"
    )


ODD = [
    "people:\n    users:\n    -   bea\n    -   cid\nhub:\n    port: 15001\n",
    "people:\n  users:\n  - bea\n  - cid",
    "people:\r\n  users:\r\n    - bea\r\n    - cid\r\n",
    "\ufeffpeople:\n  users: [\n    bea, # one\n    cid\n  ]\n",
    "---\npeople:\n  users:\n    - 'bea'\n    - \"cid\"\n...\n",
    '{"people": {"users": ["bea", "cid"]}}\n',
    "people: {users: [bea, cid]}",
]


@pytest.mark.parametrize("text", ODD)
def test_other_ways_to_write_a_file_work_as_well(text: str) -> None:
    for as_read in (text, text.encode()):
        edited = edit.add_items(as_read, "people.users", ["dora"])
        assert edited.config.people.users == ("bea", "cid", "dora")
        assert edit.remove_items(edited.text, "people.users", ["dora"]).text == text
        assert edit.remove_items(edited.text, "people.users", ["bea", "cid"]).config.people.users == ("dora",)
        more = edit.set_value(edited.text, "limits.memory", "1G")
        assert more.config.limits.memory == 1024**3
        assert more.text.startswith("\ufeff") == text.startswith("\ufeff")
        assert more.text.count("\r\n") == (more.text.count("\n") if "\r\n" in text else 0)
        assert edit.unset(more.text, "limits.memory").config == edited.config


def test_what_cannot_be_changed_safely_is_refused_and_left_to_a_person() -> None:
    shared = "people:\n  users: &all [bea, cid]\n  groups: {g: {members: *all}}\n"
    with pytest.raises(HubdError) as caught:
        edit.remove_items(shared, "people.groups.g.members", ["bea"])
    assert "by hand" in caught.value.fix


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("limits.memory", "1G"),
        ("limits.cpu", None),
        ("proxy.port", 80),
        ("hub.start_deadline", "1 min"),
        ("people.users", ["bea", "cid"]),
        ("people.users[1]", "cid"),
        ("environments.science.kernel", {"display_name": "Science", "language": "python"}),
        ("plugins", []),
    ],
)
def test_values_in_force_are_given_as_people_write_them(path: str, value: object) -> None:
    assert edit.value_at(parse(FILE), path) == value


NOT_THERE = ["limits.memroy", "environments.art", "people.users[9]", "people.users[99999999]", "limits.memory.x", "nothing"]


@pytest.mark.parametrize("path", NOT_THERE)
def test_values_that_are_not_there_are_a_usage_error(path: str) -> None:
    with pytest.raises(UsageError):
        edit.value_at(parse(FILE), path)


NAMES = st.from_regex(r"[b-z][a-z0-9-]{0,8}x7", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TYPED = st.one_of(
    st.tuples(st.just("board.code"), TEXTS),
    st.tuples(TEXTS.filter(bool).map(lambda key: dotted(("board", "labels", key))), TEXTS),
    st.tuples(st.just("board.count"), st.integers(-(10**9), 10**9).map(str)),
    st.tuples(st.just("limits.memory"), st.sampled_from(["none", "3G", "512 MB", "987654321"])),
    st.tuples(st.just("people.users"), st.lists(NAMES, unique=True, max_size=5).map(",".join)),
    st.tuples(NAMES.map(lambda name: f"environments.{name}.manager"), st.sampled_from(["uv", "conda"])),
    st.tuples(st.just("environments.science.channels"), st.lists(NAMES, unique=True, max_size=30).map(",".join)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TYPED, min_size=1, max_size=4), st.sampled_from([FILE, *ODD]))
def test_what_is_set_is_read_back_and_comments_survive(typed: list[tuple[str, str]], text: str) -> None:
    if text != FILE:  # lists in the way of `people.users` carry comments of their own
        typed = [(path, words) for path, words in typed if path != "people.users" and ".science." not in path]
    for path, words in typed:
        before = read(text).data
        wanted = edit.coerce(words, edit.option(config_model(SECTIONS), keys(path)))
        edited = edit.set_value(text, path, words, SECTIONS)
        assert shape.flow(edit.value_at(edited.config, path)) == shape.flow(edited.after)
        assert _same(edited.after, wanted)
        assert _without(read(edited.text).data, path) == _without(before, path)
        gone = {"# assistant"} if path == "people.users" else set()
        assert _comments(text) - gone <= _comments(edited.text)
        assert set(text.splitlines()) - set(edited.text.splitlines()) <= set(text.splitlines())
        text = edited.text


def _same(value: Any, wanted: Any) -> bool:
    return value == wanted or (isinstance(wanted, str | int) and shape.flow(value) in ("3G", "512M", "987654321"))


def _comments(text: str) -> set[str]:
    known = [
        "# My hub",
        "# me",
        "# our people",
        "# assistant",
        "# enough",
        "# Environments of the course",
        "# the kernel",
        "# end",
        "# one",
    ]
    return {comment for comment in known if comment in text}


def _without(data: Any, path: str) -> Any:
    """`data` without the option, and without what had to be made around it."""
    left = copy.deepcopy(data)
    way = keys(path)
    for depth in range(len(way), 0, -1):
        container = left
        for key in way[: depth - 1]:
            container = container.get(key, {}) if isinstance(container, dict) else {}
        if depth == len(way) or container.get(way[depth - 1]) == {}:
            container.pop(way[depth - 1], None)
    return left


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.text(string.printable)),
        st.lists,
        max_leaves=5,
    )
)
def test_every_value_written_on_one_line_is_read_back(value: Any) -> None:
    assert read(f"a: {shape.flow(value)}\n").data == {"a": value}
