"""What passes between a guest and the host: numbers, memory that grows, failures, and whoever keeps whom alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aicli.wasm import PAGE, HostFunction, Instance, Limits, installed_runtimes, load_runtime
from aicli.wasm.adapter import LARGE, LiveMemory
from tests.wasm.hostile import wat

GROWING = wat("""(module
  (import "host" "look" (func $look (param i32 i32) (result i32)))
  (memory (export "memory") 1 8)
  (func (export "ask") (param i32 i32) (result i32) (call $look (local.get 0) (local.get 1)))
  (func (export "grow") (result i32)
    (drop (memory.grow (i32.const 3)))
    (i32.store (i32.const 200000) (i32.const 0x2a))
    (call $look (i32.const 200000) (i32.const 4))))""")

every_way = pytest.mark.parametrize("way", [*installed_runtimes(), "wasmtime, published calls"])


def instantiate(way: str, call: Callable[..., int | None], monkeypatch: pytest.MonkeyPatch) -> Instance:
    if "wasmtime" in way:
        functions = pytest.importorskip("aicli.wasm.wasmtime.functions")
        assert functions.HAS_UNCHECKED  # else the quick way is not tested
        monkeypatch.setattr(functions, "HAS_UNCHECKED", way == "wasmtime")
    runtime = load_runtime(way.split(",")[0])
    limits = Limits(64 << 20, 10.0)
    look = HostFunction("host", "look", ("i32", "i32"), ("i32",), call)
    return runtime.compile(runtime.prepare(GROWING, limits)).instantiate({("host", "look"): look}, limits)


@every_way
def test_numbers_are_unsigned_both_ways(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def look(*numbers: int) -> int:
        seen.append((numbers[0], numbers[1]))
        return 0xFFFFFFFE

    instance = instantiate(way, look, monkeypatch)
    assert instance.call("ask", 0xFFFFFFFF, 0x80000000) == 0xFFFFFFFE
    assert instance.call("ask", 0, 7) == 0xFFFFFFFE
    assert seen == [(0xFFFFFFFF, 0x80000000), (0, 7)]


@every_way
def test_memory_that_grew_is_seen_inside_and_after_the_call(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def look(pointer: int, length: int) -> int:
        assert instance.memory is not None
        seen.append(instance.memory.view(pointer, length).tobytes())
        instance.memory.view(pointer, 1)[:] = 0x2B
        return 0

    instance = instantiate(way, look, monkeypatch)
    memory = instance.memory
    assert memory is not None
    memory.view(PAGE - 4, 4)[:] = np.arange(4, dtype=np.uint8)
    instance.call("grow")
    assert seen == [b"\x2a\0\0\0"]
    assert memory.view(200000, 1)[0] == 0x2B
    assert memory.view(PAGE - 4, 4).tolist() == [0, 1, 2, 3]
    assert memory.view(memory.size() - 1, 1).size == 1


@pytest.mark.skipif("wasmtime" not in installed_runtimes(), reason="needs wasmtime")
@pytest.mark.parametrize("way", ["wasmtime", "wasmtime, published calls"])
def test_an_interruption_inside_a_host_function_ends_the_call(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[BaseException] = [KeyboardInterrupt()]

    def look(*numbers: int) -> int:
        if stops:
            raise stops.pop()
        return 5

    instance = instantiate(way, look, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        instance.call("ask", 1, 2)
    assert instance.call("ask", 1, 2) == 5


@every_way
def test_a_dropped_instance_is_freed(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Owner:
        instance: Any = None

        def look(self, *numbers: int) -> int:
            return int(self.instance.memory.view(numbers[0], 1)[0])

    owner = Owner()
    owner.instance = instantiate(way, owner.look, monkeypatch)
    owner.instance.call("ask", 1, 2)
    alive = weakref.ref(owner)
    del owner
    gc.collect()
    assert alive() is None


def wants_large_pages(address: int) -> bool:
    """Whether the system was asked for large pages in the mapping that begins there (``hg`` in proc_pid_smaps(5))."""
    mapping = Path("/proc/self/smaps").read_text().split(f"\n{address:x}-", 1)[1]
    flags = next(line for line in mapping.splitlines() if line.startswith("VmFlags:"))
    return "hg" in flags.split()


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no large pages here")
@pytest.mark.parametrize("name", installed_runtimes())
def test_only_a_large_memory_gets_large_pages(name: str) -> None:
    runtime, limits = load_runtime(name), Limits(64 << 20, 10.0)
    module = wat("""(module (memory (export "memory") 4)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))""")
    instance = runtime.compile(runtime.prepare(module, limits)).instantiate({}, limits)
    memory = instance.memory
    assert isinstance(memory, LiveMemory)
    memory.view(0, 1)[:] = 1
    assert not wants_large_pages(memory.address())
    instance.call("grow", LARGE // PAGE)
    memory.view(LARGE, 1)[:] = 1
    assert wants_large_pages(memory.address())
