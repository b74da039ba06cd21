"""The guest of a task, in the runtime that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aicli.errors import GuestError, Hint
from aicli.guest.client import Guest
from aicli.nn.engines import AnyEngine, load_engine
from aicli.options import SandboxOptions
from aicli.wasm import Limits, Runtime
from aicli.wasm.choose import Policy, choose_runtime

__all__ = ["load_engine_for", "load_guest", "runtime_for"]

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


def load_guest(task: str, models: Mapping[str, Path | bytes], engine: AnyEngine, options: SandboxOptions) -> Guest:
    """The guest that the options ask for, ready for a task."""
    path = Path(options.guest) if options.guest is not None else None
    return Guest(
        task,
        models,
        engine=engine,
        threads=options.threads,
        path=path,
        runtime=runtime_for(path, options.runtime, options.limits, trust_guest=options.trust_guest),
        limits=options.limits,
        fresh=options.fresh_guest,
    )


def runtime_for(path: Path | None, name: str | None, limits: Limits, *, trust_guest: bool) -> Runtime:
    """The runtime for the packaged guest, or for the one at ``path``.

    Raises :class:`GuestError` when it cannot keep the time limit of a guest that is not declared trustworthy.
    """
    policy = Policy.PACKAGED if path is None or trust_guest else Policy.FOREIGN
    runtime = choose_runtime(policy, name)
    if policy is Policy.FOREIGN and limits.timeout is not None and not runtime.can_interrupt:
        raise GuestError(
            f"{path}: {runtime.name} cannot interrupt a guest that hangs; install wasmtime",
            hint=Hint("trust_guest", "or use {} if you trust this one"),
        )
    return runtime
