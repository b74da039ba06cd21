"""The host functions of ``wasmedge_tensorflowlite``, current and legacy, and of ``ssvm_tensorflowlite``.

Sources: WasmEdge ``plugins/wasmedge_tensorflowlite`` (interface crate 0.3), second-state/WasmEdge-tensorflow
(crates 0.2 and ``ssvm_tensorflow_interface``). The old functions handed out pointers of the host as 64-bit numbers;
here they are small handles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aicli.nn.host import HostModule
from aicli.nn.session import Errno, ExecutionContext, NnError, Session
from aicli.wasm.runtime import HostFunction

__all__ = ["LEGACY_PREFIXES", "MODULE", "WasmedgeTflite"]

MODULE = "wasmedge_tensorflowlite"
LEGACY_PREFIXES = {MODULE: f"{MODULE}_", "ssvm_tensorflowlite": "ssvm_tensorflowlite_"}
"""The modules with functions of the old signatures, and what those functions' names begin with."""

TFLITE = 4
I32, I64 = "i32", "i64"


class WasmedgeTflite(HostModule):
    """The functions for one guest instance. A session is an execution context, a tensor one of its outputs."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._tensors: dict[int, tuple[int, int]] = {}

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, of both generations."""
        current: dict[str, tuple[Callable[..., None], int]] = {
            "create_session": (self.create_session, 3),
            "delete_session": (self.delete_session, 1),
            "run_session": (self.run_session, 1),
            "get_output_tensor": (self.get_output_tensor, 4),
            "get_tensor_len": (self.get_tensor_len, 3),
            "get_tensor_data": (self.get_tensor_data, 5),
            "append_input": (self.append_input, 5),
        }
        found = {
            (MODULE, name): HostFunction(MODULE, name, (I32,) * count, (I32,), self._guard(call))
            for name, (call, count) in current.items()
        }
        legacy: dict[str, tuple[Callable[..., int | None], tuple[str, ...], tuple[str, ...], int]] = {
            "create_session": (self._create, (I32, I32), (I64,), 0),
            "delete_session": (self.delete_session, (I64,), (), 0),
            "run_session": (self.run_session, (I64,), (I32,), 1),
            "get_output_tensor": (self._find_output, (I64, I32, I32), (I64,), 0),
            "get_tensor_len": (self._length, (I64,), (I32,), 0),
            "get_tensor_data": (self._copy_all, (I64, I32), (), 0),
            "append_input": (self.append_input, (I64, I32, I32, I32, I32), (), 0),
        }
        for module, prefix in LEGACY_PREFIXES.items():
            for name, (call, params, results, failure) in legacy.items():
                full = prefix + name
                found[module, full] = HostFunction(module, full, params, results, self._guard(call, failure))
        return found

    def create_session(self, model: int, length: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self._create(model, length))

    def _create(self, model: int, length: int) -> int:
        graph = self.session.load(self._read(model, length), TFLITE)
        try:
            return self.session.init_execution_context(graph)
        finally:
            self.session.unload(graph)

    def delete_session(self, handle: int) -> None:
        self.session.finalize_execution_context(handle)
        self._tensors = {number: place for number, place in self._tensors.items() if place[0] != handle}

    def run_session(self, handle: int) -> None:
        self.session.compute(handle)

    def get_output_tensor(self, handle: int, name: int, length: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self._find_output(handle, name, length))

    def _find_output(self, handle: int, name: int, length: int) -> int:
        index = self.session.context(handle).find_output(self._read_name(name, length, "a tensor name"))
        known = next((number for number, place in self._tensors.items() if place == (handle, index)), None)
        if known is None:
            known = self.session.new_handle()
            self._tensors[known] = handle, index
        return known

    def get_tensor_len(self, handle: int, tensor: int, out: int) -> None:
        self._check_owner(handle, tensor)
        self._write_u32(out, self._length(tensor))

    def _length(self, tensor: int) -> int:
        context, index = self._place(tensor)
        return context.output_bytes(index)

    def get_tensor_data(self, handle: int, tensor: int, buffer: int, size: int, written: int) -> None:
        self._check_out(written)
        self._check_owner(handle, tensor)
        values = self._values(tensor)
        if size != values.nbytes:
            raise NnError(Errno.INVALID_ARGUMENT, f"an output of {values.nbytes} bytes, a buffer of {size}")
        self._memory().view(buffer, size)[:] = values
        self._write_u32(written, size)

    def _copy_all(self, tensor: int, buffer: int) -> None:
        values = self._values(tensor)
        self._memory().view(buffer, values.nbytes)[:] = values

    def _values(self, tensor: int) -> NDArray[np.uint8]:
        context, index = self._place(tensor)
        return context.output(index)

    def _place(self, tensor: int) -> tuple[ExecutionContext, int]:
        place = self._tensors.get(tensor)
        if place is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no tensor {tensor}")
        return self.session.context(place[0]), place[1]

    def _check_owner(self, handle: int, tensor: int) -> None:
        if self._tensors.get(tensor, (None,))[0] != handle:
            raise NnError(Errno.INVALID_ARGUMENT, f"session {handle} has no tensor {tensor}")

    def append_input(self, handle: int, name: int, length: int, data: int, size: int) -> None:
        index = self.session.context(handle).find_input(self._read_name(name, length, "a tensor name"))
        self.session.set_input_bytes(handle, index, self._memory().view(data, size))
