"""The variables of an environment: those that its kind means, and those that its packages' activation scripts set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hubd.errors import CommandFailed
from hubd.host import files
from hubd.jobs.work import Work
from hubd.tools.kernels import activated
from hubd.words import plain

SCRIPTS = "etc/conda/activate.d"

# For one script; conda itself would wait for ever, in each terminal.
LIMIT = 30
# Letters of all variables together: the mark is read with bounds, and no program starts with more than so much.
MOST = 100_000

# Whose they are is known only when somebody works: an activation does not decide about them.
PERSONAL = frozenset(("HOME", "USER", "LOGNAME", "MAIL", "SHELL", "TERM", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "PS1"))

# Runs a script as conda does, by `.` in bash. Both looks are complete only when the shell comes to its end; whatever the script
# prints goes to the log.
RUN = 'exec 3>&1 1>&2; /usr/bin/env -0 >&3; printf "\\0" >&3; . "$1"; code=$?; /usr/bin/env -0 >&3; exit "$code"'


def activation(work: Work, prefix: Path) -> dict[str, str]:
    """The variables that every program of the environment is to have.

    A script that fails is told in the log and does not end the build: conda takes no notice of it either, and whether the
    environment works is for the proof to say.
    """
    found = _of_its_kind(prefix, str(work.spec["environment"]))
    for name in files.children(prefix / SCRIPTS):
        if name.endswith(".sh"):
            work.phase(f"activating: {plain(name)}")
            more = found | _set_by(work, prefix / SCRIPTS / name, activated(prefix, found))
            if sum(len(key) + len(value) for key, value in more.items()) > MOST:
                _tell(name, "it sets too much")
            else:
                found = more
    return found


def _of_its_kind(prefix: Path, name: str) -> dict[str, str]:
    # What somebody has installed into a home must not decide what a shared environment imports.
    found = {"PYTHONNOUSERSITE": "1"}
    if (prefix / "conda-meta").is_dir():
        found |= {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": name}
    else:
        found |= {"VIRTUAL_ENV": str(prefix)}
    if (prefix / "lib/R").is_dir():
        found |= {"R_HOME": str(prefix / "lib/R")}
    return found


def _set_by(work: Work, script: Path, before: Mapping[str, str]) -> dict[str, str]:
    """What one script sets or changes."""
    argv = ("/bin/bash", "--noprofile", "--norc", "-c", RUN, "bash", str(script))
    try:
        limit, variables = min(LIMIT, work.left), {**before, "HOME": str(work.path("cache"))}
        result = work.commands.run(argv, check=False, timeout=limit, environment=variables)
    except CommandFailed:
        work.check_time()
        _tell(script.name, f"it did not end within {LIMIT} seconds")
        return {}
    for line in result.err.splitlines():
        print(plain(line), flush=True)
    first, whole, second = result.out.partition("\0\0")
    if result.code:
        _tell(script.name, f"it exited with {result.code}")
    if not whole or not second:
        return {}
    known = dict(_pairs(first))
    return {name: value for name, value in _pairs(second) if known.get(name) != value and name not in PERSONAL}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for entry in text.split("\0"):
        name, equals, value = entry.partition("=")
        if equals:
            yield name, value


def _tell(script: str, why: str) -> None:
    print(f"the activation script {plain(script)} failed: {why}", flush=True)
