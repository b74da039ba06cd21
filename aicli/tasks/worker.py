"""A worker process: reads a recipe and then jobs from standard input, writes answers to standard output.

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
from typing import IO, Any, Protocol

from aicli.errors import AicliError

__all__ = ["Recipe", "main", "receive", "send"]

LENGTH = struct.Struct("<Q")


class Recipe(Protocol):
    """What a worker is made from: picklable, and started once in each process."""

    def start(self) -> Callable[[Any], Any]:
        """The function that answers jobs. It may have an attribute ``notes``: lines for the user."""


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
    """Serves until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    jobs = io.BufferedReader(io.FileIO(0, closefd=False))
    try:
        handle = receive(jobs).start()
    except AicliError as error:
        send(answers, ("refused", error))
        return
    send(answers, ("ready", tuple(getattr(handle, "notes", ()))))
    while True:
        try:
            job = receive(jobs)
        except EOFError:
            sys.stderr.flush()
            os._exit(0)  # models and runtimes have nothing to save; their teardown only costs time
        try:
            send(answers, attempt(handle, job))
        except BrokenPipeError:
            os._exit(0)


def attempt(handle: Callable[[Any], Any], job: Any) -> tuple[str, Any]:
    """``("answer", value)`` or ``("failure", error)``."""
    try:
        return "answer", handle(job)
    except AicliError as error:
        return "failure", type(error)(str(error))  # without its cause, which may not be picklable
    except MemoryError:
        return "failure", AicliError("not enough memory; use fewer --jobs or smaller images")
