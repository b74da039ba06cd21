"""Functions without a convention: exports that take and return numbers, and ``alloc`` with ``infer_from_ptrs``."""

from __future__ import annotations

from collections.abc import Sequence

from aicli._text import counted, printable
from aicli.errors import GuestFault, UsageError
from aicli.run.conventions.base import NUMERIC, Convention, Described, Guest, shape
from aicli.run.values import Argument, Number, Value
from aicli.wasm.runtime import ExternType, signature, signed

__all__ = ["INFER", "InferFromPointers", "Numbers"]

ALLOC, INFER = "alloc", "infer_from_ptrs"
SIGNATURES = {ALLOC: (("i32",), ("i32",)), INFER: (("i32",) * 4, ("i32",))}


class InferFromPointers(Convention):
    """``infer_from_ptrs(model, length, image, length)`` answers the number of a class, or a negative number."""

    title = "alloc and infer_from_ptrs"

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        exports = {item.name: item for item in module.exports if item.kind == "func"}
        fits = all(name in exports and shape(exports[name]) == kind for name, kind in SIGNATURES.items())
        return {INFER: exports[INFER]} if fits else {}

    @classmethod
    def arguments(cls, item: ExternType) -> str:
        return "MODEL IMAGE"

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        blobs = [argument for argument in arguments if isinstance(argument, bytes)]
        if len(arguments) != 2 or len(blobs) != 2:
            raise UsageError(f"{INFER} takes two files, the model and the image")
        slots: list[int] = []
        for data in blobs:
            slots += [guest.put(data, lambda length: guest.call(ALLOC, length)), len(data)]
        index: int = signed(guest.call(INFER, *slots), "i32")
        if index < 0:
            raise GuestFault(f"{INFER} failed with {index}")
        return [index]


class Numbers(Convention):
    """Any export of numbers alone, as a reactor of WASI has them; its standard output is its own."""

    title = "numbers"
    is_apart = False

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        return {
            item.name: item
            for item in module.exports
            if item.kind == "func" and NUMERIC.issuperset(item.params + item.results) and len(item.results) <= 1
        }

    @classmethod
    def arguments(cls, item: ExternType) -> str:
        return " ".join(["NUMBER"] * len(item.params))

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        values = [self._number(item, kind, given) for kind, given in zip(item.params, arguments, strict=False)]
        if len(arguments) != len(item.params):
            raise UsageError(
                f"{printable(item.name)} is {signature(item)}; give {counted(len(item.params), 'number')} after it"
            )
        result = guest.call(item.name, *values)
        return [signed(result, item.results[0])] if item.results else []

    def _number(self, item: ExternType, kind: str, given: Argument) -> int | float:
        whole = kind.startswith("i")
        if not isinstance(given, Number) or (whole and isinstance(given.value, float)):
            wanted = "a whole number" if whole else "a number"
            raise UsageError(f"{printable(item.name)} is {signature(item)}, and {kind} is {wanted}")
        if whole and not -(1 << (bits := int(kind[1:])) - 1) <= given.value < 1 << bits:
            raise UsageError(f"{given.text} does not fit {kind}; {printable(item.name)} is {signature(item)}")
        return given.value if whole else float(given.value)
