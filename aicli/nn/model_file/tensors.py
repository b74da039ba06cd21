"""The inputs and outputs that a .tflite file declares: the measure for what an interpreter hands out as arrays.

An interpreter gives a tensor's memory as an array whose length follows from a NumPy type, while the memory's own length
follows from the file's type. The two differ where a value has less than a byte, where a value is a pointer, and where a
tensor is stored sparsely; such tensors are refused here, by name.

Source: TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from aicli._record import Record
from aicli.nn.model_file.flatbuffer import Buffer, DamagedError, Table, root

__all__ = ["IDENTIFIER", "TYPE_NAMES", "ModelTensors", "Tensor", "UnusableError", "read_tensors", "type_name"]

IDENTIFIER = b"TFL3"
TYPE_NAMES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64"),
    *("complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4"),
    *("float8_e4m3fn", "float8_e5m2"),
)
"""TensorType, by its number."""
SIZES = {
    **dict.fromkeys(("bool", "uint8", "int8"), 1),
    **dict.fromkeys(("float16", "uint16", "int16"), 2),
    **dict.fromkeys(("float32", "uint32", "int32"), 4),
    **dict.fromkeys(("float64", "uint64", "int64", "complex64"), 8),
    "complex128": 16,
}
"""Bytes of a value of each type that lies in memory as NumPy's type of the same name."""
MAX_RANK = 8
MAX_ENDS = 64
"""How many inputs or outputs a model may have; one with more is no vision model."""


class UnusableError(DamagedError):
    """The file is in order, and asks for something that is not done here."""


class Tensor(Record):
    """An input or output as the file describes it.

    ``shape`` is the one stored, ``signature`` the same with -1 where a dimension is open, ``itemsize`` in bytes.
    """

    name: str
    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]

    def size(self, shape: Sequence[int]) -> int:
        """The bytes that it has in this shape."""
        return math.prod(shape) * self.itemsize


class ModelTensors(NamedTuple):
    """What a model takes and gives, in the interpreter's order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_tensors(data: Buffer) -> ModelTensors:
    """The inputs and outputs of a model's main graph.

    Raises :class:`DamagedError` where the file contradicts itself, :class:`UnusableError` where a tensor does not
    consist of numbers of whole bytes.
    """
    model = root(data, IDENTIFIER)
    if not model.count(2):
        raise DamagedError("it contains no graph")
    graph = model.item(2, 0)
    return ModelTensors(
        *(
            tuple(_end(model, graph, index, f"{what} {place}") for place, index in enumerate(_ends(graph, field, what)))
            for field, what in ((1, "input"), (2, "output"))
        )
    )


def type_name(number: int) -> str:
    return TYPE_NAMES[number] if 0 <= number < len(TYPE_NAMES) else f"of type {number}"


def _ends(graph: Table, field: int, what: str) -> tuple[Any, ...]:
    indices = graph.numbers(field, "i")
    if len(indices) > MAX_ENDS:
        raise DamagedError(f"it declares {len(indices)} {what}s")
    return indices


def _end(model: Table, graph: Table, index: int, what: str) -> Tensor:
    tensor = graph.item(0, index)
    name = tensor.text(3)
    dtype = type_name(tensor.number(1, "b"))
    if dtype not in SIZES:
        raise UnusableError(f"its {what} ({name}) is {dtype}; inputs and outputs are numbers of whole bytes here")
    if tensor.table(6) is not None:
        raise UnusableError(f"its {what} ({name}) is stored sparsely, which only weights may be")
    shape = tensor.numbers(0, "i")
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise DamagedError(f"its {what} ({name}) has the shape {list(shape[: MAX_RANK + 1])}")
    signature = tensor.numbers(7, "i")
    found = Tensor(name, dtype, SIZES[dtype], shape, signature if len(signature) == len(shape) else shape)
    stored = model.item(4, tensor.number(2, "I"))
    constant = stored.count_bytes(0)
    if constant and what.startswith("input"):
        # The bytes of a constant lie in the file, which nobody may write to.
        raise UnusableError(f"its {what} ({name}) is a constant")
    if constant and constant != found.size(shape):
        raise DamagedError(f"its {what} ({name}) has {constant} bytes where {dtype} {list(shape)} needs another number")
    return found
