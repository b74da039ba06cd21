"""What a .tflite file says about itself, read from its bytes: no interpreter, which would cost time and can crash.

Source: TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import struct

from aicli._record import Record
from aicli.catalog.formats.first_layers import (
    MAX_OPERATORS,
    NO_EVIDENCE,
    Evidence,
    code_number,
    operator_code,
    quantisation,
    read_evidence,
)
from aicli.catalog.formats.own_block import NAME as OWN_BLOCK
from aicli.catalog.specs import OutputKind
from aicli.nn.model_file.flatbuffer import Buffer, DamagedError, Table, root
from aicli.nn.model_file.tensors import IDENTIFIER, type_name

__all__ = ["ModelInfo", "Signature", "TensorInfo", "read_model", "with_graph_first"]

# BuiltinOperator numbers, as far as they tell what an output is.
SOFTMAX, LOGISTIC = 25, 14
LOGIT_MAKERS = {9, 3, 50, 126}  # FULLY_CONNECTED, CONV_2D, BATCH_MATMUL; LOG_SOFTMAX: its softmax is the probabilities
ADD = 0  # a bias behind a BATCH_MATMUL
SHAPE_ONLY = {22, 43, 6, 114}  # RESHAPE, SQUEEZE, DEQUANTIZE, QUANTIZE: look at what comes before
CALL_ONCE, READ_VARIABLE, ASSIGN_VARIABLE = 129, 143, 144
MAX_TENSORS = 64
"""How many inputs or outputs are described; a file that declares more is not a classifier."""


class TensorInfo(Record):
    """An input or output; in ``shape``, -1 is a dimension that the model leaves open.

    ``stored`` is the shape before anybody resizes it. ``scale`` is 0 where the tensor is not quantised.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    scale: float
    zero_point: int


class Signature(Record):
    """A named entry of a model and the number of the graph that it runs."""

    name: str
    graph: int


class ModelInfo(Record):
    """The inputs and outputs of one graph, what each output is, and the metadata blocks by name.

    ``evidence`` is what the first operators tell about the range of a float input, ``custom`` names the operators of
    the whole file that are not TFLite's own, ``unset`` says that the graph reads variables that nobody has set.
    """

    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    kinds: tuple[OutputKind, ...]
    metadata: dict[str, bytes]
    evidence: Evidence = NO_EVIDENCE
    signatures: tuple[Signature, ...] = ()
    custom: tuple[str, ...] = ()
    unset: bool = False


def read_model(data: Buffer, graph_number: int = 0) -> ModelInfo:
    """Reads the bytes of a .tflite file and of one of its graphs. Raises :class:`DamagedError`."""
    model = root(data, IDENTIFIER)
    if not model.count(2):
        raise DamagedError("it contains no graph")
    graph = model.item(2, graph_number)
    inputs = _indices(graph, 1, "inputs")
    outputs = _indices(graph, 2, "outputs")
    return ModelInfo(
        description=model.text(3),
        inputs=tuple(_tensor(graph, index) for index in inputs),
        outputs=tuple(_tensor(graph, index) for index in outputs),
        kinds=tuple(_kind(model, graph, index) for index in outputs),
        metadata=_metadata(model),
        evidence=read_evidence(model, graph, inputs[0]) if len(inputs) == 1 else NO_EVIDENCE,
        signatures=_signatures(model),
        custom=_custom(model),
        unset=_reads_unset(model, graph),
    )


def with_graph_first(data: Buffer, graph_number: int) -> bytes:
    """The same file with one of its graphs in the first place, which is the one that an interpreter runs.

    Only the two offsets in the list of graphs change places: graphs that others call are never an entry.
    """
    model = root(data, IDENTIFIER)
    first, other = model.place(2, 0), model.place(2, graph_number)
    first_table, other_table = (place + struct.unpack_from("<I", data, place)[0] for place in (first, other))
    copy = bytearray(data[:])
    struct.pack_into("<I", copy, first, other_table - first)
    struct.pack_into("<I", copy, other, first_table - other)
    return bytes(copy)


def _signatures(model: Table) -> tuple[Signature, ...]:
    """The signatures in the order of the file; those of a graph that is not there are left out."""
    found = (model.item(7, index) for index in range(min(model.count(7), MAX_TENSORS)))
    named = (Signature(item.text(2), item.number(4, "I")) for item in found)
    return tuple(signature for signature in named if signature.graph < model.count(2))


def _custom(model: Table) -> tuple[str, ...]:
    codes = (model.item(1, index) for index in range(min(model.count(1), MAX_OPERATORS)))
    return tuple(dict.fromkeys(name for code in codes if (name := code.text(1))))


def _reads_unset(model: Table, graph: Table) -> bool:
    """Whether a graph reads variables and neither sets any nor calls the graph that would."""
    codes = {code_number(model.item(1, index)) for index in range(min(model.count(1), MAX_OPERATORS))}
    if READ_VARIABLE not in codes:
        return False
    used = {operator_code(model, graph.item(3, index)) for index in range(min(graph.count(3), MAX_OPERATORS))}
    return READ_VARIABLE in used and not used & {ASSIGN_VARIABLE, CALL_ONCE}


def _indices(graph: Table, field: int, name: str) -> tuple[int, ...]:
    indices = graph.numbers(field, "i")
    if len(indices) > MAX_TENSORS:
        raise DamagedError(f"it declares {len(indices)} {name}")
    return indices


def _tensor(graph: Table, index: int) -> TensorInfo:
    tensor = graph.item(0, index)
    stored = tensor.numbers(0, "i")
    signature = tensor.numbers(7, "i")
    scales, zero_points = quantisation(tensor)
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
    added = False
    for index in reversed(range(min(graph.count(3), MAX_OPERATORS))):
        operator = graph.item(3, index)
        if tensor not in operator.numbers(2, "i"):
            continue
        code = operator_code(model, operator)
        if code in (SOFTMAX, LOGISTIC):
            return "unknown" if added else "probabilities"
        if code in LOGIT_MAKERS:
            return "logits"
        inputs = operator.numbers(1, "i")
        if (code not in SHAPE_ONLY and code != ADD) or not inputs:
            return "unknown"
        added = added or code == ADD
        tensor = inputs[0]
    return "unknown"


def _metadata(model: Table) -> dict[str, bytes]:
    """The metadata blocks that are read here: TFLite's own, and the one of ``aicli train``."""
    blocks = {}
    for index in range(min(model.count(6), MAX_TENSORS)):
        entry = model.item(6, index)
        name = entry.text(0)
        if name in ("TFLITE_METADATA", OWN_BLOCK):
            blocks[name] = model.item(4, entry.number(1, "I")).raw(0)
    return blocks
