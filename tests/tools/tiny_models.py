"""Tiny .tflite files of any type: the image itself, reshaped to ``classes``, so that a test sees what was fed."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}


class TinyModel:
    """A model under construction; each output is the input reshaped, or a softmax or fully connected layer of it."""

    def __init__(
        self,
        dtype: str = "float32",
        shape: Sequence[int] = (1, 2, 2, 3),
        signature: Sequence[int] | None = None,
        quantization: tuple[float, int] | None = None,
    ) -> None:
        self.dtype, self.quantization = dtype, quantization
        self.tensors: list[Any] = []
        self.buffers = [schema.BufferT()]
        self.operators: list[Any] = []
        self.codes: list[int] = []
        self.metadata: list[Any] = []
        self.features = int(np.prod(shape[1:])) if len(shape) > 1 else int(shape[0])
        self.inputs = [self.tensor("image", dtype, shape, signature)]
        self.source = self.inputs[0]
        self.outputs: list[int] = []
        self.custom = ""
        """The name of the operator CUSTOM, if there is one."""

    def tensor(
        self, name: str, dtype: str, shape: Sequence[int], signature: Sequence[int] | None = None, data: bytes = b""
    ) -> int:
        made = schema.TensorT()
        made.name, made.type, made.shape = name, TYPES[dtype], list(shape)
        made.shapeSignature = list(signature) if signature else None
        if self.quantization and dtype in ("uint8", "int8"):
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [self.quantization[0]], [self.quantization[1]]
        made.buffer = 0
        if data:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, name: str, inputs: Sequence[int], output: int, options: Any = None) -> None:
        made = schema.OperatorT()
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        made.opcodeIndex = self.codes.index(code)
        made.inputs, made.outputs = list(inputs), [output]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.operators.append(made)

    def scale(self, factor: float, dtype: str = "float32") -> TinyModel:
        """Begins by multiplying with a constant, as a Keras Rescaling layer does; float16 is unpacked first."""
        kind = np.dtype(dtype).newbyteorder("<")
        constant = self.tensor("factor", dtype, (1,), data=np.array([factor], kind).tobytes())
        if dtype == "float16":
            packed, constant = constant, self.tensor("unpacked", "float32", (1,))
            self.operator("DEQUANTIZE", [packed], constant, schema.DequantizeOptionsT())
        scaled = self.tensor("scaled", self.dtype, self.tensors[self.inputs[0]].shape)
        self.operator("MUL", [self.inputs[0], constant], scaled, schema.MulOptionsT())
        self.source = scaled
        return self

    def flat(self, *, last: str = "RESHAPE", signature: Sequence[int] | None = None) -> TinyModel:
        """One more output [1, features]; ``last`` is RESHAPE, SOFTMAX or FULLY_CONNECTED (the identity)."""
        target = self.tensor("target", "int32", (2,), data=np.array([-1, self.features], "<i4").tobytes())
        options = schema.ReshapeOptionsT()
        options.newShape = [-1, self.features]
        result = self.tensor("flat", self.dtype, (1, self.features), signature)
        self.operator("RESHAPE", [self.source, target], result, options)
        if last == "SOFTMAX":
            softmax = schema.SoftmaxOptionsT()
            softmax.beta = 1.0
            source, result = result, self.tensor("probabilities", self.dtype, (1, self.features), signature)
            self.operator("SOFTMAX", [source], result, softmax)
        if last == "FULLY_CONNECTED":
            weights = np.eye(self.features, dtype="<f4")
            kernel = self.tensor("weights", "float32", weights.shape, data=weights.tobytes())
            source, result = result, self.tensor("logits", self.dtype, (1, self.features), signature)
            self.operator("FULLY_CONNECTED", [source, kernel], result, schema.FullyConnectedOptionsT())
        self.outputs.append(result)
        return self

    def describe(self, block: bytes) -> TinyModel:
        """Carries a metadata block."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(block, np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = "TFLITE_METADATA", len(self.buffers)
        self.buffers.append(buffer)
        self.metadata.append(entry)
        return self

    def finish(self) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = self.inputs, self.outputs
        model = schema.ModelT()
        model.version, model.description = 3, "a tiny model"
        model.operatorCodes = []
        for code in self.codes:
            made = schema.OperatorCodeT()
            made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), 1
            if code == schema.BuiltinOperator.CUSTOM:
                made.customCode = self.custom
            model.operatorCodes.append(made)
        model.subgraphs, model.buffers = [graph], self.buffers
        model.metadata = self.metadata or None
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def metadata_block(mean: Sequence[float], std: Sequence[float], label_files: Sequence[tuple[str, str]]) -> bytes:
    """A TFLite Metadata block: the input's normalisation and the (file, locale) of the first output's labels."""
    builder = flatbuffers.Builder(256)

    def floats(values: Sequence[float]) -> int:
        return int(builder.CreateNumpyVector(np.array(values, "<f4")))

    def table(fields: dict[int, tuple[str, Any]], size: int) -> int:
        builder.StartObject(size)
        for slot, (kind, value) in fields.items():
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:
                builder.PrependInt8Slot(slot, value, 0)
        return int(builder.EndObject())

    def vector(offsets: Sequence[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    files = []
    for name, locale in label_files:
        strings = builder.CreateString(name), builder.CreateString(locale)
        files.append(table({0: ("offset", strings[0]), 2: ("byte", 2), 3: ("offset", strings[1])}, 5))
    options = table({0: ("offset", floats(mean)), 1: ("offset", floats(std))}, 2)
    unit = table({0: ("byte", 1), 1: ("offset", options)}, 2)
    image = table({4: ("offset", vector([unit]))}, 7)
    scores = table({6: ("offset", vector(files))}, 7)
    graph = table({2: ("offset", vector([image])), 3: ("offset", vector([scores]))}, 8)
    model = table({0: ("offset", builder.CreateString("tiny")), 3: ("offset", vector([graph]))}, 8)
    builder.Finish(model, b"M001")
    return bytes(builder.Output())


def with_files(model: bytes, files: dict[str, str]) -> bytes:
    """The model with a zip of these files behind it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return model + stream.getvalue()
