"""What the program still says when a model of the user's kills it in this process.

A dying process can do little, and no Python: ``faulthandler`` writes what it knows into a pipe, and a shell that waits
at the other end says which model it was. A run that ends in any other way says nothing, nor does a kill from outside.
"""

from __future__ import annotations

import faulthandler
import os
import signal

from aicli._text import printable

__all__ = ["is_crash", "name_when_killed", "words"]

SHELL = "/bin/sh"
CRASHES = ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL")
WAIT = 'if read -r line && [ -n "$line" ]; then printf "%s\\n" "$1" >&2; fi'


def words(model: str) -> str:
    """What is said of a model that crashed the process it ran in."""
    name = printable(model, longest=500)
    return f"{name}: the model crashed the program; with --isolate it runs in a process of its own"


def is_crash(number: int | None) -> bool:
    """Whether a signal is one of native code that went wrong."""
    return number in {getattr(signal, name, None) for name in CRASHES} - {None}


def name_when_killed(model: str) -> None:
    """From now on a crash of this process (SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL) names this model on stderr.

    It costs two milliseconds. Where somebody wants Python's own report (``PYTHONFAULTHANDLER``), they get that.
    """
    if faulthandler.is_enabled() or not hasattr(os, "posix_spawn") or not os.path.exists(SHELL):
        return
    message = f"aicli: {words(model)}"
    reader, writer = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        os.posix_spawn(SHELL, [SHELL, "-c", WAIT, "aicli", message], {}, file_actions=actions)
    except OSError:
        os.close(writer)
        return
    finally:
        os.close(reader)
    faulthandler.enable(writer, all_threads=False)
