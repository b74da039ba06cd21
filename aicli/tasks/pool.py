"""Worker processes: several images at once, whatever the runtime.

Processes and not threads, because wasmer's instances are bound to the thread that made them and hold Python's global
lock while they run; and because a process can be ended when an image takes too long, or when the user says stop.
:mod:`aicli.tasks.worker` and :mod:`aicli.tasks.fork_server` are what runs in them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any, Protocol

from aicli.errors import AicliError, GuestTimeout
from aicli.tasks.fork_server import END, FORK, PACKET, can_fork
from aicli.tasks.worker import Recipe, receive, send

__all__ = ["Refused", "WorkerDied", "WorkerPool"]

GRACE = 5.0
"""Seconds that a fork server has to end its workers and itself."""

# The child looks for modules where this process does, and never in the current folder because of -c.
CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from aicli.tasks.{} import main; main()"


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

    def __init__(self, module: str = "worker", *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        command = [sys.executable, "-c", CODE.format(module), json.dumps(sys.path), *arguments]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=pass_fds)
        except OSError as error:
            raise AicliError(f"cannot start a worker process ({error.strerror}); use --jobs 1") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self.jobs: IO[bytes] = self._process.stdin
        self.answers: IO[bytes] = self._process.stdout

    def load(self, recipe: Recipe) -> tuple[str, ...]:
        """Sends the recipe and returns its notes. Raises :class:`Refused` or :class:`WorkerDied`."""
        try:
            send(self.jobs, recipe)
            kind, value = receive(self.answers)
        except (EOFError, OSError):
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
    """The process that makes workers by copying itself, see :mod:`aicli.tasks.fork_server`."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = Spawned("fork_server", str(theirs.fileno()), pass_fds=(theirs.fileno(),))
        self._lock = threading.Lock()
        self._is_loaded = False

    def load(self, recipe: Recipe) -> tuple[str, ...]:
        """As :meth:`Spawned.load`."""
        notes = self._server.load(recipe)
        self._is_loaded = True
        return notes

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
        if self._is_loaded:
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


class WorkerPool:
    """Up to ``size`` processes of one recipe, started when there is work for them; use as a context manager.

    Where it is safe, several processes are copies of one that has loaded the recipe (``fork``), else each loads it.
    ``timeout`` is in seconds per image, the start of a process not counted. Leaving the block ends all processes at
    once, whatever they do.
    """

    def __init__(self, recipe: Recipe, size: int, timeout: float | None = None, *, fork: bool | None = None) -> None:
        self.notes: tuple[str, ...] = ()
        self._recipe, self._size, self._timeout = recipe, size, timeout
        self._forks = can_fork() and size > 1 if fork is None else fork
        self._server: ForkServer | None = None
        self._loading = threading.Lock()
        self._jobs: SimpleQueue[tuple[Any, Future[Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._processes: list[Process] = []
        self._idle = 0
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def submit(self, job: Any) -> Future[Any]:
        """Puts a job into the queue. Its future raises the :class:`AicliError` that the job ended with, or Refused."""
        future: Future[Any] = Future()
        self._jobs.put((job, future))
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._size:
                thread = threading.Thread(target=self._serve, name="aicli-job", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def _serve(self) -> None:
        process: Process | None = None
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            try:
                if process is None:
                    process = self._start()
                future.set_result(process.call(job, self._timeout))
            except BaseException as error:
                if not isinstance(error, AicliError) or isinstance(error, (WorkerDied, GuestTimeout)):
                    self._forget(process)
                    process = None
                future.set_exception(error)
            with self._lock:
                self._idle += 1
        self._forget(process)

    def _start(self) -> Process:
        child: Child
        if self._forks:
            try:
                child = self._fork_server().fork()
            except WorkerDied:
                self._drop_server()  # the system may have ended it, for want of memory
                child = self._fork_server().fork()
            return self._keep(child)
        spawned = Spawned()
        process = self._keep(spawned)
        try:
            self._take_notes(spawned.load(self._recipe))
        except BaseException:
            self._forget(process)
            raise
        return process

    def _keep(self, child: Child) -> Process:
        process = Process(child)
        with self._lock:
            self._processes.append(process)
            closed = self._closed
        if closed:
            self._forget(process)
            raise WorkerDied("the run was ended")
        return process

    def _fork_server(self) -> ForkServer:
        """The one server, loaded; whoever comes first starts it, and the others wait."""
        with self._loading:
            if self._server is not None:
                return self._server
            server = ForkServer()
            with self._lock:
                self._server = server
                closed = self._closed
            try:
                if closed:
                    raise WorkerDied("the run was ended")
                self._take_notes(server.load(self._recipe))
            except BaseException:
                self._drop_server()
                raise
            return server

    def _drop_server(self) -> None:
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _forget(self, process: Process | None) -> None:
        if process is None:
            return
        process.kill()
        with self._lock:
            if process in self._processes:
                self._processes.remove(process)

    def _take_notes(self, notes: tuple[str, ...]) -> None:
        self.notes = self.notes or notes

    def close(self) -> None:
        """Ends every process now and waits for the threads to notice."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        if self._forks:
            self._drop_server()
        else:
            for process in processes:
                process.end_now()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(0.5)
