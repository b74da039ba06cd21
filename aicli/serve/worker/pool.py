"""A pool of worker processes behind a bounded queue.

A job waits at most until its deadline and is refused at once when the queue is full. A worker that dies, hangs past the
deadline, or works for a client that has gone is replaced; nobody but its own request notices.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from aicli.serve.http.metrics import Metrics
from aicli.serve.worker.process import Child, WorkerDied, WorkerNotStarted
from aicli.serve.worker.wire import Frame

__all__ = ["Busy", "DeadlineExceeded", "Pool"]

log = logging.getLogger("aicli.serve")
LINGER = 0.5
"""Seconds that a worker may go on after its client has gone, before it is killed."""


class Busy(Exception):
    """The queue is full; ``retry_after`` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the service is busy")
        self.retry_after = retry_after


class DeadlineExceeded(Exception):
    """The job was not answered in time."""


class Pool:
    """``size`` processes with the same ``options``; at most ``queue`` jobs wait for one of them.

    With a ``key``, a job never gets a process that has served another key: such a process is replaced first.
    """

    def __init__(self, name: str, size: int, queue: int, options: dict[str, Any], metrics: Metrics) -> None:
        self.name, self.size, self.queue, self.options, self.metrics = name, size, queue, options, metrics
        self.children: list[Child] = []
        self._idle: deque[Child] = deque()
        self._waiting: deque[asyncio.Future[Child]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._mean = 0.1

    @property
    def ready(self) -> int:
        return sum(child.alive for child in self.children)

    @property
    def busy(self) -> int:
        return sum(child.busy for child in self.children)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        """Starts all processes. Raises :class:`WorkerDied` when they cannot start."""
        await asyncio.gather(*(self._spawn() for _ in range(self.size)))

    async def _spawn(self) -> None:
        child = Child(self.options)
        try:
            await child.start()
        except asyncio.CancelledError:
            await child.stop()
            raise
        if self._closing:
            await child.stop()
            return
        self.children.append(child)
        self._background(self._watch(child))
        self._give(child)

    async def _watch(self, child: Child) -> None:
        """Waits for the end of a process, whatever its cause, and replaces it."""
        code = await child.wait()
        child.alive = False
        self.children.remove(child)
        if child in self._idle:
            self._idle.remove(child)
        await child.stop()
        if self._closing:
            return
        self.metrics.add("aicli_worker_restarts_total", {"pool": self.name})
        log.warning("worker replaced", extra={"fields": {"pool": self.name, "pid": child.pid, "exit": code}})
        pause = 0.1
        while not self._closing:
            try:
                return await self._spawn()
            except (WorkerDied, OSError) as error:
                log.error("worker does not start", extra={"fields": {"pool": self.name, "reason": str(error)}})
                await asyncio.sleep(pause)
                pause = min(10.0, 2 * pause)

    def _give(self, child: Child) -> None:
        """Hands an idle process to the first who waits."""
        child.busy = False
        if not child.alive:
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                child.busy = True
                waiter.set_result(child)
                return
        self._idle.append(child)

    def retry_after(self) -> int:
        return max(1, min(60, math.ceil(self._mean * (self.waiting + 1) / self.size)))

    def check_room(self) -> None:
        """Raises :class:`Busy` when a job would be refused now."""
        if not self._idle and self.waiting >= self.queue:
            raise Busy(self.retry_after())

    async def _take(self, key: str, until: float) -> Child:
        self.check_room()
        if self._idle:
            chosen = next((child for child in self._idle if child.key == key), None)
            chosen = chosen or next((child for child in self._idle if not child.key), self._idle[0])
            self._idle.remove(chosen)
            chosen.busy = True
            return chosen
        waiter: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait({waiter}, timeout=max(0.0, until - time.monotonic()))
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give(waiter.result())
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        if not waiter.done() or waiter.cancelled():
            raise DeadlineExceeded("no worker was free in time")
        return waiter.result()

    async def run(self, job: dict[str, Any], blobs: Sequence[bytes], seconds: float, key: str = "") -> Frame:
        """The answer to a job.

        Raises :class:`Busy`, :class:`DeadlineExceeded` and :class:`aicli.serve.worker.process.WorkerDied`.
        """
        until = time.monotonic() + seconds
        while True:
            child = await self._take(key, until)
            if child.key not in ("", key):
                child.kill()  # its replacement comes to whoever waits
                continue
            child.key = key
            try:
                return await self._call(child, job, blobs, until)
            except WorkerNotStarted:
                child.kill()

    async def _call(self, child: Child, job: dict[str, Any], blobs: Sequence[bytes], until: float) -> Frame:
        begun = time.monotonic()
        task = asyncio.ensure_future(child.call(job, blobs))
        try:
            await asyncio.wait({task}, timeout=max(0.0, until - begun))
        except asyncio.CancelledError:
            self._background(self._linger(child, task))
            raise
        if not task.done():
            self._background(self._linger(child, task, 0))
            raise DeadlineExceeded("the work took longer than the deadline")
        self._mean += 0.1 * (time.monotonic() - begun - self._mean)
        if task.exception() is None:
            self._give(child)
        return task.result()

    async def _linger(self, child: Child, task: asyncio.Task[Frame], seconds: float = LINGER) -> None:
        """Lets work that nobody waits for end by itself if it does so soon; a start costs more than that."""
        await asyncio.wait({task}, timeout=seconds)
        if task.done() and task.exception() is None:
            self._give(child)
            return
        child.kill()
        await asyncio.wait({task})
        task.exception()

    async def close(self) -> None:
        self._closing = True
        for waiter in self._waiting:
            waiter.cancel()
        await asyncio.gather(*(child.stop() for child in list(self.children)))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
