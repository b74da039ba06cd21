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
