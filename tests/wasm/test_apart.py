"""Modules that take their compiler long: strangers' are compiled in a process with limits, once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aicli.errors import GuestError, Hint
from aicli.wasm import Limits, Runtime, apart, installed_runtimes, load_runtime
from aicli.wasm.cache import ModuleCache, load_module
from tests.wasm.hostile import wat


@pytest.fixture(params=installed_runtimes())
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return load_runtime(request.param)


def loops(depth: int, locals_used: int) -> str:
    """Loops in each other around locals that all of them change: what compilers are worst at."""
    change = "".join(
        f"(local.set {n} (i32.add (local.get {n}) (local.get {(n * 7 + 1) % locals_used})))" for n in range(locals_used)
    )
    return f"""(module (memory (export "memory") 1) (func (export "_start") (local {"i32 " * locals_used})
      {"(loop " * depth} {change} {"(br_if 0 (local.get 0)))" * depth}))"""


def test_compiling_a_strangers_module_has_a_limit_on_time(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "SECONDS", 1.0)
    bomb = wat(loops(300, 400))
    assert len(bomb) < 8000
    begin = time.monotonic()
    with pytest.raises(GuestError, match="compiling it takes longer than 1 seconds"):
        load_module(runtime, bomb, Limits(), ModuleCache(tmp_path / "modules"))
    assert time.monotonic() - begin < 5
    assert ModuleCache(tmp_path / "modules").entries() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")
def test_compiling_a_strangers_module_has_a_limit_on_memory(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "MEMORY", 64 << 20)
    body = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))" * 2000
    many = "".join(f"(func (local i32) {body})" for _ in range(100))
    # A compiler of several threads may also stand still when one of them gets no memory.
    monkeypatch.setattr(apart, "SECONDS", 10.0)
    with pytest.raises(GuestError, match=r"compiling it (needs more than|takes longer)"):
        load_module(runtime, wat(f"(module {many})"), Limits(), None)


def test_a_strangers_module_is_compiled_in_a_process_of_its_own_once(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = apart.compile_apart

    def count(*arguments: Any) -> bytes:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(apart, "compile_apart", count)
    cache = ModuleCache(tmp_path / "modules")
    wasm = wat(loops(8, 150))
    assert len(wasm) > apart.SMALL
    assert load_module(runtime, wasm, Limits(), cache).exports == load_module(runtime, wasm, Limits(), cache).exports
    assert len(calls) == 1 and len(cache.entries()) == 1
    broken = wasm[:-40] + b"\xff" * 40
    with pytest.raises(GuestError, match="not a WebAssembly module that can run here"):
        load_module(runtime, broken, Limits(), cache)
    load_module(runtime, wasm, Limits(), None, trusted=True)
    assert len(calls) == 2


def test_the_error_of_the_process_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it is about and what helps, which a line of text would have lost."""
    code = (
        "import sys; from aicli.wasm import apart; from aicli.errors import GuestError, Hint\n"
        "def refuse(self, code): raise GuestError('it is refused', hint=Hint('limits.memory')).of('a.wasm')\n"
        "apart.load_runtime = lambda name: type('R', (), {'compile': refuse})()\n"
        "sys.argv[1:] = ['wasmtime', '1000000000']\n"
        "apart.main()"
    )
    monkeypatch.setattr(apart, "python_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(GuestError, match="it is refused") as caught:
        apart.compile_apart(load_runtime("wasmtime"), b"")
    assert caught.value.subject == "a.wasm" and caught.value.hint == Hint("limits.memory")
