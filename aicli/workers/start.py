"""Worker processes as their owner sees them: started, connected, ended. :mod:`aicli.workers.child` runs in them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from aicli._child import python_command
from aicli.errors import AicliError, Hint, WorkerDied
from aicli.workers.child import END, FORK, PACKET, Recipe
from aicli.workers.codec import JOB, REFUSED, Codec, WireError, receive, send

__all__ = ["Refused", "Starter", "Worker", "can_fork", "describe_end", "spawn"]

BUFFER = 1 << 20
"""Bytes that a connection holds: photos go through it."""


class Refused(Exception):
    """The recipe cannot be started; every further process would say the same."""

    def __init__(self, error: AicliError) -> None:
        super().__init__(str(error))
        self.error = error


class Worker:
    """A process: two streams, which on POSIX are one socket, and an end."""

    def __init__(
        self, pid: int, end: Callable[[], int | None], connection: socket.socket | None, *pipes: IO[bytes]
    ) -> None:
        self.pid, self.connection = pid, connection
        streams = (connection.makefile("wb"), connection.makefile("rb")) if connection is not None else pipes
        self.jobs, self.answers = streams
        self.notes: tuple[str, ...] | None = None
        self._end: Callable[[], int | None] | None = end
        self._code: int | None = None
        self.on_close: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def wait_until_loaded(self, codec: type[Codec], patience: float | None) -> None:
        """Waits for the recipe's notes. Raises :class:`Refused`; :class:`WorkerDied`, also after so many seconds."""
        if self.connection is not None:
            self.connection.settimeout(patience)
        try:
            kind, value = receive(self.answers, codec)
        except TimeoutError:
            raise WorkerDied(f"a worker process was not ready within {patience:g} s") from None
        except (EOFError, OSError, WireError):
            code = self.kill()
            what = f"a worker process ended while it started ({describe_end(code)})"
            raise WorkerDied(what, signal=signal_of(code)) from None
        if kind == REFUSED:
            raise Refused(value)
        if self.connection is not None:
            self.connection.settimeout(None)
        self.notes = tuple(value)

    def kill(self) -> int | None:
        """Ends the process and tells how it ended: an exit code, a signal as a negative number, ``None``: unknown.

        Safe from any thread, and more than once.
        """
        with self._lock:
            if self._end is not None:
                self._code = self._end()
                self._end = None
            return self._code

    def close(self) -> None:
        """Gives the streams back, then does what ``on_close`` says."""
        for stream in (self.jobs, self.answers, self.connection):
            if stream is not None:
                with suppress(OSError, ValueError):  # what was not sent, or another thread that reads
                    stream.close()
        while self.on_close:
            self.on_close.pop()()


def spawn(
    recipe: Recipe,
    codec: type[Codec],
    program: str = "worker",
    *,
    env: Mapping[str, str] | None = None,
    group: bool = False,
) -> Worker:
    """A fresh process that begins to load a recipe; with ``group`` what it starts itself ends with it.

    Raises :class:`AicliError` when the system gives no process.
    """
    command = python_command(f"aicli.workers.child:{program}")
    ours, theirs = socket_pair() if sys.platform != "win32" else (None, None)
    end = subprocess.PIPE if theirs is None else theirs.fileno()
    try:
        process = subprocess.Popen(command, stdin=end, stdout=end, env=env, start_new_session=group)
    except OSError as error:
        raise AicliError(f"cannot start a worker process ({error.strerror})", hint=Hint("jobs", "use {} 1")) from None
    finally:
        if theirs is not None:
            theirs.close()
    pipes = [pipe for pipe in (process.stdin, process.stdout) if pipe is not None]
    worker = Worker(process.pid, lambda: end_process(process, group), ours, *pipes)
    try:
        with suppress(ConnectionError):  # a process that has ended already: whoever waits for it learns it
            send(worker.jobs, JOB, (recipe, codec), Codec)
    except BaseException:  # a recipe that cannot be pickled
        worker.kill()
        worker.close()
        raise
    return worker


def socket_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return pair


def end_process(process: subprocess.Popen[bytes], group: bool) -> int:
    if group and sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    return process.wait()


def can_fork() -> bool:
    """Whether a process with loaded libraries may be copied here: macOS' own libraries do not survive it."""
    return sys.platform == "linux"


class Starter:
    """Makes workers of one recipe, loaded: with ``fork`` copies of one process, else fresh ones. Safe from any thread.

    ``spawn`` makes a fresh process; one that is not loaded after ``patience`` seconds has failed.
    """

    def __init__(
        self,
        recipe: Recipe,
        codec: type[Codec] = Codec,
        *,
        fork: bool,
        patience: float | None = None,
        spawn: Callable[[Recipe, type[Codec], str], Worker] = spawn,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self.codec = codec
        self._recipe, self._fork, self._patience, self._spawn = recipe, fork, patience, spawn
        self._server: Worker | None = None
        self._processes: list[Worker] = []
        self._closed = False
        self._lock = threading.Lock()
        self._forking = threading.Lock()
        self._asking = threading.Lock()

    def begin(self) -> None:
        """Lets the process that workers will be copies of load now."""
        if self._fork:
            with suppress(AicliError):  # the first job will try again and say it
                self._server = self._new("fork_server")

    def start(self) -> Worker:
        """A loaded worker. Raises :class:`Refused`, :class:`WorkerDied` or another :class:`AicliError`."""
        if not self._fork:
            return self._loaded(self._new("worker"))
        with self._forking:  # whoever comes first waits for the process to copy, and the others for him
            copy = self._copy() or self._copy()
            # What it ran to warm up may have ended it: a fresh process runs nothing before its first job.
            self._fork = copy is not None
        return copy or self._loaded(self._new("worker"))

    def _copy(self) -> Worker | None:
        """A copy of the one server, which is started if there is none; ``None`` when it has ended."""
        server, self._server = self._server, None
        self._server = server = self._loaded(server or self._new("fork_server"))
        ours, theirs = socket_pair()
        with theirs:
            pid = self._ask(server, FORK, 0, [theirs.fileno()])
        if pid is not None and pid > 0:
            return self._keep(Worker(pid, lambda: self._ask(server, END, pid), ours))
        ours.close()
        if pid is not None:
            raise AicliError(f"cannot start a worker process ({os.strerror(-pid)})", hint=Hint("jobs", "use fewer {}"))
        self._server = None
        self.end(server)  # the system may have ended it, for want of memory
        return None

    def _new(self, program: str) -> Worker:
        return self._keep(self._spawn(self._recipe, self.codec, program))

    def _keep(self, process: Worker) -> Worker:
        with self._lock:
            self._processes.append(process)
            closed = self._closed
        if closed:
            self.end(process)
            raise WorkerDied("the run was ended")
        return process

    def _loaded(self, process: Worker) -> Worker:
        if process.notes is None:
            try:
                process.wait_until_loaded(self.codec, self._patience)
            except BaseException:
                self.end(process)
                raise
            self.notes = self.notes or process.notes or ()
        return process

    def _ask(self, server: Worker, request: int, worker: int, descriptors: list[int] | None = None) -> int | None:
        """The server's reply; ``None`` when it has gone."""
        assert server.connection is not None
        with self._asking:
            try:
                socket.send_fds(server.connection, [PACKET.pack(request, worker)], descriptors or [])
                packet = server.connection.recv(PACKET.size)
            except OSError:
                return None
        reply: int | None = PACKET.unpack(packet)[1] if packet else None
        return reply

    def end(self, process: Worker) -> int | None:
        """Ends a process for good; how it ended, as :meth:`Worker.kill` says it."""
        code = process.kill()
        process.close()
        with self._lock:
            if process in self._processes:
                self._processes.remove(process)
        return code

    def kill_all(self) -> list[Worker]:
        """Ends every process now; their streams are still to be closed, when nobody reads them any more."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in reversed(processes):  # the process that others are copies of is before them
            process.kill()
        return processes


def signal_of(code: int | None) -> int | None:
    """The signal that ended a process."""
    return -code if code is not None and code < 0 else None


def describe_end(code: int | None) -> str:
    if code is None:
        return "nobody knows how"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
