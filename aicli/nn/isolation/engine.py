"""An engine whose interpreters live in a process of their own: what a model does there, it does to that process alone.

The process is fresh (no memory, environment, descriptors of this one), confined (:mod:`aicli.nn.isolation.confine`) and
not believed: of what it answers only shapes are used, and they are checked. Tensors lie in memory that both share and
neither can shrink.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.errors import ModelError
from aicli.nn.engines import ENGINES, AnyEngine, EngineDied
from aicli.nn.isolation.process import ALIGNMENT, ConfinedProcess, SharedMemory, can_isolate
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import MAX_RANK, ModelTensors, Tensor, read_tensors

__all__ = ["IsolatedEngine", "can_isolate"]

SCRIPT = Path(__file__).with_name("child.py")
Shape = tuple[int, ...]


class IsolatedEngine:
    """As :class:`Engine`, with interpreters in another process that is started when it is first needed.

    ``memory`` bounds what the models may take there together, in bytes; ``deadline`` is the time of
    ``time.monotonic()`` at which a call must have ended, or ``None``. After a death the next interpreter starts a new
    process; the old interpreters stay dead.
    """

    contained = True

    def __init__(self, engine: AnyEngine, memory: int, deadline: float | None = None) -> None:
        self.name: str = engine.name
        self.version: str = engine.version
        self.xnnpack: bool = engine.xnnpack
        self._default_threads = engine.default_threads
        self._memory = memory
        self.deadline = deadline
        self._process: ConfinedProcess | None = None

    def default_threads(self) -> int:
        return self._default_threads()

    def set_deadline(self, deadline: float | None) -> None:
        self.deadline = deadline

    def allocate(self, interpreter: RemoteInterpreter) -> None:
        interpreter.allocate_tensors()

    def start(self) -> None:
        """Starts the process, and does not wait until it is ready. Raises :class:`UnavailableError`."""
        if self._process is None or not self._process.is_usable():
            arguments = [ENGINES[self.name][0], "xnnpack" if self.xnnpack else ""]
            myself = weakref.ref(self)  # the process ends with whoever has it

            def deadline() -> float | None:
                engine = myself()
                return engine.deadline if engine is not None else None

            self._process = ConfinedProcess(self.name, SCRIPT, arguments, self._memory, deadline)

    def interpreter(self, model: Path | bytes, threads: int) -> RemoteInterpreter:
        """An interpreter over a model file or its bytes, tensors not yet allocated.

        Raises :class:`ModelError` when it is not a TFLite model that this engine can run, :class:`EngineDied`.
        """
        name = model.name if isinstance(model, Path) else "the model"
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
            tensors = read_tensors(content)
        except (OSError, DamagedError) as error:
            raise ModelError(f"not a TFLite model that can be read: {error}").of(name) from None
        self.start()
        assert self._process is not None
        try:
            return RemoteInterpreter(self._process, content, tensors, threads or self.default_threads())
        except EngineDied:
            raise
        except RuntimeError as error:
            raise ModelError(f"not a TFLite model that {self.name} can run: {error}").of(name) from None


class RemoteInterpreter:
    """What a session uses of TFLite's ``Interpreter``; tensors go by their place: inputs first, then outputs."""

    def __init__(self, process: ConfinedProcess, content: bytes, tensors: ModelTensors, threads: int) -> None:
        self._process = process
        self._tensors = tensors
        self._threads = threads
        self._number = process.new_number()
        self._in_shapes: list[Shape] = [tensor.shape for tensor in tensors.inputs]
        self._out_shapes: list[Shape] = [tensor.shape for tensor in tensors.outputs]
        self._arrays: list[NDArray[Any]] = []
        with SharedMemory(len(content)) as memory:
            memory.map[: len(content)] = content
            answer = self._ask("load", descriptor=memory.descriptor)
        declared = [[tensor.dtype for tensor in end] for end in tensors]
        if answer.get("types") != declared:
            raise RuntimeError("its inputs and outputs are not those that the file declares")
        weakref.finalize(self, process.dropped.append, self._number)

    def _ask(self, do: str, **values: Any) -> Any:
        return self._process.ask(do, self._number, threads=self._threads, **values)

    def get_input_details(self) -> list[dict[str, Any]]:
        return describe(self._tensors.inputs, self._in_shapes, 0)

    def get_output_details(self) -> list[dict[str, Any]]:
        return describe(self._tensors.outputs, self._out_shapes, len(self._in_shapes))

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        wanted = tuple(int(size) for size in shape)
        self._ask("resize", input=index, shape=wanted)
        self._in_shapes[index] = wanted
        self._arrays = []

    def allocate_tensors(self) -> None:
        self._out_shapes = self._checked(self._ask("allocate"))
        self._share(collect=False)

    def invoke(self) -> None:
        shapes = self._checked(self._ask("invoke"))
        if shapes != self._out_shapes:  # an output whose shape follows from the values
            self._out_shapes = shapes
            self._share(collect=True)

    def reset_all_variables(self) -> None:
        self._ask("reset")

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        target = self._array(index)
        if value.shape != target.shape or value.dtype != target.dtype:
            raise ValueError(f"an array of {value.shape} {value.dtype} for a tensor of {target.shape} {target.dtype}")
        target[...] = value

    def tensor(self, index: int) -> Callable[[], NDArray[Any]]:
        return lambda: self._array(index)

    def _array(self, index: int) -> NDArray[Any]:
        if not self._arrays:
            raise RuntimeError("the tensors are not allocated")
        return self._arrays[index]

    def _checked(self, answer: dict[str, Any]) -> list[Shape]:
        """The outputs' shapes, as they were answered. Raises :class:`RuntimeError` for what cannot be shapes."""
        shapes = answer.get("shapes")
        right = isinstance(shapes, list) and len(shapes) == len(self._tensors.outputs)
        if not right or not all(is_shape(shape) for shape in shapes):  # type: ignore[union-attr]
            raise RuntimeError("the engine process gave impossible shapes")
        return [tuple(shape) for shape in shapes]  # type: ignore[union-attr]

    def _share(self, *, collect: bool) -> None:
        """Lays the tensors out in memory of their sizes, for both sides; outputs are copied there with ``collect``."""
        places, end = [], 0
        for tensor, shape in zip(
            (*self._tensors.inputs, *self._tensors.outputs), (*self._in_shapes, *self._out_shapes), strict=True
        ):
            places.append((end, tensor.dtype, shape))
            end += -(-tensor.size(shape) // ALIGNMENT) * ALIGNMENT
        if end > self._process.most_shared:
            raise RuntimeError(f"inputs and outputs of {end} bytes are more than the model may have")
        before, count = self._arrays, len(self._in_shapes)
        with SharedMemory(end) as memory:
            self._ask(
                "share", descriptor=memory.descriptor, inputs=places[:count], outputs=places[count:], collect=collect
            )
            self._arrays = [np.ndarray(shape, dtype, memory.map, offset) for offset, dtype, shape in places]
        if collect:
            for now, old in zip(self._arrays[:count], before, strict=False):
                now[...] = old


def describe(tensors: Sequence[Tensor], shapes: Sequence[Shape], first: int) -> list[dict[str, Any]]:
    """As ``Interpreter.get_input_details()``, as far as a session looks at it."""
    return [
        {
            "name": tensor.name,
            "index": first + place,
            "shape": np.array(shape, np.int64),
            "shape_signature": np.array(tensor.signature, np.int64),
            "dtype": np.dtype(tensor.dtype).type,
        }
        for place, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True))
    ]


def is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= MAX_RANK
        and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    )
