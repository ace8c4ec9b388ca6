"""What every section of config.yaml is built from: the strict base class, and names that are safe to hand to the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from hubd.config.path import Path

Finding = tuple[Path, str, str]
"""Where (keys, from the section down), what is wrong, and what to write instead."""

T = TypeVar("T")


class Section(BaseModel):
    """A section of config.yaml; plugins subclass it for their own.

    Every option is a field with a default, a description of one sentence and an example:
    `message: str = Field(default="", description="What people read.", examples=["Back at noon."])`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def findings(cls, written: Mapping[str, Any]) -> Iterable[Finding]:
        """Problems that one option alone can't show; overridden where there are any.

        written: the section as it was written, perhaps with wrong types: look with `names` and `written_as`.
        """
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _every_problem(cls, written: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report what `findings` sees beside what the types say, not after it."""
        found = [_detail(*finding, written) for finding in cls.findings(written)] if isinstance(written, Mapping) else []
        try:
            section = handler(written)
        except ValidationError as error:
            if not found:
                raise
            raise ValidationError.from_exception_data(cls.__name__, [*map(_again, error.errors()), *found]) from None
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return section


def refusal(what: str, fix: str) -> PydanticCustomError:
    """The error that a validator raises: what is wrong with the value, and what to write instead."""
    return PydanticCustomError("hubd", "{what}", {"what": what, "fix": fix})


def names(written: Mapping[str, Any], *path: str) -> list[tuple[Path, str]]:
    """The texts of the list at `path`, each with its place; nothing where there is no such list."""
    values = written_as(list, written, *path) or []
    return [((*path, at), value) for at, value in enumerate(values) if isinstance(value, str)]


def written_as(kind: type[T], written: Mapping[str, Any], *path: str) -> T | None:
    """The value at `path`, if it was written and is of that kind."""
    value: Any = written
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    if isinstance(value, tuple) and kind is list:
        value = list(value)
    return value if isinstance(value, kind) else None


def twice(written: Mapping[str, Any], *path: str) -> Iterator[Finding]:
    """A finding for every text that the list at `path` holds a second time."""
    seen: set[str] = set()
    for place, name in names(written, *path):
        if name in seen:
            yield place, f"`{name}` is in this list twice", "remove one of the two"
        seen.add(name)


@dataclass(frozen=True, slots=True)
class Matching:
    """Metadata of `Annotated`: a text that matches all of `pattern`; what to say of one that does not, and the fix."""

    pattern: str
    what: str
    fix: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(cast(Any, schema)["schema"]), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise refusal(self.what, self.fix)
        return value


@dataclass(frozen=True, slots=True)
class OrWord:
    """Metadata of `Annotated`: a list that may be written as nothing but the text `word`, for a list with that alone."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": self.word}, handler(cast(Any, schema)["schema"])]}

    def _read(self, value: Any) -> Any:
        return [value] if value == self.word else value


@dataclass(frozen=True, slots=True)
class ByName:
    """Metadata of `Annotated`: a section that may be written as nothing but the text of its option `option`."""

    option: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = core_schema.plain_serializer_function_ser_schema(self._show, when_used="json")
        return core_schema.no_info_before_validator_function(self._read, handler(source), serialization=shown)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(cast(Any, schema)["schema"])]}

    def _read(self, value: Any) -> Any:
        return {self.option: value} if isinstance(value, str) else value

    def _show(self, section: Section) -> Any:
        shown = section.model_dump(mode="json", exclude_defaults=True)
        return shown[self.option] if list(shown) == [self.option] else shown


def _detail(place: Path, what: str, fix: str, written: Any) -> InitErrorDetails:
    return InitErrorDetails(type=refusal(what, fix), loc=place, input=written)


def _again(error: Any) -> InitErrorDetails:
    """An error that pydantic has already told, as one that can be told again beside others."""
    kind: Any = error["type"]
    if kind == "hubd":
        kind = refusal(error["ctx"]["what"], error["ctx"]["fix"])
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))
