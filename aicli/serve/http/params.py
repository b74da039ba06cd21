"""Query parameters: made from the fields of the option classes, which say how they are checked and described."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

from aicli._option import Option, Options
from aicli.errors import UsageError
from aicli.options import ClassifyOptions, DetectOptions, FrameOptions, PictureOptions, TrainOptions
from aicli.serve.http.problems import Problem

__all__ = ["CLASSIFY", "FACES", "NAME", "TRAIN", "Given", "Parameter", "parameter_of", "read_parameters"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of models and functions: nothing that could be a path."""
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
INTEGER = re.compile(r"\d{1,9}", re.ASCII)
BELONGING = re.compile(r"\bWith -?[a-z]+: ")
"""What a help text of the command line says of the option that another belongs to."""
MODEL = "A model of GET /v1/models."
COVER = "Lay black on the faces; a picture to lay on them is the part cover of a form."
COVERS = ("solid",)
"""The command line names a file of its own machine here, which a request cannot."""

Made = TypeVar("Made", bound=Options)


@dataclass(frozen=True)
class Parameter:
    """An option as it stands in the address."""

    option: Option
    switch: str = ""
    """The value that ``true`` stands for, where an option has a switch for each."""

    @property
    def name(self) -> str:
        if self.switch:
            return self.switch
        assert self.option.http is not None
        return self.option.http

    def read(self, text: str) -> Any:
        """The value. Raises :class:`Problem` 400."""
        option = self.option
        if self.switch:
            if text not in ("true", "false"):
                raise self.wrong(text, "true or false")
            return self.switch if text == "true" else None
        if option.kind == "texts":
            return tuple(text.split(";"))
        if option.kind == "numbers":
            parts = text.split(",")
            if len(parts) != option.length:
                raise self.wrong(text, f"{option.length} numbers with commas between them")
            return tuple(self.number(part, text) for part in parts)
        if option.kind == "number":
            return self.number(text, text)
        if option.kind == "integer":
            if not INTEGER.fullmatch(text) or not option.in_range(int(text)):
                raise self.wrong(text)
            return int(text)
        if option.kind == "boolean":
            if text not in ("true", "false"):
                raise self.wrong(text)
            return text == "true"
        if option.kind == "choice" and text not in option.choices:
            raise self.wrong(text)
        if option.name == "cover" and text not in COVERS:
            raise self.wrong(text, "solid; a picture to lay on faces is the part cover of a form: -F cover=@smiley.png")
        if option.models and not NAME.fullmatch(text):
            raise self.wrong(text, "a name of letters, digits, '.', '_' and '-'")
        return text

    def number(self, part: str, text: str) -> float:
        if not NUMBER.fullmatch(part) or not self.option.in_range(float(part)):
            raise self.wrong(text)
        return float(part)

    def wrong(self, text: str, wanted: str | None = None) -> Problem:
        wanted = wanted or self.option.wanted
        return Problem(400, "parameter", f"the parameter {self.name} is {text[:80]!r}; it must be {wanted}")

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        option = self.option
        limits = {"minimum": option.least, "maximum": option.most}
        bounds = {name: limit for name, limit in limits.items() if limit is not None}
        schema: dict[str, Any] = {"type": "string"}
        if self.switch:
            return {"type": "boolean", "default": False}
        if option.kind in ("number", "integer"):
            schema = {"type": option.kind, **bounds}
        elif option.kind == "boolean":
            schema = {"type": "boolean"}
        elif option.kind == "choice":
            schema["enum"] = list(option.choices)
        elif option.name == "cover":
            schema["enum"] = list(COVERS)
        elif option.models:
            schema["pattern"] = f"^{NAME.pattern}$"
        elif option.kind == "texts":
            return schema
        elif option.kind == "numbers":
            item = {"type": "number", **bounds}
            schema = {"type": "array", "items": item, "minItems": option.length, "maxItems": option.length}
        if option.default is not None:
            schema["default"] = list(option.default) if isinstance(option.default, tuple) else option.default
        return schema

    def describe(self) -> dict[str, Any]:
        """The parameter in OpenAPI 3.1."""
        option = self.option
        text = option.switches[self.switch] if option.switches and self.switch else option.explained()
        text = MODEL if option.models else COVER if option.name == "cover" else BELONGING.sub("", text)
        text = f"{text[:1].upper()}{text[1:]}" + (" Several with semicolons." if option.kind == "texts" else "")
        found = {"name": self.name, "in": "query", "required": False, "description": text, "schema": self.schema()}
        return found | ({"style": "form", "explode": False} if self.option.kind == "numbers" else {})


def parameters(*classes: type[Options]) -> Iterator[Parameter]:
    """A parameter for each option that has one."""
    for options in classes:
        for item in options.fields:
            if item.http is not None and item.switches:
                yield from (Parameter(item, switch) for switch in item.switches)
            elif item.http is not None:
                yield Parameter(item)


CLASSIFY = tuple(parameters(ClassifyOptions, FrameOptions))
FACES = tuple(parameters(DetectOptions, FrameOptions, PictureOptions))
TRAIN = tuple(parameters(TrainOptions))


def parameter_of(option: str) -> str | None:
    """A hint's option as a request has it; ``None`` for one that is the service's own."""
    names = (parameter.name for parameter in (*CLASSIFY, *FACES, *TRAIN) if parameter.option.name == option)
    return next(names, None)


@lru_cache(maxsize=256)
def make_options(options: type[Options], values: tuple[tuple[str, Any], ...]) -> Options:
    """Most requests ask for the same, and every value is checked."""
    return options(**dict(values))


class Given(dict[str, Any]):
    """The values that a request gave, by the names of their options."""

    def into(self, options: type[Made]) -> Made:
        """The options of this class: what was given, and defaults for the rest.

        Raises :class:`Problem` 400 for values that are right one by one and contradict each other.
        """
        names = {item.name for item in options.fields}
        try:
            given = tuple((name, value) for name, value in self.items() if name in names)
            return cast(Made, make_options(options, given))  # type: ignore[arg-type]
        except UsageError as error:
            raise Problem(400, "parameter", error.told(parameter_of)) from None


def read_parameters(query: Iterable[tuple[str, str]], table: Sequence[Parameter]) -> Given:
    """What a request gave. Raises :class:`Problem` 400 for a parameter that is unknown, given twice or wrong."""
    known = {parameter.name: parameter for parameter in table}
    given = Given()
    for name, text in query:
        if name not in known:
            raise Problem(400, "parameter", f"there is no parameter {name[:80]!r}; there are {', '.join(known)}")
        option = known[name].option
        value = known[name].read(text)
        if value is None:  # a switch that is off
            continue
        if option.name in given:
            raise Problem(400, "parameter", f"the parameter {name} is given twice, or with another of its kind")
        given[option.name] = value
    return given
