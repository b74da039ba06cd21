"""How several jobs share the processor."""

from __future__ import annotations

__all__ = ["share_cores"]


def share_cores(jobs: int | None, threads: int | None, cores: int) -> tuple[int, int | None]:
    """Jobs and threads of each job, so that jobs x threads is at most the cores unless both were asked for.

    A single job leaves the threads to the engine's default (None).
    """
    if jobs is None:
        jobs = max(1, cores // (threads or 1))
    return jobs, threads or (None if jobs == 1 else max(1, cores // jobs))
