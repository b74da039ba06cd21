"""A classifier's file taken apart before its last layer, and put together again with another.

The file is edited as TensorFlow Lite's schema describes it, so whatever comes before the last layer stays as it is,
quantised or not. No interpreter is involved.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from aicli.catalog.formats.tflite_schema import FILE_IDENTIFIER, LAST_DEPRECATED_CODE, AlignedBufferT, schema
from aicli.errors import ModelError

__all__ = ["Body", "read_body"]

MAX_FEATURES = 65_536
OPS = schema.BuiltinOperator
TYPES = schema.TensorType
HEADS = {OPS.FULLY_CONNECTED, OPS.CONV_2D}
BEHIND_HEAD = {OPS.SOFTMAX, OPS.LOGISTIC, OPS.LOG_SOFTMAX, OPS.RESHAPE, OPS.SQUEEZE, OPS.QUANTIZE, OPS.DEQUANTIZE}
"""What may follow the last layer of a classifier: none of it mixes the classes in a way that was learned."""
DTYPES = {TYPES.FLOAT32: "float32", TYPES.UINT8: "uint8", TYPES.INT8: "int8"}


class Body(NamedTuple):
    """A network up to the tensor that its last layer reads: ``size`` features in one tensor of type ``dtype``.

    A quantised feature means ``(value - zero_point) * scale``.
    """

    model: Any
    tensor: int
    size: int
    dtype: str
    scale: float
    zero_point: int

    def features_file(self) -> bytes:
        """A .tflite file whose only output is the tensor of features."""
        model, _ = _pruned(self.model, self.tensor)
        return _pack(model)

    def with_head(self, weights: NDArray[np.float32], bias: NDArray[np.float32], metadata: dict[str, bytes]) -> bytes:
        """A .tflite file with a new last layer: softmax of features times ``weights`` [classes, size], plus ``bias``.

        ``metadata`` are the blocks that the file carries, by their names. The layer is FLOAT32, whatever the body is:
        rounded to FLOAT16 it moved scores by more than 0.001.
        """
        model, tensor = _pruned(self.model, self.tensor)
        editor = _Editor(model)
        if self.dtype != "float32":
            tensor = editor.operator("DEQUANTIZE", schema.DequantizeOptionsT(), [tensor], "features", [1, self.size])
            # the operator keeps its input's shape: [1, 1, 1, size] stays until the next reshapes it
            editor.shape_like(tensor, self.model.subgraphs[0].tensors[self.tensor])
        operands = [tensor, editor.weights("head/weights", weights), editor.weights("head/bias", bias)]
        options = schema.FullyConnectedOptionsT()
        classes = weights.shape[0]
        logits = editor.operator("FULLY_CONNECTED", options, operands, "logits", [1, classes])
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        output = editor.operator("SOFTMAX", softmax, [logits], "probabilities", [1, classes])
        model.subgraphs[0].outputs = [output]
        for name, block in metadata.items():
            item = schema.MetadataT()
            item.name, item.buffer = name, editor.buffer(block)
            model.metadata.append(item)
        return _pack(model)


def read_body(name: str, data: bytes, output: int) -> Body:
    """The part of a classifier before the last layer on the way to its output ``output``.

    Raises :class:`ModelError` when the file is not a classifier whose last layer is fully connected or a 1 x 1
    convolution.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    except Exception as error:  # the generated reader raises whatever its arithmetic raises
        raise ModelError(f"{name}: the TFLite model is damaged: {error}") from None
    if len(model.subgraphs) != 1:
        raise ModelError(f"{name}: cannot be a base: it has {len(model.subgraphs)} subgraphs, not one")
    graph = model.subgraphs[0]
    makers = {int(out): operator for operator in graph.operators for out in operator.outputs}
    tensor = int(graph.outputs[output])
    while True:
        operator = makers.get(tensor)
        code = _code(model, operator) if operator is not None else None
        if operator is not None and code in HEADS:
            break
        if operator is None or code not in BEHIND_HEAD:
            raise ModelError(
                f"{name}: cannot be a base: its output is made by no fully connected layer and no 1 x 1 convolution"
            )
        tensor = int(operator.inputs[0])
    source, kernel = (graph.tensors[int(index)] for index in operator.inputs[:2])
    shape = [int(size) for size in kernel.shape]
    size = shape[-1]
    values = int(np.prod([abs(int(side)) for side in source.shape]))
    if code == OPS.CONV_2D and shape[1:3] != [1, 1]:
        raise ModelError(f"{name}: cannot be a base: its last layer is a convolution of {shape[1]} x {shape[2]}")
    if source.type not in DTYPES or values != size or not 1 <= size <= MAX_FEATURES:
        given = "x".join(str(int(side)) for side in source.shape)
        raise ModelError(f"{name}: cannot be a base: its last layer reads {given} values, not one row of features")
    quantization = source.quantization
    scaled = quantization is not None and quantization.scale is not None and len(quantization.scale) == 1
    if source.type != TYPES.FLOAT32 and not scaled:
        raise ModelError(f"{name}: cannot be a base: its features have no single scale")
    scale = float(quantization.scale[0]) if scaled and source.type != TYPES.FLOAT32 else 1.0
    points = quantization.zeroPoint if scaled else None
    zero = int(points[0]) if points is not None and len(points) and source.type != TYPES.FLOAT32 else 0
    return Body(model, int(operator.inputs[0]), size, DTYPES[source.type], scale, zero)


def _code(model: Any, operator: Any) -> int:
    entry = model.operatorCodes[operator.opcodeIndex]
    return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))


def _pruned(model: Any, tensor: int) -> tuple[Any, int]:
    """A copy with what the tensor is computed from, and nothing else; the tensor's index in it."""
    graph = model.subgraphs[0]
    wanted, kept = {tensor}, []
    for operator in reversed(graph.operators):
        if wanted & {int(index) for index in operator.outputs}:
            kept.append(operator)
            wanted |= {int(index) for index in operator.inputs if index >= 0}
    for operator in kept:
        wanted |= {int(index) for index in operator.outputs}
        if operator.intermediates is not None:
            wanted |= {int(index) for index in operator.intermediates}
    wanted |= {int(index) for index in graph.inputs}
    places = {old: new for new, old in enumerate(sorted(wanted))}

    made = copy.copy(model)
    made.metadata, made.metadataBuffer, made.signatureDefs = [], None, []
    made.operatorCodes = list(model.operatorCodes)
    small = copy.copy(graph)
    made.subgraphs, made.buffers = [small], [AlignedBufferT()]
    small.tensors = [_moved(model, made, graph.tensors[old]) for old in sorted(wanted)]
    small.operators = [_renumbered(operator, places) for operator in reversed(kept)]
    small.inputs = [places[int(index)] for index in graph.inputs]
    small.outputs = [places[tensor]]
    return made, places[tensor]


def _moved(model: Any, made: Any, tensor: Any) -> Any:
    """A tensor with its data in the new file's list of buffers."""
    moved = copy.copy(tensor)
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    moved.buffer = 0
    if data is not None and len(data):
        buffer = AlignedBufferT()
        buffer.data = bytes(data)
        moved.buffer = len(made.buffers)
        made.buffers.append(buffer)
    return moved


def _renumbered(operator: Any, places: dict[int, int]) -> Any:
    made = copy.copy(operator)
    for field in ("inputs", "outputs", "intermediates"):
        indices = getattr(operator, field)
        if indices is not None:
            setattr(made, field, [places[int(index)] if index >= 0 else -1 for index in indices])
    return made


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


class _Editor:
    """Adds tensors and operators to the main graph of a model."""

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]

    def buffer(self, data: bytes) -> int:
        made = AlignedBufferT()
        made.data = data
        self._model.buffers.append(made)
        return len(self._model.buffers) - 1

    def tensor(self, name: str, kind: int, shape: list[int], data: bytes | None = None) -> int:
        made = schema.TensorT()
        made.name, made.type, made.shape = name, kind, shape
        made.buffer = self.buffer(data) if data is not None else 0
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def shape_like(self, index: int, other: Any) -> None:
        made = self._graph.tensors[index]
        made.shape, made.shapeSignature = other.shape, other.shapeSignature

    def weights(self, name: str, values: NDArray[np.float32]) -> int:
        data = np.ascontiguousarray(values, "<f4").tobytes()
        return self.tensor(name, TYPES.FLOAT32, [int(side) for side in values.shape], data)

    def operator(self, kind: str, options: Any, operands: list[int], name: str, shape: list[int]) -> int:
        result = self.tensor(name, TYPES.FLOAT32, shape)
        made = schema.OperatorT()
        made.opcodeIndex = self._opcode(getattr(OPS, kind), 2 if kind == "DEQUANTIZE" else 1)
        made.inputs, made.outputs = operands, [result]
        made.builtinOptions = options
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._graph.operators.append(made)
        return result

    def _opcode(self, code: int, version: int) -> int:
        """Version 2 of DEQUANTIZE is the first that takes int8."""
        for index, entry in enumerate(self._model.operatorCodes):
            if entry.builtinCode == code and entry.version == version:
                return index
        made = schema.OperatorCodeT()
        made.builtinCode, made.version = code, version
        made.deprecatedBuiltinCode = min(code, LAST_DEPRECATED_CODE)
        self._model.operatorCodes.append(made)
        return len(self._model.operatorCodes) - 1
