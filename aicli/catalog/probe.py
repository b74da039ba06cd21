"""Unknown model files are run once in an engine process: a file that crashes the interpreter crashes only that.

It is no safety (what a model does with zeros says nothing of what it does with a photo) but a kindness: most damaged
files end here with one line rather than with the program. The result is kept beside the compiled modules and trusted as
they are, by the file's SHA-256 and the engine, so that a file pays for this once (0.3 s).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aicli import _digest
from aicli._files import cache_folder
from aicli.errors import ModelError, UnavailableError
from aicli.nn.engines import EngineDied
from aicli.nn.isolation.engine import IsolatedEngine, can_isolate
from aicli.wasm.cache import ModuleCache

if TYPE_CHECKING:
    from aicli.nn.engines import AnyEngine
    from aicli.nn.isolation.engine import RemoteInterpreter

__all__ = ["require_safe"]

TIMEOUT = 120.0
"""Seconds that loading and running a model once may take."""
MEMORY = 4 << 30
"""Bytes that a model may take beyond twice its own size; more is a declared tensor that no classifier has."""
VERSION = b"2"
"""Part of what is remembered; raise it when more is tested."""
MOST_KEPT = 4 << 20
DEFAULT_SIDE = 224


def require_safe(path: Path, sha256: str, engine: AnyEngine) -> None:
    """Raises :class:`ModelError` unless this engine has run this file without a crash, now or earlier."""
    if not can_isolate():
        return
    cache, key = _cache(), _key(sha256, engine)
    kept = cache.read(key) if cache is not None else None
    problem = kept.decode("utf-8", "replace") if kept is not None else None
    if problem is None:
        problem, lasting = _try(path, engine)
        if lasting and cache is not None:
            cache.write(key, problem.encode())
    if problem:
        raise ModelError(f"{path}: {problem}")


def _cache() -> ModuleCache | None:
    folder = cache_folder()
    if os.environ.get("AICLI_NO_CACHE", "0") not in ("", "0") or folder is None:
        return None
    return ModuleCache(folder / "models", MOST_KEPT)


def _key(sha256: str, engine: AnyEngine) -> str:
    parts = (sha256.encode(), engine.name.encode(), engine.version.encode(), VERSION)
    return str(_digest.sha256(b"\0".join(parts)).hexdigest())


def _try(path: Path, engine: AnyEngine) -> tuple[str, bool]:
    """The problem (empty: none) and whether it would be the same the next time."""
    begin = time.monotonic()
    process = IsolatedEngine(engine, MEMORY + 2 * path.stat().st_size, begin + TIMEOUT)
    try:
        _run_once(process.interpreter(path, 1))
    except UnavailableError as error:
        raise ModelError(f"{path}: this unknown model cannot be tried: {error}") from None
    except EngineDied as error:
        if time.monotonic() - begin >= TIMEOUT:
            return f"{engine.name} did not finish with this model in {TIMEOUT:.0f} s; it is not used", False
        # A kill may be this machine's state rather than the file's fault.
        return f"{error}; the file is not used", error.signal != signal.SIGKILL
    except ModelError as error:
        return error.message, True
    except (RuntimeError, ValueError) as error:
        return f"not a TFLite model that {engine.name} can run: {error}", True
    return "", True


def _run_once(interpreter: RemoteInterpreter) -> None:
    for item in interpreter.get_input_details():
        stored, signature = ([int(size) for size in item[key]] for key in ("shape", "shape_signature"))
        if -1 in signature:
            interpreter.resize_tensor_input(item["index"], open_shape(stored, signature))
    interpreter.allocate_tensors()
    for item in interpreter.get_input_details():
        interpreter.set_tensor(item["index"], np.zeros([int(size) for size in item["shape"]], item["dtype"]))
    interpreter.invoke()


def open_shape(stored: list[int], signature: list[int]) -> list[int]:
    """A shape for one image: open sides as stored, else the usual ones."""
    usual = [1, DEFAULT_SIDE, DEFAULT_SIDE, 3] if len(stored) == 4 else [1] * len(stored)
    return [
        size if size != -1 else (have if have > 1 and axis else usual[axis])
        for axis, (size, have) in enumerate(zip(signature, stored, strict=True))
    ]
