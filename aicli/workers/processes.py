"""Worker processes as their owner sees them: started, asked one job at a time, ended.

:mod:`aicli.workers.child` and :mod:`aicli.workers.fork_server` are what runs in them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, Protocol

from aicli.errors import AicliError, GuestTimeout
from aicli.workers.child import Recipe, receive, send
from aicli.workers.fork_server import END, FORK, PACKET

__all__ = ["Child", "ForkServer", "Process", "Refused", "Spawned", "WorkerDied"]

GRACE = 5.0
"""Seconds that a process has to end by itself: a fork server and its workers, or one that says no more."""

# The child looks for modules where this process does, and never in the current folder because of -c.
CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from aicli.workers.{} import main; main()"


class WorkerDied(AicliError):
    """A worker process ended while it worked on an image."""


class Refused(Exception):
    """The recipe cannot be started; every further process would say the same."""

    def __init__(self, error: AicliError) -> None:
        super().__init__(str(error))
        self.error = error


class Child(Protocol):
    """A worker process as its owner sees it: two streams, and an end."""

    jobs: IO[bytes]
    answers: IO[bytes]

    def kill(self) -> int | None:
        """Ends the process and tells how it ended: an exit code, a signal as a negative number, ``None``: unknown.

        Safe from any thread, and more than once.
        """


class Spawned:
    """A process that loads a recipe: a worker of its own, or with ``module`` fork_server one that makes workers."""

    def __init__(self, module: str = "child", *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        command = [sys.executable, "-c", CODE.format(module), json.dumps(sys.path), *arguments]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=pass_fds)
        except OSError as error:
            raise AicliError(f"cannot start a worker process ({error.strerror}); use --jobs 1") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self.jobs: IO[bytes] = self._process.stdin
        self.answers: IO[bytes] = self._process.stdout

    def begin(self, recipe: Recipe) -> None:
        """Sends the recipe."""
        with suppress(OSError):  # a process that has ended already: whoever waits for its answer learns it
            send(self.jobs, recipe)

    def wait_until_loaded(self) -> tuple[str, ...]:
        """The recipe's notes. Raises :class:`Refused` or :class:`WorkerDied`."""
        try:
            kind, value = receive(self.answers)
        except (EOFError, OSError):
            self.wait(GRACE)  # how it ended is worth to be known
            raise WorkerDied(f"a worker process ended while it started ({describe_end(self.kill())})") from None
        if kind == "refused":
            self.kill()
            raise Refused(value)
        notes: tuple[str, ...] = value
        return notes

    def kill(self) -> int | None:
        self._process.kill()
        return self._process.wait()

    def wait(self, seconds: float) -> None:
        """Waits for the process to end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def close(self) -> None:
        """Gives the streams back."""
        close(self.jobs, self.answers)


class ForkServer:
    """The process that makes workers by copying itself, see :mod:`aicli.workers.fork_server`.

    It loads the recipe from now on, while its owner does something else.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = Spawned("fork_server", str(theirs.fileno()), pass_fds=(theirs.fileno(),))
        self._lock = threading.Lock()
        self._notes: tuple[str, ...] | None = None
        try:
            self._server.begin(recipe)
        except BaseException:  # a recipe that cannot be pickled
            self.close()
            raise

    def wait_until_loaded(self) -> tuple[str, ...]:
        """As :meth:`Spawned.wait_until_loaded`; one thread at a time."""
        if self._notes is None:
            self._notes = self._server.wait_until_loaded()
        return self._notes

    def fork(self) -> Forked:
        """A new worker. Raises :class:`WorkerDied` when the server has gone, else :class:`AicliError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            worker = self._ask(FORK, 0, [theirs.fileno()])
        if worker is None:
            ours.close()
            raise WorkerDied("the process that starts the workers has ended")
        if worker < 0:
            ours.close()
            raise AicliError(f"cannot start a worker process ({os.strerror(-worker)}); use fewer --jobs")
        return Forked(self, worker, ours)

    def end(self, worker: int) -> int | None:
        return self._ask(END, worker, [])

    def _ask(self, request: int, worker: int, descriptors: list[int]) -> int | None:
        with self._lock:
            try:
                socket.send_fds(self._control, [PACKET.pack(request, worker)], descriptors)
                packet = self._control.recv(PACKET.size)
            except OSError:
                return None
        reply: int | None = PACKET.unpack(packet)[1] if packet else None
        return reply

    def close(self) -> None:
        """Ends the server and its workers, whatever they do."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if self._notes is not None:
            self._server.wait(GRACE)
        self._server.kill()
        self._server.close()
        with self._lock:
            self._control.close()


class Forked:
    """A worker that a fork server has made."""

    def __init__(self, server: ForkServer, worker: int, connection: socket.socket) -> None:
        self._server, self._worker = server, worker
        with connection:
            self.jobs: IO[bytes] = connection.makefile("wb")
            self.answers: IO[bytes] = connection.makefile("rb")

    def kill(self) -> int | None:
        return self._server.end(self._worker)


def close(*streams: IO[bytes]) -> None:
    for stream in streams:
        with suppress(OSError, ValueError):  # what was not sent, or another thread that reads
            stream.close()


def describe_end(code: int | None) -> str:
    if code is None:
        return "nobody knows how"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class Process:
    """One worker process, asked one job at a time."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def call(self, job: Any, timeout: float | None) -> Any:
        """The answer to a job. Raises what the worker raised, :class:`GuestTimeout` or :class:`WorkerDied`."""
        late = threading.Event()
        timer = threading.Timer(timeout, self._end, [late]) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            send(self._child.jobs, job)
            kind, value = receive(self._child.answers)
        except (EOFError, OSError):
            code = self._child.kill()
            if late.is_set():
                raise GuestTimeout(f"took longer than {timeout:g} s; --timeout gives more") from None
            raise WorkerDied(f"the worker process ended ({describe_end(code)}); the other images go on") from None
        finally:
            if timer is not None:
                timer.cancel()
        if kind == "answer":
            return value
        raise value

    def _end(self, late: threading.Event) -> None:
        late.set()
        self._child.kill()

    def end_now(self) -> None:
        """Ends the process; safe from another thread than the one that uses it."""
        self._child.kill()

    def kill(self) -> None:
        """Ends the process and gives its streams back."""
        self._child.kill()
        close(self._child.jobs, self._child.answers)
