"""The asyncio front: the same workers behind a bounded queue with deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from aicli.errors import AicliError, WorkerDied
from aicli.serve import pool as service_pool
from aicli.serve.pool import REPLACED, Busy, DeadlineExceeded, Pool
from aicli.workers.codec import ANSWER, FAILURE, JOB, READY, Frame, Plain, pack, receive
from aicli.workers.start import Starter, can_fork

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


class Opened:
    """A pool for the length of a block, and what it reports."""

    def __init__(self, size: int = 1, queue: int = 8, *, fork: bool = False, recipe: Recipe | None = None) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        starter = Starter(recipe or Recipe(), Plain, fork=fork, patience=60)
        self.pool = Pool("test", size, queue, starter, lambda event, fields: self.events.append((event, fields)))

    async def __aenter__(self) -> Opened:
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
        async with Opened(2, fork=fork) as pool:
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
        async with Opened(2, fork=fork) as pool:
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
        async with Opened(1, queue=1, fork=fork) as pool:
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
        async with Opened() as pool:
            pids = [(await pool.ask(key=key))["pid"] for key in ("a", "a", "b")]
            assert pids[0] == pids[1] != pids[2]

    asyncio.run(run())


def test_a_recipe_that_cannot_be_started(fork: bool) -> None:
    async def run() -> None:
        with pytest.raises(AicliError, match="this cannot be started"):
            async with Opened(2, fork=fork, recipe=Recipe(refuse=True)):
                pass

    asyncio.run(run())


def test_closing_ends_whatever_works_or_waits(fork: bool) -> None:
    async def run() -> tuple[list[int], float]:
        async with Opened(2, fork=fork) as pool:
            workers = [answer["pid"] for answer in await asyncio.gather(pool.ask(), pool.ask())]
            tasks = [asyncio.ensure_future(pool.ask("sleep")) for _ in range(3)]
            await asyncio.sleep(0.1)
            assert (pool.pool.ready, pool.pool.busy, pool.pool.waiting) == (2, 2, 1)
            begun = time.monotonic()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, (WorkerDied, asyncio.CancelledError)) for error in found)
        assert isinstance(found[2], asyncio.CancelledError)
        return workers, time.monotonic() - begun

    workers, seconds = asyncio.run(run())
    assert all(is_gone(worker) for worker in workers) and seconds < 5


def test_a_job_that_is_given_up_takes_no_worker_along() -> None:
    """Whatever a job waits for when its caller is cancelled, and however late threads come to their turn."""

    async def run() -> None:
        async with Opened() as pool:
            first = await pool.ask(key="a")
            held, executor = threading.Event(), ThreadPoolExecutor(1)
            asyncio.get_running_loop().set_default_executor(executor)
            for turns in range(4):
                held.clear()
                executor.submit(held.wait)
                given_up = asyncio.ensure_future(pool.ask(key="b"))  # for which the worker of "a" must be replaced
                for _ in range(turns):
                    await asyncio.sleep(0)
                given_up.cancel()
                held.set()
                first, before = await pool.ask(key="a", seconds=60), first
            assert first["pid"] != before["pid"]
            assert (pool.pool.ready, pool.pool.busy, pool.pool.waiting) == (1, 0, 0)

    asyncio.run(run())


def test_work_for_a_client_that_has_gone_may_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Opened() as pool:
            pid = (await pool.ask())["pid"]
            monkeypatch.setattr(service_pool, "LINGER", 60)
            given_up = asyncio.ensure_future(pool.ask())
            await asyncio.sleep(0)
            given_up.cancel()
            assert (await pool.ask())["pid"] == pid
            monkeypatch.setattr(service_pool, "LINGER", 0.1)
            given_up = asyncio.ensure_future(pool.ask("sleep"))
            await asyncio.sleep(0.1)
            given_up.cancel()
            assert (await pool.ask())["pid"] != pid

    asyncio.run(run())


class Wired:
    """A starter whose workers are ours to play: the other ends of their connections, one after the other."""

    codec = Plain

    def __init__(self) -> None:
        self.workers: queue.Queue[socket.socket] = queue.Queue()

    def start(self) -> Any:
        ours, theirs = socket.socketpair()
        self.workers.put(theirs)
        return SimpleNamespace(connection=ours, codec=Plain, pid=0)

    def end(self, process: Any) -> None:
        process.connection.close()

    def kill_all(self) -> list[Any]:
        return []


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[tuple[Pool, Wired]]:
    starter = Wired()
    pool = Pool("test", 1, 8, cast(Starter, starter), lambda event, fields: None)
    await pool.start()
    try:
        yield pool, starter
    finally:
        await pool.close()
        while not starter.workers.empty():
            starter.workers.get().close()


def ask(pool: Pool, *blobs: bytes) -> asyncio.Future[Any]:
    return asyncio.ensure_future(pool.run(({"do": "it"}, blobs), 30))


def read_job(worker: socket.socket) -> Any:
    with worker.makefile("rb") as stream:
        return receive(stream, Plain)


def frame(kind: int, value: Any) -> bytes:
    return b"".join(pack(kind, value, Plain))


DONE = frame(ANSWER, ({"done": True}, [b"", b"xyz"]))


def test_messages_come_and_go_in_pieces() -> None:
    photo = bytes(range(256)) * 8192  # more than a socket takes at once

    async def run() -> None:
        async with wired() as (pool, starter):
            with starter.workers.get() as worker:
                for _ in range(2):
                    answer = ask(pool, photo)
                    job = await asyncio.to_thread(read_job, worker)
                    assert job == (JOB, ({"do": "it"}, [photo]))
                    for byte in DONE:
                        worker.send(bytes([byte]))
                        await asyncio.sleep(0)
                    assert await answer == ({"done": True}, [b"", b"xyz"])

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [b"", b"\xff" * 40, DONE[:-1], frame(READY, ()), frame(JOB, ({}, []))],
    ids=["nothing", "rubbish", "torn", "ready", "job"],
)
def test_a_worker_that_ends_or_breaks_the_rules_costs_its_job(said: bytes) -> None:
    async def run() -> None:
        async with wired() as (pool, starter):
            with starter.workers.get() as worker:
                answer, waits = ask(pool), ask(pool)
                await asyncio.to_thread(read_job, worker)
                worker.sendall(said)
                worker.shutdown(socket.SHUT_WR)
                with pytest.raises(WorkerDied):
                    await answer
            with await asyncio.to_thread(starter.workers.get) as worker:
                await asyncio.to_thread(read_job, worker)
                worker.sendall(DONE)
                assert await waits == ({"done": True}, [b"", b"xyz"])

    asyncio.run(run())


def test_a_failure_is_an_answer() -> None:
    async def run() -> None:
        async with wired() as (pool, starter):
            with starter.workers.get() as worker:
                for _ in range(2):
                    answer = ask(pool)
                    await asyncio.to_thread(read_job, worker)
                    worker.sendall(frame(FAILURE, AicliError("no")))
                    with pytest.raises(AicliError, match="no"):
                        await answer

    asyncio.run(run())


@linux
@pytest.mark.parametrize("size", [10, 4 << 20], ids=["sent", "half sent"])
def test_a_job_that_a_worker_did_not_take_is_given_to_the_next(size: int) -> None:
    async def run() -> None:
        async with wired() as (pool, starter):
            answer, behind = ask(pool, b"x" * size), ask(pool)
            with starter.workers.get() as worker:
                assert len(await asyncio.to_thread(worker.recv, 12)) == 12
            with await asyncio.to_thread(starter.workers.get) as worker:
                for job in (answer, behind):
                    await asyncio.to_thread(read_job, worker)
                    worker.sendall(DONE)
                    assert await job == ({"done": True}, [b"", b"xyz"])

    asyncio.run(run())


@pytest.mark.parametrize("said", [DONE, b"x" * (8 << 20)], ids=["an answer", "megabytes"])
def test_a_worker_that_speaks_unasked_is_replaced(said: bytes) -> None:
    async def run() -> None:
        async with wired() as (pool, starter):
            with starter.workers.get() as worker, contextlib.suppress(ConnectionError):
                await asyncio.to_thread(worker.sendall, said)
            with await asyncio.to_thread(starter.workers.get) as worker:
                answer = ask(pool)
                await asyncio.to_thread(read_job, worker)
                worker.sendall(DONE)
                assert await answer == ({"done": True}, [b"", b"xyz"])

    asyncio.run(run())
