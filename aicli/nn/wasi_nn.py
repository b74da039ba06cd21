"""The host functions of ``wasi_ephemeral_nn`` (witx dialect): pointers in, errno out.

Source: WebAssembly/wasi-nn, ``phases/ephemeral/witx``; ``unload`` and ``finalize_execution_context`` are WasmEdge's.
No call raises: whatever goes wrong is an errno for the guest, and the reason is kept in ``session.last_error``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from aicli._text import counted
from aicli.nn.dialects.numbers import GUEST, Dialect
from aicli.nn.host import U32, HostModule
from aicli.nn.session import Errno, NnError, Session
from aicli.wasm.runtime import HostFunction

__all__ = ["MODULE", "WasiNn"]

MODULE = "wasi_ephemeral_nn"
MAX_RANK = 8
TENSOR = struct.Struct("<IIB3xII")
SHAPES = [struct.Struct(f"<{rank}I") for rank in range(MAX_RANK + 1)]


class WasiNn(HostModule):
    """The functions for one guest instance, with the numbers of one dialect."""

    def __init__(self, session: Session, dialect: Dialect = GUEST) -> None:
        super().__init__(session)
        self._dialect = dialect

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, as a runtime links it."""
        table: dict[str, tuple[Callable[..., None], int]] = {
            "load": (self.load, 5),
            "load_by_name": (self.load_by_name, 3),
            "load_by_name_with_config": (self.load_by_name_with_config, 5),
            "init_execution_context": (self.init_execution_context, 2),
            "set_input": (self.set_input, 3),
            "compute": (self.compute, 1),
            "compute_single": (self.compute, 1),
            "get_output": (self.get_output, 5),
            "get_output_single": (self.get_output, 5),
            "fini_single": (self.fini_single, 1),
            "finalize_execution_context": (self.finalize_execution_context, 1),
            "unload": (self.unload, 1),
        }
        return {
            (MODULE, name): HostFunction(MODULE, name, ("i32",) * count, ("i32",), self._guard(call))
            for name, (call, count) in table.items()
        }

    def _fail(self, errno: Errno, reason: str) -> int:
        super()._fail(errno, reason)
        return self._dialect.errors.get(errno, errno)

    def load(self, builders: int, count: int, encoding: int, target: int, out: int) -> None:
        if count != 1:
            raise NnError(Errno.INVALID_ARGUMENT, f"a TFLite model is one block of bytes, the guest gave {count}")
        if target > 3:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no execution target {target}")
        self._check_out(out)
        pointer, length = struct.unpack("<II", self._read(builders, 8))
        self._write_u32(
            out, self.session.load(self._read(pointer, length), self._dialect.encodings.get(encoding, encoding))
        )

    def load_by_name(self, name: int, length: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self.session.load_by_name(self._read_name(name, length)))

    def load_by_name_with_config(self, name: int, length: int, config: int, config_length: int, out: int) -> None:
        """As ``load_by_name``: what a configuration says concerns language models, and TFLite has no use for it."""
        self._memory().view(config, config_length)
        self.load_by_name(name, length, out)

    def init_execution_context(self, graph: int, out: int) -> None:
        self._check_out(out)
        self._write_u32(out, self.session.init_execution_context(graph))

    def set_input(self, context: int, index: int, tensor: int) -> None:
        view = self._memory().view
        dims, rank, kind, data, size = TENSOR.unpack(view(tensor, TENSOR.size).data)
        if rank > MAX_RANK:
            raise NnError(Errno.INVALID_ARGUMENT, f"a tensor of {rank} dimensions; at most {MAX_RANK} are possible")
        kinds = self._dialect.types.get(kind)
        if kinds is None:
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no tensor type {kind}")
        shape = SHAPES[rank].unpack(view(dims, 4 * rank).data)
        self.session.set_input(context, index, shape, kinds, view(data, size))

    def compute(self, context: int) -> None:
        self.session.compute(context)

    def get_output(self, context: int, index: int, buffer: int, size: int, written: int) -> None:
        view = self._memory().view
        out = view(written, 4)  # first: a bad out pointer fails before anything is done
        tensor = self.session.context(context).output(index)
        needed = tensor.size
        if size < needed:
            U32.pack_into(out.data, 0, needed)
            raise NnError(Errno.TOO_LARGE, f"an output of {counted(needed, 'byte')} does not fit a buffer of {size}")
        view(buffer, needed)[:] = tensor
        U32.pack_into(out.data, 0, needed)

    def fini_single(self, context: int) -> None:
        """Ends a stream of single outputs; here each of them is complete, so there is nothing to end."""
        self.session.context(context)

    def finalize_execution_context(self, context: int) -> None:
        self.session.finalize_execution_context(context)

    def unload(self, graph: int) -> None:
        self.session.unload(graph)
