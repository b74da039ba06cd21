"""The service's workers behind a bounded queue.

A job waits at most until its deadline and is refused at once when the queue is full. A worker that dies, hangs past the
deadline, or works for a client that has gone is replaced; nobody but its own job notices.

A job is in the queue, with a worker, or done; a worker is idle, has a job, or has ended. Every step from one to the
next is taken by a function that awaits nothing, so that no caller who is cancelled leaves a worker where nobody finds
it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aicli.errors import AicliError
from aicli.workers.aio import AsyncWorker, Job
from aicli.workers.start import Refused, Starter

__all__ = ["NOT_STARTED", "REPLACED", "Busy", "DeadlineExceeded", "Pool"]

LINGER = 0.5
"""Seconds that a worker may go on after its client has gone, before it is replaced; a start costs more than that."""
REPLACED, NOT_STARTED = "worker replaced", "worker does not start"


class Busy(Exception):
    """The queue is full; ``retry_after`` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the service is busy")
        self.retry_after = retry_after


class DeadlineExceeded(Exception):
    """The job was not answered in time."""


class Pool:
    """``size`` processes that ``starter`` makes; at most ``queue`` jobs wait for one of them.

    With a ``key``, a job never gets a process that has served another key: such a process is replaced first.
    ``report`` is told of every worker that was replaced or does not start, as an event and its fields.
    """

    def __init__(
        self, name: str, size: int, queue: int, starter: Starter, report: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.name, self.size, self.queue = name, size, queue
        self._starter, self._report = starter, report
        self._workers: list[AsyncWorker] = []  # the one that has been idle longest comes first
        self._waiting: deque[Job] = deque()
        self._keepers: list[asyncio.Task[None]] = []
        self._mean = 0.1

    @property
    def ready(self) -> int:
        return len(self._workers)

    @property
    def busy(self) -> int:
        return sum(not worker.is_idle for worker in self._workers)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def retry_after(self) -> int:
        return max(1, min(60, math.ceil(self._mean * (self.waiting + 1) / self.size)))

    async def start(self) -> None:
        """Starts all processes. Raises :class:`AicliError` when they cannot start."""
        try:
            workers = await asyncio.gather(*(self._start_worker() for _ in range(self.size)))
        except Refused as refused:
            raise refused.error from None
        self._keepers = [asyncio.ensure_future(self._keep(worker)) for worker in workers]

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        processes = await asyncio.to_thread(self._starter.kill_all)
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for worker in self._workers:
            worker.disconnect()
        await asyncio.gather(*(worker.ended.wait() for worker in self._workers))
        for job in self._waiting:
            job.answer.cancel()
        for process in processes:
            process.close()

    async def _start_worker(self) -> AsyncWorker:
        worker = AsyncWorker(await asyncio.to_thread(self._starter.start), self._released)
        await worker.connect()
        return worker

    async def _keep(self, worker: AsyncWorker) -> None:
        """Waits for the end of a worker, whatever its cause, and puts another in its place, again and again."""
        while True:
            self._workers.append(worker)
            self._hand_out()
            await worker.ended.wait()
            self._workers.remove(worker)
            code = await asyncio.to_thread(self._starter.end, worker.process)
            self._report(REPLACED, {"pool": self.name, "pid": worker.process.pid, "exit": code})
            worker = await self._start_another()

    async def _start_another(self) -> AsyncWorker:
        pause = 0.1
        while True:
            try:
                return await self._start_worker()
            except (AicliError, OSError, Refused) as error:
                self._report(NOT_STARTED, {"pool": self.name, "reason": str(error)})
                await asyncio.sleep(pause)
                pause = min(10.0, 2 * pause)

    async def run(self, value: Any, seconds: float, key: str = "", *, once: bool = False) -> Any:
        """The answer to a job. With ``once`` its process serves nothing else, and is replaced at once.

        Raises :class:`Busy`, :class:`DeadlineExceeded`, :class:`WorkerDied` and what the worker raised.
        """
        if self.waiting >= self.queue and not any(worker.is_idle for worker in self._workers):
            raise Busy(self.retry_after())
        job = Job(value, self._starter.codec, key, once=once)
        self._waiting.append(job)
        self._hand_out()
        patience = LINGER
        try:
            done, _ = await asyncio.wait({job.answer}, timeout=seconds)
            if done:
                return job.answer.result()
            patience = 0.0
            late = "the work took longer than the deadline" if job.worker else "no worker was free in time"
            raise DeadlineExceeded(late)
        finally:
            job.give_up(patience)
            if job.worker is None:
                self._waiting.remove(job)

    def _hand_out(self) -> None:
        """Gives the jobs that have waited longest to workers that are idle."""
        while self._waiting:
            key = self._waiting[0].key
            idle = [worker for worker in self._workers if worker.is_idle]
            fitting = [worker for worker in idle if worker.key == key] or [worker for worker in idle if not worker.key]
            if not fitting:
                if idle:
                    idle[0].disconnect()  # this job is for its replacement
                return
            fitting[0].ask(self._waiting.popleft())

    def _released(self, worker: AsyncWorker, job: Job) -> None:
        """What comes after a job that is done, or that was not taken by a worker that has ended."""
        if not job.answer.done():
            job.worker = None
            self._waiting.appendleft(job)
        elif not job.answer.cancelled():
            self._mean += 0.1 * (time.monotonic() - job.begun - self._mean)
        self._workers.remove(worker)
        self._workers.append(worker)
        if job.once:
            worker.disconnect()
        self._hand_out()
