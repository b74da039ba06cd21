"""The wasmer adapter: Python 3.10, with the Cranelift compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


class WasmerInstance:
    def __init__(self, instance: Any, exports: list[ExternType], linked: Linked) -> None:
        self._instance = instance
        self._linked = linked
        self._functions: dict[str, tuple[Callable[..., Any], ExternType]] = {}
        self.memory: WasmerMemory | None = None
        for item in exports:
            if item.kind == "func":
                self._functions[item.name] = (getattr(instance.exports, item.name), item)
            elif item.kind == "memory" and item.name == "memory":
                self.memory = WasmerMemory(getattr(instance.exports, item.name), linked.turns)

    def call(self, name: str, *arguments: int) -> int | None:
        function, kind = self._functions[name]
        values = [signed(value, param) for value, param in zip(arguments, kind.params, strict=True)]
        try:
            result = function(*values)
        except RuntimeError as error:
            raise GuestTrap(f"the guest trapped: {trap_reason(str(error))}") from None
        finally:
            self._linked.turns.count += 1
        return unsigned(result, kind.results[0]) if kind.results else None


def trap_reason(text: str) -> str:
    """The runtime's own short reason, without the backtrace around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("RuntimeError: ") if lines else "unknown reason"


class WasmerModule:
    def __init__(self, module: Any, store: Any) -> None:
        self._module = module
        self._store = store
        self.imports = [describe(item.module, item.name, item.type) for item in module.imports]
        self.exports = [describe("", item.name, item.type) for item in module.exports]

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
        try:
            instance = wasmer.Instance(self._module, imports)
        except RuntimeError as error:
            raise GuestTrap(f"the guest trapped: {trap_reason(str(error))}") from None
        return WasmerInstance(instance, self.exports, linked)

    def serialize(self) -> bytes:
        return bytes(self._module.serialize())


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
        try:
            return WasmerModule(wasmer.Module(self._store, wasm), self._store)
        except RuntimeError as error:
            raise GuestError(f"not a WebAssembly module that can run here: {trap_reason(str(error))}") from None

    def deserialize(self, code: bytes) -> WasmerModule:
        try:
            return WasmerModule(wasmer.Module.deserialize(self._store, code), self._store)
        except RuntimeError as error:
            raise ValueError(trap_reason(str(error))) from None


__all__ = ["WasmerRuntime"]
