"""Several images at once: jobs are queued, and worker processes answer them. The front for threads.

Processes and not threads, because wasmer's instances are bound to the thread that made them and hold Python's global
lock while they run; and because a process can be ended when an image takes too long, or when the user says stop.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from aicli.errors import AicliError, GuestTimeout, Hint
from aicli.workers.child import Recipe
from aicli.workers.start import Refused, Starter, Worker, can_fork

__all__ = ["Refused", "WorkerPool"]


class WorkerPool:
    """Up to ``size`` processes of one recipe, started when there is work for them; use as a context manager.

    Where it is safe, several processes are copies of one that has loaded the recipe (``fork``), and that one begins to
    load when the block is entered. Elsewhere each process loads it.
    ``timeout`` is in seconds per image, the start of a process not counted. Leaving the block ends all processes at
    once, whatever they do.
    """

    def __init__(self, recipe: Recipe, size: int, timeout: float | None = None, *, fork: bool | None = None) -> None:
        self._timeout = timeout
        self._starter = Starter(recipe, fork=can_fork() and size > 1 if fork is None else fork)
        self._threads = ThreadPoolExecutor(size, "aicli-job")
        self._own = threading.local()  # the worker of each thread

    @property
    def notes(self) -> tuple[str, ...]:
        """The recipe's lines for the user, once a process has loaded it."""
        return self._starter.notes

    def __enter__(self) -> WorkerPool:
        self._starter.begin()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def submit(self, job: Any) -> Future[Any]:
        """Puts a job into the queue. Its future raises the :class:`AicliError` that the job ended with, or Refused."""
        return self._threads.submit(self._answer, job)

    def _answer(self, job: Any) -> Any:
        worker: Worker = getattr(self._own, "worker", None) or self._starter.start()
        self._own.worker = worker
        try:
            return worker.ask(job, self._timeout)
        except AicliError:  # the worker's answer
            raise
        except BaseException as error:
            self._own.worker = None
            self._starter.end(worker)
            if isinstance(error, TimeoutError):
                raise GuestTimeout(f"took longer than {self._timeout:g} s", hint=Hint("timeout")) from None
            if isinstance(error, EOFError):
                raise worker.died("the worker process ended ({}); the other images go on") from None
            raise

    def close(self) -> None:
        """Ends every process now and waits for the threads to notice."""
        processes = self._starter.kill_all()
        self._threads.shutdown(cancel_futures=True)
        for process in processes:
            process.close()
