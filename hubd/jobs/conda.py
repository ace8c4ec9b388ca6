"""The job that installs conda from a checked installer."""

from __future__ import annotations

from hubd.errors import HubdError, last_line
from hubd.host import files
from hubd.jobs.clearing import clear
from hubd.jobs.work import Work
from hubd.tools.conda import install_conda


def install(work: Work) -> None:
    """Download, check and run the installer. Raises HubdError when one of them fails."""
    prefix, url = work.path("prefix"), str(work.spec["url"])
    installer = work.path("cache") / "miniconda.sh"
    work.phase(f"downloading {url}")
    shown = -10

    def progress(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // total if total else 0
        if percent >= shown + 10:
            shown = percent
            work.phase(f"downloading conda, {percent} %")

    work.web.download(url, installer, sha256=str(work.spec["sha256"]), progress=progress)
    for name in files.children(prefix):
        clear(prefix / name)
    work.phase("installing conda")
    result = work.run(install_conda(installer, prefix), HOME=str(work.path("cache")))
    files.remove(installer)
    if result.code != 0 or not (prefix / "bin/conda").exists():
        raise HubdError("conda's installer failed", why=last_line(result.err or result.out), retry=True)
