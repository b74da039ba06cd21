"""The runtime seam: what aicli asks of a WebAssembly runtime, and nothing more.

An adapter (``wasmtime/runtime.py``, ``wasmer/runtime.py``) implements :class:`Runtime`, :class:`Module`,
:class:`Instance` and :class:`Memory`. Nobody above this package imports a runtime's own package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aicli._record import Record
from aicli._text import printable
from aicli.options import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "PAGE",
    "WASI_MODULE",
    "ExternType",
    "GuestExit",
    "HostFunction",
    "Instance",
    "Limits",
    "Memory",
    "MemoryBoundsError",
    "Module",
    "Runtime",
    "WasiConfig",
    "WasiFolder",
    "check_bounds",
]

PAGE = 65536
"""Bytes in a WebAssembly page (core specification, section 4.2.8)."""

WASI_MODULE = "wasi_snapshot_preview1"

MIB = 1 << 20
GIB = 1 << 30


class MemoryBoundsError(Exception):
    """A pointer and a length that do not lie inside the guest's memory."""


class ExternType(Record):
    """An import or export of a module.

    ``kind`` is ``func``, ``memory``, ``table`` or ``global``; ``params`` and ``results`` are the value types of a
    function (``i32``, ``i64``, ``f32``, ``f64``, ...); ``minimum`` and ``maximum`` are a memory's limits in pages.
    ``module`` is empty for an export.
    """

    module: str
    name: str
    kind: str
    params: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = None


class HostFunction(Record):
    """A function that the host gives to a guest.

    ``call`` receives its ``i32`` and ``i64`` arguments unsigned and returns an ``int`` (or ``None`` where ``results``
    is empty). It must not raise: an exception would unwind through native frames.
    """

    module: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    call: Callable[..., int | None]


class WasiFolder(Record):
    """A folder of the host that a guest may use under the path ``guest``."""

    host: Path
    guest: str
    read_only: bool = False


class WasiConfig(Record):
    """What a WASI preview 1 guest is granted: nothing but this, the standard streams, the clock and random numbers."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folders: tuple[WasiFolder, ...]


class GuestExit(Exception):
    """A guest called ``proc_exit``: how a command ends, and no fault."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@runtime_checkable
class Memory(Protocol):
    """A guest's linear memory. Every access is checked against its present size."""

    def size(self) -> int:
        """The present size in bytes."""
        ...

    def view(self, pointer: int, length: int) -> NDArray[np.uint8]:
        """The bytes ``[pointer, pointer + length)``, shared and writable; stale after the memory grows.

        Raises :class:`MemoryBoundsError` when they do not lie inside the memory.
        """
        ...


class Instance(Protocol):
    """One instantiated guest. Not thread-safe: one call at a time."""

    @property
    def memory(self) -> Memory | None:
        """The memory exported as ``memory``."""
        ...

    @property
    def belongs_here(self) -> bool:
        """Whether the present thread may use it: some runtimes' instances work in the thread alone that made them."""
        ...

    def call(self, name: str, *arguments: int) -> int | None:
        """Calls an export; ``i32`` arguments may be given unsigned, an ``i32`` result comes back unsigned.

        Raises :class:`aicli.errors.GuestTrap` or :class:`aicli.errors.GuestTimeout`; :class:`GuestExit` when a guest
        with WASI exits.
        """
        ...


class Module(Protocol):
    """A compiled module; may be instantiated many times."""

    @property
    def imports(self) -> Sequence[ExternType]: ...

    @property
    def exports(self) -> Sequence[ExternType]: ...

    def instantiate(
        self,
        functions: Mapping[tuple[str, str], HostFunction],
        limits: Limits,
        wasi: WasiConfig | None = None,
    ) -> Instance:
        """A fresh instance with memory and tables of its own; with ``wasi``, WASI preview 1 is there to be imported,
        in a runtime that has it (:attr:`Runtime.has_wasi`).

        Raises :class:`aicli.errors.GuestError` when an import is missing or has another type,
        :class:`aicli.errors.GuestTrap` when the start function traps.
        """
        ...

    def serialize(self) -> bytes:
        """The compiled code, for :meth:`Runtime.deserialize` of the same version on the same processor."""
        ...


class Runtime(Protocol):
    """A WebAssembly runtime."""

    name: str
    version: str
    can_interrupt: bool
    """Whether :attr:`Limits.timeout` is kept even by a guest that never calls the host."""
    has_wasi: bool
    """Whether :meth:`Module.instantiate` takes a :class:`WasiConfig`."""

    def wasi_types(self, names: Iterable[str]) -> dict[str, ExternType]:
        """Those of these functions of WASI preview 1 that a guest may import here, with their types."""
        ...

    def prepare(self, wasm: bytes, limits: Limits) -> bytes:
        """The module as this runtime will compile it under these limits; what a compiled module is cached under.

        Raises :class:`aicli.errors.GuestError` when it is not a WebAssembly module.
        """
        ...

    def compile(self, wasm: bytes) -> Module:
        """Compiles what :meth:`prepare` gave.

        Raises :class:`aicli.errors.GuestError` when it is not valid WebAssembly.
        """
        ...

    def deserialize(self, code: bytes) -> Module:
        """Loads what :meth:`Module.serialize` gave. The bytes are native code: only trusted ones may come here.

        Raises ``ValueError`` when they are not what this runtime wrote.
        """
        ...


def check_bounds(pointer: int, length: int, size: int) -> None:
    """Raises :class:`MemoryBoundsError` unless ``[pointer, pointer + length)`` lies inside ``[0, size)``."""
    if pointer < 0 or length < 0 or pointer + length > size:
        raise MemoryBoundsError(f"{length} bytes at offset {pointer} lie outside the guest's memory of {size} bytes")


def find_mismatch(module: Module, functions: Mapping[tuple[str, str], HostFunction | ExternType]) -> str | None:
    """Says which import of a module no host function serves; ``None`` when all are served."""
    for item in module.imports:
        where = printable(f"{item.module}.{item.name}")
        if item.kind != "func":
            return f"it imports the {item.kind} {where}, and only functions can be imported"
        function = functions.get((item.module, item.name))
        if function is None:
            return f"it imports {where}, which this host does not provide"
        if (function.params, function.results) != (item.params, item.results):
            return f"it imports {where} as {signature(item)}, and the host's is {signature(function)}"
    return None


def signature(function: ExternType | HostFunction) -> str:
    """``(i32, i32) -> i32``, the way documentation writes a function type."""
    results = ", ".join(function.results) or "()"
    return f"({', '.join(function.params)}) -> {results}"


def unsigned(value: Any, kind: str) -> Any:
    """An ``i32`` or ``i64`` that a runtime reports signed, as the unsigned number that the ABI means."""
    if kind == "i32":
        return value & 0xFFFFFFFF
    if kind == "i64":
        return value & 0xFFFFFFFFFFFFFFFF
    return value


def signed(value: Any, kind: str) -> Any:
    """The inverse of :func:`unsigned`: what a runtime takes for an ``i32`` or ``i64``."""
    bits = {"i32": 32, "i64": 64}.get(kind)
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
