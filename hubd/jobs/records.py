"""What conda's records say of an environment, whether or not it was conda that wrote them.

They are compared with a lock, and each that is the same in several environments is kept once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from hubd.errors import HubdError
from hubd.host import files
from hubd.jobs.work import Work
from hubd.tools.lock import CondaPackage, Lock
from hubd.words import named


def installed(prefix: Path) -> Iterator[CondaPackage]:
    """What the records in an environment say that it consists of."""
    for name in files.children(prefix / "conda-meta"):
        if name.endswith(".json"):
            record = json.loads(files.read(prefix / "conda-meta" / name) or b"{}")
            told = {key: str(record.get(key) or "") for key in ("name", "version", "build", "url", "sha256")}
            yield CondaPackage(**told)


def check_against(lock: Lock, prefix: Path, packages: Path) -> None:
    """Raise HubdError unless the environment consists of what the lock says, as far as anybody kept a checksum.

    packages: the package cache. conda itself does not look at the checksums of what it takes from a folder.
    """
    asked, found = ({each.url: each for each in some} for some in (lock.conda, installed(prefix)))
    if asked.keys() != found.keys():
        lost, more = (tuple(sorted(one.keys() - other.keys())) for one, other in ((asked, found), (found, asked)))
        why = "; ".join(f"{word} {named(urls, 3)}" for word, urls in (("without", lost), ("with", more)) if urls)
        raise HubdError("the environment is not what its lock says", why=why, retry=True)
    for url, package in asked.items():
        for digest in (found[url].sha256, _digest(packages / url.rpartition("/")[2])):
            if package.sha256 and digest and digest != package.sha256:
                why = f"the SHA-256 of {url} is {digest}, and the lock says {package.sha256}"
                raise HubdError("a download is not the file it should be", why=why, fix="Do not use it before you know why.")


# Below the package cache.
KEPT = "records"


def share_records(work: Work, prefix: Path) -> None:
    """Let records that are the same in other environments be one file with theirs, by hard links, and all of them be short.

    Those of packages with many files are megabytes.
    """
    store = work.path("cache") / KEPT
    for name in files.children(prefix / "conda-meta"):
        if name.endswith(".json"):
            files.make_directory(store, mode=0o755)
            path = prefix / "conda-meta" / name
            text = json.dumps(json.loads(files.read(path) or b"{}"), separators=(",", ":")).encode()
            kept = store / f"{hashlib.sha256(text).hexdigest()}.json"
            # What a full disk or a kill cut off is not taken.
            if files.read(kept) != text:
                files.write_atomic(kept, text, mode=0o444)
            if not files.share(kept, path):
                files.write_atomic(path, text, mode=0o444)


def forget_unshared(cache: Path) -> None:
    """Remove the records that are in no environment any more."""
    for kept in (cache / KEPT).glob("*.json"):
        if kept.lstat().st_nlink < 2:
            files.remove(kept)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # not every cache keeps the archives
        return ""
