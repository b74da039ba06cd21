"""Runs a model file once and prints ``{"ok": true}`` or ``{"error": reason}``; the process that may crash.

Started as a script by :mod:`aicli.catalog.probe` with the parent's import path, the engine's name and the file.
"""

from __future__ import annotations

import contextlib
import json
import sys

MEMORY = 4 << 30
"""Bytes that a model may take beyond twice its own size; more is a declared tensor that no classifier has."""
CPU_SECONDS = 60
DEFAULT_SIDE = 224


def limit_resources(file_size: int) -> None:
    """Bounds memory and time and keeps a crash from writing a core dump, where the platform can do that."""
    try:
        import resource
    except ImportError:
        return
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY + 2 * file_size),
    ):
        with contextlib.suppress(OSError, ValueError):
            hard = resource.getrlimit(kind)[1]
            bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bounded, hard))


def run_once(engine_name: str, path: str) -> None:
    from pathlib import Path

    from aicli.nn.engines import load_engine

    engine = load_engine(engine_name)
    limit_resources(Path(path).stat().st_size)
    interpreter = engine.interpreter(Path(path), 1)
    for item in interpreter.get_input_details():
        stored = [int(size) for size in item["shape"]]
        signature = [int(size) for size in item.get("shape_signature", stored)]
        if len(signature) == len(stored) and -1 in signature:
            interpreter.resize_tensor_input(item["index"], open_shape(stored, signature))
    interpreter.allocate_tensors()
    import numpy as np

    for item in interpreter.get_input_details():
        interpreter.set_tensor(item["index"], np.zeros([int(size) for size in item["shape"]], item["dtype"]))
    interpreter.invoke()
    for item in interpreter.get_output_details():
        interpreter.get_tensor(item["index"])


def open_shape(stored: list[int], signature: list[int]) -> list[int]:
    """A shape for one image: open sides as stored, else the usual ones."""
    usual = [1, DEFAULT_SIDE, DEFAULT_SIDE, 3] if len(stored) == 4 else [1] * len(stored)
    return [
        size if size != -1 else (have if have > 1 and axis else usual[axis])
        for axis, (size, have) in enumerate(zip(signature, stored, strict=True))
    ]


def main() -> None:
    sys.path[:] = json.loads(sys.argv[1])
    try:
        run_once(sys.argv[2], sys.argv[3])
        answer: dict[str, object] = {"ok": True}
    except MemoryError:
        answer = {"error": "it needs more memory than a classifier may take"}
    except Exception as error:
        answer = {"error": " ".join(str(error).split()) or type(error).__name__}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
