"""What the first operators of a .tflite graph tell about the range of its float input.

Three things tell it. An operator QUANTIZE: its scale and zero point are the range that was seen when the model was
calibrated. Arithmetic that only pixels need: times 1/255, less 127.5. And the weights of the first layer, into which
converters fold such arithmetic: on 16 trained classifiers the median norm of its filters was 0.002 to 0.006 where the
model takes pixels of 0 to 255 and 1.1 to 1.9 where it takes 0 to 1 or -1 to 1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Literal

from aicli._record import Record
from aicli.nn.model_file.flatbuffer import Table

__all__ = ["MAX_OPERATORS", "NO_EVIDENCE", "Evidence", "code_number", "operator_code", "read_evidence"]

MAX_OPERATORS = 10_000

# BuiltinOperator numbers.
ADD, CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, FULLY_CONNECTED, MUL, SUB, DIV, QUANTIZE = 0, 3, 4, 6, 9, 18, 41, 42, 114
WEIGHTED = {CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED}
MOVES = {2, 6, 22, 23, 34, 36, 39, 43, 45, 49, 53, 60, 65, 70, 83, 88, 97, 100, 102, 105}
"""CONCATENATION, DEQUANTIZE, RESHAPE, RESIZE_BILINEAR, PAD, GATHER, TRANSPOSE, SQUEEZE,
STRIDED_SLICE, SPLIT, CAST, PADV2, SLICE, EXPAND_DIMS, PACK, UNPACK, RESIZE_NEAREST_NEIGHBOR, MIRROR_PAD, SPLIT_V,
REVERSE_V2: they move values and change none."""

FLOAT32, FLOAT16, UINT8, INT16, INT8 = 0, 1, 3, 7, 9
FORMS = {FLOAT32: "f", FLOAT16: "e", UINT8: "B", INT16: "h", INT8: "b"}
LIMITS = {UINT8: (0, 255), INT8: (-128, 127), INT16: (-32767, 32767)}
MAX_VALUES = 1 << 19
"""Numbers of a first layer that are looked at; one with more is no layer of filters."""

SMALL_FILTERS, LARGE_FILTERS = 0.05, 0.15
"""Median norms below the first are of a layer that takes pixels, above the second of one that takes about -1 to 1."""
PIXEL_STEP, PIXEL_CENTRE = 10.0, 10.0
"""A scaling that maps this many input units to one, or takes such a value for the middle, is made for pixels."""


class Evidence(Record):
    """What was found, and where: in a QUANTIZE operator, in the input's own quantisation, in arithmetic on it, or in
    the first layer's weights. ``low`` and ``high`` are the input's range where it is told, else both 0.

    ``filters`` is the median norm of the first layer's filters, in units of the input; 0 where there is none.
    """

    told_by: Literal["quantize", "input", "scaling", "weights", "nothing"]
    low: float = 0.0
    high: float = 0.0
    filters: float = 0.0

    @property
    def takes_small_numbers(self) -> bool:
        """Whether the filters are as large as those of a model that takes about -1 to 1."""
        return self.filters > LARGE_FILTERS


NO_EVIDENCE = Evidence("nothing")


class Scaled(Record):
    """A tensor that is ``gain * input + offset``, by channel or the same for all."""

    gain: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    @property
    def is_input(self) -> bool:
        return set(self.gain) == {1.0} and set(self.offset) == {0.0}

    def combined(self, code: int, values: Sequence[float]) -> Scaled | None:
        """After an operator with these constants as its second operand; ``None`` where it cannot be followed."""
        if code in (ADD, SUB):
            sign = 1.0 if code == ADD else -1.0
            offset = _pairs(self.offset, [sign * value for value in values])
            return None if offset is None else Scaled(self.gain, tuple(a + b for a, b in offset))
        if any(value == 0 for value in values):
            return None
        factors = [value if code == MUL else 1 / value for value in values]
        gain, offset = _pairs(self.gain, factors), _pairs(self.offset, factors)
        if gain is None or offset is None:
            return None
        return Scaled(tuple(a * b for a, b in gain), tuple(a * b for a, b in offset))


def _pairs(left: Sequence[float], right: Sequence[float]) -> list[tuple[float, float]] | None:
    longest = max(len(left), len(right))
    if {len(left), len(right)} - {1, longest}:
        return None
    spread = [side * longest if len(side) == 1 else side for side in (tuple(left), tuple(right))]
    return list(zip(*spread, strict=True))


def read_evidence(model: Table, graph: Table, tensor: int) -> Evidence:
    """What the operators behind the input ``tensor`` tell. Raises :class:`DamagedError`."""
    reader = Constants(model, graph)
    followed = {tensor: Scaled()}
    for index in range(min(graph.count(3), MAX_OPERATORS)):
        operator = graph.item(3, index)
        inputs, outputs = operator.numbers(1, "i"), operator.numbers(2, "i")
        if not inputs or not outputs:
            continue
        code = operator_code(model, operator)
        source = next((number for number in inputs if number in followed), None)
        if source is None:
            if code == DEQUANTIZE:
                reader.unpacked[outputs[0]] = inputs[0]
            continue
        state = followed[source]
        if code == QUANTIZE:
            return _of_quantize(graph, outputs[0], state)
        if code in WEIGHTED:
            return _of_weights(reader, inputs, code, state)
        if code in MOVES:
            followed |= dict.fromkeys(outputs, state)
            continue
        values = _operand(reader, code, inputs, source)
        following = state.combined(code, values) if values else None
        if following is None:
            return _of_scaling(state) or NO_EVIDENCE
        followed[outputs[0]] = following
    return next((found for state in reversed(followed.values()) if (found := _of_scaling(state))), NO_EVIDENCE)


def _operand(reader: Constants, code: int, inputs: Sequence[int], source: int) -> tuple[float, ...]:
    """The constants that arithmetic applies to the image; empty for anything else."""
    if code not in (ADD, MUL, SUB, DIV) or len(inputs) != 2:
        return ()
    if code in (SUB, DIV) and inputs[0] != source:
        return ()
    return reader.values(inputs[1] if inputs[0] == source else inputs[0])


def _of_quantize(graph: Table, output: int, state: Scaled) -> Evidence:
    """The range that fills the quantised type."""
    tensor = graph.item(0, output)
    scales, zeros = quantisation(tensor)
    limits = LIMITS.get(tensor.number(1, "b"))
    if limits is None or len(scales) != 1 or not 0 < scales[0] < math.inf:
        return NO_EVIDENCE
    gain, offset = sum(state.gain) / len(state.gain), sum(state.offset) / len(state.offset)
    low, high = sorted(((limit - (zeros[0] if zeros else 0)) * scales[0] - offset) / gain for limit in limits)
    if tensor.number(1, "b") == INT16 and not state.is_input:
        return NO_EVIDENCE
    return Evidence("quantize", low, high)


def _of_scaling(state: Scaled) -> Evidence | None:
    """Pixels, or 0 to 1, where the arithmetic so far is made for them."""
    if state.is_input or not all(gain and math.isfinite(gain) for gain in state.gain):
        return None
    steps = [1 / abs(gain) for gain in state.gain]
    pairs = _pairs(state.gain, state.offset) or []
    centres = [-offset / gain for gain, offset in pairs]
    if min(steps) >= PIXEL_STEP or min(centres) >= PIXEL_CENTRE:
        return Evidence("scaling", 0.0, 255.0)
    usual = [((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    for means, deviations in usual:
        near = zip((steps * 3)[:3], (centres * 3)[:3], deviations, means, strict=True)
        if all(abs(step - deviation) < 0.01 and abs(at - mean) < 0.01 for step, at, deviation, mean in near):
            return Evidence("scaling", 0.0, 1.0)
    return None


def _of_weights(reader: Constants, inputs: Sequence[int], code: int, state: Scaled) -> Evidence:
    """What the scaling before the first layer tells, else the norm of its filters."""
    scaling = _of_scaling(state)
    if scaling is not None:
        return scaling
    norms = reader.norms(inputs[1], code) if len(inputs) > 1 else []
    # Not from statistics, whose import takes longer than all of this.
    median = sorted(norms)[len(norms) // 2] if norms else 0.0
    middle = median * sum(map(abs, state.gain)) / len(state.gain)
    if not 0 < middle < math.inf:
        return NO_EVIDENCE
    return Evidence("weights", 0.0, 255.0, middle) if middle < SMALL_FILTERS else Evidence("nothing", filters=middle)


class Constants:
    """The constant tensors of a graph as numbers; ``unpacked`` leads through DEQUANTIZE operators."""

    def __init__(self, model: Table, graph: Table) -> None:
        self._model, self._graph = model, graph
        self.unpacked: dict[int, int] = {}

    def values(self, index: int) -> tuple[float, ...]:
        """One value or three, of floats, or of 8 or 16 bits with one scale; empty for any other tensor."""
        index = self.unpacked.get(index, index)
        if index < 0:
            return ()
        tensor = self._graph.item(0, index)
        form = FORMS.get(tensor.number(1, "b"))
        if form is None:
            return ()
        data = self._model.item(4, tensor.number(2, "I")).raw(0)
        size = struct.calcsize(f"<{form}")
        if len(data) not in (size, 3 * size):
            return ()
        numbers = struct.unpack(f"<{len(data) // size}{form}", data)
        scales, zeros = quantisation(tensor)
        if form in "fe":
            return numbers if all(map(math.isfinite, numbers)) else ()
        if len(scales) != 1:
            return ()
        zero = zeros[0] if zeros else 0
        return tuple((number - zero) * scales[0] for number in numbers)

    def norms(self, index: int, code: int) -> list[float]:
        """The Euclidean norm of each filter of a layer's weights."""
        index = self.unpacked.get(index, index)
        if index < 0:
            return []
        tensor = self._graph.item(0, index)
        shape = tensor.numbers(0, "i")
        form = FORMS.get(tensor.number(1, "b"))
        if form is None or not shape or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            return []
        data = self._model.item(4, tensor.number(2, "I")).raw(0)
        if len(data) != math.prod(shape) * struct.calcsize(f"<{form}"):
            return []
        numbers = struct.unpack(f"<{math.prod(shape)}{form}", data)
        filters = shape[-1] if code == DEPTHWISE_CONV_2D else shape[0]
        rows = _rows(numbers, filters, by_column=code == DEPTHWISE_CONV_2D)
        scales = quantisation(tensor)[0] if form not in "fe" else ()
        if form not in "fe" and len(scales) not in (1, filters):
            return []
        factors = (scales or (1.0,)) * (filters if len(scales) < 2 else 1)
        found = [math.sqrt(math.fsum(value * value for value in row)) for row in rows]
        return [norm * factor for norm, factor in zip(found, factors, strict=True)]


def _rows(numbers: Sequence[float], filters: int, *, by_column: bool) -> list[Sequence[float]]:
    if by_column:
        return [numbers[place::filters] for place in range(filters)]
    length = len(numbers) // filters
    return [numbers[place * length : (place + 1) * length] for place in range(filters)]


def quantisation(tensor: Table) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scales and zero points of a tensor, both empty where it has none."""
    table = tensor.table(4)
    return (table.numbers(2, "f"), table.numbers(3, "q")) if table else ((), ())


def operator_code(model: Table, operator: Table) -> int:
    """The operator's number in the schema."""
    return code_number(model.item(1, operator.number(0, "I")))


def code_number(code: Table) -> int:
    """The number in the schema of an entry in a file's list of operators."""
    return max(code.number(0, "b"), code.number(3, "i"))  # files before 2020 have the one-byte field only
