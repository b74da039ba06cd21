"""What all calling conventions share: an instance whose every pointer is checked, and the answers of host functions."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from aicli._text import printable
from aicli.errors import GuestFault, GuestMemoryError, Hint
from aicli.run.values import Argument, Value
from aicli.wasm.runtime import ExternType, HostFunction, Instance, MemoryBoundsError

__all__ = ["NUMERIC", "Convention", "Described", "Guest", "failure", "functions_of", "shape"]

ERROR_TEXT = 2000
RESERVED = ("_start", "_initialize")
TOOLS = ("__", "aicli_")
"""What the names of exports begin with that are no functions of the module's author: a compiler's, our guest ABI's."""
ALLOCATORS = ("allocate", "deallocate", "alloc", "dealloc")
NUMERIC = {"i32", "i64", "f32", "f64"}


class Described(Protocol):
    """A module, or what is known of one."""

    @property
    def imports(self) -> Sequence[ExternType]: ...

    @property
    def exports(self) -> Sequence[ExternType]: ...


def functions_of(module: Described) -> dict[str, ExternType]:
    """The exported functions that are a module's own: not what tools and WASI put there."""
    return {
        item.name: item
        for item in module.exports
        if item.kind == "func" and not item.name.startswith(TOOLS) and item.name not in (*RESERVED, *ALLOCATORS)
    }


def shape(item: ExternType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return item.params, item.results


class Guest:
    """An instance of a guest, as the conventions use it. Whatever it says is checked before it is followed."""

    def __init__(self, instance: Instance, module: Described) -> None:
        self._instance = instance
        self._params = {item.name: len(item.params) for item in module.exports if item.kind == "func"}

    def call(self, name: str, *arguments: Any) -> Any:
        return self._instance.call(name, *arguments)

    def parameters(self, name: str) -> int | None:
        """How many parameters an export has; ``None`` when there is none of this name."""
        return self._params.get(name)

    def view(self, pointer: int, length: int) -> memoryview:
        """Bytes of the guest's memory. Raises :class:`GuestFault` when they do not lie inside it."""
        if self._instance.memory is None:
            raise GuestFault("the guest exports no memory, through which values are handed over")
        try:
            return self._instance.memory.view(pointer, length).data
        except MemoryBoundsError as error:
            raise GuestFault(f"the guest gave a bad pointer: {error}") from None

    def read(self, pointer: int, length: int) -> bytes:
        return bytes(self.view(pointer, length))

    def words(self, pointer: int, count: int) -> tuple[int, ...]:
        """So many unsigned numbers of 32 bits."""
        found: tuple[int, ...] = struct.unpack(f"<{count}I", self.view(pointer, 4 * count))
        return found

    def put(self, data: bytes, allocate: Callable[[int], Any]) -> int:
        """Copies bytes to where the guest's own allocator says.

        Raises :class:`GuestMemoryError` when it has no room, :class:`GuestFault` when there is none where it says.
        """
        pointer: int = allocate(len(data)) or 0
        if pointer == 0 and data:
            hint = Hint("limits.memory")
            raise GuestMemoryError(f"the guest has no memory for {len(data)} bytes", hint=hint)
        self.view(pointer, len(data))[:] = data
        return pointer


class Convention(ABC):
    """How functions of one kind are called. An object of it serves one instance of a guest."""

    title: ClassVar[str]
    is_apart: ClassVar[bool] = True
    """Whether what the guest prints is no part of the answer."""

    def __init__(self) -> None:
        self.guest: Guest | None = None
        """The instance, as soon as there is one."""

    @classmethod
    @abstractmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        """The functions that can be called so, by name; none in a module of another kind."""

    @classmethod
    def arguments(cls, item: ExternType) -> str:
        """What a function takes, the way usage lines are written."""
        return "[ARG]..."

    def functions(self, module: Described) -> dict[tuple[str, str], HostFunction]:
        """The host functions of this convention that the module imports."""
        return {}

    @abstractmethod
    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        """Calls a function; ``returns`` is the kind of its result where the user says it.

        Raises :class:`aicli.errors.UsageError` when the arguments do not fit, :class:`aicli.errors.GuestFault` when the
        guest breaks the convention or answers an error.
        """


def failure(item: ExternType, text: bytes, code: int | None = None) -> GuestFault:
    """The error that a function answered, in its own words."""
    said = printable(text.decode("utf-8", "replace"), longest=ERROR_TEXT) or "without saying why"
    number = f" {code}" if code is not None else ""
    return GuestFault(f"{printable(item.name)} answered the error{number}: {said}")
