"""Worker processes: several images at once, whatever the runtime.

Processes and not threads, because wasmer's instances are bound to the thread that made them and hold Python's global
lock while they run; and because a process can be ended when an image takes too long, or when the user says stop.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from aicli.errors import AicliError, GuestTimeout
from aicli.tasks.worker import Recipe, receive, send

__all__ = ["WorkerDied", "WorkerPool"]

# The child looks for modules where this process does, and never in the current folder because of -c.
CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from aicli.tasks.worker import main; main()"


class WorkerDied(AicliError):
    """A worker process ended while it worked on an image."""


class Process:
    """One worker process."""

    def __init__(self, recipe: Recipe, on_notes: Callable[[tuple[str, ...]], None]) -> None:
        command = [sys.executable, "-c", CODE, json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise AicliError(f"cannot start a worker process ({error.strerror}); use --jobs 1") from None
        self._recipe = recipe
        self._on_notes = on_notes
        self._ready = False

    def call(self, job: Any, timeout: float | None) -> Any:
        """The answer to a job. Raises what the worker raised, :class:`GuestTimeout` or :class:`WorkerDied`."""
        if not self._ready:
            self._start()
        late = threading.Event()
        timer = threading.Timer(timeout, self._end, [late]) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            kind, value = self._exchange(job)
        except (EOFError, OSError):
            self.kill()
            if late.is_set():
                raise GuestTimeout(f"took longer than {timeout:g} s; --timeout gives more") from None
            raise WorkerDied(f"the worker process ended ({self._describe_end()}); the other images go on") from None
        finally:
            if timer is not None:
                timer.cancel()
        if kind == "answer":
            return value
        raise value

    def _start(self) -> None:
        try:
            kind, value = self._exchange(self._recipe)
        except (EOFError, OSError):
            self.kill()
            raise WorkerDied(f"a worker process ended while it started ({self._describe_end()})") from None
        if kind == "refused":
            self.kill()
            raise Refused(value)
        self._ready = True
        self._on_notes(value)

    def _exchange(self, message: Any) -> tuple[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        send(self._process.stdin, message)
        answer: tuple[str, Any] = receive(self._process.stdout)
        return answer

    def _end(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def end_soon(self) -> None:
        """Ends the process without waiting for it; safe from another thread than the one that uses it."""
        with suppress(OSError):
            self._process.kill()

    def _describe_end(self) -> str:
        code = self._process.returncode
        return f"signal {-code}" if code and code < 0 else f"exit code {code}"


class Refused(Exception):
    """The recipe cannot be started; every further process would say the same."""

    def __init__(self, error: AicliError) -> None:
        super().__init__(str(error))
        self.error = error


class WorkerPool:
    """Up to ``size`` processes of one recipe, started when there is work for them; use as a context manager.

    ``timeout`` is in seconds per image, the start of a process not counted. Leaving the block ends all processes at
    once, whatever they do.
    """

    def __init__(self, recipe: Recipe, size: int, timeout: float | None = None) -> None:
        self.notes: tuple[str, ...] = ()
        self._recipe, self._size, self._timeout = recipe, size, timeout
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
        with self._lock:
            if self._closed:
                raise WorkerDied("the run was ended")
            process = Process(self._recipe, self._take_notes)
            self._processes.append(process)
            return process

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
            for process in self._processes:
                process.end_soon()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(0.5)
