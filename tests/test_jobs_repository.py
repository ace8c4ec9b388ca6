"""One file of a git repository at an exact commit, by git itself: what is had, and every way in which nothing is."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import os
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hubd.errors import HubdError
from hubd.host.commands import Commands
from hubd.host.web import Web
from hubd.jobs import repository
from hubd.jobs.work import Work
from hubd.tools.git import SETTINGS, variables

pytestmark = pytest.mark.real_programs

MOST = 100_000
FIRST, SECOND = "dependencies: [python]\n", "dependencies: [python, r-base] # é\n"
NOWHERE = "0123456789" * 4
AS_SOMEBODY = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *words: str) -> str:
    """Run git as somebody with no settings, as whom a repository is made."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(("git", *AS_SOMEBODY, *words), cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=more")
    return git(folder, "rev-parse", "HEAD")


def fill(folder: Path) -> None:
    """Put into a repository whatever may lie in one."""
    (folder / "environments/deep").mkdir(parents=True)
    (folder / "environments/r.yml").write_text(FIRST)
    (folder / "environments/deep/x.yml").write_text(FIRST)
    (folder / "link.yml").symlink_to("/etc/shadow")
    (folder / "away").symlink_to("/etc")
    (folder / "large.yml").write_bytes(os.urandom(MOST + 1))
    (folder / "just.yml").write_text("x" * MOST)
    (folder / "binary.yml").write_bytes(b"\xff\xfea\0")
    (folder / "lfs.yml").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    (folder / "bell\a\x1b[31m.yml").touch()


class Served:
    """A repository as it is served. commits: by a word."""

    def __init__(self, folder: Path, kind: str = "sha1") -> None:
        self.path, source = folder / "served.git", folder / "source"
        source.mkdir(parents=True)
        git(source, "init", "--quiet", f"--object-format={kind}")
        fill(source)
        self.commits = {"first": commit(source)}
        (source / "environments/r.yml").write_text(SECOND)
        git(source, "submodule", "--quiet", "add", str(source), "other") if kind == "sha1" else None
        self.commits["second"] = commit(source)
        git(source, "tag", "--annotate", "--message=x", "autumn")
        self.commits["tag"] = git(source, "rev-parse", "autumn")
        git(folder, "clone", "--quiet", "--bare", str(source), str(self.path))
        git(self.path, "update-server-info")

    @property
    def url(self) -> str:
        return f"file://{self.path}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("git"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def fetch(
    cache: Path, url: str, at: str, place: str = "environments/r.yml", *, time: int = 60, said: Any = None,
    always: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    limits = {"memory": None, "cpu": None, "time": time}
    phases: list[str] = said if said is not None else []
    work = Work(
        spec={"cache": str(cache), "job": "env-a", "limits": limits}, commands=Commands(always=always), web=Web(),
        phase=phases.append, doing=lambda: phases[-1] if phases else "",
    )  # fmt: skip
    return repository.text_of(work, {"url": url, "commit": at, "place": place}, most=MOST)


def refused(cache: Path, url: str, at: str, place: str = "environments/r.yml", **options: Any) -> HubdError:
    with pytest.raises(HubdError) as caught:
        fetch(cache, url, at, place, **options)
    assert os.listdir(cache) == ["repository-env-a.lock"], "nothing of it is left"
    return caught.value


@pytest.mark.parametrize(("at", "text"), [("first", FIRST), ("second", SECOND), ("tag", SECOND)])
def test_the_text_is_that_of_the_commit(
    cache: Path, served: Served, capsys: pytest.CaptureFixture[str], at: str, text: str
) -> None:
    said: list[str] = []
    assert fetch(cache, served.url, served.commits[at], said=said) == text
    assert "dependencies" not in capsys.readouterr().out, "none of it is in the log"
    assert said == [f"fetching environments/r.yml of {served.url} at {served.commits[at][:12]}"]
    assert os.listdir(cache) == ["repository-env-a.lock"]


def test_a_repository_with_long_names_of_its_commits(cache: Path, tmp_path: Path) -> None:
    longer = Served(tmp_path / "longer", "sha256")
    assert fetch(cache, longer.url, longer.commits["first"]) == FIRST
    assert "has no commit" in refused(cache, longer.url, NOWHERE[:32] * 2).what


UNUSABLE = [
    # path, words of the message
    ("environments/r.yaml", ["there is no environments/r.yaml of file://", "the folder environments has no r.yaml; there are ",
                             "Did you mean environments/r.yml?"]),
    ("enviroments/r.yml", ["its first folder has no enviroments; there are ", "Did you mean environments?"]),
    ("nothing-like-it", ["bell.yml", "Correct the path"]),
    ("environments", ["cannot be used", "environments is a folder and no file"]),
    ("environments/r.yml/x", ["environments/r.yml is a file and no folder"]),
    ("link.yml", ["cannot be used", "link.yml is a symbolic link, and none is followed"]),
    ("away/shadow", ["away is a symbolic link, and none is followed", "Name the file"]),
    ("other", ["other is another repository (a submodule), which is not followed"]),
    ("other/environments/r.yml", ["other is another repository"]),
    ("large.yml", ["is too large", "at most 100 kB are read, and it has 100 kB"]),
    ("binary.yml", ["cannot be read", "it is not text"]),
    ("lfs.yml", ["is not in the repository", "Git LFS keeps it elsewhere"]),
    ("*.yml", ["has no *.yml"]),
    (":(top)lfs.yml", ["has no :(top)lfs.yml"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "words"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_what_is_no_file_is_told(cache: Path, served: Served, place: str, words: list[str]) -> None:
    error = refused(cache, served.url, served.commits["second"], place)
    told = f"{error} {error.fix}"
    assert all(word in told for word in words), told
    assert error.retry is False
    assert told.isprintable()


def test_a_file_that_is_just_short_enough(cache: Path, served: Served) -> None:
    assert fetch(cache, served.url, served.commits["first"], "just.yml") == "x" * MOST


def test_a_folder_of_very_many_files_is_not_read_out(cache: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "LONGEST_FOLDER", 10)
    error = refused(cache, served.url, served.commits["first"], "environments/r.yaml")
    assert (error.why, error.fix) == ("the folder environments has no r.yaml", "Correct the path.")


def test_a_copy_that_cannot_be_made(cache: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository.git, "make", lambda path, commit: ("git", "init", "--object-format=md5", "--", str(path)))
    error = refused(cache, served.url, served.commits["first"])
    assert error.what == f"nothing can be fetched from {served.url}" and "md5" in error.why


def test_a_large_file_is_not_even_fetched_where_the_server_can_leave_it_out(cache: Path, tmp_path: Path) -> None:
    choosy = Served(tmp_path / "choosy")
    git(choosy.path, "config", "uploadpack.allowFilter", "true")
    assert fetch(cache, choosy.url, choosy.commits["first"]) == FIRST
    error = refused(cache, choosy.url, choosy.commits["first"], "large.yml")
    assert error.why == "at most 100 kB are read, and it has more"


def test_a_commit_that_is_not_there(cache: Path, served: Served) -> None:
    said: list[str] = []
    error = refused(cache, served.url, NOWHERE, said=said)
    assert (error.what, error.retry) == (f"{served.url} has no commit {NOWHERE}", False)
    assert len(said) == 1, "who says that is not asked for all"
    assert "Correct the commit" in error.fix
    folder = git(served.path, "rev-parse", f"{served.commits['first']}^{{tree}}")
    assert refused(cache, served.url, folder).what == f"{served.url} has no commit {folder}", "it has that, and it is none"


def test_a_repository_of_this_machine_that_is_not_there(cache: Path, tmp_path: Path) -> None:
    error = refused(cache, f"file://{tmp_path}/none.git", NOWHERE)
    assert (error.what, error.retry) == (f"there is no repository at file://{tmp_path}/none.git that can be read", False)
    assert "does not appear to be a git repository" in error.why
    assert "let the account hubd-build read it" in error.fix


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files as they are, which git calls dumb, and a status for each number in an address.

    Below /endless is a repository with one object that has no end, and below /talkative one with branches without
    end. heard: who said who they are, and as whom.
    """

    heard: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        first = self.path.split("/")[1]
        self.heard += self.headers.get_all("Authorization", [])
        if first == "endless":
            self._endless()
        elif first == "talkative":
            self._talk()
        elif first.isdigit():
            self.send_error(int(first))
        else:
            super().do_GET()

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        if "/info/refs" in self.path:
            self.wfile.write(f"{NOWHERE}\trefs/heads/main\n".encode())
        elif NOWHERE[2:] in self.path:
            packer = zlib.compressobj(0)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(packer.compress(b"blob %d\0" % 10**12))
                while True:
                    self.wfile.write(packer.compress(bytes(1000)))

    def _talk(self) -> None:
        self.send_response(200)
        self.end_headers()
        branches = b"".join(b"%s\trefs/heads/%05d\n" % (NOWHERE.encode(), number) for number in range(10_000))
        with contextlib.suppress(ConnectionError):
            while True:
                self.wfile.write(branches)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def dumb(served: Served) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served.path.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.real_sockets
def test_a_server_that_gives_no_single_commits_is_asked_for_all(cache: Path, served: Served, dumb: str) -> None:
    said: list[str] = []
    assert fetch(cache, f"{dumb}/served.git", served.commits["first"], said=said) == FIRST
    assert said[-1] == f"fetching all of {dumb}/served.git, which gives no single commits"
    assert "has no commit" in refused(cache, f"{dumb}/served.git", NOWHERE).what


ANSWERS = [
    ("404", "there is no repository at", "not found", False),
    ("401", "there is no repository at", "could not read Username", False),
    ("403", "there is no repository at", "403", False),
    ("source/environments", "there is no repository at", "not found", False),
    ("500", "cannot be reached", "500", True),
    ("429", "cannot be reached", "429", True),
]


@pytest.mark.real_sockets
@pytest.mark.parametrize(("path", "what", "why", "retry"), ANSWERS)
def test_what_a_server_refuses(cache: Path, dumb: str, path: str, what: str, why: str, retry: bool) -> None:
    said: list[str] = []
    error = refused(cache, f"{dumb}/{path}", NOWHERE, said=said)
    assert len(said) == 1, "who says that is not asked for all"
    assert what in error.what and f"{dumb}/{path}" in error.what
    assert why in error.why
    assert error.retry is retry


def test_a_server_that_is_not_there_is_asked_again_later(cache: Path) -> None:
    error = refused(cache, "http://127.0.0.1:1/x", NOWHERE)
    assert (error.what, error.retry) == ("http://127.0.0.1:1/x cannot be reached", True)
    assert "Failed to connect" in error.why


def test_no_other_way_than_the_ones_of_the_config_is_taken(cache: Path, tmp_path: Path) -> None:
    error = refused(cache, f"ext::touch {tmp_path}/harmed", NOWHERE)
    assert "transport 'ext' not allowed" in error.why
    assert not (tmp_path / "harmed").exists()


def test_a_repository_that_is_too_large_is_not_used(cache: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "MOST_FETCHED", MOST)
    error = refused(cache, served.url, served.commits["first"])
    assert (error.what, error.why, error.retry) == (
        f"{served.url} is too large", "at most 100 kB of a repository are fetched, and there is more", False,
    )  # fmt: skip
    assert "let its server leave large files out" in error.fix
    monkeypatch.setattr(repository, "MOST_FETCHED", 2 * MOST)
    assert fetch(cache, served.url, served.commits["first"]) == FIRST


@pytest.mark.real_sockets
def test_a_server_that_sends_without_an_end_is_not_heard_to_the_end(
    cache: Path, dumb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "MOST_FETCHED", 10**6)
    monkeypatch.setattr(repository, "LOOK", 0.05)
    began = time.monotonic()
    assert refused(cache, f"{dumb}/endless", NOWHERE, time=20).what == f"{dumb}/endless is too large"
    assert time.monotonic() - began < 15


@pytest.fixture
def evil(tmp_path: Path) -> dict[str, str]:
    """What a host may tell each git, by every way there is: to look elsewhere, as somebody, and to run what it has."""
    home, template = tmp_path / "evil", tmp_path / "template"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/harmed\n")
    hook.chmod(0o755)
    for name in ("reference-transaction", "post-checkout"):
        (template / "hooks").mkdir(parents=True, exist_ok=True)
        (template / "hooks" / name).symlink_to(hook)
    text = f"[url \"file:///nowhere/\"]\n\tinsteadOf = file://\n[init]\n\ttemplateDir = {template}\n"
    text += f"[core]\n\thooksPath = {template}/hooks\n\tfsmonitor = {hook}\n[uploadpack]\n\tpackObjectsHook = {hook}\n"
    for path in (home / ".gitconfig", home / ".config/git/config", tmp_path / "system", template / "config"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (home / ".netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "GIT_CONFIG_SYSTEM": str(tmp_path / "system")}
    return {**places, "GIT_TEMPLATE_DIR": str(template)}


def test_what_a_host_tells_git_does_not_count(cache: Path, tmp_path: Path, served: Served, evil: dict[str, str]) -> None:
    assert fetch(cache, served.url, served.commits["first"], always=evil) == FIRST
    assert not (tmp_path / "harmed").exists()


def test_git_knows_these_settings_and_no_others(cache: Path, evil: dict[str, str]) -> None:
    (cache / ".gitconfig").write_text(SETTINGS)
    found = Commands(always=evil).run(("git", "config", "--list"), environment=variables(cache)).out.splitlines()
    assert found == [
        "safe.directory=*", "core.hookspath=/dev/null", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false",
        "http.lowspeedlimit=1000", "http.lowspeedtime=60",
    ]  # fmt: skip


@pytest.mark.real_sockets
def test_nobody_is_signed_in_by_what_lies_in_a_home(cache: Path, dumb: str, evil: dict[str, str]) -> None:
    Handler.heard.clear()
    assert "there is no repository at" in refused(cache, f"{dumb}/401", NOWHERE, always=evil).what
    assert Handler.heard == []


def test_a_repository_of_somebody_else_is_read(cache: Path, served: Served) -> None:
    assert fetch(cache, served.url, served.commits["first"], always={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}) == FIRST


# Each of the two holds alone: what the other is set to here lets it run.
ALONE = [{"GIT_NO_LAZY_FETCH": "0"}, {"GIT_ALLOW_PROTOCOL": "file:ext"}]


@pytest.mark.parametrize("without", ALONE, ids=[*map(str, ALONE)])
def test_a_repository_that_has_git_run_something_to_complete_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: dict[str, str]
) -> None:
    hostile = Served(tmp_path / "hostile")
    lost = git(hostile.path, "rev-parse", f"{hostile.commits['first']}:environments/r.yml")
    git(hostile.path, "config", "core.repositoryformatversion", "1")
    for name, value in (("promisor", "true"), ("url", f"ext::touch {tmp_path}/harmed")):
        git(hostile.path, "config", f"remote.evil.{name}", value)
    git(hostile.path, "config", "extensions.partialClone", "evil")
    git(hostile.path, "config", "protocol.ext.allow", "always")
    (hostile.path / "objects" / lost[:2] / lost[2:]).unlink()
    monkeypatch.setattr(repository.git, "variables", lambda *given, **more: {**variables(*given, **more), **without})
    refused(cache, hostile.url, hostile.commits["first"])
    assert not (tmp_path / "harmed").exists()


@pytest.mark.real_sockets
def test_a_server_that_tells_of_branches_without_an_end_takes_no_more_memory_than_git_may_have(
    cache: Path, dumb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository.git, "MOST_MEMORY", 50 * 10**6)
    error = refused(cache, f"{dumb}/talkative", NOWHERE, time=20)
    assert (error.what, error.why, error.retry) == (
        f"{dumb}/talkative is too large", "git may take 50 MB of memory for it, and needs more", False,
    )  # fmt: skip


def test_without_git_it_is_said_how_to_get_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.host.commands.PATH", str(tmp_path))
    error = refused(cache, "https://x.example/y", NOWHERE)
    assert (error.what, error.retry) == ("the program git is not on this machine", False)
    assert error.fix == "Install it: apt-get install git"


def test_the_time_of_the_build_counts(cache: Path, served: Served) -> None:
    assert "took longer than builds.time" in refused(cache, served.url, NOWHERE, time=0).what


def test_what_a_killed_one_left_is_gone_with_the_next(cache: Path, served: Served) -> None:
    for name in ("repository-env-a", ".repository-env-a.0123456789ab.hubd-gone"):
        (cache / name / "copy").mkdir(parents=True)
    git(cache, "init", "--quiet", "--bare", "repository-env-a/copy")
    git(cache / "repository-env-a/copy", "config", "url.file:///nowhere/.insteadOf", "file://")
    assert fetch(cache, served.url, served.commits["first"]) == FIRST
    assert os.listdir(cache) == ["repository-env-a.lock"]


def test_what_is_left_is_cleared_unless_somebody_fetches(cache: Path) -> None:
    (cache / "build.lock").touch()
    repository.clear_left(cache)
    assert os.listdir(cache) == ["build.lock"], "that of somebody else"
    (cache / "build.lock").unlink()
    (cache / "repository-env-a/copy").mkdir(parents=True)
    with (cache / "repository-env-a.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        repository.clear_left(cache)
        assert (cache / "repository-env-a/copy").is_dir()
    repository.clear_left(cache)
    assert os.listdir(cache) == []


def test_one_that_hangs_keeps_no_other_waiting(cache: Path, served: Served) -> None:
    with (cache / "repository-env-b.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert fetch(cache, served.url, served.commits["first"]) == FIRST


def test_the_certificates_of_this_host_are_used(cache: Path, monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    given: list[Any] = []

    class Seen(Commands):
        def run(self, argv: tuple[str, ...], **options: Any) -> Any:
            given.append((argv, options["environment"]))
            return super().run(argv, **options)

    monkeypatch.setattr("test_jobs_repository.Commands", Seen)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/own.pem")
    fetch(cache, served.url, served.commits["first"])
    fetches = [environment for argv, environment in given if "fetch" in argv]
    assert [each["GIT_SSL_CAINFO"] for each in fetches] == ["/etc/own.pem"]
    # What only looks at the copy fetches nothing, also not what was left out of it.
    assert {each["GIT_ALLOW_PROTOCOL"] for argv, each in given if "fetch" not in argv} == {""}
