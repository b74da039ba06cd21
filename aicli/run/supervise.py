"""Keeping hold of a guest that runs: Ctrl-C and time limits, whatever native code it is in.

A runtime that can interrupt a guest runs it in a thread, and the main thread stays free for signals. Another one runs
it in a process of its own, which can always be ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from aicli import errors
from aicli.errors import AicliError, GuestTimeout, GuestTrap, UnavailableError
from aicli.wasm.runtime import Limits, Runtime

__all__ = ["supervise"]

STACK = 16 << 20
POLL = 0.5
PR_SET_PDEATHSIG = 1


def supervise(call: Callable[[], int], runtime: Runtime, limits: Limits) -> int:
    """What ``call``, which runs a guest to its end, returns: an exit code.

    Raises what it raises, :class:`GuestTimeout` after the time limit, ``KeyboardInterrupt`` at once, and
    :class:`UnavailableError` where the system cannot keep hold of a guest in this runtime.
    """
    if runtime.can_interrupt:
        return in_thread(call)
    if not hasattr(os, "fork"):
        raise UnavailableError(f"{runtime.name} cannot end a guest on this system; use --runtime wasmtime")
    return in_process(call, limits)


def in_thread(call: Callable[[], int]) -> int:
    """Runs it in a thread. After a ``KeyboardInterrupt`` the thread may go on until the process ends."""
    done: list[int] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)

    before = threading.stack_size(STACK)
    thread = threading.Thread(target=work, name="aicli-guest", daemon=True)
    try:
        thread.start()
    finally:
        threading.stack_size(before)
    while thread.is_alive():
        thread.join(POLL)
    if failed:
        raise failed[0]
    return done[0]


def in_process(call: Callable[[], int], limits: Limits) -> int:
    """Runs it in a copy of this process and ends that after the time limit."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        run_child(call, writer)
    os.close(writer)
    ended = False
    try:
        answer = read_answer(reader, limits)
        _, status = os.waitpid(child, 0)
        ended = True
    finally:
        os.close(reader)
        if not ended:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not answer:
        name = signal.Signals(-os.waitstatus_to_exitcode(status)).name if os.WIFSIGNALED(status) else "no reason given"
        raise GuestTrap(f"the guest's process died ({name})")
    kind, value = json.loads(answer)
    if kind == "exit":
        return int(value)
    raise getattr(errors, kind, AicliError)(value)


def run_child(call: Callable[[], int], writer: int) -> None:
    """The guest's process: it answers through the pipe, because every exit code belongs to the guest."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        # Whatever ends the parent ends the guest. Linux only.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        answer: tuple[str, int | str] = ("exit", call())
    except AicliError as error:
        answer = (type(error).__name__, str(error))
    except BaseException as error:
        answer = ("AicliError", f"unexpected {type(error).__name__}: {error}")
    os.write(writer, json.dumps(answer).encode())
    os._exit(0)


def read_answer(reader: int, limits: Limits) -> bytes:
    """What the guest's process says at its end. Raises :class:`GuestTimeout`."""
    deadline = None if limits.timeout is None else time.monotonic() + limits.timeout
    data = b""
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise GuestTimeout(f"the guest used up its {limits.timeout:g} seconds; --guest-timeout gives more")
        ready, _, _ = select.select([reader], [], [], left)
        if ready:
            part = os.read(reader, 65536)
            if not part:
                return data
            data += part
