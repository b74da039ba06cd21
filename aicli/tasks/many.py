"""Many images: the answers in input order, as they are ready, with memory that stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from aicli.errors import AicliError

__all__ = ["Failure", "run_many"]

Source = TypeVar("Source")
Answer = TypeVar("Answer")

AHEAD = 2
"""Images in hand per job: enough to keep every job busy while the caller waits for the oldest."""


@dataclass(frozen=True)
class Failure:
    """An image that could not be answered: its name as given, and the error."""

    image: str
    error: AicliError

    def to_dict(self) -> dict[str, Any]:
        return {"image": self.image, "error": str(self.error)}


def run_many(
    task: Callable[[Source], Answer],
    images: Iterable[Source],
    *,
    jobs: int = 1,
    make: Callable[[], Callable[[Source], Answer]] | None = None,
) -> Iterator[Answer | Failure]:
    """Calls a task for every image and yields an answer or a :class:`Failure` for each, in their order.

    With ``jobs`` above 1, ``make`` makes one more task for each further job, since a task serves one thread at a time.
    Images are taken from the iterable no faster than they are answered. Only :class:`AicliError` becomes a failure.
    """
    if jobs <= 1 or make is None:
        for image in images:
            yield attempt(task, image)
        return
    idle: SimpleQueue[Callable[[Source], Answer]] = SimpleQueue()
    for each in [task, *(make() for _ in range(jobs - 1))]:
        idle.put(each)

    def work(image: Source) -> Answer | Failure:
        free = idle.get()
        try:
            return attempt(free, image)
        finally:
            idle.put(free)

    waiting: deque[Future[Answer | Failure]] = deque()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="aicli-job")
    try:
        for image in images:
            waiting.append(pool.submit(work, image))
            if len(waiting) >= jobs * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def attempt(task: Callable[[Source], Answer], image: Source) -> Answer | Failure:
    try:
        return task(image)
    except AicliError as error:
        return Failure(str(getattr(image, "name", image)), error)
