"""reactr (Suborbital): ``run_e(pointer, length, request)``, whose answer goes to host functions with that request."""

from __future__ import annotations

from collections.abc import Sequence

from aicli.errors import UsageError
from aicli.run.conventions.base import Described, Guest, functions_of, shape
from aicli.run.conventions.returned import ReturningConvention
from aicli.run.conventions.wasmedge_bindgen import allocated, has_allocators
from aicli.run.values import Argument, Number, Value
from aicli.wasm.runtime import ExternType

__all__ = ["Reactr"]

RUN = "run_e"
RUN_TYPE = (RUN, ("i32",) * 3, ())
REQUEST = 1
"""The number of a request: any but 0, which stands for none."""


class Reactr(ReturningConvention):
    title = "reactr"
    counts = (3, 4)

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        if not has_allocators(module) or cls.returns(module) is None:
            return {}
        return {name: item for name, item in functions_of(module).items() if (name, *shape(item)) == RUN_TYPE}

    @classmethod
    def arguments(cls, item: ExternType) -> str:
        return "ARG"

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        if len(arguments) != 1:
            raise UsageError(f"{RUN} takes one argument, bytes or text; {len(arguments)} were given")
        (given,) = arguments
        text = given.text if isinstance(given, Number) else given
        data = text if isinstance(text, bytes) else text.encode()
        return self.ask(guest, item, allocated(guest, data), len(data), REQUEST)
