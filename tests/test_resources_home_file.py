"""A file in somebody's home: made as that person, never in the place of anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeHost

from hubd.errors import CommandFailed, HubdError
from hubd.host.commands import Result
from hubd.resources.home_file import HomeFile

pytestmark = pytest.mark.real_programs
WISH = HomeFile(account="ada", file=".condarc", text="channels: []\n", meaning="settings")


@pytest.fixture
def home(host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada's home, with programs that really run."""
    folder = tmp_path / "ada"
    folder.mkdir()
    host.accounts.add("ada", os.geteuid(), home=folder)

    def run(argv: tuple[str, ...], *, user: str, stdin: bytes = b"", **options: Any) -> Result:
        assert user == "ada" and options["mute"] and options["timeout"] <= 10, "never as root, who waits for nobody"
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise CommandFailed(argv, code=done.returncode, output=done.stderr.decode())
        return Result(argv, 0, "", "")

    monkeypatch.setattr(host.commands, "run", run)
    return folder


def test_it_is_made_where_nothing_is(host: FakeHost, home: Path) -> None:
    (step,) = WISH.steps(WISH.observe(host))
    assert step.say == "write .condarc into ada's home (settings)"
    os.mkfifo(home / ".condarc.hubd")  # whoever could foresee the name would keep hubd waiting
    step.do(host)
    assert (home / ".condarc").read_text() == "channels: []\n"
    assert sorted(path.name for path in home.iterdir()) == [".condarc", ".condarc.hubd"]
    assert WISH.steps(WISH.observe(host)) == ()


def test_what_somebody_put_there_stays(host: FakeHost, home: Path) -> None:
    (step,) = WISH.steps(WISH.observe(host))
    (home / ".condarc").symlink_to("/nowhere")
    assert WISH.steps(WISH.observe(host)) == ()
    with pytest.raises(HubdError, match="could not write into"):  # its maker was faster
        step.do(host)
    assert os.readlink(home / ".condarc") == "/nowhere"


def test_without_a_home_of_their_own_nothing_is_done(host: FakeHost, home: Path) -> None:
    host.accounts.add("ada", 3_999_999_999, home=home)
    assert WISH.steps(WISH.observe(host)) == ()
    host.accounts.add("ada", os.geteuid(), home=home / "none")
    assert WISH.steps(WISH.observe(host)) == ()
    host.accounts.people.clear()
    assert WISH.steps(WISH.observe(host)) == ()
