"""A stranger's guest in a process of its own, which can be ended whatever the guest waits for.

The runtime interrupts a guest that computes, wasmtime at least; a network that runs for ever it does not, nor does it
outlive one that crashes. So the guest, its runtime and its interpreters live in a worker process, and this end hands it
pixels and waits no longer than the guest may take.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli._child import describe_end, limit_processor
from aicli._text import counted
from aicli.errors import AicliError, GuestFault, GuestTimeout, GuestTrap, Hint, UsageError, WorkerDied
from aicli.guest.client import Guest
from aicli.guest.requests import ClassifyRequest, DetectRequest
from aicli.nn.session import StageTime
from aicli.options import SandboxOptions
from aicli.tasks.engines import load_engine_for
from aicli.wasm import Runtime, load_runtime
from aicli.wasm.apart import SECONDS as COMPILE_SECONDS
from aicli.workers.codec import Codec
from aicli.workers.start import Worker, spawn

__all__ = ["GuestProcess"]

GRACE = 0.25
"""Seconds that the runtime in the process has to end its guest first."""
LOAD_SECONDS = COMPILE_SECONDS + 30.0
"""Seconds for what happens before any of the guest's code runs: imports, reading, compiling."""

LOAD = "load"
Job = tuple[str, tuple[Any, ...]]
Answer = tuple[Any, dict[str, StageTime], int]


@dataclass(frozen=True)
class GuestRecipe:
    """What the process makes its guest from."""

    task: str
    models: Mapping[str, Path | bytes]
    options: SandboxOptions
    """With the engine and the runtime by name."""
    pixel_models: Mapping[str, Path] | None = None

    @property
    def guest(self) -> Path:
        return Path(self.options.guest or "")

    @property
    def timeout(self) -> float | None:
        return self.options.limits.timeout

    def start(self) -> GuestServer:
        return GuestServer(self)


class GuestServer:
    """The other end: does one job at a time."""

    def __init__(self, recipe: GuestRecipe) -> None:
        self._recipe = recipe
        self._guest: Guest | None = None

    def __call__(self, job: Job) -> Answer:
        self._limit_processor()
        name, arguments = job
        guest = self._guest = self._guest or self._load()
        value = None if name == LOAD else getattr(guest, name)(*arguments)
        times = dict(guest.times)
        guest.times.clear()
        return value, times, guest.memory_size

    def _load(self) -> Guest:
        recipe, options = self._recipe, self._recipe.options
        return Guest(
            recipe.task,
            recipe.models,
            engine=load_engine_for(options),
            threads=options.threads,
            path=recipe.guest,
            runtime=options.runtime,
            limits=options.limits,
            fresh=options.fresh_guest,
            start=False,
            pixel_models=recipe.pixel_models,
        )

    def _limit_processor(self) -> None:
        """If the other end is gone and cannot end this process, the system does, some time after the deadline."""
        limit_processor(LOAD_SECONDS + (self._recipe.timeout or 0) * (os.cpu_count() or 1))


class GuestProcess:
    """As :class:`aicli.guest.client.Guest`, for one that is nobody's to trust. Another thread may use it each time."""

    has_warm_copies = False

    def __init__(self, recipe: GuestRecipe) -> None:
        """Raises :class:`aicli.errors.GuestError` when the module cannot serve the task."""
        self._recipe = recipe
        self._worker: Worker | None = None
        self._closed = False
        self.runtime: Runtime = load_runtime(recipe.options.runtime)
        self.times: dict[str, StageTime] = {}
        self.memory_size = 0
        try:
            self.prepare()
        except GuestFault as error:
            raise error.of(recipe.guest) from None

    def close(self) -> None:
        """Ends the process; nothing can be asked of it any more."""
        self._closed = True
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def prepare(self) -> None:
        """Starts the process, and the instance for the next image, if there is none."""
        self._run("prepare")

    def require(self, request: ClassifyRequest) -> None:
        """See :meth:`Guest.require`."""
        self._run("require", request)

    def classify(self, pixels: NDArray[np.uint8], request: ClassifyRequest) -> list[tuple[int, float]]:
        """See :meth:`Guest.classify`."""
        found: list[tuple[int, float]] = self._run("classify", pixels, request)
        return found

    def detect_faces(self, pixels: NDArray[np.uint8], request: DetectRequest) -> NDArray[np.float32]:
        """See :meth:`Guest.detect_faces`."""
        found: NDArray[np.float32] = self._run("detect_faces", pixels, request)
        return found

    def _run(self, name: str, *arguments: Any) -> Any:
        if self._closed:
            raise UsageError("it was closed; make another one")
        if self._worker is None:
            self._worker = self._start()
            self._ask(LOAD, (), LOAD_SECONDS)
        timeout = self._recipe.timeout
        return self._ask(name, arguments, None if timeout is None else timeout + GRACE)

    def _start(self) -> Worker:
        worker = spawn(self._recipe, Codec, group=True)
        weakref.finalize(self, worker.end)
        try:
            worker.wait_until_loaded(LOAD_SECONDS)
        except WorkerDied:
            worker.end()
            raise
        return worker

    def _ask(self, name: str, arguments: tuple[Any, ...], seconds: float | None) -> Any:
        worker = self._worker
        assert worker is not None
        try:
            found, times, self.memory_size = worker.ask((name, arguments), seconds)
        except TimeoutError:
            self._worker = None
            worker.close()  # its end is the business of the clock that has cut its connection
            raise self._late(name) from None
        except EOFError:
            self._worker = None
            raise GuestTrap(f"the guest's process died ({describe_end(worker.end())})") from None
        except AicliError:  # the guest's answer
            raise
        except BaseException:  # Ctrl-C: the guest is in the middle of something
            self._worker = None
            worker.end()
            raise
        for stage, spent in times.items():
            total = self.times.setdefault(stage, StageTime())
            total.calls += spent.calls
            total.seconds += spent.seconds
        return found

    def _late(self, name: str) -> GuestTimeout:
        if name == LOAD:
            return GuestTimeout(f"{self._recipe.guest}: loading the guest takes longer than {LOAD_SECONDS:g} seconds")
        return GuestTimeout(
            f"the guest used up its {counted(self._recipe.timeout or 0, 'second')}", hint=Hint("limits.timeout")
        )
