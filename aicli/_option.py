"""What an option is: a field of a frozen class that says how it is given, checked and explained.

``aicli/options.py`` has the fields. The command line (``cli/options.py``), HTTP with its OpenAPI document
(``serve/http/params.py``) and the Python objects (:func:`made_from`) are made from them. It imports nothing heavy, and
makes a class in a tenth of a dataclass's time: ``aicli classify --help`` needs half a dozen of them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from pathlib import PurePath
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from aicli._record import Frozen
from aicli.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[type], type]:
        return lambda cls: cls


__all__ = ["Option", "Options", "made_from", "option"]

T = TypeVar("T")
P = ParamSpec("P")
Owner = TypeVar("Owner")
Made = TypeVar("Made")
Self = TypeVar("Self", bound="Options")

KINDS = {bool: "boolean", int: "integer", float: "number"}


class Option(NamedTuple):
    """One option. ``name``, ``kind``, ``optional``, ``length`` and ``group`` are read from the field.

    ``kind`` is ``boolean``, ``integer``, ``number``, ``numbers`` (``length`` of them), ``choice``, ``text``, ``texts``
    or ``group``: further options, whose class is ``group``.
    """

    default: Any = None
    help: str = ""
    section: str = ""
    """The section of ``--help``; empty: not an option of the command line."""
    flags: tuple[str, ...] = ()
    """As the command line spells it; by default the name with dashes."""
    switches: Mapping[str, str] | None = None
    """For a choice: a flag for each value, such as ``--blur``, with its help."""
    argument: bool = False
    """Whether it is a word of the command, or with kind ``texts`` all that are left, and no option."""
    metavar: str | None = None
    shown: str = ""
    """What ``--help`` shows as default where the value itself says nothing."""
    least: float | None = None
    most: float | None = None
    above: bool = False
    """Whether ``least`` itself is too small."""
    also: tuple[Any, ...] = ()
    """Values beside the range that Python may give."""
    choices: tuple[str, ...] = ()
    open: bool = False
    """Whether Python may give other values than ``choices``, which are checked where they are used."""
    size: bool = False
    """A number of bytes, which the command line takes as 256M too."""
    models: str = ""
    """The task whose models' names are its values."""
    environment: str | None = None
    http: str | None = None
    """The name of the query parameter; ``None``: there is none."""
    kw_only: bool = True
    """Whether Python takes it as a keyword only."""
    name: str = ""
    kind: str = "text"
    optional: bool = False
    length: int = 1
    group: Any = None

    def checked(self, value: Any) -> Any:
        """The value as it is kept. Raises :class:`UsageError` for one that cannot be."""
        if value is self.default or (value is None and self.optional):
            return value
        if isinstance(value, list):
            value = tuple(value)
        if not (self._fits(value) or value in self.also):
            raise UsageError(f"{self.name} is {value!r}; it must be {self.wanted}")
        if self.kind == "numbers":
            return tuple(float(part) for part in value)
        return {"integer": int, "number": float}.get(self.kind, lambda same: same)(value)

    def _fits(self, value: Any) -> bool:
        if self.kind in ("integer", "number"):
            return self._is_number(value)
        if self.kind == "numbers":
            return isinstance(value, tuple) and len(value) == self.length and all(map(self._is_number, value))
        if self.kind == "boolean":
            return isinstance(value, bool)
        if self.kind == "group":
            return isinstance(value, self.group)
        return self.kind != "choice" or self.open or value in self.choices

    def _is_number(self, value: Any) -> bool:
        """Whether it is a number in range, Python's or NumPy's."""
        if isinstance(value, (bool, str)) or not hasattr(value, "__index__" if self.kind == "integer" else "__float__"):
            return False
        return self.in_range(operator.index(value) if self.kind == "integer" else float(value))

    def in_range(self, value: float) -> bool:
        if not math.isfinite(value) or (self.most is not None and value > self.most):
            return False
        return self.least is None or value > self.least or (value == self.least and not self.above)

    def explained(self, form: str = "{}", text: str | None = None) -> str:
        """The help, or another text of it, for those who have no flags: other options by their names, in this form."""
        import re

        said = self.help if text is None else text
        return re.sub(r"--([a-z][a-z-]*)", lambda match: form.format(match[1].replace("-", "_")), said)

    @property
    def wanted(self) -> str:
        """What the value must be, as the end of a sentence."""
        if self.kind == "choice":
            return "one of " + " ".join(self.choices)
        if self.kind == "boolean":
            return "true or false"
        if self.kind == "group":
            return f"a {self.group.__name__}"
        what = {"integer": "an integer", "number": "a number"}.get(self.kind, f"{self.length} numbers")
        if self.least is not None:
            what += f"{' above' if self.above else ' from'} {self.least:g}"
            what += f" to {self.most:g}" if self.most is not None else "" if self.above else " on"
        return what


def option(*, default: T, kw_only: bool = True, **details: Any) -> T:
    """A field of an :class:`Options` class; ``details`` are further fields of :class:`Option`."""
    made: Any = Option(default, kw_only=kw_only, **details)
    return cast(T, made)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
class Options(Frozen):
    """The base of the option classes: frozen, compared by value, and right as soon as they are made.

    Like a dataclass's, their fields are class attributes with a type and a default (:func:`option`) and the keywords
    of ``__init__``.
    """

    fields: ClassVar[tuple[Option, ...]] = ()
    """Every option of the class, those of its base first."""

    def __init_subclass__(cls) -> None:
        for name, hint in cls.__annotations__.items():
            assert not isinstance(hint, str), "a module with option classes reads its annotations at once"
            about: Option = cls.__dict__[name]
            cls.fields += (about._replace(name=name, **reading(hint, about)),)
            setattr(cls, name, about.default)

    def __init__(self, *values: Any, **keywords: Any) -> None:
        places = [item.name for item in self.fields if not item.kw_only]
        if len(values) > len(places):
            raise TypeError(f"{type(self).__name__} takes {len(places)} positional arguments, not {len(values)}")
        for name, value in zip(places, values, strict=False):
            if name in keywords:
                raise TypeError(f"{type(self).__name__} got {name} twice")
            keywords[name] = value
        for item in self.fields:
            self.__dict__[item.name] = item.checked(keywords.pop(item.name, item.default))
        for name in keywords:
            from difflib import get_close_matches

            near = get_close_matches(name, [item.name for item in self.fields], n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{type(self).__name__} has no option {name!r}{guess}")
        self.check()

    def check(self) -> None:
        """Raises :class:`UsageError` for values that do not go together."""

    def keywords(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self.__dict__)

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, in values that JSON has."""
        values = ((item, getattr(self, item.name)) for item in self.fields)
        return {item.name: plain(value) for item, value in values if value != item.default}

    @classmethod
    def from_dict(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """The options that :meth:`to_dict` gave."""
        groups = {item.name: item.group for item in cls.fields if item.group is not None}
        return cls(**{name: groups[name].from_dict(v) if name in groups else v for name, v in values.items()})

    @classmethod
    def call_parameters(cls) -> list[Parameter]:
        """The parameters of ``__init__``, as help() shows them."""
        kinds = {True: Parameter.KEYWORD_ONLY, False: Parameter.POSITIONAL_OR_KEYWORD}
        items = sorted(cls.fields, key=lambda item: item.kw_only)
        hints = {name: hint for base in cls.__mro__[:-1] for name, hint in base.__annotations__.items()}
        return [
            Parameter(item.name, kinds[item.kw_only], default=item.default, annotation=hints[item.name])
            for item in items
        ]


def plain(value: Any) -> Any:
    if isinstance(value, Options):
        return value.to_dict()
    if isinstance(value, PurePath):
        return str(value)
    return [plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def reading(hint: Any, about: Option) -> dict[str, Any]:
    """What a field's type says."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    optional = NoneType in parts
    first = next(part for part in parts if part is not NoneType)
    if isinstance(first, type) and issubclass(first, Options):
        return {"kind": "group", "group": first}
    if get_origin(first) is Literal:
        return {"kind": "choice", "choices": get_args(first), "optional": optional}
    if get_origin(first) is tuple:
        inner = get_args(first)
        return {"kind": "numbers" if inner[0] is float else "texts", "length": len(inner), "optional": optional}
    return {"kind": "choice" if about.choices else KINDS.get(first, "text"), "optional": optional}


def made_from(
    options: Callable[P, Made],
) -> Callable[[Callable[[Owner, Made], None]], Callable[Concatenate[Owner, P], None]]:
    """Makes an ``__init__`` that takes the class's options one by one out of one that takes them as an object."""

    def decorate(init: Callable[[Owner, Made], None]) -> Callable[Concatenate[Owner, P], None]:
        def initialise(self: Owner, /, *args: P.args, **keywords: P.kwargs) -> None:
            init(self, options(*args, **keywords))

        parameters = cast(type[Options], options).call_parameters()
        owner = Parameter("self", Parameter.POSITIONAL_ONLY)
        initialise.__signature__ = Signature([owner, *parameters])  # type: ignore[attr-defined]
        initialise.__doc__ = init.__doc__
        return initialise

    return decorate
