"""A guest's imports in wasmtime.

The package makes an object of every argument and result, some 20 microseconds for each call of the host. A function of
``i32`` alone takes the C API's unchecked call instead, where the arguments lie side by side: 3 microseconds. The
package does not publish that entry, so where it is missing, the longer way is taken.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import lru_cache
from typing import Any

import wasmtime

from aicli.wasm.adapter import Linked
from aicli.wasm.runtime import HostFunction

try:
    from wasmtime import _bindings as c_api

    WORDS = ctypes.sizeof(c_api.wasmtime_val_raw_t) // 4
    """From one argument to the next, in numbers of 32 bits."""
    CALLBACK = c_api.wasmtime_func_unchecked_callback_t
    new_unchecked = c_api.wasmtime_func_new_unchecked
    # Arguments lie in memory as WebAssembly has them, the least byte first.
    HAS_UNCHECKED = sys.byteorder == "little" and hasattr(wasmtime.Func, "_from_raw")
except (ImportError, AttributeError):
    HAS_UNCHECKED = False

NATIVE = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32), ctypes.c_size_t
)
NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(0)

__all__ = ["make_functions"]


def make_functions(store: wasmtime.Store, linked: Linked) -> list[wasmtime.Func]:
    """The functions of ``linked`` in their order."""
    return [make_function(store, linked, index) for index in range(len(linked.functions))]


def make_function(store: wasmtime.Store, linked: Linked, index: int) -> wasmtime.Func:
    function = linked.functions[index]
    kind = func_type(function.params, function.results)
    if HAS_UNCHECKED and is_plain(function):
        return make_unchecked(store, kind, linked, index)
    return wasmtime.Func(store, kind, linked.trampoline(index))


def is_plain(function: HostFunction) -> bool:
    return set(function.params) <= {"i32"} and function.results == ("i32",)


def make_unchecked(store: wasmtime.Store, kind: wasmtime.FuncType, linked: Linked, index: int) -> wasmtime.Func:
    callback = NATIVE(make_callback(linked, index))
    linked.held.append(callback)
    function = c_api.wasmtime_func_t()
    new_unchecked(
        store._context(), kind.ptr(), ctypes.cast(callback, CALLBACK), None, NO_FINALIZER, ctypes.byref(function)
    )
    return wasmtime.Func._from_raw(function)


def make_callback(linked: Linked, index: int) -> Any:
    """What the native side calls; like :meth:`Linked.trampoline` it holds no strong reference."""
    myself = weakref.ref(linked)
    end = len(linked.functions[index].params) * WORDS

    def call(environment: int, caller: int, values: Any, count: int) -> int | None:
        try:
            linked = myself()
            assert linked is not None
            linked.turns.count += 1
            values[0] = linked.functions[index].call(*values[:end:WORDS])
            return 0
        except BaseException as error:  # Ctrl-C at the wrong moment: ctypes would swallow it and go on
            if linked is not None:
                linked.raised = error
            trap = wasmtime.Trap("interrupted")._consume()
            return ctypes.cast(trap, ctypes.c_void_p).value

    return call


@lru_cache(maxsize=64)
def func_type(params: tuple[str, ...], results: tuple[str, ...]) -> wasmtime.FuncType:
    return wasmtime.FuncType([value_type(name) for name in params], [value_type(name) for name in results])


def value_type(name: str) -> wasmtime.ValType:
    factory: Any = getattr(wasmtime.ValType, name)
    kind: wasmtime.ValType = factory()
    return kind
