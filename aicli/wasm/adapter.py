"""What the adapters of all runtimes share: a guest's memory as an array, and the host functions of an instance."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aicli.wasm.runtime import GIB, HostFunction, check_bounds, signed, unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Linked", "LiveMemory", "Turns"]

# A ctypes array would do as well and take ten times as long to make.
_memory_at = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_at.restype = ctypes.py_object
_memory_at.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_WRITABLE = 0x200

LARGE = 16 << 20
"""Bytes of guest memory from which on it is worth having in pages of 2 MiB instead of 4 KiB: large photos are read in
narrow columns, where each row lies on another small page. Smaller guests would only waste memory."""


def bytes_at(address: int, size: int) -> NDArray[np.uint8]:
    """Memory of this process as an array that keeps nothing alive: for as long as a runtime says that it is there."""
    return np.frombuffer(_memory_at(address, size, _WRITABLE), np.uint8) if size else np.empty(0, np.uint8)


def use_large_pages(address: int) -> None:
    """Asks Linux for large pages in the memory that begins there (madvise(2)), wherever it has some to give.

    Both runtimes reserve the 4 GiB that a memory may grow to, so nothing else lies there.
    """
    if hasattr(mmap, "MADV_HUGEPAGE"):
        ctypes.pythonapi.madvise(ctypes.c_void_p(address), ctypes.c_size_t(4 * GIB), mmap.MADV_HUGEPAGE)


class Turns:
    """Changes whenever the guest has run, which is when its memory may have grown."""

    def __init__(self) -> None:
        self.count = 0


class LiveMemory:
    """What the adapters' memories share: the bytes are looked up once for each turn of the guest, not for each view."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._seen = -1
        self._whole: NDArray[np.uint8] = np.empty(0, np.uint8)

    def size(self) -> int:
        """The present size in bytes."""
        raise NotImplementedError

    def address(self) -> int:
        """Where the memory begins in this process."""
        raise NotImplementedError

    def view(self, pointer: int, length: int) -> NDArray[np.uint8]:
        """See :meth:`Memory.view`."""
        if self._seen != self._turns.count:
            size = self.size()
            if size != self._whole.size:
                # A memory may move when it grows, and at no other time.
                address = self.address()
                self._whole = bytes_at(address, size)
                if size >= LARGE:
                    use_large_pages(address)
            self._seen = self._turns.count
        end = pointer + length
        if not 0 <= pointer <= end <= self._whole.size:
            check_bounds(pointer, length, self._whole.size)
        return self._whole[pointer:end]


class Linked:
    """The host functions of one instance, which the instance must keep alive.

    A runtime's native side knows them through :meth:`trampoline` only, which holds no strong reference: else a function
    that knows its guest's memory would keep that memory, and everything with it, alive for ever. ``held`` is what the
    native side points at without keeping it; ``raised`` is what ended a call that could not raise.
    """

    def __init__(self, functions: Sequence[HostFunction]) -> None:
        self.functions = functions
        self.held: list[object] = []
        self.raised: BaseException | None = None
        self.turns = Turns()

    def raise_again(self) -> None:
        """Raises what a host function could not raise through the guest, if there is something."""
        raised, self.raised = self.raised, None
        if raised is not None:
            raise raised

    def trampoline(self, index: int) -> Callable[..., Any]:
        """What the runtime calls: signed numbers as the runtime has them, in and out."""
        myself = weakref.ref(self)
        params, results = self.functions[index].params, self.functions[index].results

        def call(*arguments: Any) -> Any:
            linked = myself()
            if linked is None:
                raise RuntimeError("the guest's instance is gone")
            linked.turns.count += 1
            values = [unsigned(argument, param) for argument, param in zip(arguments, params, strict=True)]
            value = linked.functions[index].call(*values)
            return signed(value, results[0]) if results else None

        return call
