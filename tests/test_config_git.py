"""The option `git` of an environment: what it may say, and every problem of it at its place."""

from __future__ import annotations

import pytest

from hubd.config.model import Git
from hubd.config.parse import parse
from hubd.config.problems import ConfigInvalid

AT, URL = "0123456789abcdefABCD" * 2, "https://github.com/uni/course"
GIT = f"git: {{url: {URL}, commit: {AT}}}"


@pytest.mark.parametrize("commit", [AT, AT.upper(), "ab" * 32])
@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:8000/x.git", "file:///srv/course.git", "https://x.example/~uni/@course"])
def test_where_a_file_may_be(url: str, commit: str) -> None:
    config = parse(f"environments:\n  a:\n    file: e/r.yml\n    git: {{url: '{url}', commit: '{commit}'}}\n    smoke: a.ipynb\n")
    assert config.environments["a"].git == Git(url=url, commit=commit.lower())
    assert config.files == ("a.ipynb",), "what is in a repository is no file of this machine"


def refused(environment: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigInvalid) as caught:
        parse(f"environments: {{a: {{{environment}}}}}")
    assert all(each.line == 1 and each.column > 16 for each in caught.value.problems)
    return [(each.name.removeprefix("environments.a."), f"{each.message}; {each.fix}") for each in caught.value.problems]


def at(commit: str) -> str:
    return f"file: r.yml, git: {{url: {URL}, commit: {commit}}}"


def of(url: str) -> str:
    return f"file: r.yml, git: {{url: '{url}', commit: {AT}}}"


MOVES, NO_URL = "only that is built the same again: a branch or a tag moves", "names no repository that a build can fetch"
WRONG = [
    (GIT, "git", ["neither a `lock` nor a `file`", "`file: environments/r.yml`"]),
    (f"publish: {{owner: bea, environment: geo}}, {GIT}", "git", ["together with `publish`"]),
    (f"file: r.yml, sha256: '{'a' * 64}', {GIT}", "sha256", ["together with `git`", "the commit says what the file is"]),
    (f"sha256: '{'a' * 64}', file: r.yml, {GIT}", "sha256", ["together with `git`"]),
    (f"file: /srv/r.yml, {GIT}", "file", ["`/srv/r.yml` is not the path of a file inside of a repository", "environments/r.yml"]),
    (f"file: e/../../r.yml, {GIT}", "file", ["is not the path"]),
    (f"lock: ./a.lock, {GIT}", "lock", ["is not the path"]),
    (f"lock: e//a.lock, {GIT}", "lock", ["is not the path"]),
    (f"file: e/, {GIT}", "file", ["is not the path"]),
    (f"file: 'https://x.example/r.yml', {GIT}", "file", ["is not the path"]),
    (f'file: "a\\x1bb", {GIT}', "file", ["neither a file nor an address"]),
    (f"file: -r.yml, {GIT}", "file", ["neither a file nor an address"]),
    (f"packages: [ipykernel], file: r.yml, {GIT}", "packages", ["together with `file`"]),
    (at("main"), "git.commit", ["`main` is not an exact commit", MOVES, f"`git ls-remote {URL} main`"]),
    (at("v1.0"), "git.commit", [MOVES, f"`git ls-remote {URL} v1.0`"]),
    (at("'a;b'"), "git.commit", [MOVES, f"`git ls-remote {URL} BRANCH`"]),
    (at("--upload-pack=x"), "git.commit", [MOVES, f"`git ls-remote {URL} BRANCH`"]),
    (at("''"), "git.commit", [MOVES, "BRANCH"]),
    (at("0123abc"), "git.commit", ["has 7 digits of the 40", "`git rev-parse 0123abc`"]),
    (at("'" + "1" * 41 + "'"), "git.commit", ["has 41 digits of the 40"]),
    (at("1" * 40), "git.commit", ["is a number", "put it in quotes"]),
    (of("git@github.com:uni/course"), "git.url", [NO_URL, "for ssh a build has no key"]),
    (of("ssh://git@github.com/uni/course"), "git.url", [NO_URL]),
    (of("ssh://bea:geheim@x.example/course"), "git.url", [NO_URL]),
    (of("git://github.com/uni/course"), "git.url", [NO_URL]),
    (of("ext::sh -c x"), "git.url", [NO_URL]),
    (of("--upload-pack=x"), "git.url", [NO_URL]),
    (of("/srv/course.git"), "git.url", [NO_URL, "file:///"]),
    (of("file://srv/course.git"), "git.url", [NO_URL]),
    (of("https://x.example/course?token=geheim"), "git.url", [NO_URL]),
    (of("https://bea:geheim@x.example/course"), "git.url", ["who may read config.yaml", "leave out what stands before the `@`"]),
    (of("https://geheim@x.example/course"), "git.url", ["holds a user name or a password"]),
    (f"file: r.yml, git: {{url: {URL}}}", "git.commit", ["is missing"]),
    (f"file: r.yml, git: {URL}", "git", ["is text"]),
    (at(f"{AT}, branch: main"), "git.branch", ["is not an option; known here: `url` and `commit`"]),
]


@pytest.mark.parametrize(("environment", "name", "words"), WRONG, ids=[row[0][:70] for row in WRONG])
def test_what_is_wrong_is_told_at_its_place_and_told_once(environment: str, name: str, words: list[str]) -> None:
    ((found, told),) = refused(environment)
    assert found == name
    assert all(word in told for word in words), told
    assert "geheim" not in told


def test_every_problem_is_told_at_once() -> None:
    found = refused(f"file: ../r.yml, sha256: '{'a' * 64}', git: {{url: 'https://bea:geheim@x.example/y', commit: main}}")
    assert [name for name, _ in found] == ["file", "sha256", "git.url", "git.commit"]
    assert "`git ls-remote URL main`" in found[-1][1]
    assert "geheim" not in str(found)


def test_a_checksum_and_a_commit_of_nothing_are_each_told_once() -> None:
    assert [name for name, _ in refused(f"sha256: '{'a' * 64}', {GIT}")] == ["sha256", "git"]
