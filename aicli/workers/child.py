"""A worker process: reads jobs from one stream, writes answers to another.

Messages are pickles with their length in front (:func:`send`, :func:`receive`). Both ends are this program, run by the
same user; nothing from an image or a guest is ever unpickled.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn, Protocol

from aicli._blas import start_no_threads
from aicli.errors import AicliError

__all__ = ["Recipe", "answer_jobs", "main", "receive", "send", "start"]

LENGTH = struct.Struct("<Q")
Handle = Callable[[Any], Any]


class Recipe(Protocol):
    """What a worker is made from: picklable, and started once in each process that loads anything."""

    def start(self) -> Handle:
        """The function that answers jobs.

        It may have an attribute ``notes``, lines for the user, and a method ``warm_up`` that does once what every
        process would do before its first answer and that a copy of the process can share.
        """


def send(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message. Raises :class:`EOFError` when the other end has gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """A worker that loads everything itself: serves until standard input ends."""
    handle, jobs, answers = start()
    answer_jobs(handle, jobs, answers)


def start() -> tuple[Handle, IO[bytes], IO[bytes]]:
    """Reads a recipe from standard input, starts it, and says on standard output that it is ready.

    Returns what answers jobs and both streams; ends the process when the recipe cannot be started.
    """
    start_no_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    jobs = io.BufferedReader(io.FileIO(0, closefd=False))
    try:
        handle = receive(jobs).start()
    except AicliError as error:
        send(answers, ("refused", error))
        sys.exit()
    send(answers, ("ready", tuple(getattr(handle, "notes", ()))))
    return handle, jobs, answers


def answer_jobs(handle: Handle, jobs: IO[bytes], answers: IO[bytes]) -> NoReturn:
    """Answers jobs until there are no more, then ends the process."""
    while True:
        try:
            job = receive(jobs)
        except (EOFError, ConnectionResetError):
            sys.stderr.flush()
            os._exit(0)  # models and runtimes have nothing to save; their teardown only costs time
        try:
            send(answers, attempt(handle, job))
        except BrokenPipeError:
            os._exit(0)


def attempt(handle: Handle, job: Any) -> tuple[str, Any]:
    """``("answer", value)`` or ``("failure", error)``."""
    try:
        return "answer", handle(job)
    except AicliError as error:
        return "failure", type(error)(str(error))  # without its cause, which may not be picklable
    except MemoryError:
        return "failure", AicliError("not enough memory; use fewer --jobs or smaller images")
