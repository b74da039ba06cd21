"""The numbers that guests of different generations use for the same ABI.

The witx of 2020 to 2023 numbers U8 2 and I32 3 (``wasi-nn`` crate before 0.5, WasmEdge until 0.13); later witx inserted
F64 and has U8 3, I32 4, I64 5. Which of the two a guest means follows from the model's own input type, so one dialect
serves both. WIT inserted BF16 and renumbered errors and encodings under the same module name: nothing in a call tells
that apart, so a user chooses it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aicli._record import Record
from aicli.nn.session import Errno, TensorType

__all__ = ["DIALECTS", "GUEST", "Dialect"]

AUTODETECT = 5
T = TensorType


class Dialect(Record):
    """``types`` and ``encodings`` as a guest numbers them, by ours; ``errors`` as it reads ours."""

    types: Mapping[int, tuple[TensorType, ...]]
    encodings: Mapping[int, int] = MappingProxyType({})
    errors: Mapping[int, int] = MappingProxyType({})


GUEST = Dialect({int(kind): (kind,) for kind in TensorType})
"""What docs/guest-abi.md asks of aicli's own guests: the later witx, and nothing else."""

WITX = Dialect({0: (T.F16,), 1: (T.F32,), 2: (T.F64, T.U8), 3: (T.U8, T.I32), 4: (T.I32, T.I64), 5: (T.I64,)})

WIT = Dialect(
    {0: (T.F16,), 1: (T.F32,), 2: (T.F64,), 4: (T.U8,), 5: (T.I32,), 6: (T.I64,)},
    {5: 7, 6: AUTODETECT},
    {
        Errno.MISSING_MEMORY: 9,
        Errno.BUSY: 9,
        Errno.RUNTIME_ERROR: 4,
        Errno.UNSUPPORTED_OPERATION: 5,
        Errno.TOO_LARGE: 6,
        Errno.NOT_FOUND: 7,
    },
)
"""Source: WebAssembly/wasi-nn ``wit/wasi-nn.wit``; as WAMR numbers them, 0 being success and 9 ``unknown``."""

DIALECTS = {"witx": WITX, "wit": WIT}
"""The dialects that ``--nn-dialect`` names."""
