"""wasm-bindgen 0.2.61 and later without JavaScript: what ssvmup and rustwasmc made, as SSVM's own hosts called it.

Bytes and text are a pointer and a length, whose memory the guest owns from then on; a result that is not a number lies
where the first argument points. Types are not in the file: they follow from the arguments that are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aicli._text import counted, printable
from aicli.errors import UsageError
from aicli.run.conventions.base import NUMERIC, Convention, Described, Guest, functions_of, shape
from aicli.run.values import Argument, Number, Value, wrapped
from aicli.wasm.runtime import ExternType, signature, signed

__all__ = ["WasmBindgen"]

MALLOC, FREE, STACK = "__wbindgen_malloc", "__wbindgen_free", "__wbindgen_add_to_stack_pointer"
I32 = "i32"
SHAPES = {
    MALLOC: (((I32,), (I32,)), ((I32, I32), (I32,))),
    FREE: (((I32, I32), ()), ((I32, I32, I32), ())),
}
"""The second forms have an alignment, in versions from 0.2.88 on."""
RESULT = 8
"""Where 0.2.61 has a result put that is not a number."""
RESULT_I64 = 0
"""Where it has a number of 64 bits put."""
ROOM = 16

Slots = list[Any]


class WasmBindgen(Convention):
    title = "wasm-bindgen"

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        exports = {item.name: shape(item) for item in module.exports if item.kind == "func"}
        if any(exports.get(name) not in allowed for name, allowed in SHAPES.items()):
            return {}
        return {
            name: item
            for name, item in functions_of(module).items()
            if len(item.results) <= 1 and NUMERIC.issuperset(item.params + item.results)
        }

    @classmethod
    def arguments(cls, item: ExternType) -> str:
        if I32 not in item.params:
            return " ".join(["NUMBER"] * len(item.params))
        place = not item.results and len(item.params) % 2
        pairs, single = divmod(len(item.params) - place, 2)
        return "[ARG]..." if single else " ".join(["ARG"] * pairs)

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        has_place, layout = find_layout(item, arguments)
        exports = Exports(guest)
        place = exports.reserve(RESULT_I64 if returns in ("i64", "u64") else RESULT) if has_place else 0
        slots: Slots = [place] if has_place else []
        for argument, kind in zip(arguments, layout, strict=True):
            slots += fill(argument, kind, guest, exports)
        result = guest.call(item.name, *slots)
        if item.results:
            return [signed(result, item.results[0])]
        return [self._result(guest, exports, place, returns)] if has_place else []

    def _result(self, guest: Guest, exports: Exports, place: int, returns: str) -> Value:
        data = guest.read(place, 8)
        exports.release()
        if returns in ("i64", "u64"):
            return int.from_bytes(data, "little", signed=returns == "i64")
        pointer, length = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
        answer = guest.read(pointer, length)
        if length:
            exports.free(pointer, length)
        return answer


class Exports:
    """What wasm-bindgen exports beside the functions, in whatever version."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._moved = False

    def reserve(self, fixed: int) -> int:
        """The address for a result: on the guest's stack in later versions, a fixed one in 0.2.61."""
        if self._guest.parameters(STACK) is None:
            return fixed
        self._moved = True
        place: int = self._guest.call(STACK, -ROOM)
        return place

    def release(self) -> None:
        if self._moved:
            self._guest.call(STACK, ROOM)

    def malloc(self, length: int) -> Any:
        return self._guest.call(MALLOC, length, *([1] if self._guest.parameters(MALLOC) == 2 else []))

    def free(self, pointer: int, length: int) -> None:
        self._guest.call(FREE, pointer, length, *([1] if self._guest.parameters(FREE) == 3 else []))


def fill(argument: Argument, kind: str, guest: Guest, exports: Exports) -> Slots:
    """One argument as the parameters that it takes."""
    if kind == "bytes":
        data = argument if isinstance(argument, bytes) else as_text(argument).encode()
        return [guest.put(data, exports.malloc), len(data)]
    assert isinstance(argument, Number)
    if kind == "halves":
        data = wrapped(int(argument.value), 64)
        return [int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")]
    return [float(argument.value) if kind.startswith("f") else argument.value]


def as_text(argument: Argument) -> str:
    return argument.text if isinstance(argument, Number) else str(argument)


def find_layout(item: ExternType, arguments: Sequence[Argument]) -> tuple[bool, list[str]]:
    """Whether the first parameter is the result's place, and how each argument is passed.

    Raises :class:`UsageError` when the arguments do not fill the parameters.
    """
    for has_place in (False,) if item.results else (True, False):
        rest = item.params[1:] if has_place and item.params[:1] == (I32,) else item.params
        if has_place and len(rest) == len(item.params):
            continue
        layout = match(tuple(arguments), rest, set())
        if layout is not None:
            return has_place, layout
    text = "bytes and text take two parameters, a number one, and a result that is not a number the first"
    raise UsageError(
        f"{printable(item.name)} is {signature(item)}, which {counted(len(arguments), 'argument')} cannot fill; {text}"
    )


def match(arguments: tuple[Argument, ...], params: tuple[str, ...], failed: set[tuple[int, int]]) -> list[str] | None:
    """The first way to fill the parameters, numbers as numbers before numbers as text."""
    if not arguments:
        return None if params else []
    key = (len(arguments), len(params))
    if key in failed:
        return None
    for kind, takes in choices(arguments[0]):
        if params[: len(takes)] == takes:
            rest = match(arguments[1:], params[len(takes) :], failed)
            if rest is not None:
                return [kind, *rest]
    failed.add(key)
    return None


def choices(argument: Argument) -> list[tuple[str, tuple[str, ...]]]:
    """The ways to pass an argument, with the parameters that each takes."""
    pair = (I32, I32)
    if not isinstance(argument, Number):
        return [("bytes", pair)]
    wide = ("halves", pair)
    if isinstance(argument.value, float):
        kinds = [argument.kind] if argument.kind else ["f64", "f32"]
        return [(kind, (kind,)) for kind in kinds] + ([] if argument.kind else [("bytes", pair)])
    if argument.kind in ("i64", "u64"):
        return [("i64", ("i64",)), wide]
    if argument.kind:
        return [(I32, (I32,))]
    if not -(1 << 31) <= argument.value < 1 << 32:
        return [("i64", ("i64",)), ("f64", ("f64",)), wide, ("bytes", pair)]
    return [*((kind, (kind,)) for kind in (I32, "i64", "f64", "f32")), ("bytes", pair), wide]
