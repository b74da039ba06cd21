"""Requests to a service that trains (``aicli serve --train``), and for its functions: forms of photos, ids, reports.

As ``http_requests.py``, with a training process that is only pretended and fails in every way that one can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from random import Random
from types import MappingProxyType
from typing import Any

from aicli.errors import WorkerDied
from aicli.serve.http.bodies import Budget
from aicli.serve.pool import DeadlineExceeded
from aicli.serve.trainings import Run
from aicli.workers.codec import Frame
from tests.fuzz.driver import Outcome
from tests.fuzz.http_requests import TOKEN, HttpRequests, Sensible, frame

__all__ = ["TrainingRequests"]

IDS = 4
MODULE = b"\0asm\1\0\0\0"
BOUNDARY = "Content-Type: multipart/form-data; boundary=b"
ALLOWED = f"Authorization: Bearer {TOKEN}"


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """A form of files: name, file name, content."""
    lines = [
        b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), file.encode(), content)
        for name, file, content in parts
    ]
    return b"".join(lines) + b"--b--\r\n"


def photos(*names: str, content: bytes = b"photo") -> bytes:
    return form(*((name, f"{number}.jpg", content) for number, name in enumerate(names)))


GOOD = (
    photos("wren", "robin", "wren", "robin"),
    photos("wren", "robin", "wren", "robin", content=b"dies"),
    photos("wren", "robin", "wren", "robin", content=b"late"),
    photos("wren", "robin", "wren", "robin", content=b"fails"),
    photos("wren", "robin", "wren", "robin", content=b"p" * 20_000),
    form(("a", "x.jpg", b"1"), ("b", "x.jpg", b"2"), ("a", "x.jpg", b"3"), ("b", "../../x", b"4")),
    form(("<b>", "\x1b[31m", b"1"), ("&", "", b"2"), ("<b>", "y", b"3"), ("&", "z", b"4")),
)
WRONG = (
    photos("wren", "wren"),
    photos("wren", "robin", "wren"),
    photos(" ", "robin", "wren"),
    photos(*(str(number) for number in range(12) for _ in range(2))),
    photos(*("wren", "robin") * 30),
    GOOD[0][:-9],
    b"",
)
SENSIBLE: Sensible = (
    ("POST", ("/v1/train", "/v1/train", "/v1/train?augment=true", "/v1/train?base=dog_breeds"), (BOUNDARY,), GOOD),
    ("POST", ("/v1/train", "/v1/train?base=mtcnn", "/v1/train?seed=-1"), (BOUNDARY, "X: y"), WRONG),
    ("GET", ("/v1/train", "/train", *(f"/v1/train/{number}" for number in range(IDS))), ("Accept: */*",), (b"",)),
    ("GET", tuple(f"/v1/train/{n}/{what}" for n in range(IDS) for what in ("model", "report")), ("X: y",), (b"",)),
    ("DELETE", tuple(f"/v1/train/{number}" for number in range(IDS)), ("X: y", "Origin: null"), (b"",)),
    ("POST", ("/v1/functions",), (ALLOWED,), (MODULE, b"\0asm" + b"w" * 900)),
    ("POST", ("/v1/functions/{id}/run", "/v1/functions/{id}/run?arg=1&arg=x"), (ALLOWED, BOUNDARY), (b"body", GOOD[0])),
    ("GET", ("/v1/functions", "/v1/functions/{id}"), (ALLOWED,), (b"",)),
    ("DELETE", ("/v1/functions/{id}",), (ALLOWED, "X: y"), (b"",)),
)  # fmt: skip
FUNCTION = "93a44bbb96c751218e4c"
"""The id of the shortest module, which is made of its content."""


class TrainingRequests(HttpRequests):
    """What strangers reach of a service with all that it can be asked to do."""

    name = "http-training"
    sensible = tuple(
        (method, tuple(path.replace("{id}", FUNCTION) for path in paths), headers, bodies)
        for method, paths, headers, bodies in SENSIBLE
    )
    allowed: Mapping[str, Any] = MappingProxyType(
        {"functions": True, "train": True, "train_body": 90_000, "train_photos": 40, "train_classes": 10}
    )

    def prepare(self) -> None:
        super().prepare()
        trainings = self.app.service.trainings
        self.ids = count()
        reserve = trainings.reserve

        def numbered(budget: Budget) -> Run:
            run = reserve(budget)
            run.id = str(next(self.ids) % IDS)  # instead of one by chance
            return run

        trainings.reserve = numbered  # type: ignore[method-assign]
        trainings.pool.run = train  # type: ignore[method-assign, assignment]

    def opening(self, random: Random) -> bytes:
        """A training and a function, for others to speak of."""
        begun = [("POST", "/v1/train", BOUNDARY, random.choice(GOOD)), ("POST", "/v1/functions", ALLOWED, MODULE)]
        return b"".join(frame(random, method, path, "1", [header], body) for method, path, header, body in begun)

    def try_bytes(self, name: str, data: bytes, random: Random) -> Outcome:
        self.ids = count()
        self.app.service.trainings._runs.clear()
        return super().try_bytes(name, data, random)

    async def settle(self) -> None:
        trainings = self.app.service.trainings
        for run in list(trainings._runs.values()):
            if run.task is not None:
                with suppress(asyncio.CancelledError):
                    await run.task
            assert run.state in ("done", "failed", "cancelled") and not run.photos
        assert trainings._current is None


async def train(frame: Frame, seconds: float, key: str = "", *, once: bool = False) -> Frame:
    """What the training process would say."""
    await asyncio.sleep(0)
    job, blobs = frame
    if job["kind"] == "fit":
        return {"training": {"model": "own.tflite", "photos": len(job["names"])}}, [b"model", b"<p>report"]
    for content in blobs:
        if content == b"dies":
            raise WorkerDied("the worker process ended")
        if content == b"late":
            raise DeadlineExceeded("the work took longer than the deadline")
        if content == b"fails":
            return {"status": 422, "error": {"code": "image", "message": "no"}}, []
    return {"photos": [{"name": name} for name in job["names"]]}, [b"features", b"picture"] * len(blobs)
