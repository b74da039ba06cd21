"""Tensors whose memory is not as long as NumPy's array for them: no byte of the host is read or written through one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aicli.nn import context as context_module
from aicli.nn.engines import load_engine
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import UnusableError, read_tensors
from aicli.nn.session import Errno, NnError, Session
from tests.made_models import INT2, INT4, RESOURCE, STRING, VARIANT, ModelMaker, identity, narrow_constant, narrow_input

NARROW = {
    f"{what} {name}": make(4096, kind)
    for name, kind in (("int4", INT4), ("int2", INT2))
    for what, make in (("output", narrow_constant), ("input", narrow_input))
}


def end_of(kind: int, place: str) -> bytes:
    made = ModelMaker()
    odd, plain = made.tensor([4], kind), made.tensor([4])
    return made.finish(*(([odd], [plain]) if place == "input" else ([plain], [odd])))


@pytest.mark.parametrize("name", NARROW)
def test_values_of_less_than_a_byte_are_refused_by_name(name: str, engine: str, tmp_path: Path) -> None:
    what, kind = name.split()
    path = tmp_path / "narrow.tflite"
    path.write_bytes(NARROW[name])
    session = Session(load_engine(engine), {"narrow": path}, 1)
    with pytest.raises(NnError, match=rf"its {what} 0 \(t0\) is {kind}") as caught:
        session.init_execution_context(session.load_by_name("narrow"))
    assert caught.value.errno == Errno.UNSUPPORTED_OPERATION


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize(("kind", "name"), [(STRING, "string"), (RESOURCE, "resource"), (VARIANT, "variant")])
def test_what_is_a_pointer_is_refused_by_name(kind: int, name: str, place: str) -> None:
    with pytest.raises(UnusableError, match=rf"its {place} 0 \(t[01]\) is {name}"):
        read_tensors(end_of(kind, place))


def test_an_input_that_lies_in_the_file_is_refused() -> None:
    made = ModelMaker()
    constant = made.constant([1.0, 2.0])
    with pytest.raises(UnusableError, match="is a constant"):
        read_tensors(made.finish([constant], [constant]))


def test_a_constant_output_has_the_bytes_of_its_shape() -> None:
    made = ModelMaker()
    short = made.tensor([1000], data=bytes(4))
    with pytest.raises(DamagedError, match="has 4 bytes"):
        read_tensors(made.finish([], [short]))


def test_an_interpreter_with_another_type_than_the_file_is_not_used(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = read_tensors(identity())
    wide = declared.outputs[0].replace(dtype="float64", itemsize=8)
    monkeypatch.setattr(context_module, "read_tensors", lambda _: declared._replace(outputs=(wide,)))
    session = Session(load_engine(engine), {"model": identity()}, 1)
    with pytest.raises(NnError, match=r"declares outputs of .'float64'., the interpreter has .'float32'"):
        session.init_execution_context(session.load_by_name("model"))


def test_an_input_of_another_length_than_its_shape_is_not_used(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(load_engine(engine), {"model": identity()}, 1)
    handle = session.init_execution_context(session.load_by_name("model"))
    monkeypatch.setattr(np, "zeros", lambda shape, dtype: np.full([n + 1 for n in shape], 0, dtype))
    with pytest.raises(ValueError, match=r"[Dd]imension|bytes"):
        session.compute(handle)
