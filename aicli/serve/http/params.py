"""Query parameters: one table says how they are checked and how /openapi.json describes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aicli.serve.http.problems import Problem

__all__ = ["CLASSIFY", "FACES", "NAME", "Parameter", "read_parameters"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of models and functions: nothing that could be a path."""
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
INTEGER = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Parameter:
    """``kind`` is ``number``, ``integer``, ``boolean``, ``string``, ``choice``, ``name`` or ``numbers`` (``count``)."""

    name: str
    kind: str
    text: str
    default: Any = None
    least: float = 0
    most: float = math.inf
    choices: Sequence[str] = ()
    count: int = 3

    def read(self, text: str) -> Any:
        """The value. Raises :class:`Problem` 400."""
        if self.kind == "numbers":
            parts = text.split(",")
            if len(parts) != self.count:
                raise self.wrong(text, f"{self.count} numbers with commas between them")
            return [self.number(part, text) for part in parts]
        if self.kind == "number":
            return self.number(text, text)
        if self.kind == "integer":
            if not INTEGER.fullmatch(text) or not self.least <= int(text) <= self.most:
                raise self.wrong(text, self.range("an integer"))
            return int(text)
        if self.kind == "boolean":
            if text not in ("true", "false"):
                raise self.wrong(text, "true or false")
            return text == "true"
        if self.kind == "choice" and text not in self.choices:
            raise self.wrong(text, "one of " + " ".join(self.choices))
        if self.kind == "name" and not NAME.fullmatch(text):
            raise self.wrong(text, "a name of letters, digits, '.', '_' and '-'")
        return text

    def number(self, part: str, text: str) -> float:
        if not NUMBER.fullmatch(part) or not self.least <= float(part) <= self.most:
            raise self.wrong(text, self.range("a number"))
        return float(part)

    def range(self, what: str) -> str:
        return f"{what} from {self.least:g}" + (f" to {self.most:g}" if self.most < math.inf else " on")

    def wrong(self, text: str, wanted: str) -> Problem:
        return Problem(400, "parameter", f"the parameter {self.name} is {text[:80]!r}; it must be {wanted}")

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the value as it stands in the address."""
        schema: dict[str, Any] = {"type": "string"}
        if self.kind in ("number", "integer"):
            schema = {"type": self.kind, "minimum": self.least}
            if self.most < math.inf:
                schema["maximum"] = self.most
        elif self.kind == "boolean":
            schema = {"type": "boolean"}
        elif self.kind == "choice":
            schema["enum"] = list(self.choices)
        elif self.kind == "name":
            schema["pattern"] = f"^{NAME.pattern}$"
        elif self.kind == "numbers":
            item = {"type": "number", "minimum": self.least, "maximum": self.most}
            schema = {"type": "array", "items": item, "minItems": self.count, "maxItems": self.count}
        if self.default is not None:
            schema["default"] = self.default
        return schema

    def describe(self) -> dict[str, Any]:
        """The parameter in OpenAPI 3.1."""
        found = {"name": self.name, "in": "query", "required": False, "description": self.text, "schema": self.schema()}
        return found | ({"style": "form", "explode": False} if self.kind == "numbers" else {})


CLASSIFY = (
    Parameter("model", "name", "A model of GET /v1/models.", "efficientnet_lite0"),
    Parameter("top", "integer", "How many labels to answer.", 5, 1, 100_000),
    Parameter("min_score", "number", "Leave out labels below this score.", 0, 0, 1),
    Parameter("input_range", "choice", "The range that the model takes pixels in.", choices=("0,1", "-1,1", "0,255")),
    Parameter("resize", "choice", "How a photo is fitted to the input.", choices=("squash", "crop", "pad")),
    Parameter("channels", "choice", "The model's channel order.", choices=("rgb", "bgr")),
    Parameter("output_tensor", "integer", "Which output holds the scores.", None, 0, 1000),
)
FACES = (
    Parameter("model", "name", "A face model of GET /v1/models.", "mtcnn"),
    Parameter("min_size", "number", "Side of the smallest face in pixels.", 20, 1, 100_000),
    Parameter(
        "thresholds", "numbers", "Lowest scores of P-Net, R-Net and O-Net, as 0.6,0.7,0.7.", [0.6, 0.7, 0.7], 0, 1
    ),
    Parameter("factor", "number", "Ratio from one pyramid level to the next.", 0.709, 0.1, 0.95),
    Parameter("max_faces", "integer", "How many faces to answer at most, best first; 0 for all.", 0, 0, 100_000),
    Parameter("landmarks", "boolean", "Draw eyes, nose and mouth corners into the PNG.", False),
    Parameter("scores", "boolean", "Draw each face's score into the PNG.", False),
)


def read_parameters(query: Iterable[tuple[str, str]], table: Sequence[Parameter]) -> dict[str, Any]:
    """The given parameters by name. Raises :class:`Problem` 400 for one that is unknown, given twice or wrong."""
    known = {parameter.name: parameter for parameter in table}
    values: dict[str, Any] = {}
    for name, text in query:
        if name not in known:
            raise Problem(400, "parameter", f"there is no parameter {name[:80]!r}; there are {', '.join(known)}")
        if name in values:
            raise Problem(400, "parameter", f"the parameter {name} is given twice")
        values[name] = known[name].read(text)
    return values
