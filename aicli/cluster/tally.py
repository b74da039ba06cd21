"""How far a run is: an actor without a core that the others report to."""

from __future__ import annotations

import time
from typing import NamedTuple

from aicli.errors import AicliError

__all__ = ["MOST_LINES", "State", "Tally", "Told"]

ALIVE_SECONDS = 30.0
MOST_LINES = 20
"""So many photos that failed are told one by one."""


class Told(NamedTuple):
    """What an actor says of some photos: how many it answered, which failed, and remarks of a kind."""

    actor: str
    node: str
    done: int
    failed: int
    failures: tuple[str, ...]
    remarks: dict[str, str]


class State(NamedTuple):
    """The sum of all reports; ``failures`` and ``remarks`` those that were not told before."""

    done: int
    failed: int
    actors: int
    nodes: int
    failures: tuple[str, ...]
    remarks: tuple[str, ...]
    end: AicliError | None = None
    """What ends the run: Ray itself tells of it with a traceback as text."""


class Tally:
    """Adds up the reports. A photo that was answered twice, since its actor was killed, counts twice: the records are
    counted when they are written."""

    def __init__(self) -> None:
        self._done = self._failed = self._told = 0
        self._seen: dict[str, tuple[str, float]] = {}
        self._failures: list[str] = []
        self._known: set[str] = set()
        self._remarks: list[str] = []
        self._end: AicliError | None = None

    def stop(self, error: AicliError) -> None:
        """Keeps what no photo can be answered with."""
        self._end = self._end or error

    def add(self, report: Told) -> None:
        self._done += report.done
        self._failed += report.failed
        self._seen[report.actor] = (report.node, time.monotonic())
        for line in report.failures:
            if self._told < MOST_LINES and line not in self._known:
                self._known.add(line)
                self._told += 1
                self._failures.append(line)
        for kind, text in report.remarks.items():
            if kind not in self._known:
                self._known.add(kind)
                self._remarks.append(text)

    def state(self) -> State:
        since = time.monotonic() - ALIVE_SECONDS
        nodes = [node for node, last in self._seen.values() if last >= since]
        failures, self._failures = tuple(self._failures), []
        remarks, self._remarks = tuple(self._remarks), []
        return State(self._done, self._failed, len(nodes), len(set(nodes)), failures, remarks, self._end)
