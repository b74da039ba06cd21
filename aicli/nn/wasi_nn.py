"""The host functions of ``wasi_ephemeral_nn`` (witx dialect): pointers in, errno out.

Source: WebAssembly/wasi-nn, ``phases/ephemeral/witx``; ``unload`` and ``finalize_execution_context`` are WasmEdge's.
No call raises: whatever goes wrong is an errno for the guest, and the reason is kept in ``session.last_error``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from aicli.nn.session import Errno, NnError, Session, TensorType
from aicli.wasm.runtime import HostFunction, Memory, MemoryBoundsError, printable

__all__ = ["MODULE", "WasiNn"]

MODULE = "wasi_ephemeral_nn"
MAX_NAME = 1024
MAX_RANK = 8
TENSOR = struct.Struct("<IIB3xII")


class WasiNn:
    """The functions for one guest instance; ``memory`` is set as soon as the instance has one."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.memory: Memory | None = None
        self.interrupted: BaseException | None = None

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, as a runtime links it."""
        table: list[tuple[Callable[..., None], int]] = [
            (self.load, 5),
            (self.load_by_name, 3),
            (self.init_execution_context, 2),
            (self.set_input, 3),
            (self.compute, 1),
            (self.get_output, 5),
            (self.finalize_execution_context, 1),
            (self.unload, 1),
        ]
        return {
            (MODULE, call.__name__): HostFunction(MODULE, call.__name__, ("i32",) * count, ("i32",), self._guard(call))
            for call, count in table
        }

    def _guard(self, call: Callable[..., None]) -> Callable[..., int]:
        """The same call, with every failure turned into an errno."""

        def guarded(*arguments: int) -> int:
            try:
                call(*arguments)
                return Errno.SUCCESS
            except NnError as error:
                return self._fail(error.errno, str(error))
            except MemoryBoundsError as error:
                return self._fail(Errno.INVALID_ARGUMENT, str(error))
            except (KeyboardInterrupt, SystemExit) as stop:
                # It must not unwind through the runtime's native frames: the caller raises it again after the call.
                self.interrupted = stop
                return self._fail(Errno.RUNTIME_ERROR, "interrupted")
            except Exception as error:
                return self._fail(Errno.RUNTIME_ERROR, str(error).strip() or type(error).__name__)

        return guarded

    def _fail(self, errno: Errno, reason: str) -> int:
        self.session.last_error = printable(" ".join(reason.split()), longest=1500)
        return errno

    def load(self, builders: int, count: int, encoding: int, target: int, out: int) -> None:
        if count != 1:
            raise NnError(Errno.INVALID_ARGUMENT, f"a TFLite model is one block of bytes, the guest gave {count}")
        if target > 3:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no execution target {target}")
        self._check_out(out)
        pointer, length = struct.unpack("<II", self._read(builders, 8))
        self._write_u32(out, self.session.load(self._read(pointer, length), encoding))

    def load_by_name(self, name: int, length: int, out: int) -> None:
        if length > MAX_NAME:
            raise NnError(Errno.TOO_LARGE, f"a model name of {length} bytes is too long")
        self._check_out(out)
        try:
            text = self._read(name, length).decode()
        except UnicodeDecodeError:
            raise NnError(Errno.INVALID_ARGUMENT, "a model name is not UTF-8") from None
        self._write_u32(out, self.session.load_by_name(text))

    def init_execution_context(self, graph: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self.session.init_execution_context(graph))

    def set_input(self, context: int, index: int, tensor: int) -> None:
        dims, rank, kind, data, size = TENSOR.unpack(self._read(tensor, TENSOR.size))
        if rank > MAX_RANK:
            raise NnError(Errno.INVALID_ARGUMENT, f"a tensor of {rank} dimensions; at most {MAX_RANK} are possible")
        if kind not in TensorType.__members__.values():
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no tensor type {kind}")
        shape = struct.unpack(f"<{rank}I", self._read(dims, 4 * rank))
        self.session.set_input(context, index, shape, TensorType(kind), self._memory().view(data, size))

    def compute(self, context: int) -> None:
        self.session.compute(context)

    def get_output(self, context: int, index: int, buffer: int, size: int, written: int) -> None:
        self._check_out(written)
        tensor = self.session.context(context).output(index)
        needed = tensor.nbytes
        if size < needed:
            self._write_u32(written, needed)
            raise NnError(Errno.TOO_LARGE, f"an output of {needed} bytes does not fit a buffer of {size}")
        view = self._memory().view(buffer, needed)
        if view.ctypes.data % tensor.itemsize == 0:
            view.view(tensor.dtype)[:] = tensor.reshape(-1)
        else:
            view[:] = memoryview(tensor.tobytes())
        self._write_u32(written, needed)

    def finalize_execution_context(self, context: int) -> None:
        self.session.finalize_execution_context(context)

    def unload(self, graph: int) -> None:
        self.session.unload(graph)

    def _memory(self) -> Memory:
        if self.memory is None:
            raise NnError(Errno.MISSING_MEMORY, "the guest exports no memory")
        return self.memory

    def _read(self, pointer: int, length: int) -> bytes:
        return self._memory().view(pointer, length).tobytes()

    def _check_out(self, pointer: int) -> None:
        """A bad out pointer fails before anything is made that nobody could name."""
        self._memory().view(pointer, 4)

    def _write_u32(self, pointer: int, value: int) -> None:
        self._memory().view(pointer, 4)[:] = memoryview(value.to_bytes(4, "little"))
