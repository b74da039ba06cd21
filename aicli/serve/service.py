"""The state of one running service, and what all endpoints share."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from starlette.requests import Request

from aicli.errors import WorkerDied
from aicli.serve.http.admission import Admission, Place
from aicli.serve.http.bodies import Budget, Clock, read_body
from aicli.serve.http.metrics import Metrics
from aicli.serve.http.origins import host_name
from aicli.serve.http.problems import Problem
from aicli.serve.pool import REPLACED, Busy, DeadlineExceeded, Pool
from aicli.serve.settings import LOOPBACK, Settings, is_loopback
from aicli.serve.store import Store
from aicli.serve.trainings import Trainings
from aicli.serve.worker.folders import remove_abandoned
from aicli.serve.worker.recipes import quarantine_starter, trainer_starter, trusted_starter
from aicli.workers.codec import Frame

__all__ = ["Service", "busy_problem"]

log = logging.getLogger("aicli.serve")
QUARANTINE_QUEUE = 8
UNWATCHED = 0.05
"""Seconds after which work that is not done is given up when its client goes away: most is done before."""


class Service:
    """Settings, worker pools, uploads and counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.store = Store(settings.folder)
        self.budget = Budget(settings.buffered)
        self.draining = False
        sandbox = settings.sandbox()
        starter = trusted_starter(sandbox.replace(fresh_guest=True), settings.processes)
        self.pool = Pool("tasks", settings.processes, settings.queue, starter, self.report)
        memory = settings.quarantine_memory
        limits = sandbox.limits.replace(memory=memory // 2)
        foreign = quarantine_starter(sandbox.replace(limits=limits), memory)
        self.quarantine = Pool("quarantine", 1, QUARANTINE_QUEUE, foreign, self.report)
        trainer = trainer_starter(sandbox.replace(limits=limits), memory)
        self.trainings = Trainings(settings, Pool("training", 1, 1, trainer, self.report))
        self.tasks_admission, self.quarantine_admission = Admission(self.pool), Admission(self.quarantine)

    async def start(self) -> None:
        """Starts the workers; raises :class:`aicli.errors.AicliError` when they cannot."""
        self.store.prepare()
        if removed := await asyncio.to_thread(remove_abandoned):
            log.info("removed folders of a killed service", extra={"fields": {"folders": removed}})
        await self.pool.start()
        await self.quarantine.start()
        if self.settings.train:
            await self.trainings.pool.start()

    async def close(self) -> None:
        await self.trainings.close()
        await asyncio.gather(self.pool.close(), self.quarantine.close())

    def report(self, event: str, fields: dict[str, Any]) -> None:
        """Logs what became of a worker, and counts those that were replaced."""
        log.log(logging.WARNING if event == REPLACED else logging.ERROR, event, extra={"fields": fields})
        if event == REPLACED:
            self.metrics.add("aicli_worker_restarts_total", {"pool": fields["pool"]})

    def require_token(self, request: Request) -> None:
        """Raises :class:`Problem` 401 or 403 unless the request carries the token."""
        if self.settings.token is None:
            raise Problem(403, "no_token", "this needs a token, and the service was started without one")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.settings.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem(401, "token", "give the service's token: Authorization: Bearer TOKEN")

    def require_trust(self, request: Request) -> None:
        """Raises :class:`Problem` unless the request may bring a model: with the token, or from this machine.

        A Host of another name is a proxy's, which passes strangers' requests on.
        """
        local = host_name(request.headers.get("host", "")) in LOOPBACK
        if not (is_loopback(self.settings.host) and local):
            self.require_token(request)

    async def body(self, request: Request, place: Place) -> bytes:
        """The whole body, whose memory the request holds until its answer has been sent."""
        held = request.scope["aicli"]["held"]
        place.await_body()
        body = await read_body(request, held, limit=self.settings.max_body, seconds=self.settings.body_time)
        place.body_is_there()
        return body

    async def run(
        self,
        request: Request,
        pool: Pool,
        job: dict[str, Any],
        blobs: Sequence[bytes],
        key: str = "",
        *,
        once: bool = False,
    ) -> Frame:
        """A job's answer, unless the client goes away before. Raises :class:`Problem` for every failure."""
        begun = time.perf_counter()
        try:
            with Watch(request) as watch:
                header, answer = await pool.run((job, blobs), self.settings.deadline, key, once=once)
        except Busy as busy:
            raise busy_problem(busy) from None
        except DeadlineExceeded as late:
            raise Problem(504, "deadline", f"{late} ({self.settings.deadline:g} s)") from None
        except WorkerDied as died:
            raise self.died(pool, died) from None
        if watch.struck:
            raise Problem(499, "client_gone", "the client went away")
        spent = float(header.pop("seconds", 0.0))
        request.scope["aicli"]["work_ms"] = round(1000 * spent, 2)
        request.scope["aicli"]["queue_ms"] = round(1000 * (time.perf_counter() - begun - spent), 2)
        if "error" in header:
            raise Problem(int(header["status"]), str(header["error"]["code"]), str(header["error"]["message"]))
        return header, answer

    def died(self, pool: Pool, cause: WorkerDied) -> Problem:
        if pool is self.quarantine:
            return Problem(422, "crashed", "the uploaded model or function crashed, or used more memory than it may")
        return Problem(500, "worker_died", f"{cause}; try again")

    def update_gauges(self) -> None:
        for pool in (self.pool, self.quarantine, *([self.trainings.pool] if self.settings.train else [])):
            labels = {"pool": pool.name}
            self.metrics.set("aicli_workers", pool.ready, labels)
            self.metrics.set("aicli_workers_busy", pool.busy, labels)
            self.metrics.set("aicli_queue_waiting", pool.waiting, labels)
        self.metrics.set("aicli_buffered_bytes", self.budget.used)
        self.metrics.set("process_resident_memory_bytes", resident_bytes())


class Watch(Clock):
    """Ends what is within the ``with`` when the client goes away, not before it has taken ``UNWATCHED`` seconds."""

    def __init__(self, request: Request) -> None:
        super().__init__(UNWATCHED)
        self._request = request
        self._watcher: asyncio.Task[None] | None = None

    def _strike(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            await until_gone(self._request)
        except Exception:  # which says nothing of the client
            log.exception("unhandled")
        else:
            super()._strike()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> bool:
        watcher, self._watcher = self._watcher, None  # whose end remembers where it was, and so this object
        if watcher is not None:
            watcher.cancel()
        return super().__exit__(kind, error, trace)


def busy_problem(busy: Busy) -> Problem:
    return Problem(503, "busy", "all workers are busy and the queue is full", retry_after=busy.retry_after)


async def until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
