"""WASI preview 1 in wasmtime: its own implementation, which confines paths with the system's help."""

from __future__ import annotations

from typing import NoReturn

import wasmtime

from aicli.errors import GuestError
from aicli.wasm.runtime import WASI_MODULE, GuestExit, HostFunction, WasiConfig, WasiFolder

__all__ = ["PROC_EXIT", "WasmtimeWasi"]


def proc_exit(code: int) -> NoReturn:
    raise GuestExit(code)


PROC_EXIT = HostFunction(WASI_MODULE, "proc_exit", ("i32",), (), proc_exit)
"""Ours, because wasmtime's own makes a fault of every exit code above 125."""


def grant(wasi: wasmtime.WasiConfig, folder: WasiFolder) -> None:
    try:
        wasi.preopen_dir(str(folder.host), folder.guest, not folder.read_only)
    except wasmtime.WasmtimeError:
        raise GuestError(f"{folder.host}: cannot grant this folder; is it there, and may you read it?") from None


class WasmtimeWasi:
    """The functions that a store's guest may import under what ``config`` grants."""

    def __init__(self, engine: wasmtime.Engine, store: wasmtime.Store, config: WasiConfig) -> None:
        wasi = wasmtime.WasiConfig()
        wasi.argv = list(config.arguments)
        wasi.env = list(config.environment.items())
        wasi.inherit_stdin()
        wasi.inherit_stdout()
        wasi.inherit_stderr()
        for folder in config.folders:
            grant(wasi, folder)
        store.set_wasi(wasi)
        self._store = store
        self._linker = wasmtime.Linker(engine)
        self._linker.define_wasi()

    def find(self, name: str) -> wasmtime.Func | None:
        """The function of this name in ``wasi_snapshot_preview1``."""
        try:
            found = self._linker.get(self._store, WASI_MODULE, name)
        except wasmtime.WasmtimeError:
            return None
        return found if isinstance(found, wasmtime.Func) else None
