"""Many images: the answers in input order, as they are ready, with memory that stays flat."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

from aicli._text import shown
from aicli.errors import AicliError, UsageError
from aicli.nn.engines import available_cores, share_cores
from aicli.options import SandboxOptions
from aicli.workers.child import Recipe
from aicli.workers.pool import Refused, WorkerPool

__all__ = ["PENDING", "Failure", "TaskRecipe", "in_order", "run_many"]

AHEAD = 4
"""Images in hand per job: enough to keep every job busy while the caller waits for the oldest."""

PENDING: Any = object()
"""What an iterable of images may yield to say that the next one is not known yet."""

PATIENCE = 0.05


class Failure(NamedTuple):
    """An image that could not be answered: its name as given, and the error."""

    image: str
    error: AicliError

    def named(self) -> Failure:
        """The same, whose error's line begins with the image unless it begins with something else already."""
        self.error.of(shown(self.image))
        return self

    @property
    def bare(self) -> str:
        """The error's line without an option that may help, for a reader who may not have it."""
        return self.error.told(lambda option: None)

    def to_dict(self) -> dict[str, Any]:
        return {"image": self.image, "error": str(self.error)}


class TaskRecipe(NamedTuple):
    """How a worker process makes a Classifier or FaceDetector of its own."""

    make: Callable[..., Callable[[Any], Any]]
    options: SandboxOptions

    @classmethod
    def for_jobs(cls, make: Callable[..., Callable[[Any], Any]], options: SandboxOptions, jobs: int) -> TaskRecipe:
        """The recipe of a task that is one of ``jobs``: its ``threads`` are its share of the cores."""
        if jobs < 1:
            raise UsageError(f"jobs is {jobs!r}; it must be an integer from 1 on")
        _, threads = share_cores(jobs, options.threads, available_cores())
        return cls(make, options.replace(threads=threads))

    def start(self) -> Callable[[Any], Any]:
        return self.make(**self.options.keywords())


def run_many(
    task: Callable[[Any], Any],
    images: Iterable[Any],
    *,
    jobs: int = 1,
    recipe: Recipe | None = None,
    timeout: float | None = None,
) -> Iterator[Any]:
    """Calls a task for every image and yields an answer or a :class:`Failure` for each, in their order.

    With ``jobs`` above 1, or with ``timeout`` (seconds per image), worker processes made from ``recipe`` do the work;
    a process that crashes or is late costs its own image only. Images are taken from the iterable no faster than they
    are answered. Closing the generator ends the processes. Only :class:`AicliError` becomes a failure.
    """
    if isinstance(images, (str, bytes, os.PathLike)):
        raise TypeError(f"many images are an iterable, such as [{images!r:.80}], not {type(images).__name__}")
    return _answers(task, images, jobs, recipe, timeout)


def _answers(
    task: Callable[[Any], Any], images: Iterable[Any], jobs: int, recipe: Recipe | None, timeout: float | None
) -> Iterator[Any]:
    if recipe is None or (jobs <= 1 and timeout is None):
        for image in images:
            yield attempt(task, image)
        return
    with WorkerPool(recipe, max(1, jobs), timeout) as pool:
        sender = Sender(pool) if isinstance(recipe, TaskRecipe) else pool  # those of another recipe are values already
        for image, future in in_order(sender, images, max(1, jobs)):
            try:
                yield future.result()
            except AicliError as error:
                yield Failure(name_of(image), error)
            except Refused as refused:
                raise refused.error from None


class Sender:
    """Submits images to workers, whatever they are: a stream is read here, where it is open."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def submit(self, image: Any) -> Future[Any]:
        from aicli.image.decode import as_value

        try:
            return self._pool.submit(as_value(image))
        except (AicliError, TypeError) as error:  # told in its turn
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed


def in_order(pool: WorkerPool | Sender, images: Iterable[Any], jobs: int) -> Iterator[tuple[Any, Future[Any]]]:
    """Every image with its finished future, in order; a finished one is not kept waiting for the next image."""
    waiting: deque[tuple[Any, Future[Any]]] = deque()
    source = iter(images)
    more = True
    while more or waiting:
        if waiting and (not more or len(waiting) >= jobs * AHEAD or waiting[0][1].done()):
            image, future = waiting.popleft()
            wait([future])
            yield image, future
            continue
        image = next(source, source)
        if image is source:
            more = False
        elif image is PENDING:
            if waiting:
                wait([waiting[0][1]], PATIENCE)
        else:
            waiting.append((image, pool.submit(image)))


def attempt(task: Callable[[Any], Any], image: Any) -> Any:
    try:
        return task(image)
    except AicliError as error:
        return Failure(name_of(image), error)


def name_of(image: Any) -> str:
    """What stands for an image in a failure: its path, or its name where it has one."""
    name = os.fsdecode(image) if isinstance(image, (str, os.PathLike)) else getattr(image, "name", None)
    return name if isinstance(name, str) else f"<{type(image).__name__}>"
