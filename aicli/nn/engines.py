"""The inference engines: two packages with one Interpreter API."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Protocol

from aicli._record import Record
from aicli._versions import installed_version
from aicli.errors import ModelError, UnavailableError

__all__ = [
    "ENGINES",
    "AnyEngine",
    "Engine",
    "EngineDied",
    "available_cores",
    "installed_engines",
    "interpreter_maker",
    "load_engine",
    "native_library",
    "share_cores",
]

ENGINES = {
    "litert": ("ai_edge_litert", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite-runtime"),
}
"""Every engine, the faster first: its import name and its distribution."""
LIBRARIES = {"litert": "_pywrap_litert_interpreter_wrapper.so"}
"""What of a package Python loads first on Linux, and with it all that it needs."""


class EngineDied(RuntimeError):
    """The process in which an engine ran has ended, or was ended because it took too long.

    ``signal`` is what the system or somebody else ended it with, if that is known.
    """

    def __init__(self, message: str, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


class AnyEngine(Protocol):
    """What makes interpreters: an :class:`Engine` here, or an ``IsolatedEngine`` whose interpreters live elsewhere."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def xnnpack(self) -> bool:
        """Whether XNNPACK's kernels take the operators that they can."""

    @property
    def contained(self) -> bool:
        """Whether a crash of a model is one of another process."""

    def default_threads(self) -> int: ...

    def interpreter(self, model: Path | bytes, threads: int) -> Any: ...

    def allocate(self, interpreter: Any) -> None: ...

    def set_deadline(self, deadline: float | None) -> None:
        """The time of ``time.monotonic()`` at which a model is stopped, where it can be."""


class Engine(Record):
    """A TFLite interpreter package."""

    name: str
    version: str
    make: Callable[..., Any]
    """The package's ``Interpreter``."""
    xnnpack: bool = True

    @property
    def contained(self) -> bool:
        return False

    def default_threads(self) -> int:
        """Threads for one interpreter when nobody says how many.

        tflite-runtime gets one: with two it can stall, its threads spinning for each other.
        """
        return 1 if self.name == "tflite-runtime" else min(4, available_cores())

    def interpreter(self, model: Path | bytes, threads: int) -> Any:
        """An interpreter over a model file or its bytes, tensors not yet allocated; 0 threads are the default number.

        Raises :class:`ModelError` when it is not a TFLite model that this engine can run.
        """
        source = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
        name = model.name if isinstance(model, Path) else "the model"
        try:
            return self.make(num_threads=threads or self.default_threads(), **source)
        except (ValueError, RuntimeError, TypeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown reason"
            raise ModelError(f"not a TFLite model that {self.name} can run: {reason}").of(name) from None

    def set_deadline(self, deadline: float | None) -> None:
        """Nothing: what runs in this process cannot be stopped."""

    def allocate(self, interpreter: Any) -> None:
        """``interpreter.allocate_tensors()``, quietly."""
        allocate(interpreter)


NOTICE = b"INFO: "
_allocate_lock = threading.Lock()
_has_allocated = False


def allocate(interpreter: Any) -> None:
    """``interpreter.allocate_tensors()`` without the notice that TFLite writes to standard error the first time.

    TFLite has no option for it. Standard error is collected for that one call, and all but notices is passed on.
    """
    global _has_allocated
    if _has_allocated:
        interpreter.allocate_tensors()
        return
    with _allocate_lock, scratch_file() as collected:
        saved = os.dup(2)
        os.dup2(collected.fileno(), 2)
        try:
            interpreter.allocate_tensors()
            _has_allocated = True
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            collected.seek(0)
            rest = b"".join(line for line in collected if not line.startswith(NOTICE))
            if rest:
                os.write(2, rest)


def scratch_file() -> IO[bytes]:
    """A nameless file; in memory where the system has that, which spares the import of tempfile."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("aicli"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def available_cores() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def share_cores(jobs: int | None, threads: int | None, cores: int) -> tuple[int, int | None]:
    """Jobs and threads of each job, so that jobs x threads is at most the cores unless both were asked for.

    A single job leaves the threads to the engine's default (None).
    """
    if jobs is None:
        jobs = max(1, cores // (threads or 1))
    return jobs, threads or (None if jobs == 1 else max(1, cores // jobs))


@lru_cache(maxsize=1)
def installed_engines() -> tuple[str, ...]:
    return tuple(name for name, (package, _) in ENGINES.items() if find_spec(package) is not None)


def native_library() -> str | None:
    """The file of the engine that is taken when nobody asks for one, where it is known."""
    name = next(iter(installed_engines()), "")
    library = LIBRARIES.get(name)
    spec = find_spec(ENGINES[name][0]) if library is not None else None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = os.path.join(folder, library or "")
        if os.path.isfile(path):
            return path
    return None


def load_engine(name: str | None = None, *, xnnpack: bool = True) -> Engine:
    """The engine of this name, else of ``AICLI_ENGINE``, else the first that is installed.

    Without ``xnnpack`` TFLite's own kernels run everything. Raises :class:`UnavailableError` when it is unknown or not
    installed.
    """
    wanted = name or os.environ.get("AICLI_ENGINE") or None
    if wanted is not None and wanted not in ENGINES:
        raise UnavailableError(f"unknown engine '{wanted}'; choose one of {', '.join(ENGINES)}")
    if wanted is None:
        if not installed_engines():
            raise UnavailableError("no TFLite engine is installed; run: pip install ai-edge-litert")
        wanted = installed_engines()[0]
    return _load(wanted, xnnpack)


def interpreter_maker(package: str, *, xnnpack: bool) -> Callable[..., Any]:
    """The ``Interpreter`` of an engine's package. Raises :class:`ImportError`."""
    module = import_module(f"{package}.interpreter")
    if xnnpack:
        found: Callable[..., Any] = module.Interpreter
        return found
    operators = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return partial(module.Interpreter, experimental_op_resolver_type=operators)


@cache
def _load(name: str, xnnpack: bool) -> Engine:
    package, distribution = ENGINES[name]
    try:
        make = interpreter_maker(package, xnnpack=xnnpack)
    except ImportError as error:
        raise UnavailableError(
            f"the engine '{name}' is not usable ({error}); run: pip install {distribution}"
        ) from None
    return Engine(name, installed_version(package, distribution), make, xnnpack)
