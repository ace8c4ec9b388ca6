"""environment.yml: what it asks for, and every problem with its line."""

from __future__ import annotations

import pytest

from hubd.config.environment_file import EnvironmentFile, not_usable, parse_environment_file
from hubd.config.problems import ConfigInvalid

FULL = """\
name: geo  # conda's own
channels:
  - conda-forge
  - nodefaults
  - https://mirror.example.org/more
dependencies:
  - python=3.12
  - ipykernel
  - numpy >=2,<3
  - pip
  - pip:
      - cowsay==6.1
      - mine @ https://x.example/mine.whl
  - pip: [six]
prefix: /home/ada/miniconda3/envs/geo
"""


def parse(text: bytes | str, language: str = "python") -> EnvironmentFile:
    return parse_environment_file(text, source="geo.yml", language=language)


def test_what_it_asks_for() -> None:
    found = parse(FULL)
    assert found.channels == ("conda-forge", "https://mirror.example.org/more")
    assert found.packages == ("python=3.12", "ipykernel", "numpy >=2,<3", "pip")
    assert found.pip == ("cowsay==6.1", "mine @ https://x.example/mine.whl", "six")
    assert len(found.notices) == 1 and "`prefix:` is not used" in found.notices[0]
    assert parse("dependencies: [ipykernel]\n") == EnvironmentFile((), ("ipykernel",), ())
    assert parse("dependencies: [r-irkernel]\n", "R").packages == ("r-irkernel",)
    assert parse("dependencies:\n- pip:\n  - ipykernel\n").pip == ("ipykernel",)


def test_two_thousand_lines() -> None:
    text = "dependencies:\n- ipykernel\n" + "".join(f"- package-{number}=1.{number}\n" for number in range(2000))
    assert len(parse(text).packages) == 2001


GOOD = "dependencies:\n- ipykernel\n"
WRONG: list[tuple[bytes | str, int, list[str]]] = [
    # text, line of the first problem, words
    ("dependencies:\n\t- ipykernel\n", 2, ["tab", "spaces"]),
    (b"\xff\xfe", 1, ["not UTF-8"]),
    ("", 1, ["is not an environment.yml"]),
    ("- ipykernel\n", 1, ["is not an environment.yml"]),
    ("channels: [a]\n", 1, ["dependencies: is missing"]),
    (GOOD + "variables: {A: b}\ndependancies: []\n", 3, ["variables: is not used", "dependancies: is not used"]),
    ("dependencies: ipykernel\n", 1, ["dependencies: is not a list"]),
    ("channels: x\n" + GOOD, 1, ["channels: is not a list"]),
    ("channels: ['', -x]\n" + GOOD, 1, ["channels[0]: `` is not a channel", "channels[1]: `-x` is not a channel"]),
    (GOOD + "- 3.12\n- -e x\n- [a]\n", 3, ["`3.12` is not a package", "`-e x` is not a package", "this is not a package"]),
    (GOOD + "- npm: [x]\n", 3, ["dependencies[1].npm: is not a kind of packages"]),
    (GOOD + "- pip: six\n", 3, ["dependencies[1].pip: is not a list"]),
    (GOOD + "- pip:\n  - -e git+https://x/y\n  - --editable .\n", 4, ["`-e git+https://x/y` is an editable", "without -e"]),
    (GOOD + "- pip:\n  - -r more.txt\n  - --index-url=https://x\n", 4, ["`-r more.txt` is an option of pip", "for the whole"]),
    ("dependencies:\n- numpy\n", 1, ["dependencies: ipykernel is not among the packages", "add `- ipykernel`"]),
    ("dependencies:\n", 1, ["ipykernel is not among the packages"]),
    (GOOD + "dependencies: []\n", 3, ["twice"]),
]


@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_every_problem_is_told_with_its_line(text: bytes | str, line: int, words: list[str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text)
    told = "\n".join(caught.value.lines())
    assert caught.value.problems[0].line == line
    for word in words:
        assert word in told
    assert "geo.yml cannot be used" in not_usable(caught.value, "geo.yml").what


def test_many_problems_are_one_line_in_the_end() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(GOOD + "- -x\n" * 100)
    error = not_usable(caught.value, "geo.yml")
    assert error.why.startswith("line 3, column 3: dependencies[1]: `-x` is not a package")
    assert error.why.endswith("; and 95 more")
