"""Whether a .tflite file is in order: every offset, index, shape and size in it, before native code follows one.

Interpreters trust their models. What is checked here holds for any file; :func:`check_foreign` is for files of a guest
or an uploader, of which less is asked: no operators that vision models have no need of, and no data outside the file.

Source: TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from aicli.nn.model_file.flatbuffer import Buffer, DamagedError, Table, root
from aicli.nn.model_file.operators import CALLERS, FOREIGN_OPERATORS, operator_name
from aicli.nn.model_file.tensors import IDENTIFIER, MAX_RANK, SIZES, UnusableError, read_tensors, type_name

__all__ = ["Totals", "check_foreign", "check_model"]

MAX_GRAPHS = 64
MAX_TENSORS = 20_000
MAX_OPERATORS = 20_000
MAX_BUFFERS = 40_000
MAX_LINKS = 400_000
"""Inputs and outputs of all operators together."""
BITS = {"int4": 4, "uint4": 4, "int2": 2, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}
POINTERS = frozenset({"string", "resource", "variant"})
MAX_TENSOR_BYTES = 1 << 40


class Totals(NamedTuple):
    """Bytes of what a model works on, in the shapes that it stores.

    ``fixed`` are the file itself and what follows from its constants alone (unpacked weights), ``values`` all that
    follows from the inputs, and these.
    """

    inputs: int
    fixed: int
    values: int

    def needed(self, inputs: int) -> int:
        """About how many bytes a context needs whose inputs have so many."""
        growth = max(1.0, inputs / max(1, self.inputs))
        return self.fixed + math.ceil(self.values * growth)


class Parts(NamedTuple):
    """A model and the lengths of its lists, to which its indices refer."""

    model: Table
    buffers: tuple[int, ...]
    codes: tuple[int, ...]
    graphs: int


class Graph(NamedTuple):
    """What was found in a graph: bytes that follow from constants, bytes that follow from inputs, graphs called."""

    fixed: int
    values: int
    calls: set[int]


def check_model(data: Buffer) -> Totals:
    """Checks a file whose user chose it. Raises :class:`DamagedError`, or :class:`UnusableError` for its ends."""
    return _check(data, foreign=False)


def check_foreign(data: Buffer) -> Totals:
    """Checks a file that came from a guest or an uploader. Raises as :func:`check_model`."""
    return _check(data, foreign=True)


def _check(data: Buffer, *, foreign: bool) -> Totals:
    model = root(data, IDENTIFIER)
    if model.number(0, "I") != 3:
        raise DamagedError(f"it has version {model.number(0, 'I')} of the format, not 3")
    graphs = _bounded(model, 2, MAX_GRAPHS, "graphs")
    if not graphs:
        raise DamagedError("it contains no graph")
    buffers = tuple(_buffers(data, model, foreign))
    parts = Parts(model, buffers, tuple(_codes(model, foreign)), graphs)
    found = [_graph(parts, index) for index in range(graphs)]
    _refuse_circles([graph.calls for graph in found])
    ends = read_tensors(data)
    return Totals(
        sum(tensor.size(tensor.shape) for tensor in ends.inputs),
        len(data) + sum(graph.fixed for graph in found),
        sum(graph.values for graph in found),
    )


def _bounded(table: Table, field: int, most: int, what: str) -> int:
    count = table.count(field)
    if count > most:
        raise DamagedError(f"it declares {count} {what}; {most} are the most that are read")
    return count


def _buffers(data: Buffer, model: Table, foreign: bool) -> Iterator[int]:
    """The bytes of each buffer; those of a file beyond 2 GB lie behind the FlatBuffer."""
    if foreign and (model.count(8) or model.count(9)):
        raise UnusableError("it keeps weights in other files")
    for index in range(_bounded(model, 4, MAX_BUFFERS, "buffers")):
        buffer = model.item(4, index)
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        if offset > 1:
            if foreign:
                raise UnusableError("it keeps weights behind the end of the model")
            if offset + size > len(data):
                raise DamagedError(f"buffer {index} reaches beyond the file's {len(data)} bytes")
            yield size
        else:
            yield buffer.count_bytes(0)


def _codes(model: Table, foreign: bool) -> Iterator[int]:
    for index in range(_bounded(model, 1, MAX_OPERATORS, "kinds of operators")):
        entry = model.item(1, index)
        code = max(entry.number(0, "b"), entry.number(3, "i"))
        if foreign and code not in FOREIGN_OPERATORS:
            custom = f" '{entry.text(1)[:100]}'" if entry.count_bytes(1) else ""
            raise UnusableError(f"it uses the operator {operator_name(code)}{custom}, which foreign models may not")
        yield code


def _graph(parts: Parts, number: int) -> Graph:
    graph = parts.model.item(2, number)
    where = f"graph {number}: " if parts.graphs > 1 else ""
    count = _bounded(graph, 0, MAX_TENSORS, "tensors")
    sizes, constants, variables = [], set(), set()
    for index in range(count):
        size, is_constant, is_variable = _tensor(parts, graph.item(0, index), f"{where}tensor {index}")
        sizes.append(size)
        if is_constant:
            constants.add(index)
        if is_variable:
            variables.add(index)
    stored = set(constants)
    inputs, outputs = graph.numbers(1, "i"), graph.numbers(2, "i")
    _check_indices(inputs, count, f"{where}an input")
    _check_indices(outputs, count, f"{where}an output")
    known = constants | variables | set(inputs)
    calls = _operators(parts, graph, count, known, constants, where)
    missing = set(outputs) - known
    if missing:
        raise DamagedError(f"{where}no operator gives its output {min(missing)} a value")
    fixed = sum(sizes[index] for index in constants - stored)
    values = sum(size for index, size in enumerate(sizes) if index not in constants)
    if fixed + values > MAX_TENSOR_BYTES:
        raise DamagedError(f"{where}its tensors have {fixed + values} bytes together")
    return Graph(fixed, values, calls)


def _tensor(parts: Parts, tensor: Table, where: str) -> tuple[int, bool, bool]:
    """The bytes that it has, whether it is a constant, and whether it is a variable."""
    shape = tensor.numbers(0, "i")
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise DamagedError(f"{where} has the shape {list(shape[: MAX_RANK + 1])}")
    buffer = tensor.number(2, "I")
    if buffer >= len(parts.buffers):
        raise DamagedError(f"{where} lies in buffer {buffer} of {len(parts.buffers)}")
    dtype = type_name(tensor.number(1, "b"))
    if dtype not in SIZES and dtype not in BITS and dtype not in POINTERS:
        raise DamagedError(f"{where} is {dtype}")
    size = math.ceil(math.prod(shape) * BITS.get(dtype, 8 * SIZES.get(dtype, 8)) / 8)
    if size > MAX_TENSOR_BYTES:
        raise DamagedError(f"{where} would have {size} bytes")
    stored = parts.buffers[buffer]
    if stored and dtype not in POINTERS and tensor.table(6) is None and stored != size:
        raise DamagedError(f"{where} has {stored} bytes where {dtype} {list(shape)} needs {size}")
    _check_quantization(tensor, shape, where)
    is_constant = bool(stored) or size == 0 or bool(tensor.number(10, "I"))
    return size, is_constant, bool(tensor.number(5, "b"))


def _check_quantization(tensor: Table, shape: tuple[int, ...], where: str) -> None:
    found = tensor.table(4)
    if found is None or found.number(4, "B"):  # details of another kind, such as by blocks
        return
    scales, zero_points, axis = found.numbers(2, "f"), found.numbers(3, "q"), found.number(6, "i")
    if len(scales) > 1 and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
        raise DamagedError(f"{where} has {len(scales)} scales for dimension {axis} of {list(shape)}")
    if len(zero_points) not in (0, 1, len(scales)):
        raise DamagedError(f"{where} has {len(scales)} scales and {len(zero_points)} zero points")


def _check_indices(indices: tuple[int, ...], count: int, what: str, *, least: int = 0) -> None:
    for index in indices:
        if not least <= index < count:
            raise DamagedError(f"{what} is tensor {index} of {count}")


def _operators(parts: Parts, graph: Table, tensors: int, known: set[int], constants: set[int], where: str) -> set[int]:
    """Checks the operators in their order; the graphs that they call.

    What they compute is added to ``known``, and to ``constants`` where it follows from these alone.
    """
    called: set[int] = set()
    links = 0
    for number in range(_bounded(graph, 3, MAX_OPERATORS, "operators")):
        operator = graph.item(3, number)
        code_index = operator.number(0, "I")
        if code_index >= len(parts.codes):
            raise DamagedError(f"{where}operator {number} is of kind {code_index} of {len(parts.codes)}")
        code = parts.codes[code_index]
        name = f"{where}operator {number} ({operator_name(code)})"
        inputs, outputs = operator.numbers(1, "i"), operator.numbers(2, "i")
        links += len(inputs) + len(outputs)
        if links > MAX_LINKS:
            raise DamagedError(f"{where}its operators have more than {MAX_LINKS} inputs and outputs")
        _check_indices(inputs, tensors, f"{name}: an input", least=-1)  # -1: one that is left out
        _check_indices(outputs, tensors, f"{name}: an output")
        _check_indices(operator.numbers(8, "i"), tensors, f"{name}: an intermediate", least=-1)
        early = [index for index in inputs if index >= 0 and index not in known]
        if early:
            raise DamagedError(f"{name} reads tensor {early[0]} before anything has given it a value")
        known.update(outputs)
        if inputs and constants.issuperset(index for index in inputs if index >= 0):
            constants.update(outputs)
        if code in CALLERS:
            called.update(_called(operator, code, parts.graphs, name))
    return called


def _called(operator: Table, code: int, graphs: int, name: str) -> list[int]:
    """The graphs that an operator runs."""
    options = operator.table(CALLERS[code].field)
    found = [options.number(field, "i") if options else 0 for field in CALLERS[code].graphs]
    for graph in found:
        if not 0 <= graph < graphs:
            raise DamagedError(f"{name} calls graph {graph} of {graphs}")
    return found


def _refuse_circles(calls: list[set[int]]) -> None:
    """A graph that calls itself, even through others, would call without end."""
    finished: set[int] = set()
    while len(finished) < len(calls):
        ready = {graph for graph, called in enumerate(calls) if graph not in finished and called <= finished}
        if not ready:
            raise DamagedError(f"graph {min(set(range(len(calls))) - finished)} calls itself")
        finished |= ready
