"""Guests that bring models of their own, right and hostile ones: the host goes on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from aicli.errors import GuestFault, InferenceError
from aicli.guest.client import Guest
from aicli.nn.engines import load_engine
from aicli.wasm import Limits
from tests import made_models as made
from tests.wasm.hostile import DATA, guest_text, request, wat

MODEL_AT = 1 << 20
DIRTY, CLEAN = np.full((6, 8, 3), 7, np.uint8), np.full((6, 9, 3), 7, np.uint8)
"""The guest feeds ones for an image 8 pixels wide, and zeros for any other."""


def guest_with_model(model: bytes, runtime: str, engine: str, folder: Path, limits: Limits, failing: str = "") -> Guest:
    """Loads the model for each image, computes, and answers class 2 with 0.75, or with status 2 when a call fails."""
    planted = "".join(f"\\{byte:02x}" for byte in model)
    failed = failing or "(i32.store (i32.const 64) (i32.const 2)) (return (i32.const 64))"
    body = f"""
      (if (i32.eq (i32.load offset=8 (local.get 0)) (i32.const 8))
        (then (f32.store (i32.const 256) (f32.const 1))) (else (f32.store (i32.const 256) (f32.const 0))))
      (memory.copy (i32.const 260) (i32.const 256) (i32.const 12))
      (i32.store (i32.const 320) (i32.const {MODEL_AT})) (i32.store (i32.const 324) (i32.const {len(model)}))
      (i32.store (i32.const 340) (i32.const 1)) (i32.store (i32.const 344) (i32.const 4))
      (i32.store (i32.const 360) (i32.const 340)) (i32.store (i32.const 364) (i32.const 2))
      (i32.store (i32.const 368) (i32.const 1)) (i32.store (i32.const 372) (i32.const 256))
      (i32.store (i32.const 376) (i32.const 16))
      (if (call $load (i32.const 320) (i32.const 1) (i32.const 4) (i32.const 0) (i32.const 512)) (then {failed}))
      (if (call $init_execution_context (i32.load (i32.const 512)) (i32.const 516)) (then {failed}))
      (drop (call $set_input (i32.load (i32.const 516)) (i32.const 0) (i32.const 360)))
      (if (call $compute (i32.load (i32.const 516))) (then {failed}))
      (drop (call $finalize_execution_context (i32.load (i32.const 516))))
      (drop (call $unload (i32.load (i32.const 512))))
      (i32.const 16)"""
    path = folder / "guest.wasm"
    more = f'{DATA} (data (i32.const {MODEL_AT}) "{planted}")'
    path.write_bytes(wat(guest_text(body, memory="64", more=more)))
    return Guest("classify", {}, engine=load_engine(engine), path=path, runtime=runtime, limits=limits)


def test_a_model_that_kills_its_process_costs_one_image(runtime: str, engine: str, tmp_path: Path) -> None:
    guest = guest_with_model(made.crashes_on_what_is_not_zero(), runtime, engine, tmp_path, Limits())
    assert guest.classify(CLEAN, request()) == [(2, 0.75)]
    with pytest.raises(InferenceError, match="SIGFPE"):
        guest.classify(DIRTY, request())
    assert guest.classify(CLEAN, request()) == [(2, 0.75)]


def test_a_guest_that_hides_the_death_of_its_model_gives_no_answer(runtime: str, engine: str, tmp_path: Path) -> None:
    model = made.crashes_on_what_is_not_zero()
    guest = guest_with_model(model, runtime, engine, tmp_path, Limits(), failing="(return (i32.const 16))")
    with pytest.raises(InferenceError, match="SIGFPE"):
        guest.classify(DIRTY, request())


def test_a_model_without_end_is_ended_in_time(runtime: str, engine: str, tmp_path: Path) -> None:
    guest = guest_with_model(made.endless_loop(), runtime, engine, tmp_path, Limits(timeout=2.0))
    begin = time.monotonic()
    with pytest.raises(GuestFault):
        guest.classify(CLEAN, request())
    assert time.monotonic() - begin < 3.0


def test_a_model_of_few_bytes_that_wants_gigabytes(runtime: str, engine: str, tmp_path: Path) -> None:
    guest = guest_with_model(made.large_input(1 << 28), runtime, engine, tmp_path, Limits(memory=5 << 20))
    with pytest.raises(InferenceError, match="needs 1073"):
        guest.classify(CLEAN, request())


@pytest.mark.parametrize("kind", [made.INT4, made.INT2])
def test_values_of_less_than_a_byte(kind: int, runtime: str, engine: str, tmp_path: Path) -> None:
    guest = guest_with_model(made.narrow_constant(4096, kind), runtime, engine, tmp_path, Limits())
    with pytest.raises(InferenceError, match=r"its output 0 .* is int[24]") as caught:
        guest.classify(CLEAN, request())
    assert str(caught.value).isprintable()
