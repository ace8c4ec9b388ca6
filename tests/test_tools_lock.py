"""Locks: one text for one content, and the lines of explicit lists."""

from __future__ import annotations

import pytest

from hubd.errors import HubdError
from hubd.tools.lock import CondaPackage, Lock, conda_package, lock_text

SHA = "a" * 64
URL = "https://x.example/forge/linux-64/python-dateutil-2.9.0-pyhd8ed1ab_1.conda"


@pytest.mark.parametrize(
    ("line", "package"),
    [
        (URL, CondaPackage("python-dateutil", "2.9.0", "pyhd8ed1ab_1", URL)),
        (f" {URL}#sha256:{SHA}\n", CondaPackage("python-dateutil", "2.9.0", "pyhd8ed1ab_1", URL, SHA)),
        ("file:///srv/c/noarch/a-1-0.tar.bz2", CondaPackage("a", "1", "0", "file:///srv/c/noarch/a-1-0.tar.bz2")),
    ],
)
def test_a_line_of_an_explicit_list(line: str, package: CondaPackage) -> None:
    assert conda_package(line) == package
    assert package.line == line.strip()


@pytest.mark.parametrize(
    "line", ["", "@EXPLICIT", "numpy=2", "ftp://x/a-1-0.conda", "https://x/a-1.conda", "https://x/a-1-0.zip", f"{URL}#md5"]
)
def test_what_is_no_package(line: str) -> None:
    with pytest.raises(HubdError, match="is not the address of a conda package"):
        conda_package(line)


def test_one_content_is_one_text() -> None:
    one, two = conda_package(URL), CondaPackage("a", "1", "0", "file:///c/noarch/a-1-0.conda", SHA)
    pip = ("b==2 --hash=sha256:1", "a @ https://x/it's.whl")
    text = lock_text(Lock(manager="conda", platform="linux-64", python="3.11", conda=(one, two), pip=pip))
    assert text == lock_text(Lock(manager="conda", platform="linux-64", python="3.11", conda=(two, one), pip=pip[::-1]))
    assert text.splitlines()[1:] == [
        "manager: conda", "platform: linux-64", "python: '3.11'", "conda:", f"  - 'file:///c/noarch/a-1-0.conda#sha256:{SHA}'",
        f"  - '{URL}'", "pip:", "  - 'a @ https://x/it''s.whl'", "  - 'b==2 --hash=sha256:1'",
    ]  # fmt: skip
    assert lock_text(Lock(manager="uv", platform="linux-64")).splitlines()[1:] == ["manager: uv", "platform: linux-64"]
