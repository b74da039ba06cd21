"""What one guest instance has loaded: graphs and execution contexts by their handles, within its budget.

A :class:`Session` belongs to one guest instance. Handles are small integers that are never used twice; a context keeps
its graph's model alive. Every failure is an :class:`NnError` that carries the errno for the guest and the cause for us.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aicli.errors import ModelError
from aicli.nn.context import ExecutionContext, Graph, SpareContexts
from aicli.nn.engines import AnyEngine
from aicli.nn.values import Errno, NnError, TensorType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicli.nn.isolation.engine import IsolatedEngine

__all__ = [
    "Errno",
    "ExecutionContext",
    "NnError",
    "Session",
    "SpareContexts",
    "StageTime",
    "TensorType",
    "networks_budget",
]

MAX_GRAPHS = 32
MAX_CONTEXTS = 128
"""How many a guest may have at a time: enough for any cascade, too few to eat the host's memory."""

MAX_MODEL_BYTES = 256 << 20
"""Bytes of models that a guest may bring along and hold at a time."""
LEAST_MEMORY = 256 << 20
"""Bytes that the networks of any guest may take: enough for one image."""
DEFAULT_MEMORY = 1 << 30
"""Bytes for the models that a guest brings along, where nobody says how many."""
MAX_INPUT_BYTES = 1 << 30
"""Bytes that the inputs of all contexts of a guest without a budget may have."""


def networks_budget(guest_memory: int) -> int:
    """Bytes that a guest's networks may take together: as many as the guest itself."""
    return max(LEAST_MEMORY, guest_memory)


class StageTime:
    """How often a model was invoked and how long that took, in seconds."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0


class Session:
    """What one guest instance has loaded.

    ``models`` are the host's named models; ``threads`` go to each interpreter (0: the engine's number). ``times``
    counts the invocations by model name. ``spare`` are contexts to be used before new ones are made. ``last_error`` is
    the reason of the last failed call, for the message that a person reads; ``died`` the same, once an engine process
    has ended.

    ``foreign`` are the names of models that a stranger uploaded, which run in an engine process.

    ``memory`` is the one budget, in bytes, of everything that this guest's networks take: models, contexts, tensors,
    work space. It is held before memory is taken. ``None`` is for aicli's own guest, whose inputs alone are bounded.
    ``deadline`` is the time of ``time.monotonic()`` at which the call that runs now must have ended.
    """

    def __init__(
        self,
        engine: AnyEngine,
        models: Mapping[str, Path | bytes],
        threads: int,
        times: dict[str, StageTime] | None = None,
        spare: SpareContexts | None = None,
        *,
        memory: int | None = None,
        deadline: float | None = None,
        foreign: frozenset[str] = frozenset(),
    ) -> None:
        self.engine, self.models, self.threads = engine, models, threads
        self.times: dict[str, StageTime] = {} if times is None else times
        self.spare, self.foreign = spare, foreign
        self.memory, self.deadline = memory, deadline
        self.last_error: str | None = None
        self.died: str | None = None
        self._graphs: dict[int, Graph] = {}
        # A graph stands for a context that is taken from the spare ones when its shape is known.
        self._contexts: dict[int, ExecutionContext | Graph] = {}
        # A name that is loaded again has the graph that it had, as in WasmEdge.
        self._named: dict[str, int] = {}
        self._last_handle = 0
        self._foreign_engine: IsolatedEngine | None = None

    def set_deadline(self, deadline: float | None) -> None:
        """The time of ``time.monotonic()`` at which the call that runs now must have ended: no network goes on."""
        self.deadline = deadline
        if self._foreign_engine is not None:
            self._foreign_engine.set_deadline(deadline)
        self.engine.set_deadline(deadline)

    def load(self, model: bytes, encoding: int) -> int:
        # Bindings number the encodings differently; what a file says of itself is the same in all of them.
        if model[4:8] != b"TFL3":
            reason = f"the guest's model of encoding {encoding} is no TFLite file"
            raise NnError(Errno.INVALID_ENCODING, reason)
        most = MAX_MODEL_BYTES if self.memory is None else min(MAX_MODEL_BYTES, self.memory)
        if len(model) + self._own_bytes() > most:
            raise NnError(Errno.TOO_LARGE, f"the guest's own models have more than {most} bytes")
        graph = Graph("the guest's model", model, self.threads, foreign=True)
        graph.totals  # noqa: B018 - checks it
        self._isolated().start()  # it gets ready while the guest goes on
        return self._add_graph(graph)

    def _own_bytes(self) -> int:
        """What the models that the guest brought along occupy, with or without a context."""
        used = (item if isinstance(item, Graph) else item.graph for item in self._contexts.values())
        return sum(len(graph.model) for graph in {*self._graphs.values(), *used} if isinstance(graph.model, bytes))

    def _isolated(self) -> IsolatedEngine:
        """The engine for models that the guest brings along."""
        if self._foreign_engine is None:
            from aicli.nn.isolation.engine import IsolatedEngine

            self._foreign_engine = IsolatedEngine(self.engine, self.memory or DEFAULT_MEMORY, self.deadline)
        return self._foreign_engine

    def load_by_name(self, name: str) -> int:
        if name not in self.models:
            known = ", ".join(sorted(self.models)) or "none"
            raise NnError(Errno.NOT_FOUND, f"the guest asked for a model '{name}'; there is {known}")
        handle = self._named.get(name)
        if handle is None:
            graph = Graph(name, self.models[name], self.threads, foreign=name in self.foreign)
            handle = self._named[name] = self._add_graph(graph)
        return handle

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
        self._check_room(graph, sum(tensor.size(tensor.shape) for tensor in graph.tensors.inputs))
        try:
            return ExecutionContext(graph, self._isolated() if graph.foreign else self.engine)
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

    def _check_room(self, graph: Graph, inputs: int, context: ExecutionContext | None = None) -> None:
        """Raises :class:`NnError` unless there is room for a context whose inputs have so many bytes."""
        others = [
            item for item in self._contexts.values() if isinstance(item, ExecutionContext) and item is not context
        ]
        if self.memory is None:
            if inputs + sum(other.input_bytes() for other in others) > MAX_INPUT_BYTES:
                reason = f"the inputs of the guest's contexts have more than {MAX_INPUT_BYTES} bytes"
                raise NnError(Errno.TOO_LARGE, reason)
            return
        held = self._own_bytes() + sum(other.graph.totals.needed(other.input_bytes()) for other in others)
        needed = graph.totals.needed(inputs)
        if held + needed > self.memory:
            reason = f"{graph.name} needs {needed} bytes; of its {self.memory} the guest's networks have {held} already"
            raise NnError(Errno.TOO_LARGE, reason)

    def release(self) -> None:
        """Gives what can serve another guest to the spare contexts; this session ends here."""
        for context in self._contexts.values():
            if self.spare is not None and isinstance(context, ExecutionContext):
                self.spare.put(context)
        self._contexts.clear()
        self._graphs.clear()
        self._named.clear()
        self._foreign_engine = None  # its process ends now, whatever a runtime still holds of this session

    def set_input(
        self, handle: int, index: int, shape: tuple[int, ...], kinds: tuple[TensorType, ...], data: NDArray[np.uint8]
    ) -> None:
        """Copies a tensor in; ``kinds`` are the types that the guest may mean by the number that it gave."""
        context = self.context(handle, shape)
        if not context.expects(index, shape, kinds, data.size):
            self._check_room(context.graph, context.input_bytes(index, data.size), context)
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
        self._named = {name: graph for name, graph in self._named.items() if graph != handle}

    def new_handle(self) -> int:
        """A number that nothing of this guest has had before."""
        self._last_handle += 1
        return self._last_handle
