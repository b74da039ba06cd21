"""Worker processes as their owner sees them: started, asked, ended. :mod:`aicli.workers.child` runs in them."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aicli._child import Child, describe_end, socket_pair
from aicli.errors import AicliError, Hint, WorkerDied
from aicli.workers.child import END, FORK, PACKET, Recipe
from aicli.workers.codec import ANSWER, JOB, REFUSED, Codec, WireError, receive, send

__all__ = ["Refused", "Starter", "Worker", "can_fork", "spawn"]


class Refused(Exception):
    """The recipe cannot be started; every further process would say the same."""

    def __init__(self, error: AicliError) -> None:
        super().__init__(str(error))
        self.error = error


class Worker(Child):
    """A process that loads a recipe and then answers jobs, which ``codec`` writes."""

    codec: type[Codec] = Codec
    notes: tuple[str, ...] | None = None

    def wait_until_loaded(self, patience: float | None) -> None:
        """Waits for the recipe's notes. Raises :class:`Refused`; :class:`WorkerDied`, also after so many seconds."""
        try:
            with self.limited(patience):
                kind, value = receive(self.stdout, self.codec)
        except TimeoutError:
            raise WorkerDied(f"a worker process was not ready within {patience:g} s") from None
        except (EOFError, WireError):
            raise self.died("a worker process ended while it started ({})") from None
        if kind == REFUSED:
            raise Refused(value)
        self.notes = tuple(value)

    def ask(self, job: Any, seconds: float | None = None) -> Any:
        """The answer to a job. Raises what the worker raised; :class:`EOFError` when it has ended, and
        :class:`TimeoutError` when it was ended for taking so many seconds."""
        with self.limited(seconds):
            send(self.stdin, JOB, job, self.codec)
            kind, value = receive(self.stdout, self.codec)
        if kind == ANSWER:
            return value
        raise value

    def died(self, what: str) -> WorkerDied:
        """The error that the process has ended, in a sentence with a place for how; it is ended if it still lives."""
        code = self.kill()
        return WorkerDied(what.format(describe_end(code)), signal=-code if code is not None and code < 0 else None)


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
    try:
        worker = Worker.start(f"aicli.workers.child:{program}", env=env, group=group)
    except OSError as error:
        raise AicliError(f"cannot start a worker process ({error.strerror})", hint=Hint("jobs", "use {} 1")) from None
    worker.codec = codec
    try:
        with suppress(ConnectionError):  # a process that has ended already: whoever waits for it learns it
            send(worker.stdin, JOB, (recipe, codec), Codec)
    except BaseException:  # a recipe that cannot be pickled
        worker.end()
        raise
    return worker


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
            copy = Worker(pid, lambda: self._ask(server, END, pid), ours)
            copy.codec = self.codec
            return self._keep(copy)
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
                process.wait_until_loaded(self._patience)
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
        """Ends a process for good; how it ended, as :meth:`Child.kill` says it."""
        code = process.kill()
        with self._lock:
            if process not in self._processes:
                return code  # closed by whoever called kill_all
            self._processes.remove(process)
        process.close()
        return code

    def kill_all(self) -> list[Worker]:
        """Ends every process now; their streams are still to be closed, when nobody reads them any more."""
        with self._lock:
            self._closed = True
            processes, self._processes = self._processes, []
        for process in reversed(processes):  # the process that others are copies of is before them
            process.kill()
        return processes
