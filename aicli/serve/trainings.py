"""Trainings under way and done: one at a time, in a process of its own, within bounds; the last results are kept.

The photos go to the process in batches. What comes back are features, which this process keeps as bytes: a photo that
crashes or hangs the process is found by trying those of its batch one by one, and left out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aicli.errors import WorkerDied
from aicli.serve.http.answers import Progress, TrainingReport, TrainingRun
from aicli.serve.http.bodies import Budget, Held
from aicli.serve.http.problems import Problem
from aicli.serve.pool import Busy, DeadlineExceeded, Pool
from aicli.serve.settings import Settings
from aicli.workers.codec import Frame

__all__ = ["Run", "Trainings"]

log = logging.getLogger("aicli.serve")
BATCH_PHOTOS, BATCH_BYTES = 16, 16 << 20
PHOTO_TIME = 20.0
"""Seconds that one photo may take with all of its views."""
KEPT, KEPT_TIME = 4, 3600.0
"""Results that are kept, and for how many seconds."""


@dataclass
class Run:
    """One training: what was sent, how far it is, and what came out."""

    held: Held
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    photos: list[bytes] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    state: str = "running"
    done: int = 0
    failed: int = 0
    error: Problem | None = None
    training: TrainingReport | None = None
    model: bytes = b""
    page: bytes = b""
    begun: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None

    def to_dict(self) -> TrainingRun:
        progress: Progress = {"done": self.done, "failed": self.failed, "total": len(self.names)}
        facts: TrainingRun = {"id": self.id, "state": self.state, "photos": progress}
        if self.error is not None:
            facts["error"] = {"code": self.error.code, "message": self.error.message}
        if self.training is not None:
            facts["training"] = self.training
        return facts


class Trainings:
    """All trainings that this service knows of."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._current: Run | None = None

    def reserve(self, budget: Budget) -> Run:
        """A place for a training whose photos are still to come. Raises :class:`Problem` 503 while another has it."""
        if self._current is not None:
            raise Problem(503, "busy", "another training is under way; try again when it is done", retry_after=10)
        self._current = Run(Held(budget))
        return self._current

    def release(self, run: Run) -> None:
        """Gives the place back, and the memory of the photos."""
        run.photos = []
        run.held.release()
        if self._current is run:
            self._current = None

    def begin(self, run: Run) -> None:
        self._forget_old()
        self._runs[run.id] = run
        run.task = asyncio.ensure_future(self._work(run))
        run.task.add_done_callback(lambda _: self.release(run))

    def find(self, id: str) -> Run:
        """Raises :class:`Problem` 404."""
        self._forget_old()
        if id not in self._runs:
            raise Problem(404, "not_found", "there is no training of this id; results are kept for an hour at most")
        return self._runs[id]

    async def drop(self, id: str) -> None:
        """Stops a training, or forgets what it gave. Raises :class:`Problem` 404."""
        run = self.find(id)
        del self._runs[id]
        if run.task is not None:
            run.task.cancel()
            with suppress(asyncio.CancelledError):
                await run.task

    async def close(self) -> None:
        for id in list(self._runs):
            await self.drop(id)
        await self.pool.close()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - KEPT_TIME
        ended = [run for run in self._runs.values() if run.state != "running"]
        for place, run in enumerate(reversed(ended)):
            if place >= KEPT or run.begun < oldest:
                del self._runs[run.id]

    async def _work(self, run: Run) -> None:
        try:
            await self._train(run)
            run.state = "done"
        except (Problem, Busy, DeadlineExceeded, WorkerDied) as error:
            run.state, run.error = "failed", problem_of(error, self.settings)
        except asyncio.CancelledError:
            run.state = "cancelled"
            raise
        except Exception:
            log.exception("training")
            run.state, run.error = "failed", Problem(500, "internal", "the service failed on this training")
        finally:
            fields = {"id": run.id, "state": run.state, "photos": len(run.names), "failed": run.failed}
            log.info("training", extra={"fields": {**fields, "seconds": round(time.monotonic() - run.begun, 2)}})

    async def _train(self, run: Run) -> None:
        until = time.monotonic() + self.settings.train_time
        job: dict[str, Any] = {"kind": "features", **run.options}
        records: list[dict[str, Any]] = []
        features: list[bytes] = []
        pictures: list[bytes] = []
        for places in batches(run.photos):
            for header, blobs in await self._features(run, job, places, until):
                records += header["photos"]
                features += blobs[::2]
                pictures += blobs[1::2]
            run.done, run.failed = len(records), sum("error" in record for record in records)
        run.photos = []
        run.held.release()
        job |= {"kind": "fit", "names": run.names, "labels": run.labels, "photos": records}
        job["sizes"] = [len(picture) for picture in pictures]
        header, blobs = await self._ask(run, (job, [b"".join(features), b"".join(pictures)]), until)
        run.training, (run.model, run.page) = header["training"], blobs

    async def _features(self, run: Run, job: dict[str, Any], places: Sequence[int], until: float) -> list[Frame]:
        """The answers for these photos: one for all, or where that ended the process one for each."""
        names, photos = [run.names[place] for place in places], [run.photos[place] for place in places]
        try:
            return [await self._ask(run, ({**job, "names": names}, photos), until, PHOTO_TIME * len(places))]
        except (WorkerDied, DeadlineExceeded) as error:
            if time.monotonic() >= until:
                raise
            if len(places) == 1:
                why = "took too long" if isinstance(error, DeadlineExceeded) else "crashed, or needed too much memory"
                return [({"photos": [{"error": f"{names[0]}: left out: reading it {why}"}]}, [])]
        return [answer for place in places for answer in await self._features(run, job, [place], until)]

    async def _ask(self, run: Run, frame: Frame, until: float, seconds: float = float("inf")) -> Frame:
        left = max(0.0, min(seconds, until - time.monotonic()))
        job, given = frame
        header, blobs = await self.pool.run(({**job, "seconds": left}, given), left, run.id)
        if "error" in header:
            raise Problem(int(header["status"]), str(header["error"]["code"]), str(header["error"]["message"]))
        return header, blobs


def batches(photos: Sequence[bytes]) -> Iterator[list[int]]:
    """The places of photos that are sent together."""
    places: list[int] = []
    size = 0
    for place, photo in enumerate(photos):
        if places and (len(places) == BATCH_PHOTOS or size + len(photo) > BATCH_BYTES):
            yield places
            places, size = [], 0
        places.append(place)
        size += len(photo)
    if places:
        yield places


def problem_of(error: Exception, settings: Settings) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, DeadlineExceeded):
        seconds = settings.train_time
        return Problem(504, "deadline", f"the training took longer than {seconds:g} s; send fewer photos")
    if isinstance(error, WorkerDied):
        return Problem(422, "crashed", "the training crashed, or used more memory than it may; send fewer photos")
    return Problem(503, "busy", "the process that trains does not start; try again", retry_after=10)
