"""Option types in human units: sizes, durations and processor cores. Values are plain numbers inside."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hubd.words import BYTES, SECONDS, duration, size

_SECOND_WORDS = {
    "": "s", "s": "s", "sec": "s", "second": "s", "seconds": "s",
    "m": "min", "min": "min", "minute": "min", "minutes": "min",
    "h": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d",
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_MOST = 2**63


@dataclass(frozen=True, slots=True)
class Unit:
    """A number that people write with a unit; used as metadata of `Annotated`.

    word: what the value is called in a message.
    examples: how it may be written.
    parse: the number that was meant; raises ValueError for anything else.
    show: the way back, in the shortest form that is exact.
    pattern: a regular expression for editors, or empty where only a number may be written.
    """

    word: str
    examples: tuple[str, ...]
    parse: Callable[[object], float]
    show: Callable[[float], str | float]
    pattern: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.show, when_used="json-unless-none")
        return core_schema.no_info_before_validator_function(self._read, handler(source), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = handler(schema["schema"]) if "schema" in schema else {"type": "number"}
        bounds = {key: number[key] for key in ("exclusiveMinimum", "minimum") if key in number}
        if not self.pattern:
            return {"type": "number", "exclusiveMinimum": 0, "examples": list(self.examples)}
        either = [{"type": "string", "pattern": self.pattern}, {"type": "integer", **bounds}]
        return {"anyOf": either, "examples": list(self.examples)}

    def _read(self, value: object) -> float:
        try:
            return self.parse(value)
        except ValueError as error:
            raise PydanticCustomError(
                "hubd",
                "{what}",
                {"what": str(error), "fix": f"write {self.word} such as {' or '.join(self.examples)}"},
            ) from None


def parse_size(value: object) -> int:
    """Bytes from `1G`, `512 MB`, `1.5GiB` or a number; K, M, G and T are powers of 1024, as in JupyterHub."""
    text = str(value) if _is_number(value) else value
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("is not a size")
    number = float(found[1]) * _bytes(found[2])
    if not 1 <= number < _MOST:
        raise ValueError("is not a size that a machine can have")
    return int(found[1]) * _bytes(found[2]) if found[1].isdecimal() else round(number)


def _bytes(unit: str) -> int:
    return BYTES[unit.upper()] if unit else 1


def show_size(count: float) -> str | float:
    """`1G` for 1073741824; a number where no unit is exact."""
    text = size(count)
    return int(text) if text.isdecimal() else text


def parse_duration(value: object) -> int:
    """Seconds from `90 min`, `1h 30m`, `60 s` or a number of seconds."""
    text = (str(value) if _is_number(value) else value if isinstance(value, str) else "").strip()
    total, at = 0.0, 0
    while at < len(text):
        found = _DURATION.match(text, at)
        if found is None or (not found[2] and (at or found.end() < len(text))):
            break
        if found[2].lower() not in _SECOND_WORDS:
            break
        total += float(found[1]) * SECONDS[_SECOND_WORDS[found[2].lower()]]
        at = found.end()
    if not text or at < len(text):
        raise ValueError("is not a duration")
    if not 1 <= total < _MOST or total != int(total):
        raise ValueError("is not a whole number of seconds, at least 1")
    return int(total)


def parse_cores(value: object) -> float:
    """Processor cores from a number above zero; half a core is 0.5."""
    if not _is_number(value) or not isinstance(value, int | float):
        raise ValueError("is not a number of processor cores")
    if not math.isfinite(value) or not 0 < value <= 100_000:
        raise ValueError("is not a number of processor cores above zero")
    return float(value)


def show_cores(cores: float) -> float:
    """`2` for 2.0."""
    return int(cores) if cores == int(cores) else cores


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SIZE_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*[KMGTkmgt]?([Ii]?[Bb])?\s*$"
_DURATION_PATTERN = r"^\s*[0-9][0-9A-Za-z. ]*$"

SIZE = Unit("a size", ("512M", "1G", "1.5 GiB"), parse_size, show_size, _SIZE_PATTERN)
DURATION = Unit("a duration", ("60 s", "5 min", "1 h 30 min"), parse_duration, duration, _DURATION_PATTERN)
CORES = Unit("a number of cores", ("0.5", "2"), parse_cores, show_cores)

Size = Annotated[int, SIZE]
"""Bytes, written as `1G`."""
Duration = Annotated[int, DURATION]
"""Seconds, written as `5 min`."""
Cores = Annotated[float, CORES]
"""Processor cores, written as a number above zero."""
