"""WASI preview 1 in wasmtime: its own implementation, which confines paths with the system's help."""

from __future__ import annotations

from typing import NoReturn

import wasmtime

from aicli.errors import GuestError
from aicli.wasm.runtime import WASI_MODULE, GuestExit, HostFunction, WasiConfig, WasiFolder

__all__ = ["PROC_EXIT", "find_wasi", "grant", "link_wasi"]


def proc_exit(code: int) -> NoReturn:
    raise GuestExit(code)


PROC_EXIT = HostFunction(WASI_MODULE, "proc_exit", ("i32",), (), proc_exit)
"""Ours, because wasmtime's own makes a fault of every exit code above 125."""


def grant(store: wasmtime.Store, config: WasiConfig) -> None:
    """Gives a store's guest what ``config`` says, and this process's own streams."""
    wasi = wasmtime.WasiConfig()
    wasi.argv = list(config.arguments)
    wasi.env = list(config.environment.items())
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for folder in config.folders:
        grant_folder(wasi, folder)
    store.set_wasi(wasi)


def grant_folder(wasi: wasmtime.WasiConfig, folder: WasiFolder) -> None:
    try:
        wasi.preopen_dir(str(folder.host), folder.guest, not folder.read_only)
    except wasmtime.WasmtimeError:
        raise GuestError(f"{folder.host}: cannot grant this folder; is it there, and may you read it?") from None


def link_wasi(engine: wasmtime.Engine) -> wasmtime.Linker:
    """A linker that knows the functions of ``wasi_snapshot_preview1``."""
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    return linker


def find_wasi(store: wasmtime.Store, linker: wasmtime.Linker, name: str) -> wasmtime.Func | None:
    """The function of this name."""
    try:
        found = linker.get(store, WASI_MODULE, name)
    except wasmtime.WasmtimeError:
        return None
    return found if isinstance(found, wasmtime.Func) else None
