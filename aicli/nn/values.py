"""The numbers that a guest and its host speak in: errors and tensor types of wasi-nn's witx dialect."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DTYPES", "MAX_WORK", "Errno", "NnError", "TensorType"]

MAX_WORK = 1 << 30
"""Bytes that decoding and resizing one picture may take beside the guest's own memory: 76 megapixels in a file."""


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


class NnError(Exception):
    """A host call that failed: the errno that the guest sees, and the reason that a person reads."""

    def __init__(self, errno: Errno, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno
