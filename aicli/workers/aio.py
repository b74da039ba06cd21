"""Worker processes behind a bounded queue. The front for asyncio.

A job waits at most until its deadline and is refused at once when the queue is full. A worker that dies, hangs past the
deadline, or works for a client that has gone is replaced; nobody but its own job notices.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aicli.errors import AicliError, WorkerDied
from aicli.workers.codec import ANSWER, JOB, STARTED, Codec, WireError, pack, parse
from aicli.workers.start import Refused, Starter, Worker

__all__ = ["NOT_STARTED", "REPLACED", "AsyncPool", "Busy", "DeadlineExceeded"]

LINGER = 0.5
"""Seconds that a worker may go on after its client has gone, before it is killed."""
REPLACED, NOT_STARTED = "worker replaced", "worker does not start"
READ_AHEAD = 4 << 20
"""Bytes that a worker may send before anything is read only when it was asked."""
SLICE = 256 << 10
NO_ANSWER = "the worker process ended while it worked on this request"


class Busy(Exception):
    """The queue is full; ``retry_after`` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the service is busy")
        self.retry_after = retry_after


class DeadlineExceeded(Exception):
    """The job was not answered in time."""


class NotStarted(Exception):
    """The worker was dead before it took the job, so that another one may have it."""


class Connected(asyncio.Protocol):
    """A worker and its connection, which tells at once when the worker has ended.

    Not a pair of streams: these wake the event loop for every piece of a message, and a request waits for each time.
    """

    def __init__(self, worker: Worker, codec: type[Codec]) -> None:
        self.worker, self.codec = worker, codec
        self.key = ""
        self.ended = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._received = bytearray()
        self._answer: asyncio.Future[Any] | None = None
        self._started = False
        self._wanted = 0
        self._sending: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        self._transport, _ = await loop.create_connection(lambda: self, sock=self.worker.connection)

    def ask(self, job: Any) -> asyncio.Future[Any]:
        """Begins a job. The answer raises :class:`NotStarted`, :class:`WorkerDied`, and what the worker raised."""
        loop = asyncio.get_running_loop()
        self._answer, self._started = loop.create_future(), False
        self._next_message()
        if self.ended.is_set():
            self._lose()
        else:
            pieces = pack(JOB, job, self.codec)
            if sum(map(len, pieces)) <= SLICE:
                self._transport.write(b"".join(pieces))  # at once, so that the worker wakes only once
            else:
                self._sending = loop.create_task(self._send(pieces))
            self._transport.resume_reading()
            self._parse()
        return self._answer

    async def _send(self, pieces: list[bytes]) -> None:
        """Writes in slices, of which the transport copies only what the socket does not take: photos are megabytes."""
        for piece in pieces:
            view = memoryview(piece)
            for place in range(0, len(view), SLICE):
                await self._writable.wait()
                if self.ended.is_set():
                    return
                self._transport.write(view[place : place + SLICE])

    def _next_message(self) -> None:
        self._parser = parse(self.codec)
        self._wanted = next(self._parser)

    def _parse(self) -> None:
        """Takes what has arrived of the answer, and the word that the job was taken before it."""
        answer = self._answer
        if answer is None or answer.done():
            return
        try:
            while len(self._received) >= self._wanted:
                with memoryview(self._received) as view:
                    piece = bytes(view[: self._wanted])
                del self._received[: self._wanted]
                self._wanted = self._parser.send(piece)
        except StopIteration as message:
            kind, value = message.value
            if kind == STARTED and not self._started:
                self._started = True
                self._next_message()
                self._parse()
            elif kind == ANSWER:
                answer.set_result(value)
            else:
                answer.set_exception(value if isinstance(value, AicliError) else WorkerDied(NO_ANSWER))
        except WireError:
            self._transport.abort()
            self._lose()

    def _lose(self) -> None:
        self.ended.set()
        self._writable.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorkerDied(NO_ANSWER) if self._started else NotStarted())
            self._answer.exception()  # perhaps nobody waits for it any more, which is nothing to complain about

    async def close(self) -> None:
        self._transport.abort()  # there is nobody who could take what was not sent
        await self._closed

    # The transport's side.

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._parse()
        if len(self._received) > READ_AHEAD and (self._answer is None or self._answer.done()):
            self._transport.pause_reading()  # nobody has asked for so much

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        self._lose()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self._closed.set_result(None)


class AsyncPool:
    """``size`` processes that ``starter`` makes; at most ``queue`` jobs wait for one of them.

    With a ``key``, a job never gets a process that has served another key: such a process is replaced first.
    ``report`` is told of every worker that was replaced or does not start, as an event and its fields.
    """

    def __init__(
        self, name: str, size: int, queue: int, starter: Starter, report: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.name, self.size, self.queue = name, size, queue
        self._starter, self._report = starter, report
        self._workers: list[Connected] = []
        self._idle: deque[Connected] = deque()
        self._waiting: deque[asyncio.Future[Connected]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._mean = 0.1

    @property
    def ready(self) -> int:
        return len(self._workers)

    @property
    def busy(self) -> int:
        return len(self._workers) - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        """Starts all processes. Raises :class:`AicliError` when they cannot start."""
        try:
            await asyncio.gather(*(self._add() for _ in range(self.size)))
        except Refused as refused:
            raise refused.error from None

    async def _add(self) -> None:
        worker = Connected(await asyncio.to_thread(self._starter.start), self._starter.codec)
        await worker.connect()
        self._workers.append(worker)
        self._background(self._watch(worker))
        self._give(worker)

    async def _watch(self, worker: Connected) -> None:
        """Waits for the end of a process, whatever its cause, and replaces it."""
        await worker.ended.wait()
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        await worker.close()
        code = await asyncio.to_thread(self._starter.end, worker.worker)
        if self._closing:
            return
        self._report(REPLACED, {"pool": self.name, "pid": worker.worker.pid, "exit": code})
        pause = 0.1
        while not self._closing:
            try:
                return await self._add()
            except (AicliError, OSError, Refused) as error:
                self._report(NOT_STARTED, {"pool": self.name, "reason": str(error)})
                await asyncio.sleep(pause)
                pause = min(10.0, 2 * pause)

    def _give(self, worker: Connected) -> None:
        """Hands an idle process to the first who waits."""
        if worker.ended.is_set():
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def retry_after(self) -> int:
        return max(1, min(60, math.ceil(self._mean * (self.waiting + 1) / self.size)))

    def check_room(self) -> None:
        """Raises :class:`Busy` when a job would be refused now."""
        if not self._idle and self.waiting >= self.queue:
            raise Busy(self.retry_after())

    async def _take(self, key: str, until: float) -> Connected:
        self.check_room()
        if self._idle:
            chosen = next((worker for worker in self._idle if worker.key == key), None)
            chosen = chosen or next((worker for worker in self._idle if not worker.key), self._idle[0])
            self._idle.remove(chosen)
            return chosen
        waiter: asyncio.Future[Connected] = asyncio.get_running_loop().create_future()
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

    async def run(self, job: Any, seconds: float, key: str = "", *, once: bool = False) -> Any:
        """The answer to a job. With ``once`` its process serves nothing else, and is replaced at once.

        Raises :class:`Busy`, :class:`DeadlineExceeded`, :class:`WorkerDied` and what the worker raised.
        """
        until = time.monotonic() + seconds
        while True:
            worker = await self._take(key, until)
            if worker.key not in ("", key):
                await asyncio.to_thread(worker.worker.kill)  # its replacement comes to whoever waits
                continue
            worker.key = key
            try:
                return await self._call(worker, job, until, once)
            except NotStarted:
                continue

    async def _call(self, worker: Connected, job: Any, until: float, once: bool = False) -> Any:
        begun = time.monotonic()
        answer = worker.ask(job)
        try:
            await asyncio.wait({answer}, timeout=max(0.0, until - begun))
        except asyncio.CancelledError:
            self._background(self._linger(worker, answer, LINGER))
            raise
        if not answer.done():
            self._background(self._linger(worker, answer, 0))
            raise DeadlineExceeded("the work took longer than the deadline")
        self._mean += 0.1 * (time.monotonic() - begun - self._mean)
        if once:
            self._background(asyncio.to_thread(worker.worker.kill))
        else:
            self._give(worker)
        return answer.result()

    async def _linger(self, worker: Connected, answer: asyncio.Future[Any], seconds: float) -> None:
        """Lets work that nobody waits for end by itself if it does so soon; a start costs more than that."""
        await asyncio.wait({answer}, timeout=seconds)
        if not answer.done():
            await asyncio.to_thread(worker.worker.kill)
            await asyncio.wait({answer})
        answer.exception()
        self._give(worker)

    async def close(self) -> None:
        self._closing = True
        for waiter in self._waiting:
            waiter.cancel()
        processes = await asyncio.to_thread(self._starter.kill_all)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers:
            await worker.close()
        for process in processes:
            process.close()
