"""What runs in a worker process, and in the one that makes workers by copying itself.

A worker reads jobs from one stream and writes answers to another. A copy is ready in some milliseconds, and shares with
the others what nobody writes any more: modules, labels, the compiled guest, the packed weights of a network.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NamedTuple, NoReturn, Protocol

from aicli._blas import start_no_threads
from aicli._child import die_with_parent
from aicli.errors import AicliError, Hint
from aicli.workers.codec import ANSWER, FAILURE, READY, REFUSED, Codec, receive, send

__all__ = ["END", "FORK", "PACKET", "Handle", "Recipe", "fork_server", "live", "worker"]

PACKET = struct.Struct("<2i")
FORK, END = 1, 2
"""Requests to the process that copies itself, packets of two numbers on the socket that brought the recipe. ``FORK``
brings the socket of the new worker along and is answered with its process number, or with a negative errno; ``END``
names a worker, ends it if it still lives, and is answered with how it ended."""

PAUSE = 0.002
"""Seconds between an answer and the preparations for the next job."""

READ_AHEAD = 128 << 10
"""Bytes that a worker reads at once: most photos arrive whole."""

Handle = Callable[[Any], Any]


class Recipe(Protocol):
    """What a worker is made from: picklable, and started once in each process that loads anything."""

    def start(self) -> Handle:
        """The function that answers jobs.

        It may have an attribute ``notes``, lines for the user; a method ``warm_up`` that does once what every process
        would do before its first answer and that a copy of the process can share; and a method ``prepare`` that is
        called after each answer.
        """


class Loaded(NamedTuple):
    """A recipe that has been started, and the ways to the process that asked for it."""

    handle: Handle
    codec: type[Codec]
    jobs: IO[bytes]
    answers: IO[bytes]


def load() -> Loaded:
    """Reads a recipe and a codec from standard input, starts the recipe and says on standard output that it is ready.

    Ends the process when the recipe refuses to be started.
    """
    start_no_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    jobs, answers = streams(0, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    _, (recipe, codec) = receive(jobs, Codec)
    try:
        handle = recipe.start()
    except AicliError as error:
        send(answers, REFUSED, error, codec)
        os._exit(0)
    send(answers, READY, tuple(getattr(handle, "notes", ())), codec)
    return Loaded(handle, codec, jobs, answers)


def streams(jobs: int, answers: int) -> tuple[IO[bytes], IO[bytes]]:
    return os.fdopen(os.dup(jobs), "rb", READ_AHEAD), os.fdopen(os.dup(answers), "wb")


def live(life: Callable[[], Any]) -> NoReturn:
    """Runs what this process is for, and ends it at the moment that its streams end."""
    try:
        life()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def worker() -> NoReturn:
    """A worker that loads everything itself."""
    live(lambda: answer_jobs(*load()))


def answer_jobs(handle: Handle, codec: type[Codec], jobs: IO[bytes], answers: IO[bytes]) -> NoReturn:
    """Answers jobs until there are no more, then ends the process."""
    prepare = getattr(handle, "prepare", None)
    while True:
        try:
            _, job = receive(jobs, codec)
            send(answers, *attempt(handle, job), codec)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            sys.stderr.flush()
            os._exit(0)  # models and runtimes have nothing to save; their teardown only costs time
        if prepare is not None:
            # The answer is on its way, and who gets it may need this processor; the next job does not wait.
            select.select([jobs], [], [], PAUSE)
            prepare()


def attempt(handle: Handle, job: Any) -> tuple[int, Any]:
    """``ANSWER`` and the value, or ``FAILURE`` and the error."""
    try:
        return ANSWER, handle(job)
    except AicliError as error:
        return FAILURE, error
    except MemoryError:
        return FAILURE, AicliError("not enough memory", hint=Hint("jobs", "use fewer {} or smaller images"))


def fork_server() -> NoReturn:
    """A process that loads everything and copies itself until the other end goes away; its copies end with it."""
    live(copies)


def copies() -> NoReturn:
    loaded = load()
    control = socket.socket(fileno=os.dup(loaded.jobs.fileno()))
    loaded.jobs.close()
    loaded.answers.close()
    with suppress(AicliError, MemoryError):  # what goes wrong here goes wrong again with the first job
        getattr(loaded.handle, "warm_up", int)()
    gc.collect()
    gc.freeze()  # the collector would write to every object, and each copy would get its own
    with suppress(OSError):  # the other end has gone in the middle of a request
        serve(control, loaded)
    os._exit(0)


def serve(control: socket.socket, loaded: Loaded) -> None:
    """Answers requests until there are no more."""
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
                    live(lambda: work(loaded, connection))
        else:
            reply = end(worker)
        control.send(PACKET.pack(request, reply))


def fork() -> int:
    """As ``os.fork()``; a negative errno when the system gives no process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def work(loaded: Loaded, connection: socket.socket) -> NoReturn:
    """The life of a copy; it leads a process group of its own where the process that it is a copy of does."""
    if os.getsid(0) == os.getppid():
        os.setsid()
    die_with_parent()
    answer_jobs(loaded.handle, loaded.codec, *streams(connection.fileno(), connection.fileno()))


def end(worker: int) -> int:
    """Ends a worker that may have ended itself; how it ended, a signal as a negative number."""
    with suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGKILL)  # with what it may have started, where it leads a group
    os.kill(worker, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
