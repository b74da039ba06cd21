"""Graphs and execution contexts: the TFLite interpreter as a guest's host functions see it.

A :class:`Session` belongs to one guest instance. Handles are small integers that are never used twice; a context keeps
its graph's model alive. Every failure is an :class:`NnError` that carries the errno for the guest and the cause for us.
"""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.errors import ModelError
from aicli.nn.engines import Engine, allocate
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import ModelTensors, Tensor, UnusableError, read_tensors

__all__ = ["Errno", "ExecutionContext", "NnError", "Session", "SpareContexts", "TensorType"]

MAX_GRAPHS = 32
MAX_CONTEXTS = 128
"""How many a guest may have at a time: enough for any cascade, too few to eat the host's memory."""

UNCHECKED = frozenset({"tflite-runtime"})
"""Engines that crash on every tenth damaged model or so, and therefore get the host's own models only."""
MAX_MODEL_BYTES = 256 << 20
"""Bytes of models that a guest may bring along and hold at a time."""
MAX_INPUT_BYTES = 1 << 30
"""Bytes that the inputs of all of a guest's contexts may have: what the interpreters allocate grows with them."""


class Errno(IntEnum):
    """``nn_errno`` of wasi-nn's witx dialect."""

    SUCCESS = 0
    INVALID_ARGUMENT = 1
    INVALID_ENCODING = 2
    MISSING_MEMORY = 3
    BUSY = 4
    RUNTIME_ERROR = 5
    UNSUPPORTED_OPERATION = 6
    TOO_LARGE = 7
    NOT_FOUND = 8


class TensorType(IntEnum):
    """``tensor_type`` of wasi-nn's witx dialect."""

    F16 = 0
    F32 = 1
    F64 = 2
    U8 = 3
    I32 = 4
    I64 = 5


DTYPES: dict[TensorType, tuple[str, ...]] = {
    TensorType.F16: ("float16",),
    TensorType.F32: ("float32",),
    TensorType.F64: ("float64",),
    TensorType.U8: ("uint8", "int8", "bool", "int16", "uint16"),
    TensorType.I32: ("int32", "uint32"),
    TensorType.I64: ("int64", "uint64"),
}
"""What each type may feed. The dialect has no number for signed bytes and 16-bit integers: they travel
as U8, byte for byte."""


View = Callable[[], NDArray[Any]]
"""Gives a tensor's memory as it is now; not to be held over the next call of the interpreter."""


class NnError(Exception):
    """A host call that failed: the errno that the guest sees, and the reason that a person reads."""

    def __init__(self, errno: Errno, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno


@dataclass(eq=False)
class StageTime:
    """How often a model was invoked and how long that took, in seconds."""

    calls: int = 0
    seconds: float = 0.0


@dataclass(eq=False, repr=False)
class Graph:
    """A loaded model: a file of the host, or the bytes that a guest gave."""

    name: str
    model: Path | bytes
    threads: int

    @cached_property
    def tensors(self) -> ModelTensors:
        """The inputs and outputs that the file declares. Raises :class:`NnError`."""
        try:
            if isinstance(self.model, bytes):
                return read_tensors(self.model)
            with self.model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return read_tensors(data)
        except UnusableError as error:
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"{self.name} is not used: {error}") from None
        except (DamagedError, OSError, ValueError) as error:
            raise NnError(Errno.INVALID_ENCODING, f"{self.name} is no TFLite model that can be read: {error}") from None


class ExecutionContext:
    """An interpreter with tensors of its own."""

    def __init__(self, graph: Graph, engine: Engine) -> None:
        self.graph = graph
        self.name = graph.name
        declared = graph.tensors
        self._interpreter: Any = engine.interpreter(graph.model, graph.threads)
        self._inputs: list[dict[str, Any]] = self._interpreter.get_input_details()
        self._compare("input", self._inputs, declared.inputs)
        self._compare("output", self._interpreter.get_output_details(), declared.outputs)
        self._itemsizes = [tensor.itemsize for tensor in declared.outputs]
        self._shapes = [tuple(int(n) for n in item["shape"]) for item in self._inputs]
        self._outputs: list[dict[str, Any]] | None = None
        # Looked up once, because a host call finds the processor's caches emptied by the invocation before it.
        self._input_views: list[View] = [self._interpreter.tensor(item["index"]) for item in self._inputs]
        self._output_views: list[View] = []
        self._expected: dict[int, tuple[tuple[int, ...], tuple[TensorType, ...], int]] = {}
        self._computed = False
        self._broken = False

    def find_input(self, name: str) -> int:
        """The number of the input tensor of this name."""
        return self._find(name, "input", self._inputs)

    def find_output(self, name: str) -> int:
        """The number of the output tensor of this name."""
        return self._find(name, "output", self._interpreter.get_output_details())

    def _find(self, name: str, what: str, details: list[dict[str, Any]]) -> int:
        names = [str(item["name"]) for item in details]
        if name not in names:
            raise NnError(Errno.INVALID_ARGUMENT, f"{self.name} has no {what} '{name}', only {', '.join(names)}")
        return names.index(name)

    def set_input_bytes(self, index: int, data: NDArray[np.uint8]) -> None:
        """Copies a tensor in whose bytes must fill the input exactly; its type is the model's own."""
        dtype = np.dtype(self._inputs[index]["dtype"])
        kind = next((kind for kind, names in DTYPES.items() if dtype.name in names), None)
        if kind is None:
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"input {index} of {self.name} is {dtype.name}")
        shape = self._shapes[index]
        if not self.expects(index, shape, (kind,), data.size):
            self.prepare_input(index, shape, (kind,), data.size)
        self.fill_input(index, data)

    def output_bytes(self, index: int) -> int:
        """The size of an output tensor, in the shapes that the inputs have now."""
        self._allocate()
        detail = (self._outputs or [])[index]
        itemsize: int = np.dtype(detail["dtype"]).itemsize
        return math.prod(int(n) for n in detail["shape"]) * itemsize

    def fill_input(self, index: int, data: NDArray[np.uint8]) -> None:
        """Copies the bytes of a tensor in that is expected."""
        # The view must be gone before the next call of the interpreter.
        self._input_views[index]().reshape(-1).view(np.uint8)[:] = data
        self._computed = False

    def expects(self, index: int, shape: tuple[int, ...], kinds: tuple[TensorType, ...], size: int) -> bool:
        """Whether such a tensor was the last for this input, so that nothing has to be checked or planned for it."""
        return self._expected.get(index) == (shape, kinds, size) and self._outputs is not None

    def prepare_input(self, index: int, shape: tuple[int, ...], kinds: tuple[TensorType, ...], size: int) -> None:
        """Makes room for a tensor of one of these types; an open dimension (-1 in the shape signature) is resized."""
        if index >= len(self._inputs):
            raise NnError(Errno.INVALID_ARGUMENT, f"{self.name} has no input {index}, only {len(self._inputs)}")
        detail = self._inputs[index]
        dtype = np.dtype(detail["dtype"])
        if not any(dtype.name in DTYPES[kind] for kind in kinds):
            raise NnError(Errno.INVALID_ARGUMENT, f"{self.name} takes {dtype.name}, the guest gave {kinds[0].name}")
        self._check_shape(detail, shape)
        if size != math.prod(shape) * dtype.itemsize:
            raise NnError(Errno.INVALID_ARGUMENT, f"{size} bytes do not fill a tensor of {shape} {dtype.name}")
        if shape != self._shapes[index] and not self._broken:
            self._outputs = None
            self._computed = False
            self._interpreter.resize_tensor_input(detail["index"], shape)
            self._shapes[index] = shape
        self._allocate()
        self._expected[index] = (shape, kinds, size)

    def _check_shape(self, detail: dict[str, Any], shape: tuple[int, ...]) -> None:
        fixed = [int(n) for n in detail["shape"]]
        signature = [int(n) for n in detail.get("shape_signature", fixed)]
        if len(signature) != len(fixed):
            signature = fixed
        fits = len(shape) == len(fixed) and all(
            given > 0 and open_ in (-1, given) for given, open_ in zip(shape, signature, strict=True)
        )
        if not fits:
            raise NnError(Errno.INVALID_ARGUMENT, f"{self.name} takes {signature}, the guest gave {list(shape)}")

    def _allocate(self) -> None:
        if self._broken:
            raise NnError(Errno.RUNTIME_ERROR, f"{self.name} could not be given a shape before; make a new context")
        if self._outputs is None:
            # tflite-runtime crashes when an interpreter is used again that failed here.
            self._broken = True
            allocate(self._interpreter)
            self._broken = False
            self._outputs = self._interpreter.get_output_details()
            self._output_views = [self._interpreter.tensor(item["index"]) for item in self._outputs]
            self._clear_inputs()

    def _compare(self, what: str, details: list[dict[str, Any]], declared: Sequence[Tensor]) -> None:
        """The arrays of an interpreter are as long as its tensors only where both have the type that the file says."""
        given = [np.dtype(item["dtype"]).name for item in details]
        stated = [tensor.dtype for tensor in declared]
        if given != stated:
            reason = f"{self.name} declares {what}s of {stated}, the interpreter has {given}; it is not used"
            raise NnError(Errno.UNSUPPORTED_OPERATION, reason)

    def compute(self) -> None:
        self._allocate()
        self._interpreter.invoke()
        self._computed = True

    def output(self, index: int) -> NDArray[np.uint8]:
        """The bytes of an output tensor, as a view: drop it before the next call."""
        if not self._computed or self._outputs is None:
            raise NnError(Errno.RUNTIME_ERROR, f"{self.name} has no output before it was computed")
        if index >= len(self._outputs):
            raise NnError(Errno.INVALID_ARGUMENT, f"{self.name} has no output {index}, only {len(self._outputs)}")
        array = self._output_views[index]()
        if array.itemsize != self._itemsizes[index]:
            # Its type has changed since the file was read: the array may be longer than the tensor.
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"output {index} of {self.name} is {array.dtype.name} now")
        return array.reshape(-1).view(np.uint8)

    def is_planned_for(self, shape: tuple[int, ...] | None) -> bool:
        """Whether input 0 has this shape and the interpreter its memory."""
        return self._outputs is not None and bool(self._shapes) and self._shapes[0] == shape

    def empty(self) -> bool:
        """Forgets every number of the guest that used this context; ``False`` when another guest must not have it."""
        if self._broken or not isinstance(self.graph.model, Path):
            return False
        self._computed = False
        self._expected.clear()
        if self._outputs is not None:
            self._interpreter.reset_all_variables()
            self._clear_inputs()
        return True

    def _clear_inputs(self) -> None:
        """Whoever computes without an input gets the answer to zeros, not to what lay in the host's memory."""
        for detail, shape in zip(self._inputs, self._shapes, strict=True):
            # The interpreter compares the bytes of the array with those of its tensor, and refuses another number.
            self._interpreter.set_tensor(detail["index"], np.zeros(shape, detail["dtype"]))

    def input_bytes(self) -> int:
        """What the inputs occupy in the shapes that they have now."""
        sizes = (np.dtype(item["dtype"]).itemsize for item in self._inputs)
        return sum(math.prod(shape) * size for shape, size in zip(self._shapes, sizes, strict=True))


class SpareContexts:
    """Contexts of guests that have ended, emptied but still planned, for the next guest with the same models."""

    def __init__(self) -> None:
        self._kept: list[ExecutionContext] = []

    def put(self, context: ExecutionContext) -> None:
        if context.empty():
            self._kept.append(context)

    def take(self, model: str, shape: tuple[int, ...] | None) -> ExecutionContext | None:
        """One for this model, if there is one: rather of this shape, so that nothing has to be planned."""
        fitting = [context for context in self._kept if context.name == model]
        chosen = next((context for context in fitting if context.is_planned_for(shape)), next(iter(fitting), None))
        if chosen is not None:
            self._kept.remove(chosen)
        return chosen

    def has(self, model: str) -> bool:
        return any(context.name == model for context in self._kept)


@dataclass(eq=False, repr=False)
class Session:
    """What one guest instance has loaded.

    ``models`` are the host's named models; ``threads`` go to each interpreter. ``times`` counts the invocations by
    model name. ``spare`` are contexts to be used before new ones are made. ``last_error`` is the reason of the last
    failed call, for the message that a person reads.
    """

    engine: Engine
    models: Mapping[str, Path | bytes]
    threads: int
    times: dict[str, StageTime] = field(default_factory=dict)
    spare: SpareContexts | None = None
    last_error: str | None = None

    def __post_init__(self) -> None:
        self._graphs: dict[int, Graph] = {}
        # A graph stands for a context that is taken from the spare ones when its shape is known.
        self._contexts: dict[int, ExecutionContext | Graph] = {}
        self._last_handle = 0

    def load(self, model: bytes, encoding: int) -> int:
        if encoding not in (4, 5):
            raise NnError(Errno.INVALID_ENCODING, f"encoding {encoding} is not TensorFlow Lite (4) or detect (5)")
        if self.engine.name in UNCHECKED:
            reason = f"{self.engine.name} may crash on a damaged model, so a guest cannot bring its own; use litert"
            raise NnError(Errno.UNSUPPORTED_OPERATION, reason)
        if model[4:8] != b"TFL3":
            raise NnError(Errno.INVALID_ENCODING, "the guest's model is no TFLite file")
        used = (item if isinstance(item, Graph) else item.graph for item in self._contexts.values())
        held = {*self._graphs.values(), *used}
        if len(model) + sum(len(graph.model) for graph in held if isinstance(graph.model, bytes)) > MAX_MODEL_BYTES:
            raise NnError(Errno.TOO_LARGE, f"the guest's own models have more than {MAX_MODEL_BYTES} bytes")
        return self._add_graph(Graph("the guest's model", model, self.threads))

    def load_by_name(self, name: str) -> int:
        if name not in self.models:
            known = ", ".join(sorted(self.models)) or "none"
            raise NnError(Errno.NOT_FOUND, f"the guest asked for a model '{name}'; there is {known}")
        return self._add_graph(Graph(name, self.models[name], self.threads))

    def _add_graph(self, graph: Graph) -> int:
        if len(self._graphs) >= MAX_GRAPHS:
            raise NnError(Errno.BUSY, f"the guest holds {MAX_GRAPHS} graphs, which is the limit")
        handle = self.new_handle()
        self._graphs[handle] = graph
        return handle

    def init_execution_context(self, graph_handle: int) -> int:
        graph = self._graphs.get(graph_handle)
        if graph is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no graph {graph_handle}")
        if len(self._contexts) >= MAX_CONTEXTS:
            raise NnError(Errno.BUSY, f"the guest holds {MAX_CONTEXTS} execution contexts, which is the limit")
        waits = self.spare is not None and isinstance(graph.model, Path) and self.spare.has(graph.name)
        context = graph if waits else self._make_context(graph)
        handle = self.new_handle()
        self._contexts[handle] = context
        return handle

    def _make_context(self, graph: Graph) -> ExecutionContext:
        try:
            return ExecutionContext(graph, self.engine)
        except ModelError as error:
            raise NnError(Errno.INVALID_ENCODING, str(error)) from None

    def context(self, handle: int, shape: tuple[int, ...] | None = None) -> ExecutionContext:
        """The context of this handle; ``shape`` is what its input 0 will get, where that is known."""
        found = self._contexts.get(handle)
        if found is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no execution context {handle}")
        if isinstance(found, Graph):
            spare = self.spare.take(found.name, shape) if self.spare is not None else None
            found = self._contexts[handle] = spare or self._make_context(found)
        return found

    def release(self) -> None:
        """Gives what can serve another guest to the spare contexts; this session ends here."""
        for context in self._contexts.values():
            if self.spare is not None and isinstance(context, ExecutionContext):
                self.spare.put(context)
        self._contexts.clear()
        self._graphs.clear()

    def set_input(
        self, handle: int, index: int, shape: tuple[int, ...], kinds: tuple[TensorType, ...], data: NDArray[np.uint8]
    ) -> None:
        """Copies a tensor in; ``kinds`` are the types that the guest may mean by the number that it gave."""
        context = self.context(handle, shape)
        if not context.expects(index, shape, kinds, data.size):
            contexts = [item for item in self._contexts.values() if isinstance(item, ExecutionContext)]
            others = sum(other.input_bytes() for other in contexts if other is not context)
            if others + data.size > MAX_INPUT_BYTES:
                reason = f"the inputs of the guest's contexts have more than {MAX_INPUT_BYTES} bytes"
                raise NnError(Errno.TOO_LARGE, reason)
            context.prepare_input(index, shape, kinds, data.size)
        context.fill_input(index, data)

    def set_input_bytes(self, handle: int, index: int, data: NDArray[np.uint8]) -> None:
        context = self.context(handle)
        context.set_input_bytes(index, data)

    def compute(self, handle: int) -> None:
        context = self.context(handle)
        begin = time.perf_counter()
        context.compute()
        stage = self.times.get(context.name) or self.times.setdefault(context.name, StageTime())
        stage.calls += 1
        stage.seconds += time.perf_counter() - begin

    def finalize_execution_context(self, handle: int) -> None:
        if handle not in self._contexts:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no execution context {handle}")
        del self._contexts[handle]

    def unload(self, handle: int) -> None:
        if self._graphs.pop(handle, None) is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no graph {handle}")

    def new_handle(self) -> int:
        """A number that nothing of this guest has had before."""
        self._last_handle += 1
        return self._last_handle
