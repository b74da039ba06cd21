"""A guest that passes every call on, and its memory with a watch on what the host writes there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aicli.wasm import PAGE, HostFunction, Instance, Limits, Memory, Module, load_runtime
from aicli.wasm.runtime import ExternType
from tests.wasm.hostile import wat

__all__ = ["PAGES", "Watched", "forwarder"]

PAGES = 4
END = PAGES * PAGE


@cache
def forwarder(functions: tuple[HostFunction | ExternType, ...], runtime: str) -> Module:
    """A module with an export for each of these imports that hands its arguments on; named ``module.name``."""
    imports, exports = [], []
    for number, item in enumerate(functions):
        params = f"(param {' '.join(item.params)})" if item.params else ""
        results = f"(result {' '.join(item.results)})" if item.results else ""
        imports.append(f'(import "{item.module}" "{item.name}" (func $f{number} {params} {results}))')
        arguments = " ".join(f"(local.get {index})" for index in range(len(item.params)))
        exports.append(f'(func (export "{item.module}.{item.name}") {params} {results} (call $f{number} {arguments}))')
    text = f'(module {" ".join(imports)} (memory (export "memory") {PAGES} {PAGES}) {" ".join(exports)})'
    chosen = load_runtime(runtime)
    return chosen.compile(chosen.prepare(wat(text), Limits()))


class Watched:
    """A guest's memory. What a call may write is said before; everything else must stay as it was."""

    def __init__(self, instance: Instance) -> None:
        assert instance.memory is not None
        self.memory: Memory = instance.memory
        self._before: NDArray[np.uint8] = self.whole().copy()

    def whole(self) -> NDArray[np.uint8]:
        return self.memory.view(0, END)

    def put(self, pointer: int, data: bytes) -> int:
        self.memory.view(pointer, len(data))[:] = np.frombuffer(data, np.uint8)
        return pointer

    def get(self, pointer: int, length: int) -> bytes:
        return self.memory.view(pointer, length).tobytes()

    def begin(self) -> None:
        self._before[:] = self.whole()

    def check(self, allowed: Iterable[tuple[int, int]]) -> None:
        """Raises ``AssertionError`` when bytes outside of these (pointer, length) changed since :meth:`begin`."""
        assert self.memory.size() == END
        after = self.whole()
        for pointer, length in allowed:
            start, end = min(pointer, END), min(pointer + length, END)
            self._before[start:end] = after[start:end]
        changed = np.flatnonzero(self._before != after)
        assert changed.size == 0, f"the host wrote to {changed[:5]} and {changed.size - 5} other places"
