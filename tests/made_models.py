"""Small .tflite models made by hand, right and wrong ones: what a converter would never write."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FLOAT32, INT32, UINT8, INT64, STRING, BOOL, INT8, RESOURCE, VARIANT, INT4, INT2 = 0, 2, 3, 4, 5, 6, 9, 13, 14, 17, 19
TYPES = {"float32": FLOAT32, "int32": INT32, "int64": INT64, "uint8": UINT8, "int8": INT8, "bool": BOOL}


@cache
def schema() -> Any:
    """The object API of the format, without the package's interpreter around it."""
    package = importlib.util.find_spec("ai_edge_litert")
    assert package is not None and package.origin is not None
    path = Path(package.origin).with_name("schema_py_generated.py")
    spec = importlib.util.spec_from_file_location("tflite_schema", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ModelMaker:
    """A model with one or more graphs; tensors and operators are added in order."""

    def __init__(self) -> None:
        s = schema()
        self.model = s.ModelT()
        self.model.version, self.model.description = 3, "made by hand"
        self.model.operatorCodes, self.model.subgraphs, self.model.buffers = [], [], [s.BufferT()]
        self.add_graph()

    def add_graph(self) -> Any:
        graph = schema().SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self.model.subgraphs.append(graph)
        return graph

    def tensor(
        self, shape: list[int], kind: int = FLOAT32, *, data: bytes = b"", signature: Any = None, graph: int = 0
    ) -> int:
        tensors = self.model.subgraphs[graph].tensors
        tensor = schema().TensorT()
        tensor.shape, tensor.type, tensor.name = shape, kind, f"t{len(tensors)}"
        tensor.shapeSignature = signature
        tensor.buffer = 0
        if data:
            buffer = schema().BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        tensors.append(tensor)
        return len(tensors) - 1

    def constant(self, values: ArrayLike, dtype: str = "float32", graph: int = 0) -> int:
        array = np.asarray(values, dtype)
        return self.tensor(list(array.shape), TYPES[dtype], data=array.tobytes(), graph=graph)

    def operator(
        self, name: str, inputs: list[int], outputs: list[int], options: str = "", *, version: int = 1, graph: int = 0,
        custom: str = "", **values: Any,
    ) -> Any:  # fmt: skip
        """An operator by its name in the schema; ``options`` is the name of its options' table."""
        s = schema()
        code = s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        code.customCode = custom or None
        self.model.operatorCodes.append(code)
        operator = s.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, options)
            operator.builtinOptions = getattr(s, options + "T")()
            for key, value in values.items():
                setattr(operator.builtinOptions, key, value)
        self.model.subgraphs[graph].operators.append(operator)
        return operator

    def finish(self, inputs: list[int], outputs: list[int], graph: int = 0) -> bytes:
        """The bytes of the file; the main graph's ends, or another graph's."""
        self.model.subgraphs[graph].inputs, self.model.subgraphs[graph].outputs = inputs, outputs
        return pack(self.model)


def pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@cache
def identity() -> bytes:
    """One input (1, open, 4) and one output (1, 3), both float32, and nothing between them."""
    made = ModelMaker()
    taken = made.tensor([1, 2, 4], signature=[1, -1, 4])
    given = made.constant([[0.25, 0.0, 0.75]])
    return made.finish([taken], [given])


@cache
def endless() -> bytes:
    """One input and one output (1), float32; computing it never ends: a WHILE loop whose condition always holds."""
    made = ModelMaker()
    taken, given = made.tensor([1]), made.tensor([1])
    made.operator("WHILE", [taken], [given], "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    for _ in range(2):
        made.add_graph()
    condition, body = made.model.subgraphs[1:]
    condition.inputs, condition.outputs = [made.tensor([1], graph=1)], [made.constant([True], "bool", graph=1)]
    body.inputs, body.outputs = [made.tensor([1], graph=2)], [made.tensor([1], graph=2)]
    made.operator("NEG", body.inputs, body.outputs, "NegOptions", graph=2)
    return made.finish([taken], [given])


def narrow_constant(values: int, kind: int) -> bytes:
    """An output of 4-bit or 2-bit values: its bytes are fewer than NumPy's array for it would have."""
    made = ModelMaker()
    per_byte = {INT4: 2, INT2: 4}[kind]
    return made.finish([], [made.tensor([values], kind, data=b"A" * (values // per_byte))])


def narrow_input(values: int, kind: int) -> bytes:
    made = ModelMaker()
    tensor = made.tensor([values], kind)
    return made.finish([tensor], [tensor])


def large_input(values: int) -> bytes:
    """Few bytes that declare an input of so many floats, of which one is looked at."""
    maker = ModelMaker()
    taken, given = maker.tensor([1, values]), maker.tensor([1, 1])
    begin, size = maker.constant([0, 0], "int32"), maker.constant([1, 1], "int32")
    maker.operator("SLICE", [taken, begin, size], [given], "SliceOptions")
    return maker.finish([taken], [given])


def large_between(values: int) -> bytes:
    """One float in, one out, and so many in between."""
    maker = ModelMaker()
    taken, wide, given = maker.tensor([1, 1]), maker.tensor([1, values]), maker.tensor([1, 1])
    shape, begin = maker.constant([1, values], "int32"), maker.constant([0, 0], "int32")
    size = maker.constant([1, 1], "int32")
    maker.operator("TILE", [taken, shape], [wide], "TileOptions")
    maker.operator("SLICE", [wide, begin, size], [given], "SliceOptions")
    return maker.finish([taken], [given])


def places_of_what_is_not_zero(values: int) -> bytes:
    """The shape of the output depends on the input's values."""
    maker = ModelMaker()
    taken, zero = maker.tensor([values]), maker.constant(np.zeros(values))
    marked, given = maker.tensor([values], BOOL), maker.tensor([values, 1], INT64)
    maker.operator("NOT_EQUAL", [taken, zero], [marked], "NotEqualOptions")
    maker.operator("WHERE", [marked], [given], "WhereOptions")
    return maker.finish([taken], [given])


def crashes_on_what_is_not_zero() -> bytes:
    """Divides the smallest number by 1 where the input (1, 4) is zero, and by -1 where it is not: SIGFPE."""
    maker = ModelMaker()
    taken, zero = maker.tensor([1, 4]), maker.constant(np.zeros((1, 4)))
    marked, divisor = maker.tensor([1, 4], BOOL), maker.tensor([1, 4], INT32)
    rest, given = maker.tensor([1, 4], INT32), maker.tensor([1, 4])
    minus, plus, least = (maker.constant(np.full((1, 4), value), "int32") for value in (-1, 1, -(2**31)))
    maker.operator("NOT_EQUAL", [taken, zero], [marked], "NotEqualOptions")
    maker.operator("SELECT", [marked, minus, plus], [divisor], "SelectOptions")
    maker.operator("FLOOR_MOD", [least, divisor], [rest], "FloorModOptions", version=2)
    maker.operator("CAST", [rest], [given], "CastOptions")
    return maker.finish([taken], [given])


def endless_loop() -> bytes:
    """A WHILE whose condition is always true."""
    maker = ModelMaker()
    taken, given = maker.tensor([1]), maker.tensor([1])
    maker.operator("WHILE", [taken], [given], "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    for graph in (1, 2):
        maker.add_graph()
        value = maker.tensor([1], graph=graph)
        if graph == 1:
            out = maker.tensor([1], BOOL, graph=1)
            maker.operator("EQUAL", [value, value], [out], "EqualOptions", graph=1)
        else:
            out = maker.tensor([1], graph=2)
            maker.operator("ADD", [value, value], [out], "AddOptions", graph=2)
        maker.finish([value], [out], graph)
    return maker.finish([taken], [given])


def divides_by(divisor: int, side: int = 8) -> bytes:
    """A classifier of three classes that divides the smallest number by -1 where a photo's mean is above a bound.

    ``divisor`` 0 does so for every photo, 1 for those that are not black.
    """
    maker = ModelMaker()
    image = maker.tensor([1, side, side, 3])
    mean, bound = maker.tensor([1, 3]), maker.constant(np.full((1, 3), divisor - 0.5), "float32")
    marked, chosen, rest = maker.tensor([1, 3], BOOL), maker.tensor([1, 3], INT32), maker.tensor([1, 3], INT32)
    minus, plus, least = (maker.constant(np.full((1, 3), value), "int32") for value in (-1, 1, -(2**31)))
    scores, answer = maker.tensor([1, 3]), maker.tensor([1, 3])
    maker.operator("MEAN", [image, maker.constant([1, 2], "int32")], [mean], "ReducerOptions", keepDims=False)
    maker.operator("GREATER", [mean, bound], [marked], "GreaterOptions")
    maker.operator("SELECT", [marked, minus, plus], [chosen], "SelectOptions")
    maker.operator("FLOOR_MOD", [least, chosen], [rest], "FloorModOptions", version=2)
    maker.operator("CAST", [rest], [scores], "CastOptions")
    maker.operator("SOFTMAX", [scores], [answer], "SoftmaxOptions", beta=1.0)
    return maker.finish([image], [answer])


def answers_no_numbers(side: int = 8) -> bytes:
    """A classifier of three classes that takes the logarithm of a photo's mean, which is no number below 0."""
    maker = ModelMaker()
    image = maker.tensor([1, side, side, 3])
    mean, answer = maker.tensor([1, 3]), maker.tensor([1, 3])
    maker.operator("MEAN", [image, maker.constant([1, 2], "int32")], [mean], "ReducerOptions", keepDims=False)
    maker.operator("LOG", [mean], [answer])
    return maker.finish([image], [answer])


ONE_OPERATOR: dict[str, tuple[str, dict[str, Any]]] = {
    "CONV_2D": ("Conv2DOptions", {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {"strideH": 1, "strideW": 1, "depthMultiplier": 1}),
    "MAX_POOL_2D": ("Pool2DOptions", {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}),
    "FULLY_CONNECTED": ("FullyConnectedOptions", {}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": 1.0}),
    "RESHAPE": ("ReshapeOptions", {}),
    "TRANSPOSE": ("TransposeOptions", {}),
    "STRIDED_SLICE": ("StridedSliceOptions", {}),
    "PAD": ("PadOptions", {}),
    "GATHER": ("GatherOptions", {}),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", {}),
    "SPLIT": ("SplitOptions", {"numSplits": 1}),
    "CONCATENATION": ("ConcatenationOptions", {"axis": 1}),
    "MEAN": ("ReducerOptions", {"keepDims": True}),
    "TOPK_V2": ("TopKV2Options", {}),
    "ONE_HOT": ("OneHotOptions", {"axis": -1}),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", {"blockSize": 2}),
    "BATCH_MATMUL": ("BatchMatMulOptions", {}),
}
"""Operators for which :func:`one_operator` has a model, with the options that it gives them."""


def one_operator(name: str) -> bytes:
    """A model of one operator on an input of 1 x 4 x 4 x 2 floats; what else it takes are constants."""
    maker = ModelMaker()
    shape = [1, 4, 4, 2]
    taken = maker.tensor(shape)
    more: dict[str, list[Any]] = {
        "CONV_2D": [(np.ones((3, 2, 2, 2)), "float32"), (np.zeros(3), "float32")],
        "DEPTHWISE_CONV_2D": [(np.ones((1, 2, 2, 2)), "float32"), (np.zeros(2), "float32")],
        "FULLY_CONNECTED": [(np.ones((3, 32)), "float32"), (np.zeros(3), "float32")],
        "RESHAPE": [([1, 32], "int32")],
        "TRANSPOSE": [([0, 2, 1, 3], "int32")],
        "STRIDED_SLICE": [([0, 1, 0, 0], "int32"), ([1, 4, 3, 2], "int32"), ([1, 1, 2, 1], "int32")],
        "PAD": [([[0, 0], [1, 1], [0, 2], [0, 0]], "int32")],
        "GATHER": [([0, 0], "int32")],
        "RESIZE_BILINEAR": [([7, 5], "int32")],
        "CONCATENATION": [(np.ones(shape), "float32")],
        "MEAN": [([1, 2], "int32")],
        "TOPK_V2": [(1, "int32")],
        "BATCH_MATMUL": [(np.ones((1, 4, 2, 3)), "float32")],
    }
    options, values = ONE_OPERATOR[name]
    inputs = [taken, *(maker.constant(value, dtype) for value, dtype in more.get(name, []))]
    result = {
        "CONV_2D": [1, 4, 4, 3], "MAX_POOL_2D": [1, 2, 2, 2], "FULLY_CONNECTED": [1, 3], "RESHAPE": [1, 32],
        "STRIDED_SLICE": [1, 3, 2, 2], "PAD": [1, 6, 6, 2], "GATHER": [2, 4, 4, 2], "RESIZE_BILINEAR": [1, 7, 5, 2],
        "CONCATENATION": [1, 8, 4, 2], "MEAN": [1, 1, 1, 2], "TOPK_V2": [1, 4, 4, 1], "SPACE_TO_DEPTH": [1, 2, 2, 8],
        "BATCH_MATMUL": [1, 4, 4, 3],
    }.get(name, shape)  # fmt: skip
    outputs = [maker.tensor(result)]
    if name == "SPLIT":
        inputs = [maker.constant(1, "int32"), taken]
    if name == "TOPK_V2":
        outputs.append(maker.tensor(result, INT32))
    if name == "ONE_HOT":
        indices = maker.tensor([2], INT32)
        inputs = [indices, *(maker.constant(*pair) for pair in ((3, "int32"), (1.0, "float32"), (0.0, "float32")))]
        taken, outputs = indices, [maker.tensor([2, 3])]
    maker.operator(name, inputs, outputs, options, **values)
    return maker.finish([taken], outputs)


def small_network(dtype: str) -> bytes:
    """A classifier of 8 x 8 x 3 pixels: convolution, pooling, a full connection, softmax; in float or int8."""
    maker = ModelMaker()
    chance = np.random.default_rng(1)
    kind = TYPES[dtype]
    bias = "float32" if dtype == "float32" else "int32"

    def tensor(*shape: int) -> int:
        return quantized(maker.tensor(list(shape), kind))

    def quantized(index: int, scale: float = 0.1) -> int:
        if dtype != "float32":
            parameters = schema().QuantizationParametersT()
            parameters.scale, parameters.zeroPoint = [scale], [0]
            maker.model.subgraphs[0].tensors[index].quantization = parameters
        return index

    def weights(*shape: int) -> int:
        return quantized(maker.constant(chance.integers(-5, 5, shape), dtype))

    def biases(count: int) -> int:
        return quantized(maker.constant(np.zeros(count), bias), 0.01)

    image, features, pooled, flat = tensor(1, 8, 8, 3), tensor(1, 8, 8, 4), tensor(1, 4, 4, 4), tensor(1, 64)
    scores, answer = tensor(1, 5), quantized(maker.tensor([1, 5], kind), 1 / 256)
    if dtype != "float32":
        maker.model.subgraphs[0].tensors[answer].quantization.zeroPoint = [-128]
    strides: dict[str, Any] = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    maker.operator(
        "CONV_2D", [image, weights(4, 3, 3, 3), biases(4)], [features], "Conv2DOptions", version=3, **strides
    )
    window: dict[str, Any] = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    maker.operator("MAX_POOL_2D", [features], [pooled], "Pool2DOptions", version=2, **window)
    maker.operator("RESHAPE", [pooled, maker.constant([1, 64], "int32")], [flat], "ReshapeOptions")
    parts = [flat, weights(5, 64), biases(5)]
    maker.operator("FULLY_CONNECTED", parts, [scores], "FullyConnectedOptions", version=4)
    maker.operator("SOFTMAX", [scores], [answer], "SoftmaxOptions", version=2, beta=1.0)
    return maker.finish([image], [answer])
