"""A process that loads a recipe once and makes every worker by copying itself.

A copy is ready in some milliseconds, and shares with the others what nobody writes any more: modules, labels, the
compiled guest, the packed weights of a network. :mod:`aicli.workers.processes` holds the other end.

Requests and replies are packets of two numbers on a Unix socket. ``FORK`` brings the socket of the new worker along
and is answered with its process number, or with a negative errno; ``END`` names a worker, ends it if it still lives,
and is answered with how it ended. When the other end goes away, all workers are ended.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from aicli.errors import AicliError
from aicli.workers.child import answer_jobs, start

__all__ = ["END", "FORK", "PACKET", "can_fork", "main"]

PACKET = struct.Struct("<2i")
FORK, END = 1, 2
UNKNOWN = 0
Handle = Callable[[Any], Any]


def can_fork() -> bool:
    """Whether a process with loaded libraries may be copied here: macOS' own libraries do not survive it."""
    return sys.platform == "linux"


def main() -> NoReturn:
    """Serves until the control socket, whose number is the last argument, is closed by the other end."""
    control = socket.socket(fileno=int(sys.argv[-1]))
    handle, *streams = start()
    for stream in streams:
        stream.close()
    warm_up(handle)
    workers: set[int] = set()
    try:
        serve(control, handle, workers)
    except OSError:
        pass  # the other end has gone in the middle of a request
    finally:
        for worker in workers:
            end(worker)
        os._exit(0)


def serve(control: socket.socket, handle: Handle, workers: set[int]) -> None:
    """Answers requests until there are no more; ``workers`` are those that have not been ended."""
    ended: dict[int, int] = {}
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, PACKET.size, 1)
        if len(packet) < PACKET.size:
            return
        request, worker = PACKET.unpack(packet)
        if request == FORK:
            with socket.socket(fileno=descriptors[0]) as connection:
                reply = fork()
                if reply == 0:
                    control.close()
                    work(handle, connection)
            if reply > 0:
                workers.add(reply)
        else:
            if worker in workers:
                workers.remove(worker)
                ended[worker] = end(worker)
            reply = ended.get(worker, UNKNOWN)
        control.send(PACKET.pack(request, reply))


def fork() -> int:
    """As ``os.fork()``; a negative errno when the system gives no process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def warm_up(handle: Handle) -> None:
    """Lets the handle load what it would load for its first job. What goes wrong here goes wrong again there."""
    with suppress(AicliError, MemoryError):
        getattr(handle, "warm_up", int)()
    gc.collect()
    gc.freeze()  # the collector would write to every object, and each copy would get its own


def work(handle: Handle, connection: socket.socket) -> NoReturn:
    """The life of a worker."""
    try:
        answer_jobs(handle, connection.makefile("rb"), connection.makefile("wb"))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def end(worker: int) -> int:
    """Ends a worker that may have ended itself; how it ended, a signal as a negative number."""
    os.kill(worker, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
