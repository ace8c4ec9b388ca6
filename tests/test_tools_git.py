"""git's words: what is asked of it, and what its errors mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubd.errors import LONGEST_OUTPUT
from hubd.tools import git

COPY, URL, AT = Path("/c/copy"), "https://tls.example.org/too-slow/timed out", "ab" * 20


def test_what_is_fetched() -> None:
    bounded = ("prlimit", "--data=2000000000", "git", "--git-dir", "/c/copy")
    before = (*bounded, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
    assert git.fetch_commit(COPY, URL, AT, most=9) == (*before, "--depth=1", "--filter=blob:limit=10", "--", URL, AT)
    both = ("+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
    assert git.fetch_all(COPY, URL) == (*before, "--", URL, *both)


@pytest.mark.parametrize(("commit", "more"), [(AT, ()), ("ab" * 32, ("--object-format=sha256",))])
def test_the_copy_is_made_of_nothing_else(commit: str, more: tuple[str, ...]) -> None:
    assert git.make(COPY, commit) == ("git", "init", "--quiet", "--bare", "--template=", *more, "--", "/c/copy")


PROTOCOLS = [("https://x/y", "http:https"), ("http://x/y", "http:https"), ("file:///x", "file"), ("", "")]


@pytest.mark.parametrize(("url", "allowed"), PROTOCOLS)
def test_git_knows_no_settings_but_those_it_is_given(url: str, allowed: str) -> None:
    found = git.variables(Path("/c"), url=url)
    assert found == {
        "HOME": "/c", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/c/.gitconfig", "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": allowed, "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1",
    }  # fmt: skip


UNREACHABLE, GONE = "cannot be reached", "there is no repository at"
FAILURES = [
    # what git printed, what is told, why, whether a retry may help; None for another way of fetching
    (f"fatal: unable to access '{URL}/': Could not resolve host: tls.example.org", UNREACHABLE, "Could not resolve host", True),
    (f"fatal: unable to access '{URL}/': gnutls_handshake() failed: Error in the pull function.", UNREACHABLE, "gnutls", True),
    (f"fatal: unable to access '{URL}/': server certificate verification failed. CAfile: none", UNREACHABLE, "certificate", True),
    (f"fatal: unable to access '{URL}/': Operation too slow. Less than 1000 bytes/sec", UNREACHABLE, "too slow", True),
    (f"fatal: unable to access '{URL}/': The requested URL returned error: 503", UNREACHABLE, "503", True),
    ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: index-pack failed", UNREACHABLE, "curl 18", True),
    (f"remote: Repository not found.\nfatal: repository '{URL}/' not found", GONE, "not found", False),
    ("fatal: could not read Username for 'https://x': terminal prompts disabled", GONE, "Username", False),
    (f"fatal: {URL}/info/refs not valid: is this a git repository?", GONE, "is this a git", False),
    ("fatal: write error: No space left on device\nfatal: early EOF", "the disk is full", "no room", True),
    ("fatal: dumb http transport does not support shallow capabilities", None, "", False),
    ("error: Server does not allow request for unadvertised object abab", None, "", False),
    (f"fatal: remote error: upload-pack: not our ref of {URL}", None, "", False),
]


@pytest.mark.parametrize(("said", "what", "why", "retry"), FAILURES, ids=[row[0][:60] for row in FAILURES])
def test_why_nothing_could_be_fetched(said: str, what: str | None, why: str, retry: bool) -> None:
    error = git.failure(said, URL, final=False)
    if error is None:
        assert what is None
        last = git.failure(said, URL, final=True)
        assert last is not None and (last.what, last.retry) == (f"nothing can be fetched from {URL}", True)
    else:
        assert what is not None and what in error.what and why in error.why
        assert error.retry is retry
        assert error.fix


def test_what_is_said_without_an_end_is_read_from_its_end() -> None:
    error = git.failure(f"fatal: Connection refused\n{'x' * LONGEST_OUTPUT}\nfatal: no\n", URL, final=True)
    assert error is not None and (error.what, error.why) == (f"nothing can be fetched from {URL}", "no")


def test_the_servers_words_cannot_steer_a_terminal() -> None:
    error = git.failure("fatal: \x1b[31mno\x07\n", URL, final=True)
    assert error is not None and error.why == "no"


ENTRIES = [
    ("100644 blob abc\tr.yml\0", git.Entry(git.FILE, "abc")), ("100755 blob abc\tr.yml\0", git.Entry(git.FILE, "abc")),
    ("120000 blob abc\tr.yml\0", git.Entry(git.LINK, "abc")), ("040000 tree abc\tr\0", git.Entry(git.FOLDER, "abc")),
    ("160000 commit abc\tr\0", git.Entry(git.OTHER_REPOSITORY, "abc")), ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "entry"), ENTRIES)
def test_what_is_at_a_path(text: str, entry: git.Entry | None) -> None:
    assert git.parsed_entry(text) == entry
