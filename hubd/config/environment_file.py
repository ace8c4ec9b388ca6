"""An environment.yml, as conda has them, becomes channels, packages and a pip part, or every problem with its line. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hubd.config.checks import lacking_kernel
from hubd.config.nodes import Node
from hubd.config.path import Path
from hubd.config.problems import ConfigInvalid, Problem, quoted
from hubd.config.text import compose, decode
from hubd.errors import HubdError

SHOWN = 5
_PACKAGE = re.compile(r"[^\s\x00-\x1f-][^\x00-\x1f]*")
_CHANNEL = re.compile(r"[^\s\x00-\x1f-][^\s\x00-\x1f]*")
_KNOWN = ("name", "channels", "dependencies", "prefix")


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """What an environment.yml asks for. notices: what of it is not used, in words."""

    channels: tuple[str, ...]
    packages: tuple[str, ...]
    pip: tuple[str, ...]
    notices: tuple[str, ...] = ()


@functools.lru_cache(maxsize=256)
def parse_environment_file(text: bytes | str, *, source: str, language: str, also: tuple[str, ...] = ()) -> EnvironmentFile:
    """What the file asks for. Raises ConfigInvalid with every problem.

    source: what the text is, for messages. language: of the kernel, whose package must be among the others, or among `also`.
    """
    root, problems = compose(decode(text, source=source))
    if not problems and (root is None or not isinstance(root.data, dict)):
        problems = [Problem((), "is not an environment.yml", "start it with `dependencies:` and a list below it", 1, 1)]
    if problems or root is None:
        raise ConfigInvalid(problems, source=source)
    reading = _Reading()
    reading.take(root)
    packages = (*reading.packages, *reading.pip, *also)
    lacking = lacking_kernel(packages, language) if not reading.problems else None
    if lacking:
        at = root.children["dependencies"]
        reading.problems.append(Problem(("dependencies",), *lacking, at.key_line, at.key_column))
    if reading.problems:
        raise ConfigInvalid(reading.problems, source=source)
    found = (reading.channels, reading.packages, reading.pip, reading.notices)
    return EnvironmentFile(*map(tuple, found))


@dataclass(slots=True)
class _Reading:
    """What was found so far."""

    channels: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    pip: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def take(self, root: Node) -> None:
        for key, node in root.children.items():
            if key not in _KNOWN:
                words = "remove it; known here are " + ", ".join(_KNOWN)
                self.problems.append(Problem((key,), "is not used by hubd", words, node.key_line, node.key_column))
        if "prefix" in root.children:
            self.notices.append("its `prefix:` is not used, as each build has a folder of its own")
        for path, node in self._items(root, "channels"):
            # It keeps conda from adding its own channels, which a build never does.
            if node.data != "nodefaults" and self._fits(_CHANNEL, "a channel", path, node):
                self.channels.append(str(node.data))
        if "dependencies" not in root.children:
            self.problems.append(Problem(("dependencies",), "is missing", "write the packages as a list below it", 1, 1))
        for path, node in self._items(root, "dependencies"):
            self._dependency(path, node)

    def _dependency(self, path: Path, node: Node) -> None:
        if isinstance(node.data, dict):
            for key, inner in node.children.items():
                if key != "pip":
                    self.problems.append(_problem((*path, key), inner, "is not a kind of packages", "write `pip:` or remove it"))
            for place, item in self._items(node, "pip", path):
                self._pip(place, item)
        elif self._fits(_PACKAGE, "a package", path, node):
            self.packages.append(str(node.data))

    def _pip(self, path: Path, node: Node) -> None:
        text = str(node.data)
        if re.match(r"(-e|--editable)\b", text):
            said = "is an editable installation, which nobody could build again"
            self.problems.append(_problem(path, node, f"{quoted(text)} {said}", "write `name @ git+https://…`, without -e"))
        elif text.startswith("-"):
            said = "is an option of pip, and the index is set up for the whole machine"
            self.problems.append(_problem(path, node, f"{quoted(text)} {said}", "write the packages themselves"))
        elif self._fits(_PACKAGE, "a package", path, node):
            self.pip.append(text)

    def _items(self, node: Node, key: str, before: Path = ()) -> Iterator[tuple[Path, Node]]:
        """What the list at `key` holds, each with its path; nothing where there is none."""
        at = node.children.get(key)
        if at is None or at.data is None:
            return
        if not isinstance(at.data, list):
            self.problems.append(_problem((*before, key), at, "is not a list", "write each on a line of its own, after `- `"))
            return
        for number, item in at.children.items():
            yield (*before, key, number), item

    def _fits(self, pattern: re.Pattern[str], what: str, path: Path, node: Node) -> bool:
        fits = isinstance(node.data, str) and pattern.fullmatch(node.data) is not None
        if not fits:
            shown = quoted(node.raw) if node.raw is not None else "this"
            self.problems.append(_problem(path, node, f"{shown} is not {what}", "write its name, in quotes if it is a number"))
        return fits


def _problem(path: Path, node: Node, message: str, fix: str) -> Problem:
    return Problem(path, message, fix, node.line, node.column)


def not_usable(error: ConfigInvalid, place: str) -> HubdError:
    """The same problems as the error of an environment, for one line of a status."""
    more = f"; and {len(error.problems) - SHOWN} more" if len(error.problems) > SHOWN else ""
    why = "; ".join(map(str, error.problems[:SHOWN])) + more
    return HubdError(f"{place} cannot be used as it is", why=why, fix="Mend the lines named.")
