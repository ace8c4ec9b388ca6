"""What is wrong with a configuration: every problem with its place, its path, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hubd.config.path import Path, dotted
from hubd.errors import ExitCode, HubdError

SHOWN = 50
QUOTED = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    path: the option it is about, as keys; empty where it is about the text as a whole.
    message: what is wrong, in plain words, without a full stop.
    fix: what to write instead.
    line, column: where in the text, counted from 1; 0 where the text does not matter.
    """

    path: Path
    message: str
    fix: str = ""
    line: int = 0
    column: int = 0

    @property
    def name(self) -> str:
        return dotted(self.path)

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}" if self.line else ""
        told = f"{self.message}; {self.fix}" if self.fix else self.message
        return ": ".join(part for part in (place, self.name, told) if part)


class ConfigInvalid(HubdError):
    """The configuration can't be used: `problems` says everything that is wrong with it.

    source: what was read, as a person knows it, such as a file's path.
    """

    code = ExitCode.CONFIG_INVALID

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        self.source = source
        count = "a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(
            f"{source or 'the configuration'} has {count}",
            why="; ".join(str(problem) for problem in self.problems[:1]),
            fix="mend the lines named, then look with `hubd config validate`" if any(it.line for it in problems) else "",
        )

    def lines(self, shown: int = SHOWN) -> Iterator[str]:
        """One line of text for each problem, at most `shown` of them, and one that says how many are left out."""
        for problem in self.problems[:shown]:
            yield str(problem)
        if len(self.problems) > shown:
            yield f"… and {len(self.problems) - shown} more problems"


def quoted(value: object) -> str:
    """`value` as it is shown in a message: never longer than a glance, never with control characters."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else "�" for char in text[: QUOTED + 1])
    return f"`{text[:QUOTED]}…`" if len(text) > QUOTED else f"`{text}`"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was probably meant to be, or an empty string."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:QUOTED], by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""


def listed(words: Iterable[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    names = [f"`{word}`" for word in words]
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else "".join(names)
