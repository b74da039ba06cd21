"""Write .tflite files operator by operator, as the bundled models are made; TensorFlow is not needed.

Weights are FLOAT16 constants, each followed by a DEQUANTIZE operator; activations are float32, so that a file has
half the bytes of a float32 one and runs at the same speed. The same calls give the same bytes.
Layouts are TensorFlow Lite's: activations NHWC, convolution weights [out, height, width, in], depthwise weights
[1, height, width, channels], fully connected weights [out, in].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from aicli.catalog.formats.tflite_schema import FILE_IDENTIFIER, LAST_DEPRECATED_CODE, AlignedBufferT, schema

__all__ = ["Graph", "Tensor"]

SCHEMA_VERSION = 3
OPERATOR_VERSIONS = {"DEQUANTIZE": 3}  # the first version that takes FLOAT16; every other operator is version 1
DYNAMIC = -1


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph: its index and its shape, in which -1 is a dimension known only when the net runs."""

    index: int
    shape: tuple[int, ...]


class Graph:
    """One subgraph in the making: each method adds an operator and returns its output tensor."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [AlignedBufferT()]  # buffer 0 means "no data"
        self._operators: list[Any] = []
        self._codes: dict[str, int] = {}
        self._inputs: list[Tensor] = []

    def input(
        self, name: str, shape: Sequence[int], stored: Sequence[int], *, quantised: tuple[float, int] | None = None
    ) -> Tensor:
        """An input of ``shape`` (-1: dynamic); ``stored`` is the shape it has until somebody resizes it.

        It is float32, or uint8 with the scale and zero point ``quantised``.
        """
        kind = schema.TensorType.FLOAT32 if quantised is None else schema.TensorType.UINT8
        tensor = self._tensor(name, kind, shape, stored=stored)
        if quantised is not None:
            parameters = schema.QuantizationParametersT()
            parameters.scale, parameters.zeroPoint = [quantised[0]], [quantised[1]]
            self._tensors[tensor.index].quantization = parameters
        self._inputs.append(tensor)
        return tensor

    def dequantize(self, name: str, source: Tensor) -> Tensor:
        """``(source - zero point) * scale`` of a quantised tensor, as float32."""
        return self._operator("DEQUANTIZE", schema.DequantizeOptionsT(), [source], name, source.shape)

    def constant(self, name: str, values: NDArray[Any]) -> Tensor:
        """``values`` as float32."""
        data = np.ascontiguousarray(values, dtype="<f4")
        return self._tensor(name, schema.TensorType.FLOAT32, data.shape, data=data.tobytes())

    def weights(self, name: str, values: NDArray[Any]) -> Tensor:
        """``values`` rounded to FLOAT16 and the DEQUANTIZE operator that makes them float32.

        Raises ValueError when a value is too large for FLOAT16.
        """
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(values, dtype="<f2")
        if not np.isfinite(half).all():
            raise ValueError(f"{name}: values that FLOAT16 cannot hold")
        stored = self._tensor(f"{name}/f16", schema.TensorType.FLOAT16, half.shape, data=half.tobytes())
        return self._operator("DEQUANTIZE", schema.DequantizeOptionsT(), [stored], name, half.shape)

    def conv2d(
        self,
        name: str,
        source: Tensor,
        kernel: NDArray[Any],
        bias: NDArray[Any],
        *,
        stride: int = 1,
        same: bool = False,
        relu6: bool = False,
    ) -> Tensor:
        """A convolution with ``kernel`` [out, height, width, in]."""
        options = schema.Conv2DOptionsT()
        _set_window(options, stride, same)
        return self._convolution("CONV_2D", options, name, source, kernel, bias, kernel.shape[0], relu6)

    def depthwise_conv2d(
        self, name: str, source: Tensor, kernel: NDArray[Any], bias: NDArray[Any], *, stride: int, relu6: bool
    ) -> Tensor:
        """A depthwise convolution, SAME padding, with ``kernel`` [1, height, width, channels]."""
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        _set_window(options, stride, same=True)
        return self._convolution("DEPTHWISE_CONV_2D", options, name, source, kernel, bias, kernel.shape[3], relu6)

    def max_pool2d(self, name: str, source: Tensor, size: int, stride: int, *, same: bool) -> Tensor:
        options = schema.Pool2DOptionsT()
        options.filterHeight = options.filterWidth = size
        _set_window(options, stride, same)
        shape = _window_shape(source.shape, source.shape[3], size, size, stride, same)
        return self._operator("MAX_POOL_2D", options, [source], name, shape)

    def prelu(self, name: str, source: Tensor, alpha: NDArray[Any]) -> Tensor:
        """max(x, 0) + alpha * min(x, 0); ``alpha`` is broadcast against the source without its batch."""
        slopes = self.weights(f"{name}/alpha", alpha)
        return self._operator("PRELU", None, [source, slopes], name, source.shape)

    def fully_connected(self, name: str, source: Tensor, weights: NDArray[Any], bias: NDArray[Any]) -> Tensor:
        """source [batch, in] times the transpose of ``weights`` [out, in], plus ``bias`` [out]."""
        operands = [source, self.weights(f"{name}/weights", weights), self.weights(f"{name}/bias", bias)]
        shape = (source.shape[0], weights.shape[0])
        return self._operator("FULLY_CONNECTED", schema.FullyConnectedOptionsT(), operands, name, shape)

    def flatten(self, name: str, source: Tensor) -> Tensor:
        """[batch, height, width, channels] as [batch, height * width * channels]; the batch may be dynamic."""
        features = int(np.prod(source.shape[1:]))
        options = schema.ReshapeOptionsT()
        options.newShape = [DYNAMIC, features]
        target = self._integers(f"{name}/shape", options.newShape)
        return self._operator("RESHAPE", options, [source, target], name, (source.shape[0], features))

    def global_average(self, name: str, source: Tensor) -> Tensor:
        """[batch, height, width, channels] averaged to [batch, channels]."""
        axes = self._integers(f"{name}/axes", [1, 2])
        shape = (source.shape[0], source.shape[3])
        return self._operator("MEAN", schema.ReducerOptionsT(), [source, axes], name, shape)

    def add(self, name: str, first: Tensor, second: Tensor) -> Tensor:
        return self._operator("ADD", schema.AddOptionsT(), [first, second], name, first.shape)

    def softmax(self, name: str, source: Tensor) -> Tensor:
        """Softmax over the last dimension."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._operator("SOFTMAX", options, [source], name, source.shape)

    def finish(self, outputs: Sequence[Tensor]) -> bytes:
        """The file's bytes; the net's outputs are in the order given."""
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors = self._tensors
        graph.operators = self._operators
        graph.inputs = [tensor.index for tensor in self._inputs]
        graph.outputs = [tensor.index for tensor in outputs]
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = self._description
        model.operatorCodes = [_operator_code(name) for name in self._codes]
        model.subgraphs = [graph]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _convolution(
        self,
        kind: str,
        options: Any,
        name: str,
        source: Tensor,
        kernel: NDArray[Any],
        bias: NDArray[Any],
        channels: int,
        relu6: bool,
    ) -> Tensor:
        activations = schema.ActivationFunctionType
        options.fusedActivationFunction = activations.RELU6 if relu6 else activations.NONE
        operands = [source, self.weights(f"{name}/weights", kernel), self.weights(f"{name}/bias", bias)]
        same = options.padding == schema.Padding.SAME
        shape = _window_shape(source.shape, channels, kernel.shape[1], kernel.shape[2], options.strideH, same)
        return self._operator(kind, options, operands, name, shape)

    def _integers(self, name: str, values: Sequence[int]) -> Tensor:
        data = np.array(values, dtype="<i4")
        return self._tensor(name, schema.TensorType.INT32, data.shape, data=data.tobytes())

    def _tensor(
        self,
        name: str,
        kind: int,
        shape: Sequence[int],
        *,
        stored: Sequence[int] | None = None,
        data: bytes | None = None,
    ) -> Tensor:
        made = schema.TensorT()
        made.name = name
        made.type = kind
        made.shape = [1 if size == DYNAMIC else size for size in shape] if stored is None else list(stored)
        if DYNAMIC in shape:
            made.shapeSignature = list(shape)
        made.buffer = 0
        if data is not None:
            buffer = AlignedBufferT()
            buffer.data = data
            made.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(made)
        return Tensor(len(self._tensors) - 1, tuple(shape))

    def _operator(self, kind: str, options: Any, operands: Sequence[Tensor], name: str, shape: Sequence[int]) -> Tensor:
        result = self._tensor(name, schema.TensorType.FLOAT32, shape)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault(kind, len(self._codes))
        made.inputs = [tensor.index for tensor in operands]
        made.outputs = [result.index]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._operators.append(made)
        return result


def _operator_code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, LAST_DEPRECATED_CODE)
    code.version = OPERATOR_VERSIONS.get(name, 1)
    return code


def _set_window(options: Any, stride: int, same: bool) -> None:
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH = options.strideW = stride


def _window_shape(
    source: tuple[int, ...], channels: int, height: int, width: int, stride: int, same: bool
) -> tuple[int, ...]:
    """The shape that a window of ``height`` x ``width`` leaves of an NHWC ``source``."""

    def covered(size: int, window: int) -> int:
        if size == DYNAMIC:
            return DYNAMIC
        return -(-(size if same else size - window + 1) // stride)

    return source[0], covered(source[1], height), covered(source[2], width), channels
