"""Which generation of an environment is meant when somebody goes back, or forward again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hubd.errors import HubdError, UsageError
from hubd.words import named, to_build_anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How an environment is before somebody decides.

    current: the generation that is switched on; 0 for none. held: the one that somebody went back to before.
    asked: the one that config.yaml's own wish would switch on; 0 while it is not built. left: the one that was on before somebody
    went back, where it is frozen: no wish leads there, as it stays at what is on; 0 for none. whole: the numbers that can be
    switched on, the newest first. broken: what the others lack, by number.
    """

    name: str
    current: int = 0
    held: int = 0
    asked: int = 0
    left: int = 0
    whole: tuple[int, ...] = ()
    broken: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """generation: what is switched on from now on, whatever config.yaml asks for; 0 for what it asks for.

    unchanged: why there is nothing to do; empty where there is. forward: what is switched on once, and is what stays; 0 for none.
    """

    generation: int
    unchanged: str = ""
    forward: int = 0


def choice(before: Before, *, to: int = 0, undo: bool = False) -> Choice:
    """What is meant. to: a number that was asked for. Raises HubdError where there is no such way."""
    if undo:
        return _undone(before)
    return _named(before, to) if to else _older(before)


def _undone(before: Before) -> Choice:
    if not before.held:
        return Choice(0, f"{before.name} is not rolled back")
    if not before.left or before.asked not in (0, before.current):  # there is what config.yaml asks for
        return Choice(0)
    if before.left not in before.whole:
        raise HubdError(
            f"{before.name} cannot go forward again: generation {before.left} is gone",
            why="it is frozen, so that nothing is built for what config.yaml asks for",
            fix=f"To another one: --to NUMBER   {to_build_anew(before.name, frozen=True)}",
        )
    return Choice(0, forward=before.left)


def _older(before: Before) -> Choice:
    # Two who press the button at once mean the same step back, not two.
    if before.held:
        further = [number for number in before.whole if number < before.held]
        more = f"; further back: --to {further[0]}" if further else ""
        return Choice(before.held, f"{before.name} is rolled back to generation {before.held} already{more}")
    older = [number for number in before.whole if number < before.current]
    if older:
        return Choice(older[0])
    if before.current == 1 and before.whole == (1,) and not before.broken:
        raise HubdError(
            f"{before.name} has no older generation to go back to",
            why="there is only one build of it so far",
            fix=f"What is built, and when: hubd env show {before.name}",
        )
    raise HubdError(
        f"{before.name} has no older generation to go back to",
        why=f"generation {before.current} is the oldest that is whole" if before.current else "nothing is built yet",
        fix=_newer(before) or f"How many are kept is said by environments.{before.name}.keep.",
    )


def _newer(before: Before) -> str:
    """How to come to those that are there and newer, as an earlier one was asked for again; empty where there is none."""
    newer = [str(number) for number in reversed(before.whole) if number > before.current]
    if not before.current or not newer:
        return ""
    which = f"Generation {newer[0]} is newer" if len(newer) == 1 else f"Generations {named(newer)} are newer"
    return f"{which}, and there: hubd env rollback {before.name} --to {newer[0]}"


def _named(before: Before, to: int) -> Choice:
    there = named([str(number) for number in before.whole], limit=20)
    if to in before.broken:
        why = f"its {before.broken[to]} is gone"
        raise HubdError(f"generation {to} of {before.name} is not whole", why=why, fix=f"Those that are: {there or 'none'}.")
    if to not in before.whole:
        raise UsageError(f"{before.name} has no generation {to}", fix=f"There are: {there}." if there else "There is none yet.")
    if to == before.asked:
        return Choice(0, "" if before.held else f"generation {to} of {before.name} is what config.yaml asks for already")
    return Choice(to, f"{before.name} is rolled back to generation {to} already" if to == before.held else "")
