"""The engine of a task, in this process or in one of its own."""

from __future__ import annotations

from aicli.nn.engines import AnyEngine, load_engine
from aicli.options import SandboxOptions

__all__ = ["load_engine_for"]

ISOLATED_MEMORY = 4 << 30
"""Bytes for a model of the user's in an engine process; more is a declared tensor that no classifier has."""


def load_engine_for(options: SandboxOptions) -> AnyEngine:
    """The engine that the options ask for; one in a process of its own is started and gets ready meanwhile."""
    engine = load_engine(options.engine)
    if not options.isolate:
        return engine
    from aicli.nn.isolation.engine import IsolatedEngine

    isolated = IsolatedEngine(engine, ISOLATED_MEMORY)
    isolated.start()
    return isolated
