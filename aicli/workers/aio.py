"""A worker that is asked from an event loop. The front for asyncio.

Whoever waits for an answer holds a job and never the worker. The worker's side of it awaits nothing: what becomes of a
job does not depend on its caller, who may be cancelled at any moment.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aicli.errors import WorkerDied
from aicli.workers.codec import ANSWER, FAILURE, JOB, Codec, WireError, pack, parse
from aicli.workers.start import Worker

__all__ = ["AsyncWorker", "Job"]

SLICE = 256 << 10


class Job:
    """What a worker is asked, and the answer: a result, an error, or cancelled when nobody waits for it any more.

    ``key`` says whose it is, and ``once`` that its worker shall do nothing else after it: the owner's business.
    """

    def __init__(self, value: Any, codec: type[Codec], key: str = "", *, once: bool = False) -> None:
        self.key, self.once = key, once
        self.pieces = slices(pack(JOB, value, codec))
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.worker: AsyncWorker | None = None
        self.begun = 0.0

    def settle(self, answer: Any = None, error: Exception | None = None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(answer)
        else:
            self.answer.set_exception(error)
            self.answer.exception()  # who waits may be cancelled at this moment, which is nothing to complain about

    def give_up(self, patience: float) -> None:
        """Nobody waits any more: a worker that has the job may go on for so many seconds before it is ended."""
        if self.answer.cancel() and self.worker is not None:
            asyncio.get_running_loop().call_later(patience, self.worker.give_up, self)


class AsyncWorker(asyncio.Protocol):
    """A worker by its connection: when that has ended, so has the worker.

    ``released`` is called when a job is done, and when the worker ends before it has taken the job: without an answer.

    Not a pair of streams: these wake the event loop for every piece of a message, and a request waits for each time.
    """

    def __init__(self, process: Worker, released: Callable[[AsyncWorker, Job], None]) -> None:
        self.process = process
        self.key = ""
        self.job: Job | None = None
        self.ended = asyncio.Event()
        self._released = released
        self._unsent: deque[bytes | memoryview] = deque()
        self._writable = True
        self._received = bytearray()

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, sock=self.process.connection)

    @property
    def is_idle(self) -> bool:
        return self.job is None and not self._transport.is_closing()

    def ask(self, job: Job) -> None:
        """Begins a job; only an idle worker may be asked."""
        self.job, self.key = job, job.key
        job.worker, job.begun = self, time.monotonic()
        self._parser = parse(self.process.codec)
        self._wanted = next(self._parser)
        self._unsent.extend(job.pieces)
        self._write()

    def give_up(self, job: Job) -> None:
        """Ends the worker unless it has done this job meanwhile."""
        if self.job is job:
            self.disconnect()

    def disconnect(self) -> None:
        """Makes this a worker that has ended; the process is its owner's to end."""
        self._transport.abort()

    def _write(self) -> None:
        """Writes what the transport takes without having to copy it: photos are megabytes."""
        while self._unsent and self._writable:
            self._transport.write(self._unsent.popleft())

    def _release(self) -> None:
        job, self.job = self.job, None
        if job is not None:
            self._released(self, job)

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.job is None:
            return self.disconnect()  # nobody has asked
        self._received += data
        try:
            while len(self._received) >= self._wanted:
                with memoryview(self._received) as view:
                    piece = bytes(view[: self._wanted])
                del self._received[: self._wanted]
                self._wanted = self._parser.send(piece)
        except StopIteration as message:
            kind, value = message.value
            if kind not in (ANSWER, FAILURE) or self._received:
                return self.disconnect()
            if kind == ANSWER:
                self.job.settle(value)
            else:
                self.job.settle(error=value)
            self._release()
        except WireError:
            self.disconnect()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        # What was not sent, or not read, which Linux tells, was not taken.
        if self.job is not None and not self._unsent and not isinstance(exc, OSError):
            self.job.settle(error=WorkerDied("the worker process ended while it worked on this request"))
        self._release()


def slices(pieces: list[bytes]) -> list[bytes | memoryview]:
    """Not one copy of all, which may be megabytes, but of little: then a worker wakes only once."""
    if sum(map(len, pieces)) <= SLICE:
        return [b"".join(pieces)]
    return [memoryview(piece)[start : start + SLICE] for piece in pieces for start in range(0, len(piece), SLICE)]
