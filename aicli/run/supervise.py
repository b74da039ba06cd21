"""Keeping hold of a guest that runs: Ctrl-C and time limits, whatever it waits for and whatever native code it is in.

The runtime interrupts a guest that computes. A guest that waits for the host (a sleep, a pipe that nobody writes to, a
network that runs for ever) can only be ended with its process, so it gets one: a copy of this one, where the system
makes copies that work. Elsewhere it runs in a thread that is left behind, and whoever called ends the process.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from aicli._child import limit, wait_briefly
from aicli._text import counted, printable
from aicli.errors import AicliError, GuestMemoryError, GuestTimeout, GuestTrap, Hint
from aicli.nn.session import networks_budget
from aicli.nn.values import MAX_WORK
from aicli.wasm.runtime import Limits

__all__ = ["supervise"]

STACK = 16 << 20
POLL = 0.5
LONGEST_WAIT = 3600.0
GRACE = 0.25
"""Seconds that a guest's own runtime has to end it first, which lets what it wrote reach its streams."""
PR_SET_PDEATHSIG = 1
ROOM = 1 << 30
"""Bytes for the runtime, the engine and their threads."""
END = b"\n"


def supervise(call: Callable[[], int], limits: Limits, suspects: Sequence[str] = ()) -> int:
    """What ``call``, which runs a guest to its end, returns: an exit code.

    ``suspects`` are models of the user's that run in the guest's process, and may be what ends it.

    Raises what it raises, :class:`GuestTimeout` a quarter of a second after the time limit, and
    ``KeyboardInterrupt`` at once.
    """
    # macOS' own libraries do not survive a copy.
    return in_process(call, limits, suspects) if sys.platform == "linux" else in_thread(call, limits)


def in_thread(call: Callable[[], int], limits: Limits) -> int:
    """Runs it in a thread, which may go on until the process ends when this raises."""
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
    deadline = find_deadline(limits)
    while thread.is_alive():
        thread.join(min(POLL, check_deadline(deadline, limits)))
    if failed:
        raise failed[0]
    return done[0]


def find_deadline(limits: Limits) -> float:
    """The moment, by the monotonic clock, at which a guest that starts now has used up its time."""
    return float("inf") if limits.timeout is None else time.monotonic() + limits.timeout + GRACE


def check_deadline(deadline: float, limits: Limits) -> float:
    """The seconds that are left. Raises :class:`GuestTimeout` when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise GuestTimeout(
            f"the guest used up its {counted(limits.timeout or 0, 'second')}", hint=Hint("limits.timeout")
        )
    return left


def in_process(call: Callable[[], int], limits: Limits, suspects: Sequence[str] = ()) -> int:
    """Runs it in a copy of this process and ends that after the time limit."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        bound_memory(limits)
        run_child(call, writer, parent)
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
            wait_briefly(lambda: os.waitpid(child, 0))
    if not answer:
        name = signal.Signals(-os.waitstatus_to_exitcode(status)).name if os.WIFSIGNALED(status) else "no reason given"
        if not suspects:
            raise GuestTrap(f"the guest's process died ({name})")
        models = ", ".join(printable(model, longest=500) for model in suspects)
        what = f"the guest's process died ({name}), perhaps of a model: {models}"
        raise GuestTrap(what, hint=Hint("run:isolate", "{} runs models in a process of their own"))
    kind, value = json.loads(answer)
    if kind == "exit":
        return int(value)
    raise AicliError.from_dict(value)


def bound_memory(limits: Limits) -> None:
    """Lets this process take what the guest was granted, its networks and a picture, and ``ROOM`` for what runs them.

    Each has a bound of its own; this one is for what they miss.
    """
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")
    granted = limits.memory + networks_budget(limits.memory) + MAX_WORK
    limit({"RLIMIT_DATA": held + granted + ROOM, "RLIMIT_CORE": 0})


def run_child(call: Callable[[], int], writer: int, parent: int) -> NoReturn:
    """The guest's process: it answers through the pipe, because every exit code belongs to the guest."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        # Whatever ends the parent ends the guest.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before that
    try:
        answer: tuple[str, int | dict[str, Any]] = ("exit", call())
    except AicliError as error:
        answer = ("error", error.to_dict())
    except MemoryError:
        what = "the guest's process needs more memory than it was granted"
        answer = ("error", GuestMemoryError(what, hint=Hint("limits.memory")).to_dict())
    except BaseException as error:
        answer = ("error", AicliError(f"unexpected {type(error).__name__}: {error}").to_dict())
    os.write(writer, json.dumps(answer).encode() + END)
    os._exit(0)


def read_answer(reader: int, limits: Limits) -> bytes:
    """What the guest's process says at its end. Raises :class:`GuestTimeout`."""
    deadline = find_deadline(limits)
    data = b""
    while True:
        left = check_deadline(deadline, limits)
        ready, _, _ = select.select([reader], [], [], min(left, LONGEST_WAIT))
        if ready:
            part = os.read(reader, 65536)
            data += part
            if not part or part.endswith(END):  # a process that the guest's own has made may hold the pipe open
                return data
