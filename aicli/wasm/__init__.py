"""WebAssembly runtimes behind one seam, and the choice between them."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from importlib.util import find_spec

from aicli.errors import UnavailableError
from aicli.wasm.runtime import (
    GIB,
    MIB,
    PAGE,
    ExternType,
    HostFunction,
    Instance,
    Limits,
    Memory,
    MemoryBoundsError,
    Module,
    Runtime,
)

__all__ = [
    "GIB",
    "MIB",
    "PAGE",
    "RUNTIMES",
    "ExternType",
    "HostFunction",
    "Instance",
    "Limits",
    "Memory",
    "MemoryBoundsError",
    "Module",
    "Runtime",
    "installed_runtimes",
    "load_runtime",
]

RUNTIMES = {"wasmer": ("wasmer", "wasmer_compiler_cranelift"), "wasmtime": ("wasmtime",)}
"""Every runtime there is an adapter for, in the order of preference, with the packages that it needs."""


@lru_cache(maxsize=1)
def installed_runtimes() -> tuple[str, ...]:
    """The runtimes whose packages are here and work, the preferred one first."""
    return tuple(name for name in RUNTIMES if is_installed(name))


def is_installed(name: str) -> bool:
    if any(find_spec(package) is None for package in RUNTIMES[name]):
        return False
    if name == "wasmer":
        # On Python 3.11 and later pip installs a stub of this name that raises on import.
        return find_spec("wasmer.wasmer") is not None
    return True


def load_runtime(name: str | None = None) -> Runtime:
    """The runtime of this name, else of ``AICLI_RUNTIME``, else the first that is installed.

    Raises :class:`UnavailableError` when it is unknown or not installed.
    """
    wanted = name or os.environ.get("AICLI_RUNTIME") or None
    if wanted is not None and wanted not in RUNTIMES:
        raise UnavailableError(f"unknown runtime '{wanted}'; choose one of {', '.join(RUNTIMES)}")
    if wanted is None:
        if not installed_runtimes():
            raise UnavailableError("no WebAssembly runtime is installed; run: pip install wasmtime")
        wanted = installed_runtimes()[0]
    return _shared_runtime(wanted)


@cache
def _shared_runtime(name: str) -> Runtime:
    if not is_installed(name):
        hint = (
            "pip install wasmer wasmer-compiler-cranelift (Python 3.10)" if name == "wasmer" else f"pip install {name}"
        )
        raise UnavailableError(f"the runtime '{name}' is not installed; run: {hint}")
    if name == "wasmer":
        from aicli.wasm.wasmer.runtime import WasmerRuntime

        return WasmerRuntime()
    from aicli.wasm.wasmtime.runtime import WasmtimeRuntime

    return WasmtimeRuntime()
