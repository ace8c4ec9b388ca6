"""Says, in all the places where people try to install something into a shared environment, that it cannot be changed there."""

from __future__ import annotations

import shlex
from pathlib import Path

from hubd.host import files

# Whoever reads it may have environments of their own or not, which a build cannot know.
SENTENCE = (
    "The environment {0} is shared and cannot be changed here: ask whoever runs this hub to add what you need "
    "(hubd config add-item environments.{0}.packages PACKAGE), or make one of your own, if you may: "
    "hubd env create NAME PACKAGE"
)

# Where IPython of an environment looks for what every kernel of it runs at its start, whoever's it is.
STARTUP = "etc/ipython/startup/00-hubd-shared.py"

# Runs in the environment's own Python, which may be an old one.
MAGICS = '''\
# Written by hubd: %pip, %conda and the like do not change an environment that is shared.
def _hubd_shared(sentence):
    from IPython import get_ipython
    from IPython.core.error import UsageError

    changes = ("install", "uninstall", "update", "upgrade", "remove", "sync")
    elsewhere = ("-n", "--name", "-p", "--prefix", "-t", "--target", "--root")

    def guarded(name, magic):
        def run(line):
            words = line.replace("=", " ").split()
            command = [word for word in words if not word.startswith("-")][name == "uv":][:1]
            if command and command[0] in changes and not set(words).intersection(elsewhere):
                raise UsageError(sentence)
            return magic(line)

        run.__doc__ = magic.__doc__
        return run

    shell = get_ipython()
    # All are looked up first: newer IPythons load them at the first look, and put them in the place of what is there.
    found = [(name, shell.find_line_magic(name)) for name in ("pip", "conda", "mamba", "micromamba", "uv")]
    for name, magic in found:
        if magic:
            shell.register_magic_function(guarded(name, magic), "line", name)


_hubd_shared({!r})
del _hubd_shared
'''


def refuse_changes(prefix: Path, name: str) -> None:
    """Put the sentence where pip, IPython and the shell find it."""
    sentence = SENTENCE.format(name)
    for library in prefix.glob("lib/python*"):
        _write(prefix / STARTUP, MAGICS.replace("{!r}", repr(sentence)))
        if (prefix / "conda-meta").is_dir():
            # PEP 668: pip gives this for an answer.
            _write(library / "EXTERNALLY-MANAGED", f"[externally-managed]\nError={sentence}\n")
        elif not (library / "site-packages/pip").exists():
            # It means nothing in a venv, but those of uv have no pip: without this, somebody else's would be found.
            _write(library / "site-packages/pip/__init__.py", f'"""{sentence}"""\n')
            _write(library / "site-packages/pip/__main__.py", f"import sys\n\nsys.exit({sentence!r})\n")
            for command in ("pip", "pip3"):
                start = f'#!/bin/sh\nexec {shlex.quote(str(prefix / "bin/python"))} -m pip "$@"\n'
                _write(prefix / "bin" / command, start, mode=0o755)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # By rename: what is there may be one file with the package cache.
    files.write_atomic(path, text.encode(), mode=mode)
