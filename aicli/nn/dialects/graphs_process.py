"""TensorFlow graphs in a process of their own, as the host functions use them. The process is not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.nn.dialects.tensorflow_graphs import DTYPES
from aicli.nn.isolation.process import ALIGNMENT, ConfinedProcess, RefusedThere, SharedMemory
from aicli.nn.session import Errno, NnError

__all__ = ["GraphProcess", "RemoteGraph"]

MAX_RANK = 32
ROOM = 512 << 20
"""Bytes for TensorFlow's own work on a graph, beside the graph and its tensors."""


class GraphProcess:
    """The process, which is started with the first graph, and again when it has died.

    It can read files in ``folders``; ``memory`` bounds what the graphs may take there together, in bytes.
    """

    def __init__(
        self, folders: Sequence[Path], memory: int, threads: int, deadline: Callable[[], float | None]
    ) -> None:
        self._folders = [str(folder.resolve()) for folder in folders]
        self._memory, self._threads, self._deadline = memory, threads, deadline
        self._process: ConfinedProcess | None = None

    def frozen(self, data: bytes) -> RemoteGraph:
        """A ``GraphDef`` as its bytes (.pb). Raises :class:`NnError`, :class:`EngineDied`."""
        graph = self._new()
        with SharedMemory(len(data)) as memory:
            memory.map[: len(data)] = data
            graph.ask("frozen", descriptor=memory.descriptor)
        return graph

    def saved_model(self, folder: Path, tags: Iterable[str]) -> RemoteGraph:
        """A folder with ``saved_model.pb``. Raises :class:`NnError`, :class:`EngineDied`."""
        graph = self._new()
        graph.ask("saved", folder=str(folder), tags=list(tags))
        return graph

    def _new(self) -> RemoteGraph:
        if self._process is None or not self._process.is_usable():
            script = Path(__file__).with_name("graphs_child.py")
            memory = self._memory + ROOM
            self._process = ConfinedProcess("TensorFlow", script, self._folders, memory, self._deadline)
        return RemoteGraph(self._process, self._threads, self._memory)


class RemoteGraph:
    """One graph there."""

    def __init__(self, process: ConfinedProcess, threads: int, memory: int) -> None:
        self._process, self._threads, self._memory = process, threads, memory
        self._number = process.new_number()

    def ask(self, do: str, **values: Any) -> Any:
        try:
            return self._process.ask(do, self._number, threads=self._threads, **values)
        except RefusedThere as error:
            known = isinstance(error.errno, int) and error.errno in set(Errno)
            raise NnError(Errno(error.errno) if known else Errno.RUNTIME_ERROR, str(error)) from None  # type: ignore[arg-type]

    def check_tensor(self, name: str) -> None:
        """Raises :class:`NnError` unless the graph has this operation."""
        self.ask("check", name=name)

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: list[str]) -> list[NDArray[Any]]:
        """The outputs for these inputs, both by tensor names such as ``input:0``."""
        places, size = self._places([(value.dtype.name, value.shape) for value in inputs.values()])
        with SharedMemory(size) as memory:
            rows = []
            for (name, value), place in zip(inputs.items(), places, strict=True):
                np.ndarray(value.shape, value.dtype, memory.map, place or 0)[...] = value
                rows.append((name, place, value.dtype.name, value.shape))
            answer = self.ask("run", descriptor=memory.descriptor, inputs=rows, outputs=outputs)
        return self._collect(checked(answer, len(outputs)))

    def _collect(self, ends: list[tuple[str, tuple[int, ...]]]) -> list[NDArray[Any]]:
        places, size = self._places(ends)
        with SharedMemory(size) as memory:
            self.ask("collect", descriptor=memory.descriptor, offsets=places)
            return [
                np.empty(shape, object) if place is None else np.ndarray(shape, dtype, memory.map, place).copy()
                for (dtype, shape), place in zip(ends, places, strict=True)
            ]

    def _places(self, ends: Iterable[tuple[str, Sequence[int]]]) -> tuple[list[int | None], int]:
        """An offset for each tensor of numbers, and the size of all. Raises :class:`NnError` for more than may be."""
        places: list[int | None] = []
        end = 0
        for dtype, shape in ends:
            places.append(end if dtype else None)
            size = np.dtype(dtype).itemsize * prod(shape) if dtype else 0
            end += -(-size // ALIGNMENT) * ALIGNMENT
        if end > self._memory:
            raise NnError(Errno.TOO_LARGE, f"tensors of {end} bytes are more than the guest's networks may have")
        return places, end

    def close(self) -> None:
        self._process.dropped.append(self._number)


def checked(answer: Any, count: int) -> list[tuple[str, tuple[int, ...]]]:
    """The outputs' types (nothing for one that does not consist of numbers) and shapes.

    Raises :class:`NnError` for what cannot be such.
    """
    types, shapes = answer.get("types"), answer.get("shapes")
    right = isinstance(types, list) and isinstance(shapes, list) and len(types) == len(shapes) == count
    if not right or not all(is_end(dtype, shape) for dtype, shape in zip(types, shapes, strict=True)):
        raise NnError(Errno.RUNTIME_ERROR, "TensorFlow's process gave impossible outputs")
    return [(dtype, tuple(shape) if dtype else ()) for dtype, shape in zip(types, shapes, strict=True)]


def is_end(dtype: Any, shape: Any) -> bool:
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        return False
    known = dtype == "" or (isinstance(dtype, str) and dtype in {*DTYPES.values(), "float16"})
    return known and all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
