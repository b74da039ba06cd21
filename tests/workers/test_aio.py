"""The asyncio front: the same workers behind a bounded queue with deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from aicli.errors import AicliError, WorkerDied
from aicli.workers.aio import READ_AHEAD, REPLACED, AsyncPool, Busy, Connected, DeadlineExceeded, NotStarted
from aicli.workers.codec import ANSWER, FAILURE, JOB, READY, STARTED, Frame, Plain, pack, receive
from aicli.workers.start import Starter, Worker, can_fork

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the service runs on POSIX")
linux = pytest.mark.skipif(not can_fork(), reason="workers are not copied here")


class Recipe(NamedTuple):
    refuse: bool = False

    def start(self) -> Handle:
        if self.refuse:
            raise AicliError("this cannot be started")
        return Handle()


class Handle:
    def __init__(self) -> None:
        self.loaded_by = os.getpid()
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def __call__(self, frame: Frame) -> Frame:
        job, blobs = frame
        if job.get("do") == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if job.get("do") == "sleep":
            time.sleep(60)
        if job.get("do") == "fail":
            raise AicliError("no")
        pids = {"pid": os.getpid(), "loaded_by": self.loaded_by, "group": os.getpgid(0)}
        return {**job, **pids, "prepared": self.prepared}, [blob[::-1] for blob in blobs]


@pytest.fixture(params=[pytest.param(True, marks=linux, id="copies"), pytest.param(False, id="processes")])
def fork(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Pool:
    """A pool for the length of a block, and what it reports."""

    def __init__(self, size: int = 1, queue: int = 8, *, fork: bool = False, recipe: Recipe | None = None) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        starter = Starter(recipe or Recipe(), Plain, fork=fork, patience=60)
        self.pool = AsyncPool("test", size, queue, starter, lambda event, fields: self.events.append((event, fields)))

    async def __aenter__(self) -> Pool:
        try:
            await self.pool.start()
        except BaseException:
            await self.pool.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.pool.close()

    async def ask(self, do: str = "", seconds: float = 30, key: str = "", blobs: Sequence[bytes] = ()) -> Any:
        header, answer = await self.pool.run(({"do": do}, blobs), seconds, key)
        return {**header, "blobs": answer}


def is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_answers_come_from_workers_that_share_what_was_loaded(fork: bool) -> None:
    async def run() -> list[Any]:
        async with Pool(2, fork=fork) as pool:
            return await asyncio.gather(*(pool.ask(blobs=[b"ab" * 500_000]) for _ in range(8)))

    found = asyncio.run(run())
    assert all(answer["blobs"] == [b"ba" * 500_000] for answer in found)
    workers = {answer["pid"]: 0 for answer in found}
    for answer in found:
        workers[answer["pid"]] = max(workers[answer["pid"]], answer["prepared"])
    assert len(workers) == 2 and sum(workers.values()) == 6  # prepared after each answer, the last one not told
    assert len({answer["loaded_by"] for answer in found}) == (1 if fork else 2)
    assert all(is_gone(pid) for pid in {*workers, *(answer["loaded_by"] for answer in found)})


def test_a_dead_worker_costs_its_own_job_and_is_replaced(fork: bool) -> None:
    async def run() -> None:
        async with Pool(2, fork=fork) as pool:
            with pytest.raises(WorkerDied):
                await pool.ask("crash")
            with pytest.raises(AicliError, match="no"):
                await pool.ask("fail")
            idle = (await pool.ask())["pid"]
            os.kill(idle, signal.SIGKILL)  # while it has no job: nobody notices
            answers = await asyncio.gather(*(pool.ask() for _ in range(6)))
            assert idle not in {answer["pid"] for answer in answers}
            until = time.monotonic() + 20
            while len(pool.events) < 2 and time.monotonic() < until:
                await asyncio.sleep(0.02)
            assert [(event, fields["exit"]) for event, fields in pool.events] == [(REPLACED, -11), (REPLACED, -9)]
            while pool.pool.ready < 2 and time.monotonic() < until:
                await asyncio.sleep(0.02)
            assert (pool.pool.ready, pool.pool.busy, pool.pool.waiting) == (2, 0, 0)

    asyncio.run(run())


def test_deadlines_and_a_full_queue(fork: bool) -> None:
    async def run() -> None:
        async with Pool(1, queue=1, fork=fork) as pool:
            first = (await pool.ask())["pid"]
            late = asyncio.ensure_future(pool.ask("sleep", seconds=0.5))
            await asyncio.sleep(0.1)
            waits = asyncio.ensure_future(pool.ask(seconds=30))
            await asyncio.sleep(0.1)
            with pytest.raises(Busy) as busy:
                await pool.ask()
            assert busy.value.retry_after >= 1
            with pytest.raises(DeadlineExceeded):
                await late
            assert (await waits)["pid"] != first and is_gone(first)

    asyncio.run(run())


def test_a_process_serves_one_key_only() -> None:
    async def run() -> None:
        async with Pool() as pool:
            pids = [(await pool.ask(key=key))["pid"] for key in ("a", "a", "b")]
            assert pids[0] == pids[1] != pids[2]

    asyncio.run(run())


def test_a_recipe_that_cannot_be_started(fork: bool) -> None:
    async def run() -> None:
        with pytest.raises(AicliError, match="this cannot be started"):
            async with Pool(2, fork=fork, recipe=Recipe(refuse=True)):
                pass

    asyncio.run(run())


def test_closing_ends_whatever_works(fork: bool) -> None:
    async def run() -> tuple[list[int], float]:
        async with Pool(2, fork=fork) as pool:
            workers = [answer["pid"] for answer in await asyncio.gather(pool.ask(), pool.ask())]
            task = asyncio.ensure_future(pool.ask("sleep"))
            await asyncio.sleep(0.1)
            begun = time.monotonic()
        with pytest.raises((WorkerDied, asyncio.CancelledError)):
            await task
        return workers, time.monotonic() - begun

    workers, seconds = asyncio.run(run())
    assert all(is_gone(worker) for worker in workers) and seconds < 5


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[tuple[Connected, socket.socket]]:
    """A connection as the front process has it, and the worker's end of it, where there is no worker."""
    ours, theirs = socket.socketpair()
    worker = Connected(cast(Worker, SimpleNamespace(connection=ours)), Plain)
    await worker.connect()
    try:
        yield worker, theirs
    finally:
        await worker.close()
        theirs.close()


def started_and(kind: int, value: Any) -> bytes:
    return b"".join([*pack(STARTED, None, Plain), *pack(kind, value, Plain)])


def test_messages_come_and_go_in_pieces() -> None:
    photo = bytes(range(256)) * 8192  # more than a socket takes at once

    async def run() -> None:
        async with wired() as (worker, theirs):
            for _ in range(2):
                answer = worker.ask(({"do": "it"}, [photo]))
                job = await asyncio.to_thread(receive, theirs.makefile("rb"), Plain)
                assert job == (JOB, ({"do": "it"}, [photo]))
                for byte in started_and(ANSWER, ({"done": True}, [b"", b"xyz"])):
                    theirs.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert await answer == ({"done": True}, [b"", b"xyz"])

    asyncio.run(run())


@pytest.mark.parametrize(
    "said, error",
    [
        (b"", NotStarted),
        (b"\xff" * 40, NotStarted),
        (b"".join(pack(STARTED, None, Plain)), WorkerDied),
        (started_and(ANSWER, ({}, [b"x" * 9]))[:-1], WorkerDied),
        (started_and(STARTED, None), WorkerDied),
        (started_and(READY, ()), WorkerDied),
        (started_and(FAILURE, AicliError("no")), AicliError),
    ],
)
def test_a_worker_that_ends_or_breaks_the_rules(said: bytes, error: type[Exception]) -> None:
    async def run() -> None:
        async with wired() as (worker, theirs):
            answer = worker.ask(({}, []))
            theirs.sendall(said)
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(error) as raised:
                await answer
            assert type(raised.value) is error
            await worker.ended.wait()
            with pytest.raises(NotStarted):
                await worker.ask(({}, []))

    asyncio.run(run())


def test_no_more_is_read_than_was_asked_for() -> None:
    async def run() -> None:
        async with wired() as (_, theirs):
            theirs.setblocking(False)
            sent = 0
            with pytest.raises(BlockingIOError):
                while sent < 4 * READ_AHEAD:
                    sent += theirs.send(b"x" * 65536)
                    await asyncio.sleep(0)
            assert READ_AHEAD <= sent < 2 * READ_AHEAD

    asyncio.run(run())
