"""The wasmtime adapter: every guest on Python 3.11 and later, commands and others' guests on 3.10 too."""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import wasmtime

from aicli._text import counted, printable
from aicli._versions import installed_version
from aicli.errors import GuestError, GuestTimeout, GuestTrap, Hint
from aicli.wasm.adapter import Linked, LiveMemory, Turns
from aicli.wasm.binary import MAX_TABLE_ELEMENTS, MAX_TABLES, check_limits
from aicli.wasm.runtime import (
    WASI_MODULE,
    ExternType,
    HostFunction,
    Limits,
    WasiConfig,
    find_mismatch,
    signed,
    unsigned,
)
from aicli.wasm.wasmtime.functions import make_functions
from aicli.wasm.wasmtime.wasi import PROC_EXIT, find_wasi, grant, link_wasi

TICK = 0.02
"""Seconds between two epochs: how exactly a time limit is kept."""

LONGEST = 1e9
"""Seconds that a time limit may have, about thirty years: far below what an epoch counter holds."""


REFUSED = (
    "threads",
    "memory64",
    "multi_memory",
    "custom_page_sizes",
    "gc",
    "function_references",
    "exceptions",
    "stack_switching",
    "wide_arithmetic",
    "relaxed_simd",
)
"""The WebAssembly proposals that guests cannot use here."""


class Ticker:
    """Advances an engine's epoch while some guest runs against the clock, and sleeps otherwise.

    A thread that sleeps wakes up late on a busy machine: the time that has passed counts, not how often it woke.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._active = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        if self._process != os.getpid():
            self._begin()  # a forked process has this object but not its thread, which may have held the lock
        with self._condition:
            self._active += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="aicli-epochs", daemon=True)
                self._thread.start()
            self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._active -= 1

    def _run(self) -> None:
        due = time.monotonic() + TICK
        while True:
            with self._condition:
                if not self._active:
                    self._condition.wait_for(lambda: self._active)
                    due = time.monotonic() + TICK
            time.sleep(max(0.0, due - time.monotonic()))
            while time.monotonic() >= due:
                self._engine.increment_epoch()
                due += TICK


class WasmtimeMemory(LiveMemory):
    def __init__(self, memory: wasmtime.Memory, store: wasmtime.Store, turns: Turns) -> None:
        super().__init__(turns)
        self._memory = memory
        self._store = store

    def size(self) -> int:
        return int(self._memory.data_len(self._store))

    def address(self) -> int:
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)


class WasmtimeInstance:
    belongs_here = True

    def __init__(
        self,
        store: wasmtime.Store,
        instance: wasmtime.Instance,
        types: Mapping[str, ExternType],
        limits: Limits,
        ticker: Ticker,
        linked: Linked,
    ) -> None:
        """``types`` are those of the module's exports, by name: to ask each instance for them takes long."""
        self._store = store
        self._linked = linked
        self._limits = limits
        self._ticker = ticker
        exports = instance.exports(store)
        self._functions: dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[str, ...]]] = {}
        self.memory: WasmtimeMemory | None = None
        for name, item in exports.items():
            if isinstance(item, wasmtime.Func):
                self._functions[name] = (item, types[name].params, types[name].results)
            elif name == "memory" and isinstance(item, wasmtime.Memory):
                self.memory = WasmtimeMemory(item, store, linked.turns)

    def call(self, name: str, *arguments: int) -> int | None:
        function, params, results = self._functions[name]
        values = [signed(value, kind) for value, kind in zip(arguments, params, strict=True)]
        with translated_traps(self._limits, self._linked), deadline(self._store, self._limits, self._ticker):
            try:
                result = function(self._store, *values)
            finally:
                self._linked.turns.count += 1
        return unsigned(result, results[0]) if results else None


@contextmanager
def deadline(store: wasmtime.Store, limits: Limits, ticker: Ticker) -> Iterator[None]:
    """Gives the store the time that ``limits`` allow for what follows."""
    if limits.timeout is None:
        store.set_epoch_deadline(1 << 62)
        yield
        return
    store.set_epoch_deadline(max(1, math.ceil(min(limits.timeout, LONGEST) / TICK)) + 1)
    with ticker.running():
        yield


@contextmanager
def translated_traps(limits: Limits, linked: Linked) -> Iterator[None]:
    try:
        yield
    except wasmtime.Trap as trap:
        linked.raise_again()
        if trap.trap_code == wasmtime.TrapCode.INTERRUPT:
            reason = f"the guest used up its {counted(limits.timeout or 0, 'second')}"
            raise GuestTimeout(reason, hint=Hint("limits.timeout")) from None
        raise GuestTrap(f"the guest trapped: {trap_reason(str(trap))}") from None
    except wasmtime.WasmtimeError as error:
        linked.raise_again()
        raise GuestTrap(f"the guest trapped: {trap_reason(str(error))}") from None


def trap_reason(text: str) -> str:
    """The runtime's own short reason, without the backtrace around it: the trap, or what a host function said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if "wasm trap:" in line:
            return line.split("wasm trap:", 1)[1].strip()
    if "Caused by:" in lines[:-1]:
        causes = [line.removeprefix(f"{n}: ") for n, line in enumerate(lines[lines.index("Caused by:") + 1 :])]
        # A host function's own words tell which it was; the compiler's innermost tell what is wrong.
        return printable(causes[0] if causes[0].startswith("In func") else causes[-1], longest=300)
    return lines[0] if lines else "unknown reason"


class WasmtimeModule:
    def __init__(self, module: wasmtime.Module, engine: wasmtime.Engine, ticker: Ticker) -> None:
        self._module = module
        self._engine = engine
        self._ticker = ticker
        self.imports = [describe(item.module, item.name or "", item.type) for item in module.imports]
        self.exports = [describe("", item.name, item.type) for item in module.exports]
        self._types = {item.name: item for item in self.exports}

    def instantiate(
        self,
        functions: Mapping[tuple[str, str], HostFunction],
        limits: Limits,
        wasi: WasiConfig | None = None,
    ) -> WasmtimeInstance:
        store = wasmtime.Store(self._engine)
        store.set_limits(
            memory_size=limits.memory, instances=1, memories=1, tables=MAX_TABLES, table_elements=MAX_TABLE_ELEMENTS
        )
        if wasi:
            functions = {(WASI_MODULE, "proc_exit"): PROC_EXIT, **functions}
        native = self._wasi_functions(store, wasi, functions) if wasi else {}
        types = {key: describe(*key, function.type(store)) for key, function in native.items()}
        mismatch = find_mismatch(self, {**types, **functions})
        if mismatch:
            raise GuestError(f"the guest cannot be linked: {mismatch}")
        ours = [(item.module, item.name) for item in self.imports if (item.module, item.name) not in native]
        linked = Linked([functions[key] for key in ours])
        table = {**native, **dict(zip(ours, make_functions(store, linked), strict=True))}
        externs = [table[item.module, item.name] for item in self.imports]
        with translated_traps(limits, linked), deadline(store, limits, self._ticker):
            instance = wasmtime.Instance(store, self._module, externs)
        return WasmtimeInstance(store, instance, self._types, limits, self._ticker, linked)

    def _wasi_functions(
        self, store: wasmtime.Store, config: WasiConfig, ours: Mapping[tuple[str, str], HostFunction]
    ) -> dict[tuple[str, str], wasmtime.Func]:
        """The runtime's own functions behind this module's WASI imports, but for those that are ``ours``."""
        grant(store, config)
        linker = link_wasi(self._engine)
        names = {
            item.name for item in self.imports if item.module == WASI_MODULE and (WASI_MODULE, item.name) not in ours
        }
        found = {(WASI_MODULE, name): find_wasi(store, linker, name) for name in names}
        return {key: function for key, function in found.items() if function is not None}

    def serialize(self) -> bytes:
        return bytes(self._module.serialize())


def describe(module: str, name: str, kind: Any) -> ExternType:
    if isinstance(kind, wasmtime.FuncType):
        params = tuple(str(value) for value in kind.params)
        return ExternType(module, name, "func", params, tuple(str(value) for value in kind.results))
    if isinstance(kind, wasmtime.MemoryType):
        return ExternType(module, name, "memory", minimum=kind.limits.min, maximum=kind.limits.max)
    names = {"TableType": "table", "GlobalType": "global"}
    return ExternType(module, name, names.get(type(kind).__name__, "other"))


class WasmtimeRuntime:
    """wasmtime with Cranelift; time limits by epochs, memory limits by the store."""

    name = "wasmtime"
    can_interrupt = True
    has_wasi = True

    def __init__(self) -> None:
        self.version = installed_version("wasmtime", "wasmtime")
        config = wasmtime.Config()
        config.epoch_interruption = True
        # What docs/guest-abi.md promises and no more: every proposal is code that a hostile guest could try.
        for proposal in REFUSED:
            if hasattr(wasmtime.Config, f"wasm_{proposal}"):
                setattr(config, f"wasm_{proposal}", False)
        self._engine = wasmtime.Engine(config)
        self._ticker = Ticker(self._engine)

    def wasi_types(self, names: Iterable[str]) -> dict[str, ExternType]:
        store, linker = wasmtime.Store(self._engine), link_wasi(self._engine)
        found = {name: find_wasi(store, linker, name) for name in names if name != PROC_EXIT.name}
        types = {name: describe(WASI_MODULE, name, item.type(store)) for name, item in found.items() if item}
        return {**types, PROC_EXIT.name: ExternType(WASI_MODULE, PROC_EXIT.name, "func", PROC_EXIT.params)}

    def prepare(self, wasm: bytes, limits: Limits) -> bytes:
        check_limits(wasm, limits)
        return wasm

    def compile(self, wasm: bytes) -> WasmtimeModule:
        try:
            return WasmtimeModule(wasmtime.Module(self._engine, wasm), self._engine, self._ticker)
        except wasmtime.WasmtimeError as error:
            raise GuestError(f"not a WebAssembly module that can run here: {trap_reason(str(error))}") from None

    def deserialize(self, code: bytes) -> WasmtimeModule:
        try:
            return WasmtimeModule(wasmtime.Module.deserialize(self._engine, code), self._engine, self._ticker)
        except wasmtime.WasmtimeError as error:
            raise ValueError(trap_reason(str(error))) from None


__all__ = ["WasmtimeRuntime"]
