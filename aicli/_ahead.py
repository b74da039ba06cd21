"""The engine's library, loaded while Python still reads the modules of the command line.

It takes 3 ms of a start, and Python's own loading of it keeps the interpreter's lock. A thread that calls the system's
loader does not, and Python then finds the library there. On Linux, where this was measured; elsewhere, and wherever
anything is not as expected, nothing is loaded ahead and nothing lost.
"""

from __future__ import annotations

import _thread
import os
import sys
from collections.abc import Sequence

__all__ = ["load_ahead", "wait_until_loaded"]

COMMANDS = ("classify", "detect-faces")
OTHERWISE = ("-h", "--help", "--engine", "-j", "--jobs", "--cluster")
"""Options with which this process needs no engine, or another one."""

_loading = _thread.allocate_lock()


def load_ahead(arguments: Sequence[str]) -> None:
    """Begins to load what the command of these arguments needs, if it is one that needs it."""
    if sys.platform != "linux" or not arguments or arguments[0] not in COMMANDS or os.environ.get("AICLI_ENGINE"):
        return
    if any(word.startswith(OTHERWISE) for word in arguments):
        return
    from aicli.nn.engines import native_library

    library = native_library()
    if library is None:
        return
    import ctypes

    try:
        dlopen = ctypes.CDLL(None).dlopen
    except (OSError, AttributeError):
        return
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p

    def load() -> None:
        try:
            dlopen(os.fsencode(library), sys.getdlopenflags())
        finally:
            _loading.release()

    _loading.acquire()
    try:
        _thread.start_new_thread(load, ())
    except RuntimeError:  # no more threads for this user
        _loading.release()


def wait_until_loaded() -> None:
    """Waits for the thread, if there is one: to be called before NumPy changes the environment while it is imported.

    Libraries read the environment while they are loaded.
    """
    with _loading:
        pass
