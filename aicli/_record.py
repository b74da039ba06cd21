"""Values with named fields, made at a start in no time.

A class takes a tenth of a named tuple's time and a fiftieth of a frozen dataclass's, for which code is written and
compiled; some forty of them are made before the first photo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

if TYPE_CHECKING:
    from inspect import Signature

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[type], type]:
        return lambda cls: cls


__all__ = ["Frozen", "Record"]

Self = TypeVar("Self", bound="Frozen")


class _Signature:
    """What help() and editors show, made when they ask."""

    def __get__(self, instance: object, owner: type[Record]) -> Signature:
        from inspect import Parameter, Signature

        kind = Parameter.POSITIONAL_OR_KEYWORD
        return Signature(
            [
                Parameter(name, kind, default=getattr(owner, name, Parameter.empty), annotation=hint)
                for name, hint in owner.__annotations__.items()
            ]
        )


class Frozen:
    """The base of values that stay as they were made: compared and hashed by their attributes, which nothing sets."""

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen; make another one with replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def replace(self: Self, **changes: Any) -> Self:
        """The same values but for these."""
        return type(self)(**{**self.__dict__, **changes})


@dataclass_transform(frozen_default=True)
class Record(Frozen):
    """The base of a class whose annotations are its fields: frozen, compared and hashed by value.

    As in a dataclass, a field that is given a value in the class has it as its default.
    """

    if TYPE_CHECKING:
        _names: ClassVar[tuple[str, ...]]
    __signature__ = _Signature()

    def __init_subclass__(cls) -> None:
        cls._names = tuple(cls.__annotations__)

    def __init__(self, *values: Any, **keywords: Any) -> None:
        names, fields = self._names, self.__dict__
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields and was given {len(values)} values")
        fields.update(zip(names, values, strict=False))
        for name in names[len(values) :]:
            if name in keywords:
                fields[name] = keywords.pop(name)
            else:
                try:
                    fields[name] = getattr(type(self), name)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__} needs a value for {name}") from None
        for name in keywords:
            raise TypeError(f"{type(self).__name__} has no field {name!r}, or was given it twice")
