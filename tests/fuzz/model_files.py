"""Models that are damaged with knowledge of the format, through a guest's ``load`` to its ``get_output``."""

from __future__ import annotations

import copy
import resource
import struct
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from aicli.nn.engines import load_engine
from aicli.nn.session import Session
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm import Limits, load_runtime
from tests import made_models as made
from tests.fuzz.driver import Outcome
from tests.wasm.hostile import IMPORTS, imports, wat

MODELS = Path(__file__).resolve().parents[2] / "models"
FORWARDS = "\n".join(
    f'(func (export "{name}") (param {"i32 " * count}) (result i32) (call ${name} '
    + " ".join(f"(local.get {n})" for n in range(count))
    + "))"
    for name, count in IMPORTS.items()
)
__all__ = ["ModelFiles", "mutate"]

PAGES = 80
MODEL, OUTPUT, INPUT = 1 << 20, 3 << 20, 4 << 20
TIME = 1.5
MEMORY = 256 << 20
ENDLESS = 3
"""Which of the seeds never comes to an end."""
GROWTH = 600 << 20
"""Bytes by which the host may grow over all cases: it holds a guest of 5 MB and tensors within the budget."""
NUMBERS = (-(2**31), -1, 0, 1, 2, 3, 7, 8, 127, 255, 256, 65535, 65536, 2**24, 2**30, 2**31 - 1)


class ModelFiles:
    """One guest that passes calls on, and one session of it for many cases: what dies must not disturb what follows."""

    name = "models"

    def prepare(self) -> None:
        runtime = load_runtime("wasmtime")
        text = f'(module {imports()} (memory (export "memory") {PAGES} {PAGES}) {FORWARDS})'
        self.module = runtime.compile(runtime.prepare(wat(text), Limits()))
        self.cases = 0
        self.start_memory = 0
        self.open()

    def open(self) -> None:
        self.session = Session(load_engine(), {}, 1, memory=MEMORY)
        self.host = WasiNn(self.session)
        self.instance = self.module.instantiate(self.host.functions(), Limits(PAGES << 16, None))
        self.host.memory = self.instance.memory
        assert self.instance.memory is not None
        self.memory = self.instance.memory
        self.session.init_execution_context(self.session.load(made.identity(), 4))  # its process is ready from now on

    def run(self, random: Random) -> Outcome:
        """What came of one damaged model; it is past the checks when the reader lets it through."""
        return self.try_bytes("", mutate(random), random)

    def try_bytes(self, name: str, data: bytes, random: Random) -> Outcome:
        outcome = Outcome()
        outcome.note("model", *self.case(data, random))
        return outcome

    def case(self, model: bytes, chance: Random) -> tuple[str, bool]:
        """What came of this model, and whether the reader let it through."""
        self.cases += 1
        if self.session.died is not None or self.cases % 200 == 0:
            self.open()
        begin = time.monotonic()
        self.session.set_deadline(begin + TIME)
        outcome, past = self.attack(model, chance)
        assert time.monotonic() - begin < TIME + 1, "the deadline was not kept"
        assert self.host.interrupted is None
        self.check_memory()
        if self.session.died is not None:
            names = [word.strip("();") for word in self.session.died.split() if word.startswith("(SIG")]
            outcome = f"engine process: {names[0] if names else 'late'}"
        return outcome, past

    def check_memory(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.start_memory = self.start_memory or used
        assert used - self.start_memory < GROWTH, f"the host took {used - self.start_memory} bytes more"

    def call(self, name: str, *arguments: int) -> int:
        errno = self.instance.call(name, *arguments)
        assert errno is not None and 0 <= errno <= 8, (name, errno)
        reason = self.session.last_error
        assert errno == 0 or (reason and reason.isprintable()), (name, errno, reason)
        return errno

    def attack(self, model: bytes, chance: Random) -> tuple[str, bool]:
        view = self.memory.view
        if len(model) > OUTPUT - MODEL:
            return "too large for the guest", False
        view(MODEL, len(model))[:] = np.frombuffer(model, np.uint8)
        view(320, 8)[:] = memoryview(struct.pack("<II", MODEL, len(model)))
        errno = self.call("load", 320, 1, 4, 0, 512)
        if errno:
            return f"load: {errno}", False
        graph = struct.unpack("<I", view(512, 4).tobytes())[0]
        stages = "init"
        if not (errno := self.call("init_execution_context", graph, 516)):
            context = struct.unpack("<I", view(516, 4).tobytes())[0]
            for turn in range(2):
                if turn:
                    self.feed(context, chance)
                stages = "compute"
                errno = self.call("compute", context)
                if errno:
                    break
                for index in range(3):
                    view(520, 4)[:] = 0
                    failed = self.call("get_output", context, index, OUTPUT, INPUT - OUTPUT, 520)
                    written = struct.unpack("<I", view(520, 4).tobytes())[0]
                    assert failed or written <= INPUT - OUTPUT
            self.call("finalize_execution_context", context)
        self.call("unload", graph)
        return ("answered" if not errno else f"{stages}: {errno}"), True

    def feed(self, context: int, chance: Random) -> None:
        """Gives each input random bytes in the shape that it has, or in another one."""
        try:
            found = self.session.context(context)
        except Exception:  # it has died, and the next call says so
            return
        for index, tensor in enumerate(found.graph.tensors.inputs):
            shape = [size if size > 0 else 1 for size in tensor.shape]
            if shape and chance.random() < 0.3:
                shape[chance.randrange(len(shape))] = chance.choice((1, 2, 3, 5, 8, 13, 64, 300))
            size = tensor.size(shape)
            if size > (PAGES << 16) - INPUT or len(shape) > 8:
                continue
            kind = {"float16": 0, "float32": 1, "float64": 2, "int32": 4, "int64": 5}.get(tensor.dtype, 3)
            self.memory.view(INPUT, size)[:] = np.frombuffer(chance.randbytes(size), np.uint8)
            self.memory.view(600, 4 * len(shape))[:] = memoryview(struct.pack(f"<{len(shape)}I", *shape))
            self.memory.view(700, 20)[:] = memoryview(struct.pack("<IIB3xII", 600, len(shape), kind, INPUT, size))
            self.call("set_input", context, index, 700)


@cache
def seeds() -> list[bytes]:
    """Models that are right."""
    found = [
        made.identity(),
        made.crashes_on_what_is_not_zero(),
        made.places_of_what_is_not_zero(6),
        made.endless_loop(),
        made.large_input(100),
        made.large_between(100),
        made.small_network("float32"),
        made.small_network("int8"),
        *(made.one_operator(name) for name in made.ONE_OPERATOR),
        (MODELS / "pnet.tflite").read_bytes(),
    ]
    return found


@cache
def parsed(index: int) -> Any:
    schema = made.schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(seeds()[index], 0))


def mutate(chance: Random) -> bytes:
    """A model with one to four faults; now and then bytes are turned over as well."""
    index = chance.randrange(len(seeds()))
    if index == ENDLESS and chance.random() < 0.9:  # it takes all the time that there is
        index = 0
    model = copy.deepcopy(parsed(index))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        chance.choice(MUTATIONS)(model, chance)
    try:
        data = made.pack(model)
    except Exception:  # the builder refuses numbers that do not fit their field
        data = seeds()[index]
    if chance.random() < 0.1:
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(damaged))
            damaged[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, damaged[place] ^ (1 << chance.randrange(8))))
        data = bytes(damaged)
    return data


def graph_of(model: Any, chance: Random) -> Any:
    return chance.choice(model.subgraphs)


def change_shape(model: Any, chance: Random) -> None:
    tensor = chance.choice(graph_of(model, chance).tensors)
    shape = [int(size) for size in (tensor.shape if tensor.shape is not None else [])]
    kind = chance.randrange(4)
    if kind == 0 or not shape:
        shape.insert(chance.randrange(len(shape) + 1), chance.choice((0, 1, 2, 3)))
    elif kind == 1:
        shape.pop(chance.randrange(len(shape)))
    else:
        place = chance.randrange(len(shape))
        shape[place] = chance.choice((0, 1, 2, shape[place] + 1, max(0, shape[place] - 1), 255, 4096, *NUMBERS[-3:]))
    tensor.shape = shape
    if chance.random() < 0.5:
        tensor.shapeSignature = None
    elif shape:
        tensor.shapeSignature = [chance.choice((-1, size)) for size in shape]


def change_type(model: Any, chance: Random) -> None:
    chance.choice(graph_of(model, chance).tensors).type = chance.choice((*range(23), 0, 2, 3, 9, 4))


def change_buffer(model: Any, chance: Random) -> None:
    tensor = chance.choice(graph_of(model, chance).tensors)
    tensor.buffer = chance.choice((0, chance.randrange(len(model.buffers)), len(model.buffers), 2**32 - 1))


def change_constant(model: Any, chance: Random) -> None:
    """The values of a constant, which say how operators work: axes, shapes, sizes, indices."""
    used = [tensor for graph in model.subgraphs for tensor in graph.tensors if size_of(model, tensor)]
    if not used:
        return
    tensor = chance.choice(used)
    buffer = copy.copy(model.buffers[tensor.buffer])
    data = bytearray(bytes(buffer.data))
    width = {0: 4, 2: 4, 4: 8}.get(tensor.type, 1)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(max(1, len(data) // width)) * width
        number = chance.choice(NUMBERS)
        data[place : place + width] = (number % (1 << (8 * width))).to_bytes(width, "little")
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data) + 1)]
    buffer.data = np.frombuffer(bytes(data), np.uint8)
    model.buffers[tensor.buffer] = buffer


def size_of(model: Any, tensor: Any) -> int:
    if tensor.buffer >= len(model.buffers) or model.buffers[tensor.buffer].data is None:
        return 0
    return len(model.buffers[tensor.buffer].data)


def change_links(model: Any, chance: Random) -> None:
    graph = graph_of(model, chance)
    if not graph.operators:
        return
    operator = chance.choice(graph.operators)
    name = chance.choice(("inputs", "inputs", "outputs"))
    links = [int(index) for index in (getattr(operator, name) if getattr(operator, name) is not None else [])]
    kind = chance.randrange(4)
    index = chance.choice((chance.randrange(len(graph.tensors)), chance.randrange(len(graph.tensors)), -1, 2**31 - 1))
    if kind == 0 or not links:
        links.append(index)
    elif kind == 1:
        links.pop(chance.randrange(len(links)))
    else:
        links[chance.randrange(len(links))] = index
    setattr(operator, name, links)


def change_code(model: Any, chance: Random) -> None:
    if not model.operatorCodes:
        return
    code = chance.choice(model.operatorCodes)
    code.builtinCode = chance.choice((chance.randrange(162), chance.randrange(210), -1))
    code.deprecatedBuiltinCode = max(-128, min(127, code.builtinCode))
    code.version = chance.choice((code.version, 1, 1, 2, 3, 5, 0, -1, 2**31 - 1))


def change_options(model: Any, chance: Random) -> None:
    operators = [operator for operator in graph_of(model, chance).operators if operator.builtinOptions is not None]
    if not operators:
        return
    operator = chance.choice(operators)
    if chance.random() < 0.1:
        operator.builtinOptions, operator.builtinOptionsType = None, 0
        return
    names = [name for name, value in vars(operator.builtinOptions).items() if isinstance(value, (int, float))]
    if names:
        value = chance.choice((*NUMBERS, 4, 5, 6))
        setattr(operator.builtinOptions, chance.choice(names), value)


def change_quantization(model: Any, chance: Random) -> None:
    tensor = chance.choice(graph_of(model, chance).tensors)
    found = made.schema().QuantizationParametersT()
    count = chance.choice((0, 1, 1, 2, 3, 8, 1000))
    found.scale = [chance.choice((0.0, 1.0, 0.5, -1.0, 1e-38, 3e38, float("inf"), float("nan"))) for _ in range(count)]
    found.zeroPoint = [chance.choice(NUMBERS) for _ in range(chance.choice((0, 1, count)))]
    found.quantizedDimension = chance.choice((0, 0, 1, 2, 3, -1, 2**31 - 1))
    tensor.quantization = chance.choice((found, found, None))


def change_ends(model: Any, chance: Random) -> None:
    graph = graph_of(model, chance)
    name = chance.choice(("inputs", "outputs"))
    ends = [int(index) for index in (getattr(graph, name) if getattr(graph, name) is not None else [])]
    index = chance.choice((chance.randrange(len(graph.tensors)), chance.randrange(len(graph.tensors)), -1, 2**31 - 1))
    if ends and chance.random() < 0.5:
        ends[chance.randrange(len(ends))] = index
    else:
        ends.append(index)
    setattr(graph, name, ends)


def change_flags(model: Any, chance: Random) -> None:
    tensor = chance.choice(graph_of(model, chance).tensors)
    tensor.isVariable = not tensor.isVariable
    if chance.random() < 0.3:
        tensor.hasRank = not tensor.hasRank


def repeat_operator(model: Any, chance: Random) -> None:
    graph = graph_of(model, chance)
    if graph.operators:
        operator = copy.deepcopy(chance.choice(graph.operators))
        graph.operators.insert(chance.randrange(len(graph.operators) + 1), operator)


def drop_operator(model: Any, chance: Random) -> None:
    graph = graph_of(model, chance)
    if graph.operators:
        graph.operators.pop(chance.randrange(len(graph.operators)))


def add_call(model: Any, chance: Random) -> None:
    """An operator that runs a graph, perhaps the one that it is in."""
    graph = graph_of(model, chance)
    schema = made.schema()
    code = schema.OperatorCodeT()
    name = chance.choice(("WHILE", "IF", "CALL_ONCE"))
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(127, code.builtinCode), 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    ends = [chance.randrange(len(graph.tensors)) for _ in range(chance.randrange(3))]
    operator.inputs, operator.outputs = ends, [chance.randrange(len(graph.tensors)) for _ in ends]
    kind = {"WHILE": "WhileOptions", "IF": "IfOptions", "CALL_ONCE": "CallOnceOptions"}[name]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    operator.builtinOptions = getattr(schema, kind + "T")()
    for field in vars(operator.builtinOptions):
        setattr(operator.builtinOptions, field, chance.choice((0, 1, 2, len(model.subgraphs), -1)))
    graph.operators.insert(chance.randrange(len(graph.operators) + 1), operator)


def change_sparsity(model: Any, chance: Random) -> None:
    """Says of a tensor that it is stored sparsely, in segments and indices that lead anywhere."""
    schema = made.schema()
    tensor = chance.choice(graph_of(model, chance).tensors)
    found = schema.SparsityParametersT()
    rank = chance.choice((0, 1, 2, 4, 8))
    found.traversalOrder = [chance.choice((0, 1, 2, 3, -1, 2**31 - 1)) for _ in range(rank)]
    found.blockMap = [chance.choice((0, 1, -1)) for _ in range(chance.choice((0, 0, 1, 2)))]
    found.dimMetadata = []
    for _ in range(chance.choice((rank, rank, rank + 1, 0))):
        dimension = schema.DimensionMetadataT()
        dimension.format, dimension.denseSize = chance.choice((0, 1, 1, 7)), chance.choice((0, 1, 2, 4, *NUMBERS[-2:]))
        for name in ("arraySegments", "arrayIndices"):
            vector = schema.Int32VectorT()
            vector.values = [chance.choice((0, 1, 2, 3, *NUMBERS)) for _ in range(chance.randrange(6))]
            setattr(dimension, f"{name}Type", schema.SparseIndexVector.Int32Vector)
            setattr(dimension, name, vector)
        found.dimMetadata.append(dimension)
    tensor.sparsity = found


def change_outside(model: Any, chance: Random) -> None:
    """What is not computed: signatures, metadata, and buffers that lie behind the model."""
    schema = made.schema()
    index = chance.choice((0, 1, 7, 2**31 - 1, 2**32 - 1))
    kind = chance.randrange(3)
    if kind == 0:
        signature, end = schema.SignatureDefT(), schema.TensorMapT()
        end.name, end.tensorIndex = chance.choice(("x", "", "x" * 5000)), index
        signature.signatureKey, signature.subgraphIndex = "serving_default", chance.choice((0, index))
        signature.inputs, signature.outputs = [end], chance.choice(([end], [], [end] * 50))
        model.signatureDefs = [signature] * chance.choice((1, 2))
    elif kind == 1:
        entry = schema.MetadataT()
        entry.name = chance.choice(("min_runtime_version", "TFLITE_METADATA", "CONVERSION_METADATA"))
        entry.buffer = index
        model.metadata, model.metadataBuffer = [entry] * chance.choice((1, 3)), [min(index, 2**31 - 1)]
    else:
        buffer = copy.copy(chance.choice(model.buffers))
        buffer.offset = chance.choice((0, 1, 2, 300, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
        buffer.size = chance.choice((0, 1, 16, 2**31, 2**63, 2**64 - 1))
        model.buffers[chance.randrange(len(model.buffers))] = buffer


MUTATIONS = (
    *(change_sparsity, change_outside),
    *(change_shape, change_type, change_buffer, change_constant, change_constant, change_constant, change_links),
    *(change_code, change_options, change_options, change_options, change_quantization, change_ends, change_flags),
    *(repeat_operator, drop_operator, add_call),
)
