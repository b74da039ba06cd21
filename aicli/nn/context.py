"""Graphs and execution contexts: an interpreter with its tensors, and what of it a guest may touch."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import numpy as np

from aicli._text import counted
from aicli.nn.engines import AnyEngine
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import ModelTensors, Tensor, UnusableError, read_tensors
from aicli.nn.resident import drop_pages
from aicli.nn.values import DTYPES, Errno, NnError, TensorType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicli.nn.model_file.check import Totals

__all__ = ["ExecutionContext", "Graph", "SpareContexts", "plan_contexts"]

Found = TypeVar("Found")
View = Callable[[], "NDArray[Any]"]
"""Gives a tensor's memory as it is now; not to be held over the next call of the interpreter."""


class Graph:
    """A loaded model: a file of the host, or the bytes that a guest gave.

    With ``foreign`` a guest brought it, and an engine process runs it.
    """

    def __init__(self, name: str, model: Path | bytes, threads: int, foreign: bool = False) -> None:
        self.name, self.model, self.threads, self.foreign = name, model, threads, foreign

    @cached_property
    def totals(self) -> Totals:
        """What it needs. Raises :class:`NnError`."""
        from aicli.nn.model_file.check import check_foreign, check_model

        return self._read(check_foreign if self.foreign else check_model)

    @cached_property
    def tensors(self) -> ModelTensors:
        """The inputs and outputs that the file declares. Raises :class:`NnError`."""
        return self._read(read_tensors)

    def _read(self, reader: Callable[[bytes | mmap.mmap], Found]) -> Found:
        try:
            if isinstance(self.model, bytes):
                return reader(self.model)
            with self.model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return reader(data)
        except UnusableError as error:
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"{self.name} is not used: {error}") from None
        except (DamagedError, OSError, ValueError) as error:
            raise NnError(Errno.INVALID_ENCODING, f"{self.name} is not a readable TFLite model: {error}") from None


class ExecutionContext:
    """An interpreter with tensors of its own."""

    def __init__(self, graph: Graph, engine: AnyEngine) -> None:
        self.graph = graph
        self.name = graph.name
        self._engine = engine
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
        self._packed = False

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
            wants = f"input '{detail['name']}' of {self.name}: {list(shape)} {dtype.name}"
            raise NnError(Errno.INVALID_ARGUMENT, f"{counted(size, 'byte')} cannot fill {wants}")
        self._plan(index, shape)
        self._expected[index] = (shape, kinds, size)

    def plan(self, shape: tuple[int, ...]) -> None:
        """Gives the interpreter its memory for an input 0 of this shape, before anybody has one."""
        self._check_shape(self._inputs[0], shape)
        self._plan(0, shape)

    def _plan(self, index: int, shape: tuple[int, ...]) -> None:
        if shape != self._shapes[index] and not self._broken:
            self._outputs = None
            self._computed = False
            self._interpreter.resize_tensor_input(self._inputs[index]["index"], shape)
            self._shapes[index] = shape
        self._allocate()

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
            self._engine.allocate(self._interpreter)
            self._broken = False
            if not self._packed and isinstance(self.graph.model, Path):
                drop_pages(self.graph.model)
            self._packed = True
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

    def input_bytes(self, changed: int | None = None, size: int = 0) -> int:
        """What the inputs occupy in the shapes that they have now, or with ``size`` bytes for one that changes."""
        declared = self.graph.tensors.inputs
        sizes = [tensor.size(shape) for tensor, shape in zip(declared, self._shapes, strict=True)]
        if changed is not None and changed < len(sizes):
            sizes[changed] = size
        return sum(sizes)


class SpareContexts:
    """Contexts of guests that have ended, emptied but still planned, for the next guest with the same models."""

    def __init__(self) -> None:
        self._kept: list[ExecutionContext] = []
        _all_spare.add(self)

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

    def drop_threaded(self) -> None:
        """Gives up the contexts with threads of their own."""
        self._kept = [context for context in self._kept if context.graph.threads == 1]


def plan_contexts(
    engine: AnyEngine, models: Mapping[str, Path | bytes], threads: int | None, shapes: Mapping[str, tuple[int, ...]]
) -> SpareContexts:
    """Contexts of the models that ``shapes`` names, with room for an input 0 of that shape.

    What fails is left out, to fail again for the first image, where somebody is told.
    """
    spare = SpareContexts()
    for name, shape in shapes.items():
        with suppress(Exception):
            context = ExecutionContext(Graph(name, models[name], threads or engine.default_threads()), engine)
            context.plan(shape)
            spare.put(context)
    return spare


def drop_threaded() -> None:
    """A copy of this process would have contexts that nobody uses yet, but not their threads: tflite-runtime waits."""
    for spare in list(_all_spare):
        spare.drop_threaded()


_all_spare: WeakSet[SpareContexts] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=drop_threaded)
