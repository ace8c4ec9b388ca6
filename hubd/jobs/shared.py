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

    def absent(name):
        def magic(line):
            """Nothing: this IPython has none of that name."""
            raise UsageError("Line magic function `%{}` not found.".format(name))

        return magic

    shell = get_ipython()
    # All are looked up first: newer IPythons load them at the first look, and put them in the place of what is there.
    found = [(name, shell.find_line_magic(name)) for name in ("pip", "conda", "mamba", "micromamba", "uv")]
    for name, magic in found:
        # What every guide says to type is answered by old IPythons as well.
        if magic or name in ("pip", "conda"):
            shell.register_magic_function(guarded(name, magic or absent(name)), "line", name)


_hubd_shared({!r})
del _hubd_shared
'''

# PEP 668: what pip gives for an answer.
EXTERNALLY_MANAGED = "EXTERNALLY-MANAGED"

# Below site-packages: where pip keeps its commands, since version 10 and before.
COMMANDS = ("pip/_internal/commands", "pip/commands")

# Comes after the command in its own module, so that it runs in an old pip, on an old Python.
GUARD = '''

# Written by hubd: what tells a pip that an environment is not its to change (PEP 668) is not heeded by this one, or not here.
def _hubd_shared(command, sentence):
    import os
    import sys

    from ..exceptions import InstallationError

    # Another Python may run it: that of a venv that sees what is installed here, or the one of pip's option --python.
    here = os.path.realpath(__file__).startswith(os.path.join(os.path.realpath(sys.prefix), ""))

    def run(self, options, args, run=command.run):
        if here and not any(getattr(options, place, None) for place in ("target_dir", "prefix_path", "root_path", "dry_run")):
            raise InstallationError(sentence)
        return run(self, options, args)

    command.run = run


_hubd_shared({}, {!r})
'''


def refuse_changes(prefix: Path, name: str) -> None:
    """Put the sentence where pip, IPython and the shell find it."""
    sentence = SENTENCE.format(name)
    for library in prefix.glob("lib/python*"):
        _write(prefix / STARTUP, MAGICS.replace("{!r}", repr(sentence)))
        if (prefix / "conda-meta").is_dir():
            _write(library / EXTERNALLY_MANAGED, f"[externally-managed]\nError={sentence}\n")
        elif not (library / "site-packages/pip").exists():
            # It means nothing in a venv, but those of uv have no pip: without this, somebody else's would be found.
            _write(library / "site-packages/pip/__init__.py", f'"""{sentence}"""\n')
            _write(library / "site-packages/pip/__main__.py", f"import sys\n\nsys.exit({sentence!r})\n")
            for command in ("pip", "pip3"):
                start = f'#!/bin/sh\nexec {shlex.quote(str(prefix / "bin/python"))} -m pip "$@"\n'
                _write(prefix / "bin" / command, start, mode=0o755)


def guard_pip(prefix: Path, name: str) -> None:
    """Let a pip that does not heed PEP 668 give the sentence, too: an old one of conda's, and each one in a venv.

    Only when the environment is proven: until then, what is not as it came is taken for damage of the package cache.
    """
    conda = (prefix / "conda-meta").is_dir()
    for folder in (each for place in COMMANDS for each in prefix.glob(f"lib/python*/site-packages/{place}")):
        if not conda or b"externally_managed" not in (files.read(folder / "install.py") or b""):
            for command in ("install", "uninstall"):
                _guard(folder, command, SENTENCE.format(name))


def _guard(folder: Path, command: str, sentence: str) -> None:
    module = folder / f"{command}.py"
    text = files.read(module)
    if text is None:
        return
    files.write_atomic(module, text + GUARD.format(f"{command.capitalize()}Command", sentence).encode(), mode=0o644)
    # What was compiled would be run in its place.
    for compiled in (module.with_suffix(".pyc"), *folder.glob(f"__pycache__/{command}.*.pyc")):
        files.remove(compiled)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # By rename: what is there may be one file with the package cache.
    files.write_atomic(path, text.encode(), mode=mode)
