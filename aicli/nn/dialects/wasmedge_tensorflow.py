"""The host functions of ``wasmedge_tensorflow``, current and legacy, and of ``ssvm_tensorflow``.

They are always there, because guests that only use TFLite import them too; what they do needs TensorFlow. Sources:
WasmEdge ``plugins/wasmedge_tensorflow``, second-state/WasmEdge-tensorflow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.nn.dialects.graphs_process import GraphProcess, RemoteGraph
from aicli.nn.dialects.tensorflow_graphs import DTYPES, MISSING, is_installed
from aicli.nn.host import HostModule
from aicli.nn.session import Errno, NnError, Session
from aicli.wasm.runtime import HostFunction

__all__ = ["LEGACY_PREFIXES", "MODULE", "WasmedgeTensorflow"]

MODULE = "wasmedge_tensorflow"
LEGACY_PREFIXES = {MODULE: f"{MODULE}_", "ssvm_tensorflow": "ssvm_tensorflow_"}
"""The modules with functions of the old signatures, and what those functions' names begin with."""

I32, I64 = "i32", "i64"
MAX_SESSIONS = 16
MAX_TENSORS = 256
MAX_RANK = 32


@dataclass
class GraphSession:
    """A graph with what a guest has appended; ``outputs`` are filled when it runs."""

    graph: RemoteGraph
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    outputs: dict[str, NDArray[Any] | None] = field(default_factory=dict)


class WasmedgeTensorflow(HostModule):
    """The functions for one guest instance.

    ``graphs`` is where they run; ``find_folder`` gives the host's folder for a guest's path to a saved model, or raises
    :class:`NnError`; ``warn`` shows a line to the user.
    """

    def __init__(
        self,
        session: Session,
        graphs: GraphProcess,
        find_folder: Callable[[str], Path],
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(session)
        self._graphs = graphs
        self._find_folder = find_folder
        self._warn = warn
        self._warned = False
        self._sessions: dict[int, GraphSession] = {}
        self._tensors: dict[int, tuple[int, str]] = {}

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, of both generations."""
        current: dict[str, tuple[Callable[..., None], int]] = {
            "create_session": (self.create_session, 3),
            "create_session_saved_model": (self.create_session_saved_model, 5),
            "delete_session": (self.delete_session, 1),
            "run_session": (self.run_session, 1),
            "get_output_tensor": (self.get_output_tensor, 4),
            "get_tensor_len": (self.get_tensor_len, 3),
            "get_tensor_data": (self.get_tensor_data, 5),
            "append_input": (self.append_input, 8),
            "append_output": (self.append_output, 3),
            "clear_input": (self.clear_input, 1),
            "clear_output": (self.clear_output, 1),
        }
        found = {
            (MODULE, name): HostFunction(MODULE, name, (I32,) * count, (I32,), self._guard(call))
            for name, (call, count) in current.items()
        }
        legacy: dict[str, tuple[Callable[..., int | None], tuple[str, ...], tuple[str, ...], int]] = {
            "create_session": (self._create, (I32, I32), (I64,), 0),
            "delete_session": (self.delete_session, (I64,), (), 0),
            "run_session": (self.run_session, (I64,), (I32,), 1),
            "get_output_tensor": (self._find_legacy, (I64, I32, I32, I32), (I64,), 0),
            "get_tensor_len": (self._length, (I64,), (I32,), 0),
            "get_tensor_data": (self._copy_all, (I64, I32), (), 0),
            "append_input": (self._append_legacy, (I64,) + (I32,) * 8, (), 0),
            "append_output": (self._append_output_legacy, (I64, I32, I32, I32), (), 0),
            "clear_input": (self.clear_input, (I64,), (), 0),
            "clear_output": (self.clear_output, (I64,), (), 0),
        }
        for module, prefix in LEGACY_PREFIXES.items():
            for name, (call, params, results, failure) in legacy.items():
                full = prefix + name
                found[module, full] = HostFunction(module, full, params, results, self._guard(call, failure))
        return found

    # Sessions

    def create_session(self, model: int, length: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self._create(model, length))

    def _create(self, model: int, length: int) -> int:
        self._require()
        return self._add(self._graphs.frozen(self._read(model, length)))

    def create_session_saved_model(self, path: int, length: int, tags: int, count: int, out: int) -> None:
        self._require()
        self._check_out(out)
        folder = self._find_folder(self._read_name(path, length, "a path"))
        if count > MAX_RANK:
            raise NnError(Errno.TOO_LARGE, f"{count} tags are too many")
        places = struct.iter_unpack("<II", self._read(tags, 8 * count))
        names = [self._read_name(start, size, "a tag") for start, size in places]
        self._write_u32(out, self._add(self._graphs.saved_model(folder, names)))

    def _require(self) -> None:
        """Says once what is missing; the guest sees only that the call failed."""
        if len(self._sessions) >= MAX_SESSIONS:
            raise NnError(Errno.BUSY, f"the guest holds {MAX_SESSIONS} sessions, which is the limit")
        if not is_installed():
            if not self._warned:
                self._warned = True
                self.told.add(MISSING)
                self._warn(MISSING)
            raise NnError(Errno.UNSUPPORTED_OPERATION, MISSING)

    def _add(self, graph: RemoteGraph) -> int:
        handle = self.session.new_handle()
        self._sessions[handle] = GraphSession(graph)
        return handle

    def _get(self, handle: int) -> GraphSession:
        found = self._sessions.get(handle)
        if found is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no session {handle}")
        return found

    def delete_session(self, handle: int) -> None:
        self._get(handle).graph.close()
        del self._sessions[handle]
        self._forget_tensors(handle)

    def run_session(self, handle: int) -> None:
        session = self._get(handle)
        names = list(session.outputs)
        values = session.graph.run(session.inputs, names)
        session.outputs = dict(zip(names, values, strict=True))

    # Inputs and outputs

    def append_input(
        self, handle: int, name: int, length: int, dims: int, rank: int, dtype: int, data: int, size: int
    ) -> None:
        self._append(handle, with_index(self._read_name(name, length, "a tensor name")), dims, rank, dtype, data, size)

    def _append_legacy(
        self,
        handle: int,
        name: int,
        length: int,
        index: int,
        dims: int,
        rank: int,
        dtype: int,
        data: int,
        size: int,
    ) -> None:
        tensor = f"{self._read_name(name, length, 'a tensor name')}:{index}"
        self._append(handle, tensor, dims, rank, dtype, data, size)

    def _append(self, handle: int, tensor: str, dims: int, rank: int, dtype: int, data: int, size: int) -> None:
        session = self._get(handle)
        if dtype not in DTYPES:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no tensor type {dtype}")
        if rank > MAX_RANK or len(session.inputs) >= MAX_TENSORS:
            raise NnError(Errno.TOO_LARGE, f"a tensor of {rank} dimensions, or more than {MAX_TENSORS} tensors")
        session.graph.check_tensor(tensor)
        shape = struct.unpack(f"<{rank}q", self._read(dims, 8 * rank)) if rank else ()
        flat = np.frombuffer(self._read(data, size), np.uint8)
        try:
            session.inputs[tensor] = flat.view(DTYPES[dtype]).reshape(shape)
        except ValueError:
            reason = f"{size} bytes do not fill a tensor of {list(shape)} {DTYPES[dtype]}"
            raise NnError(Errno.INVALID_ARGUMENT, reason) from None

    def append_output(self, handle: int, name: int, length: int) -> None:
        self._append_output(handle, with_index(self._read_name(name, length, "a tensor name")))

    def _append_output_legacy(self, handle: int, name: int, length: int, index: int) -> None:
        self._append_output(handle, f"{self._read_name(name, length, 'a tensor name')}:{index}")

    def _append_output(self, handle: int, tensor: str) -> None:
        session = self._get(handle)
        if len(session.outputs) >= MAX_TENSORS:
            raise NnError(Errno.TOO_LARGE, f"more than {MAX_TENSORS} outputs")
        session.graph.check_tensor(tensor)
        session.outputs.setdefault(tensor, None)

    def clear_input(self, handle: int) -> None:
        self._get(handle).inputs.clear()

    def clear_output(self, handle: int) -> None:
        self._get(handle).outputs.clear()
        self._forget_tensors(handle)

    # Tensors

    def get_output_tensor(self, handle: int, name: int, length: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self._find(handle, with_index(self._read_name(name, length, "a tensor name"))))

    def _find_legacy(self, handle: int, name: int, length: int, index: int) -> int:
        return self._find(handle, f"{self._read_name(name, length, 'a tensor name')}:{index}")

    def _find(self, handle: int, tensor: str) -> int:
        if tensor not in self._get(handle).outputs:
            raise NnError(Errno.INVALID_ARGUMENT, f"{tensor} was not appended as an output")
        place = (handle, tensor)
        known = next((number for number, other in self._tensors.items() if other == place), None)
        if known is None:
            known = self.session.new_handle()
            self._tensors[known] = place
        return known

    def _forget_tensors(self, handle: int) -> None:
        self._tensors = {number: place for number, place in self._tensors.items() if place[0] != handle}

    def get_tensor_len(self, handle: int, tensor: int, out: int) -> None:
        self._check_owner(handle, tensor)
        self._write_u32(out, self._length(tensor))

    def get_tensor_data(self, handle: int, tensor: int, buffer: int, size: int, written: int) -> None:
        self._check_out(written)
        self._check_owner(handle, tensor)
        values = self._values(tensor)
        count = min(size, values.size)
        self._memory().view(buffer, size)[:count] = values[:count]
        self._write_u32(written, count)

    def _length(self, tensor: int) -> int:
        return self._values(tensor).size

    def _copy_all(self, tensor: int, buffer: int) -> None:
        values = self._values(tensor)
        self._memory().view(buffer, values.size)[:] = values

    def _check_owner(self, handle: int, tensor: int) -> None:
        if self._tensors.get(tensor, (None,))[0] != handle:
            raise NnError(Errno.INVALID_ARGUMENT, f"session {handle} has no tensor {tensor}")

    def _values(self, tensor: int) -> NDArray[np.uint8]:
        """The bytes of an output; none before the session has run."""
        place = self._tensors.get(tensor)
        if place is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no tensor {tensor}")
        values = self._get(place[0]).outputs.get(place[1])
        if values is None:
            return np.empty(0, np.uint8)
        if values.dtype.kind not in "biuf":
            # The bytes of such an array would be pointers into the host.
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"{place[1]} does not consist of numbers")
        return np.frombuffer(values.tobytes(), np.uint8)


def with_index(name: str) -> str:
    """``op`` and ``op:2`` as TensorFlow names tensors: with an index, 0 where there is none."""
    operation, _, index = name.partition(":")
    return f"{operation}:{int(index) if index.isdigit() else 0}"
