"""The wasmer adapter: Python 3.10, with the Cranelift compiler."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import wasmer
import wasmer_compiler_cranelift

from aicli._versions import installed_version
from aicli.errors import GuestError, GuestTrap
from aicli.wasm.adapter import Linked, LiveMemory, Turns
from aicli.wasm.binary import bound_sizes, check_limits
from aicli.wasm.runtime import (
    ExternType,
    HostFunction,
    Limits,
    WasiConfig,
    find_mismatch,
    signed,
    unsigned,
)


class WasmerMemory(LiveMemory):
    def __init__(self, memory: Any, turns: Turns) -> None:
        super().__init__(turns)
        self._memory = memory

    def size(self) -> int:
        return int(self._memory.data_size)

    def address(self) -> int:
        # wasmer's buffer itself must not be kept: it may be dropped in the thread that made it only.
        return np.frombuffer(self._memory.buffer, np.uint8).ctypes.data


HERE = threading.local()


def this_thread() -> object:
    """What stands for the present thread, in a fork of the process too. The numbers of threads are used again."""
    if not hasattr(HERE, "token"):
        HERE.token = object()
    return HERE.token


@contextmanager
def reported(error: type[GuestError] | type[GuestTrap], what: str) -> Iterator[None]:
    """Raises what wasmer says of a guest as this error.

    A panic of its Rust code is one too, though Python cannot know it as an ``Exception``.
    """
    try:
        yield
    except RuntimeError as reason:
        raise error(f"{what}: {trap_reason(str(reason))}") from None
    except BaseException as reason:
        if type(reason).__name__ != "PanicException":
            raise
        raise error(f"{what}: wasmer failed: {trap_reason(str(reason))}") from None


class WasmerInstance:
    """An instance that only the thread that made it may call or look into; any may drop it."""

    def __init__(self, instance: Any, exports: list[ExternType], linked: Linked) -> None:
        self._instance = instance
        self._linked = linked
        self._thread = this_thread()
        self._functions: dict[str, tuple[Callable[..., Any], ExternType]] = {}
        self.memory: WasmerMemory | None = None
        for item in exports:
            if item.kind == "func":
                self._functions[item.name] = (getattr(instance.exports, item.name), item)
            elif item.kind == "memory" and item.name == "memory":
                self.memory = WasmerMemory(getattr(instance.exports, item.name), linked.turns)

    @property
    def belongs_here(self) -> bool:
        return self._thread is this_thread()

    def call(self, name: str, *arguments: int) -> int | None:
        function, kind = self._functions[name]
        values = [signed(value, param) for value, param in zip(arguments, kind.params, strict=True)]
        try:
            with reported(GuestTrap, "the guest trapped"):
                result = function(*values)
        finally:
            self._linked.turns.count += 1
        return unsigned(result, kind.results[0]) if kind.results else None


def trap_reason(text: str) -> str:
    """The runtime's own short reason, without the backtrace around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("RuntimeError: ") if lines else "unknown reason"


class WasmerModule:
    """A module that is made again in each thread that wants an instance: only that thread may use it."""

    def __init__(self, make: Callable[[], Any], store: Any) -> None:
        self._make = make
        self._store = store
        self._here = threading.local()
        module = self._module_here()
        self.imports = [describe(item.module, item.name, item.type) for item in module.imports]
        self.exports = [describe("", item.name, item.type) for item in module.exports]

    def _module_here(self) -> Any:
        if not hasattr(self._here, "module"):
            self._here.module = self._make()
        return self._here.module

    def instantiate(
        self,
        functions: Mapping[tuple[str, str], HostFunction],
        limits: Limits,
        wasi: WasiConfig | None = None,
    ) -> WasmerInstance:
        if wasi is not None:
            raise GuestError("wasmer has no WASI here; wasmtime has")
        mismatch = find_mismatch(self, functions)
        if mismatch:
            raise GuestError(f"the guest cannot be linked: {mismatch}")
        linked = Linked([functions[item.module, item.name] for item in self.imports])
        tables: dict[str, dict[str, Any]] = {}
        for index, item in enumerate(self.imports):
            tables.setdefault(item.module, {})[item.name] = make_function(self._store, linked, index)
        imports = wasmer.ImportObject()
        for module, table in tables.items():
            imports.register(module, table)
        with reported(GuestTrap, "the guest trapped"):
            instance = wasmer.Instance(self._module_here(), imports)
        return WasmerInstance(instance, self.exports, linked)

    def serialize(self) -> bytes:
        return bytes(self._module_here().serialize())


def make_function(store: Any, linked: Linked, index: int) -> Any:
    function = linked.functions[index]
    params, results = map(value_type, function.params), map(value_type, function.results)
    return wasmer.Function(store, linked.trampoline(index), wasmer.FunctionType(list(params), list(results)))


def value_type(name: str) -> Any:
    return getattr(wasmer.Type, name.upper())


def describe(module: str, name: str, kind: Any) -> ExternType:
    names = {"FunctionType": "func", "MemoryType": "memory", "TableType": "table", "GlobalType": "global"}
    sort = names.get(type(kind).__name__, "other")
    if sort == "func":
        return ExternType(module, name, sort, tuple(map(type_name, kind.params)), tuple(map(type_name, kind.results)))
    if sort == "memory":
        return ExternType(module, name, sort, minimum=kind.minimum, maximum=kind.maximum)
    return ExternType(module, name, sort)


def type_name(value: Any) -> str:
    return str(wasmer.Type(value).name).lower()


class WasmerRuntime:
    """wasmer with Cranelift, for guests without WASI. It cannot interrupt one: :attr:`Limits.timeout` is not kept."""

    name = "wasmer"
    can_interrupt = False
    has_wasi = False

    def __init__(self) -> None:
        self.version = installed_version("wasmer", "wasmer")
        self._store = wasmer.Store(wasmer.engine.Universal(wasmer_compiler_cranelift.Compiler))

    def wasi_types(self, names: Iterable[str]) -> dict[str, ExternType]:
        return {}

    def prepare(self, wasm: bytes, limits: Limits) -> bytes:
        # wasmer's Python package has no limiter: what the module itself declares as its maximum is the limit.
        check_limits(wasm, limits)
        return bound_sizes(wasm, limits)

    def compile(self, wasm: bytes) -> WasmerModule:
        with reported(GuestError, "not a WebAssembly module that can run here"):
            return WasmerModule(lambda: wasmer.Module(self._store, wasm), self._store)

    def deserialize(self, code: bytes) -> WasmerModule:
        try:
            with reported(GuestError, "not what wasmer wrote"):
                return WasmerModule(lambda: wasmer.Module.deserialize(self._store, code), self._store)
        except GuestError as error:
            raise ValueError(str(error)) from None


__all__ = ["WasmerRuntime"]
