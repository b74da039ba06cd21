"""What a .tflite file says about itself, read from its bytes: no interpreter, which would cost time and can crash.

Source: TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from aicli.catalog.specs import OutputKind
from aicli.nn.model_file.flatbuffer import Buffer, DamagedError, Table, root
from aicli.nn.model_file.tensors import IDENTIFIER, type_name

__all__ = ["ModelInfo", "TensorInfo", "read_model"]

# BuiltinOperator numbers, as far as they tell what an output is.
SOFTMAX, LOGISTIC = 25, 14
LOGIT_MAKERS = {9, 3, 50}  # FULLY_CONNECTED, CONV_2D; LOG_SOFTMAX, whose softmax is the probabilities again
SHAPE_ONLY = {22, 43, 6, 114}  # RESHAPE, SQUEEZE, DEQUANTIZE, QUANTIZE: look at what comes before
CAST_ONLY = {6, 22, 53}  # DEQUANTIZE, RESHAPE, CAST: arithmetic on the input may begin behind them
DEQUANTIZE, MUL, DIV, SUB = 6, 18, 42, 41
MAX_OPERATORS = 10_000
MAX_TENSORS = 64
"""How many inputs or outputs are described; a file that declares more is no classifier."""


class TensorInfo(NamedTuple):
    """An input or output; in ``shape``, -1 is a dimension that the model leaves open.

    ``stored`` is the shape before anybody resizes it. ``scale`` is 0 where the tensor is not quantised.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    scale: float
    zero_point: int


class ModelInfo(NamedTuple):
    """The inputs and outputs of the main graph, what each output is, and the metadata blocks by name."""

    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    kinds: tuple[OutputKind, ...]
    metadata: dict[str, bytes]
    takes_pixels: bool = False
    """The graph begins by scaling 0..255 itself (a Keras Rescaling or preprocess_input layer)."""


def read_model(data: Buffer) -> ModelInfo:
    """Reads the bytes of a .tflite file. Raises :class:`DamagedError`."""
    model = root(data, IDENTIFIER)
    if not model.count(2):
        raise DamagedError("it contains no graph")
    graph = model.item(2, 0)
    inputs = _indices(graph, 1, "inputs")
    outputs = _indices(graph, 2, "outputs")
    return ModelInfo(
        description=model.text(3),
        inputs=tuple(_tensor(graph, index) for index in inputs),
        outputs=tuple(_tensor(graph, index) for index in outputs),
        kinds=tuple(_kind(model, graph, index) for index in outputs),
        metadata=_metadata(model),
        takes_pixels=len(inputs) == 1 and _takes_pixels(model, graph, inputs[0]),
    )


def _indices(graph: Table, field: int, name: str) -> tuple[int, ...]:
    indices = graph.numbers(field, "i")
    if len(indices) > MAX_TENSORS:
        raise DamagedError(f"it declares {len(indices)} {name}")
    return indices


def _tensor(graph: Table, index: int) -> TensorInfo:
    tensor = graph.item(0, index)
    stored = tensor.numbers(0, "i")
    signature = tensor.numbers(7, "i")
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    zero_points = quantization.numbers(3, "q") if quantization else ()
    return TensorInfo(
        name=tensor.text(3),
        dtype=type_name(tensor.number(1, "b")),
        shape=signature if len(signature) == len(stored) else stored,
        stored=stored,
        scale=float(scales[0]) if scales else 0.0,
        zero_point=int(zero_points[0]) if zero_points else 0,
    )


def _kind(model: Table, graph: Table, tensor: int) -> OutputKind:
    """Probabilities or logits, by the last operator that changes the values of this output."""
    for index in reversed(range(min(graph.count(3), MAX_OPERATORS))):
        operator = graph.item(3, index)
        if tensor not in operator.numbers(2, "i"):
            continue
        code = _operator_code(model, operator)
        if code in (SOFTMAX, LOGISTIC):
            return "probabilities"
        if code in LOGIT_MAKERS:
            return "logits"
        inputs = operator.numbers(1, "i")
        if code not in SHAPE_ONLY or not inputs:
            return "unknown"
        tensor = inputs[0]
    return "unknown"


def _takes_pixels(model: Table, graph: Table, tensor: int) -> bool:
    """Whether the first arithmetic on the input is one that only pixels need: times 1/255 or 1/127.5, less 127.5."""
    halves: dict[int, int] = {}  # constants that a DEQUANTIZE operator unpacks, by its output
    for index in range(min(graph.count(3), MAX_OPERATORS)):
        operator = graph.item(3, index)
        inputs, outputs = operator.numbers(1, "i"), operator.numbers(2, "i")
        if not inputs or not outputs:
            continue
        code = _operator_code(model, operator)
        if inputs[0] != tensor:
            if code == DEQUANTIZE:
                halves[outputs[0]] = inputs[0]
        elif code in CAST_ONLY:
            tensor = outputs[0]
        elif code in (MUL, DIV, SUB) and len(inputs) == 2:
            values = [abs(value) for value in _constant(model, graph, halves.get(inputs[1], inputs[1]))]
            if code == MUL:
                values = [1 / value if value else 0.0 for value in values]
            return bool(values) and all(100 <= value <= 256 for value in values)
        else:
            return False
    return False


def _constant(model: Table, graph: Table, index: int) -> tuple[float, ...]:
    """A float32 or float16 constant of one or three values; empty for any other tensor."""
    tensor = graph.item(0, index)
    size, form = {0: (4, "f"), 1: (2, "e")}.get(tensor.number(1, "b"), (0, ""))
    data = model.item(4, tensor.number(2, "I")).raw(0) if size else b""
    return struct.unpack(f"<{len(data) // size}{form}", data) if size and len(data) in (size, 3 * size) else ()


def _operator_code(model: Table, operator: Table) -> int:
    code = model.item(1, operator.number(0, "I"))
    return max(code.number(0, "b"), code.number(3, "i"))  # files before 2020 have the one-byte field only


def _metadata(model: Table) -> dict[str, bytes]:
    """The metadata blocks; the one named TFLITE_METADATA describes the model."""
    blocks = {}
    for index in range(min(model.count(6), MAX_TENSORS)):
        entry = model.item(6, index)
        name = entry.text(0)
        if name == "TFLITE_METADATA":
            blocks[name] = model.item(4, entry.number(1, "I")).raw(0)
    return blocks
