"""Who may come in: places are given out before a body is read, so that a request too many costs next to nothing."""

from __future__ import annotations

import asyncio
from types import TracebackType

from aicli.serve.pool import Busy, Pool

__all__ = ["Admission", "Place"]

PATIENCE = 1.0
"""Seconds after which a request whose body is still on its way gives its place to others, until the body is there."""
REFUSALS = 100.0
"""Refusals a second that are answered at once. Clients that come back without a pause would otherwise have the front
process do nothing but refuse, with the processor that the workers need."""
LONGEST_WAIT = 2.0


class Admission:
    """The places of a pool: one for each worker, and one for each request that may wait."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.taken = 0
        self._next = 0.0

    def place(self) -> Place:
        """A place, for use with ``with``. Raises :class:`Busy` when there is none."""
        return Place(self)

    def take(self) -> None:
        if self.taken >= self.pool.size + self.pool.queue:
            raise Busy(self.pool.retry_after())
        self.taken += 1

    def give(self) -> None:
        self.taken -= 1

    async def pause(self) -> None:
        """Waits until a refusal may be answered: not at all, unless there are many."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next + 1 / REFUSALS, now - 0.5)
        if self._next > now:
            await asyncio.sleep(min(LONGEST_WAIT, self._next - now))


class Place:
    """A request's right to a worker."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self._held = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Place:
        self._take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._give()

    def _take(self) -> None:
        if not self._held:
            self.admission.take()
            self._held = True

    def _give(self) -> None:
        if self._held:
            self._held = False
            self.admission.give()

    def await_body(self) -> None:
        """The body is being read: if that takes long, others may have the place."""
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._give)

    def body_is_there(self) -> None:
        """Raises :class:`Busy` when the place was lost and no other is free."""
        if self._timer is not None:
            self._timer.cancel()
        self._take()
