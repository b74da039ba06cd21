"""Guests in WebAssembly text, well-behaved and hostile, and a network that costs nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from aicli.guest.client import Guest
from aicli.guest.requests import ClassifyRequest
from aicli.nn.engines import Engine
from aicli.wasm import Limits, load_runtime
from tests.made_models import identity

PIXELS = np.full((6, 8, 3), 7, np.uint8)
IMPORTS = {
    "load": 5,
    "load_by_name": 3,
    "init_execution_context": 2,
    "set_input": 3,
    "compute": 1,
    "get_output": 5,
    "finalize_execution_context": 1,
    "unload": 1,
}
ALLOC = """
  (global $next (mut i32) (i32.const 65536))
  (func (export "aicli_alloc") (param i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (i32.and (i32.add (local.get 0) (i32.const 15)) (i32.const -16))))
    (local.get $at))
"""
ANSWER = "(i32.const 16)"
DATA = r"""(data (i32.const 16) "\00\00\00\00\01\00\00\00\30") (data (i32.const 48) "\02\00\00\00\00\00\40\3f")"""
"""A result with one record: class 2, score 0.75."""


@cache
def wat(text: str) -> bytes:
    """A module from WebAssembly text."""
    from wasmtime import wat2wasm

    return bytes(wat2wasm(text))


def imports() -> str:
    return "\n".join(
        f'  (import "wasi_ephemeral_nn" "{name}" (func ${name} (param {"i32 " * count}) (result i32)))'
        for name, count in IMPORTS.items()
    )


def guest_text(classify: str, *, alloc: str = ALLOC, memory: str = "4", more: str = "", version: int = 1) -> str:
    """A guest for classifying whose ``aicli_classify`` has this body; parameter 0 is the request."""
    return f"""(module
{imports()}
  (memory (export "memory") {memory})
  {alloc}
  (func (export "aicli_abi_version") (result i32) (i32.const {version}))
  (func (export "aicli_dealloc") (param i32 i32))
  (func (export "aicli_classify") (param i32) (result i32) (local i32 i32 i32) {classify})
  {more})"""


class FakeInterpreter:
    """An interpreter with one input (1, open, 4) and one output (1, 3), both float32."""

    made = 0

    def __init__(self, num_threads: int, model_path: str = "", model_content: bytes = b"") -> None:
        FakeInterpreter.made += 1
        self.input = np.zeros((1, 2, 4), np.float32)

    def get_input_details(self) -> list[dict[str, Any]]:
        signature = np.array([1, -1, 4], np.int32)
        shape = np.array(self.input.shape, np.int32)
        return [{"index": 0, "shape": shape, "shape_signature": signature, "dtype": np.float32}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1, "shape": np.array([1, 3], np.int32), "dtype": np.float32}]

    def allocate_tensors(self) -> None:
        pass

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None:
        assert int(np.prod(shape, dtype=object)) < 1 << 30
        self.input = np.zeros(shape, np.float32)

    def invoke(self) -> None:
        pass

    def set_tensor(self, index: int, value: Any) -> None:
        self.input[...] = value

    def tensor(self, index: int) -> Any:
        return lambda: self.input if index == 0 else np.array([[0.25, 0.0, 0.75]], np.float32)


FAKE_ENGINE = Engine("fake", "1", FakeInterpreter)


def request(classes: int = 1000, top_k: int = 5) -> ClassifyRequest:
    source = SimpleNamespace(
        width=2, height=1, dtype="float32", scale=0.0, zero_point=0, mean=(0.0,) * 3, std=(1.0,) * 3,
        channels="rgb", crop="squash", filter="bilinear", shape=(1, 1, 2, 3), planar=False,
    )  # fmt: skip
    answer = SimpleNamespace(
        tensor=0, classes=classes, dtype="float32", scale=0.0, zero_point=0, kind="probabilities", binary=False
    )
    return ClassifyRequest(source, answer, top_k, 0.0)  # type: ignore[arg-type]


def make_guest(folder: Path, text: str | bytes, runtime: str, limits: Limits | None = None) -> Guest:
    path = folder / "guest.wasm"
    path.write_bytes(text if isinstance(text, bytes) else wat(text))
    models = {"classifier": identity()}
    return Guest(
        "classify",
        models,
        engine=FAKE_ENGINE,
        path=path,
        runtime=load_runtime(runtime),
        limits=limits or Limits(64 << 20, 10.0),
    )
