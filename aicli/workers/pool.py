"""Several images at once: jobs are queued, and worker processes answer them.

Processes and not threads, because wasmer's instances are bound to the thread that made them and hold Python's global
lock while they run; and because a process can be ended when an image takes too long, or when the user says stop.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from aicli.errors import AicliError, GuestTimeout
from aicli.workers.child import Recipe
from aicli.workers.fork_server import can_fork
from aicli.workers.processes import Child, ForkServer, Process, Refused, Spawned, WorkerDied

__all__ = ["Refused", "WorkerDied", "WorkerPool"]


class WorkerPool:
    """Up to ``size`` processes of one recipe, started when there is work for them; use as a context manager.

    Where it is safe, several processes are copies of one that has loaded the recipe (``fork``), and that one begins to
    load when the block is entered. Elsewhere each process loads it.
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
        if self._forks:
            with suppress(AicliError):  # the first job will try again and say it
                self._new_server()
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
            server = self._fork_server()
            try:
                child = server.fork()
            except WorkerDied:
                self._drop_server(server)  # the system may have ended it, for want of memory
                child = self._fork_server().fork()
            return self._keep(child)
        spawned = Spawned()
        process = self._keep(spawned)
        try:
            spawned.begin(self._recipe)
            self._take_notes(spawned.wait_until_loaded())
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
        """The one server, loaded; whoever comes first waits for it, and the others for him."""
        with self._loading:
            server = self._server or self._new_server()
            try:
                self._take_notes(server.wait_until_loaded())
            except BaseException:
                self._drop_server(server)
                raise
            return server

    def _new_server(self) -> ForkServer:
        server = ForkServer(self._recipe)
        with self._lock:
            self._server = server
            closed = self._closed
        if closed:
            self._drop_server(server)
            raise WorkerDied("the run was ended")
        return server

    def _drop_server(self, server: ForkServer) -> None:
        """Ends a server; by now another thread may have started the next one, which stays."""
        with self._lock:
            if self._server is server:
                self._server = None
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
            server = self._server
        if server is not None:
            self._drop_server(server)
        else:
            for process in processes:
                process.end_now()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(0.5)
