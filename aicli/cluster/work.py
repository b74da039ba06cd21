"""What an actor holds: a loaded task in a worker process of its own, that answers the rows of a table.

The actor is Ray's process, and Ray retries what was in it when it dies. So no photo is decoded there: one that kills
its process kills a worker of :mod:`aicli.workers`, and is one error record.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from aicli._blas import start_no_threads
from aicli.cluster.luggage import Luggage
from aicli.errors import AicliError, UsageError
from aicli.workers.child import Recipe
from aicli.workers.pool import Refused, WorkerPool

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answerer", "Outcome", "Work"]

Outcome = Any
"""What a worker answered, or the :class:`AicliError` that a photo ended with."""


class Report(Protocol):
    """Is told what an actor has answered, and what it ends with."""

    def __call__(self, photos: Sequence[Any], outcomes: Sequence[Outcome]) -> None: ...
    def stopped(self, error: AicliError) -> None: ...


class Work(Protocol):
    """What is done with the rows of a table; picklable."""

    @property
    def recipe(self) -> Recipe:
        """Of the worker process."""

    def read(self, table: pa.Table) -> list[Any]:
        """The photos in the rows."""

    def job(self, photo: Any) -> Any:
        """What the worker process is asked. Raises :class:`AicliError` where there is nothing to ask."""

    def answers(self, table: pa.Table, photos: Sequence[Any], outcomes: Sequence[Outcome]) -> pa.Table:
        """The rows that these become."""


class Answerer:
    """A Ray actor: ``__call__`` takes a table and gives one.

    ``timeout`` is in seconds a photo; ``report`` is told of photos that were answered and what came of them.
    """

    def __init__(self, work: Work, luggage: Luggage, timeout: float | None, report: Report | None) -> None:
        start_no_threads()
        self._work, self._report = work, report
        self._pool = WorkerPool(luggage.unpacked(work.recipe), 1, timeout).__enter__()

    def __call__(self, table: pa.Table) -> pa.Table:
        try:
            return self._answered(table)
        except AicliError as error:
            if self._report is not None:
                self._report.stopped(error)
            raise

    def _answered(self, table: pa.Table) -> pa.Table:
        photos = self._work.read(table)
        waiting = [self._begun(photo) for photo in photos]
        outcomes = [entry if isinstance(entry, AicliError) else outcome_of(entry) for entry in waiting]
        if self._report is not None:
            self._report(photos, outcomes)
        return self._work.answers(table, photos, outcomes)

    def _begun(self, photo: Any) -> Future[Any] | AicliError:
        try:
            return self._pool.submit(self._work.job(photo))
        except AicliError as error:
            return error


def outcome_of(future: Future[Any]) -> Outcome:
    """The answer or the photo's own error. Raises what every further photo would end with."""
    try:
        return future.result()
    except UsageError:
        raise
    except AicliError as error:
        return error
    except Refused as refused:
        raise refused.error from None
