"""Bad input: whatever lies in config.yaml, the answer is a short list of problems with lines, soon, and nothing else."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.config.parse import parse
from hubd.config.problems import ConfigInvalid
from hubd.config.text import read

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
GARBAGE = random.Random(1).randbytes(1_000_000)
LETTERS = "".join(random.Random(2).choices("abc[]{}:-#&*!|>'\"%@` \n,?", k=10_000)) * 100

# what it is, the text, line and column of the first problem, words of its message, words of its fix
BAD: list[tuple[str, bytes | str, int, int, str, str]] = [
    ("empty", "", 1, 1, "is empty", "people:"),
    ("blank", b"\n \n\t\n", 1, 1, "is empty", "people:"),
    ("only a byte order mark", b"\xef\xbb\xbf", 1, 1, "is empty", "people:"),
    ("only comments", "# nothing\n# here\n", 1, 1, "nothing but comments", "people:"),
    ("only a document start", "---\n", 2, 1, "is empty", "people:"),
    ("null", "null\n", 1, 1, "is empty", "people:"),
    ("a list", "- a\n- b\n", 1, 1, "not made of sections", "people:"),
    ("text", "hello\n", 1, 1, "not made of sections", "people:"),
    ("tab", "people:\n\tadmins: [ada]\n", 2, 1, "indented with a tab", "spaces"),
    ("duplicate key", "hub: {}\nproxy: {}\nhub: {}\n", 3, 1, "there twice: it is also on line 1", "keep one"),
    ("duplicate deep down", "people:\n  users: [a]\n  users: [b]\n", 3, 3, "twice", "keep one"),
    ("two documents", "hub: {}\n---\nhub: {}\n", 2, 1, "second document", "---"),
    ("not UTF-8", b"people:\n  users: [m\xfcller]\n", 2, 12, "byte 19 is 0xfc", "UTF-8"),
    ("UTF-16", "people: {}\n".encode("utf-16"), 1, 1, "not UTF-8", "UTF-8"),
    ("NUL", "people:\n  users: [a\0]\n", 2, 12, "U+0000", "remove"),
    ("escape character", "hub: {}\n# \x1b[31m\n", 2, 3, "U+001B", "remove"),
    ("odd line break", "hub: {}\u2028proxy: {}\n", 1, 8, "U+2028", "remove"),
    ("open bracket", "people:\n  users: [a, b\nhub: {}\n", 3, 4, "brackets", "closing"),
    ("open quote", "hub: {port: 'x}\n", 2, 1, "never closed", "quote"),
    ("two colons", "hub: port: 3\n", 1, 10, "no further value", "quotes"),
    ("lost indentation", "people:\n    users: []\n  admins: []\n", 3, 3, "does not fit", "indentation"),
    ("at sign", "people: {users: [@ada]}\n", 1, 18, "no value can start with", "quotes"),
    ("tag", "people: !!python/object:os.system {}\n", 1, 9, "has the tag", "without a tag"),
    ("alias of nothing", "people: *ada\n", 1, 9, "alias", "write it out"),
    (
        "alias inside itself",
        "people: &a\n  users: *a\n",
        2,
        10,
        "inside of what it stands for",
        "write it out",
    ),
    ("alias bomb", BOMB, 6, 0, "too large", "out"),
    ("mapping as a name", "{[a]: b}\n", 1, 2, "as its name", "name"),
    ("deep lists", "[" * 1_000_000, 1, 33, "32 levels", "right file"),
    ("deep mappings", "{" * 1_000_000, 1, 0, "", ""),
    ("deep dashes", "- " * 1_000_000, 1, 65, "32 levels", "right file"),
    ("deep questions", "? " * 1_000_000, 1, 3, "as its name", "name"),
    ("too large", b"#" * (10 * 1024 * 1024 + 1), 0, 0, "larger than 10 MB", "right file"),
    ("bytes at random", GARBAGE, 1, 0, "not UTF-8", "UTF-8"),
    ("characters at random", LETTERS, 1, 0, "", ""),
    ("one long word", "x" * 1_000_000, 1, 1, "not made of sections", "people:"),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "fix"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_answered_soon_and_in_short(text: bytes | str, line: int, column: int, message: str, fix: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ConfigInvalid) as caught:
        parse(text)
    assert time.perf_counter() - started < 2
    problem = caught.value.problems[0]
    assert problem.line == line
    assert not column or problem.column == column
    assert message in problem.message
    assert fix in problem.fix
    assert sum(map(len, caught.value.lines())) < 20_000
    assert all(char.isprintable() for said in caught.value.lines() for char in said)


def test_all_duplicates_and_all_tabs_are_named_at_once() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse("hub: {}\nhub: {}\nproxy: {port: 1, port: 2}\n")
    assert [(it.line, it.name) for it in caught.value.problems] == [(2, "hub"), (3, "proxy.port")]
    with pytest.raises(ConfigInvalid) as caught:
        parse("hub:\n\tport: 1\nproxy:\n\tport: 2\n")
    assert [it.line for it in caught.value.problems] == [2, 4]


# YAML 1.2: what YAML 1.1 readers take for something else stays text.
SCALARS = [
    ("no", "no"), ("on", "on"), ("y", "y"), ("2026-01-01", "2026-01-01"), ("12:30", "12:30"), ("1_000", "1_000"),
    ("007", 7), ("0o17", 15), ("0x1f", 31), ("-3", -3), ("1e3", 1000.0), (".5", 0.5), ("true", True), ("False", False),
    ("~", None), ("null", None), ("", None), ("'007'", "007"), ('"null"', "null"), ("!!str 7", "7"), ("a # b", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), SCALARS)
def test_values_are_read_as_yaml_1_2(written: str, meant: object) -> None:
    value = read(f"a: {written}\n").data["a"]
    assert (type(value), value) == (type(meant), meant)


@pytest.mark.parametrize("text", ["a: 1\r\nb: [x]\r\n", "\ufeffa: 1\nb: [x]", "---\na: 1\nb: [x]\n...\n", "{a: 1, b: [x]}"])
def test_line_ends_marks_and_document_signs_do_not_matter(text: str) -> None:
    assert read(text.encode()).data == {"a": 1, "b": ["x"]}


def test_aliases_are_read() -> None:
    node = read("a: &people [ada]\nb: *people\n")
    assert node.data == {"a": ["ada"], "b": ["ada"]}
    assert node.children["b"].line == 2


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300), st.text("ab: -[]{},'\"\n#&*!|>?\t", max_size=60)))
def test_nothing_but_a_list_of_problems_ever_comes_of_it(text: bytes | str) -> None:
    try:
        parse(text)
    except ConfigInvalid as invalid:
        assert invalid.problems
