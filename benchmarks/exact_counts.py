"""Counts what one image costs in units that are the same on every machine, and writes them as one JSON object.

    python benchmarks/exact_counts.py [--profiled GUEST]

For each case, of an image that is not the first: instructions of the guest (WebAssembly's own, which wasmtime counts as
fuel), host calls, invocations of networks, bytes that cross the guest's border, and, with a guest that was built with
``--features profile``, how often the guest allocates memory. Which aicli is measured, PYTHONPATH says.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import wasmtime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FUEL = 1 << 62
FUELLED = wasmtime.Config
PLAIN_STORE = wasmtime.Store
Pixels = NDArray[np.uint8]


class Config(FUELLED):
    def __init__(self) -> None:
        super().__init__()
        self.consume_fuel = True


class Store(PLAIN_STORE):
    last: Store

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.set_fuel(FUEL)
        Store.last = self


def photos() -> dict[str, tuple[str, Pixels]]:
    """The cases: a task and an image, made of the examples by whole steps, so that no filter's version matters."""
    portrait = np.asarray(Image.open(EXAMPLES / "grace_hopper.jpg").convert("RGB"))
    group = tiled(portrait)
    return {
        "classify 512 x 600": ("classify", portrait),
        "classify 4096 x 3000": ("classify", portrait.repeat(5, 0).repeat(8, 1)),
        "detect-faces 200 x 200": ("detect-faces", np.ascontiguousarray(portrait[:400:2, :400:2])),
        "detect-faces 1024 x 600": ("detect-faces", group),
        "detect-faces 4096 x 2400": ("detect-faces", group.repeat(4, 0).repeat(4, 1)),
    }


def tiled(portrait: Pixels) -> Pixels:
    """A group of eight people: four times two portraits of half the size."""
    return np.tile(portrait[::2, ::2], (2, 4, 1))


@contextmanager
def counted(totals: Counter[str]) -> Iterator[None]:
    """Counts host calls, invocations, and bytes of guest memory that the host reads or writes, within the block."""
    from aicli.guest import client
    from aicli.wasm.adapter import LiveMemory
    from aicli.wasm.runtime import HostFunction

    plain_invoke = Interpreter.invoke
    plain, plain_view = client.WasiNn, LiveMemory.view  # type: ignore[attr-defined]

    class CountedNn(plain):  # type: ignore[misc, valid-type]
        def functions(self) -> dict[tuple[str, str], HostFunction]:
            table = {key: item.replace(call=self.counting(item)) for key, item in super().functions().items()}
            table["aicli_profile", "mark"] = HostFunction("aicli_profile", "mark", ("i32",), ("i32",), lambda _stage: 0)
            return table

        def counting(self, function: HostFunction) -> Any:
            def call(*arguments: int) -> int | None:
                totals["host calls"] += 1
                return function.call(*arguments)

            return call

    def view(memory: LiveMemory, pointer: int, length: int) -> Pixels:
        totals["bytes"] += length
        return plain_view(memory, pointer, length)

    def invoke(interpreter: Interpreter) -> None:
        totals["invocations"] += 1
        plain_invoke(interpreter)

    Interpreter.invoke = invoke
    client.WasiNn, LiveMemory.view = CountedNn, view  # type: ignore[misc, attr-defined, assignment]
    try:
        yield
    finally:
        Interpreter.invoke = plain_invoke
        client.WasiNn, LiveMemory.view = plain, plain_view  # type: ignore[misc, attr-defined, assignment]


def measure(profiled: Path | None) -> dict[str, dict[str, int]]:
    totals: Counter[str] = Counter()
    found: dict[str, dict[str, int]] = {}
    with counted(totals):
        for name, (task, pixels) in photos().items():
            found[name] = count(task, pixels, totals)
    if profiled is not None:
        from aicli.guest import client

        client.packaged_guest = lambda: profiled  # type: ignore[assignment]
        client.check_guest = lambda module, task: None  # it would refuse the import of `mark`
        with counted(Counter()):
            for name, (task, pixels) in photos().items():
                found[name]["allocations"] = allocations(task, pixels)
    return found


def worker(task: str) -> Any:
    from aicli import Classifier, FaceDetector

    return (Classifier if task == "classify" else FaceDetector)(runtime="wasmtime", threads=1)


def answer(found: Any, pixels: Pixels) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".bmp") as file:
        Image.fromarray(pixels).save(file, "BMP")
        image = found.open(file.name)
    return found.classify(image) if hasattr(found, "classify") else found.detect(image)


def count(task: str, pixels: Pixels, totals: Counter[str]) -> dict[str, int]:
    found = worker(task)
    answer(found, pixels)
    before = Store.last.get_fuel()
    totals.clear()
    answer(found, pixels)
    used = before - Store.last.get_fuel()
    return {"guest instructions": used, **{name: totals[name] for name in ("host calls", "invocations", "bytes")}}


def allocations(task: str, pixels: Pixels) -> int:
    found = worker(task)
    answer(found, pixels)
    call = found.guest._running.instance.call
    before = call("aicli_profile_allocations")
    answer(found, pixels)
    return int(call("aicli_profile_allocations") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profiled", type=Path, help="a guest that was built with --features profile")
    options = parser.parse_args()
    wasmtime.Config, wasmtime.Store = Config, Store  # type: ignore[misc, assignment]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AICLI_CACHE_DIR"] = folder
        print(json.dumps(measure(options.profiled)))


if __name__ == "__main__":
    main()
