"""What a guest may ask of the networks, and what it is refused, with the real engines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aicli.nn import session as limits
from aicli.nn.engines import Engine, installed_engines, load_engine
from aicli.nn.session import Errno, NnError, Session, TensorType
from aicli.nn.wasi_nn import WasiNn

PROJECT = Path(__file__).parent.parent.parent
MODELS = {name: PROJECT / "models" / f"{name}.tflite" for name in ("pnet", "rnet")}


@pytest.fixture(params=installed_engines())
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


@pytest.fixture
def session(engine: Engine) -> Session:
    return Session(engine, MODELS, 1)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(int(np.prod(shape)) * 4, np.uint8)


def errno_of(call: object, *arguments: object) -> Errno:
    with pytest.raises(NnError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.errno


def test_a_product_that_wraps_is_not_taken_for_a_small_tensor(session: Session) -> None:
    context = session.init_execution_context(session.load_by_name("pnet"))
    # 2**31 * 2**31 * 3 * 4 is 0 in 64 bits.
    shape = (1, 2**31, 2**31, 3)
    assert errno_of(session.set_input, context, 0, shape, (TensorType.F32,), zeros(0)) == Errno.INVALID_ARGUMENT


def test_inputs_are_bounded_over_all_contexts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_INPUT_BYTES", 40_000)
    graph = session.load_by_name("pnet")
    first, second = (session.init_execution_context(graph) for _ in range(2))
    session.set_input(first, 0, (1, 50, 50, 3), (TensorType.F32,), zeros(1, 50, 50, 3))
    assert (
        errno_of(session.set_input, second, 0, (1, 50, 50, 3), (TensorType.F32,), zeros(1, 50, 50, 3))
        == Errno.TOO_LARGE
    )
    session.finalize_execution_context(first)
    session.set_input(second, 0, (1, 50, 50, 3), (TensorType.F32,), zeros(1, 50, 50, 3))


def test_a_guests_own_models_are_bounded(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["rnet"].read_bytes()
    monkeypatch.setattr(limits, "MAX_MODEL_BYTES", 2 * len(model))
    first = session.load(model, 4)
    context = session.init_execution_context(first)
    session.load(model, 4)
    assert errno_of(session.load, model, 4) == Errno.TOO_LARGE
    # A context keeps its model, so unloading the graph frees nothing yet.
    session.unload(first)
    assert errno_of(session.load, model, 4) == Errno.TOO_LARGE
    session.finalize_execution_context(context)
    session.load(model, 4)


def test_a_context_that_failed_is_not_used_again(session: Session) -> None:
    context = session.init_execution_context(session.load_by_name("pnet"))
    with pytest.raises(RuntimeError):
        session.set_input(context, 0, (1, 1, 1, 3), (TensorType.F32,), zeros(1, 1, 1, 3))
    for _ in range(2):
        good = (1, 24, 24, 3)
        assert errno_of(session.set_input, context, 0, good, (TensorType.F32,), zeros(*good)) == Errno.RUNTIME_ERROR
        assert errno_of(session.compute, context) == Errno.RUNTIME_ERROR
    other = session.init_execution_context(1)
    session.set_input(other, 0, (1, 24, 24, 3), (TensorType.F32,), zeros(1, 24, 24, 3))
    session.compute(other)


def test_reasons_cannot_harm_the_terminal(session: Session) -> None:
    host = WasiNn(session)
    host._fail(Errno.NOT_FOUND, "a\x1b[2J\nb" + "c" * 5000)
    assert session.last_error is not None
    assert session.last_error.isprintable() and len(session.last_error) <= 1500


SHAPES = """
import sys
import numpy as np
from pathlib import Path
from aicli.nn.engines import load_engine
from aicli.nn.session import Session, TensorType
from aicli.nn.values import NnError
session = Session(load_engine(sys.argv[1]), {"pnet": Path(sys.argv[2])}, 1)
graph = session.load_by_name("pnet")
answers, refusals = 0, set()
for height in range(1, 14):
    for width in range(1, 14):
        context = session.init_execution_context(graph)
        for step in range(3):
            shape = (1, height, width, 3) if step < 2 else (1, 24, 24, 3)
            try:
                session.set_input(context, 0, shape, (TensorType.F32,), np.zeros(int(np.prod(shape)) * 4, np.uint8))
                session.compute(context)
                answers += 1
            except (NnError, RuntimeError) as error:  # an engine's own errors are the caller's to translate
                refusals.add(type(error).__name__)
        session.finalize_execution_context(context)
print(answers, *sorted(refusals))
"""


def test_inputs_smaller_than_the_network_do_not_end_the_process(engine: Engine) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", SHAPES, engine.name, str(MODELS["pnet"])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    answers, *refusals = done.stdout.split()
    assert int(answers) >= 12 and refusals  # three for each size that is large enough, and the rest refused
