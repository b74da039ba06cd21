"""Each refusal of the reader of .tflite files, and that what is right passes; native code sees none of it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aicli.nn.model_file import check
from aicli.nn.model_file.check import check_foreign, check_model
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import UnusableError
from tests import made_models as made
from tests.made_models import ModelMaker, pack, schema

MODELS = Path(__file__).resolve().parents[2] / "models"


def negation() -> ModelMaker:
    """One operator between an input and an output; the model is packed by whoever changes it."""
    maker = ModelMaker()
    taken, given = maker.tensor([1, 4]), maker.tensor([1, 4])
    maker.operator("NEG", [taken], [given], "NegOptions")
    maker.finish([taken], [given])
    return maker


def with_constant() -> ModelMaker:
    maker = ModelMaker()
    taken, given = maker.tensor([1, 4]), maker.tensor([1, 4])
    maker.operator("ADD", [taken, maker.constant([[1.0, 2.0, 3.0, 4.0]])], [given], "AddOptions")
    maker.finish([taken], [given])
    return maker


def calls(*called: int) -> ModelMaker:
    """Graphs of one CALL_ONCE each; graph ``n`` calls ``called[n]``."""
    maker = ModelMaker()
    for number, target in enumerate(called):
        if number:
            maker.add_graph()
        tensor = maker.tensor([1], graph=number)
        maker.operator("CALL_ONCE", [], [], "CallOnceOptions", graph=number, initSubgraphIndex=target)
        maker.finish([tensor], [tensor], number)
    return maker


def quantized(scales: list[float], zero_points: list[int], axis: int) -> ModelMaker:
    maker = negation()
    found = schema().QuantizationParametersT()
    found.scale, found.zeroPoint, found.quantizedDimension = scales, zero_points, axis
    maker.model.subgraphs[0].tensors[1].quantization = found
    return maker


def changed(change: Callable[[Any], object], maker: ModelMaker | None = None) -> ModelMaker:
    """The model after a change of its graph, or of itself where ``change`` asks for more."""
    maker = maker or negation()
    change(maker.model)
    return maker


def graph_of(model: Any) -> Any:
    return model.subgraphs[0]


def put(where: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(where, name, value)


REFUSED = {
    "version": (lambda: changed(lambda m: put(m, version=2)), "version 2 of the format, not 3"),
    "no graph": (lambda: changed(lambda m: put(m, subgraphs=[])), "contains no graph"),
    "rank": (lambda: changed(lambda m: put(graph_of(m).tensors[1], shape=[1] * 9)), "tensor 1 has the shape"),
    "negative": (lambda: changed(lambda m: put(graph_of(m).tensors[1], shape=[1, -4])), r"the shape \[1, -4\]"),
    "buffer": (lambda: changed(lambda m: put(graph_of(m).tensors[1], buffer=7)), "tensor 1 lies in buffer 7 of 1"),
    "type": (lambda: changed(lambda m: put(graph_of(m).tensors[1], type=99)), "tensor 1 is .*99"),
    "too large": (lambda: changed(lambda m: put(graph_of(m).tensors[1], shape=[2**31 - 1] * 2)), "tensor 1 would have"),
    "together": (
        lambda: changed(lambda m: [put(tensor, shape=[2**31 - 1, 120]) for tensor in graph_of(m).tensors]),
        "its tensors have .* bytes together",
    ),
    "short constant": (
        lambda: changed(lambda m: put(graph_of(m).tensors[2], shape=[1, 5]), with_constant()),
        r"tensor 2 has 16 bytes where float32 \[1, 5\] needs 20",
    ),
    "long constant": (
        lambda: changed(lambda m: put(graph_of(m).tensors[2], type=made.INT8), with_constant()),
        r"tensor 2 has 16 bytes where int8 \[1, 4\] needs 4",
    ),
    "half a byte": (
        lambda: changed(lambda m: put(graph_of(m).tensors[2], type=made.INT4), with_constant()),
        r"tensor 2 has 16 bytes where int4 \[1, 4\] needs 2",
    ),
    "scales of another number": (lambda: quantized([0.1] * 3, [0] * 3, 1), r"3 scales for dimension 1 of \[1, 4\]"),
    "axis": (lambda: quantized([0.1] * 4, [0] * 4, 2), "4 scales for dimension 2"),
    "negative axis": (lambda: quantized([0.1] * 4, [0] * 4, -1), "4 scales for dimension -1"),
    "zero points": (lambda: quantized([0.1] * 4, [0] * 3, 1), "4 scales and 3 zero points"),
    "input": (lambda: changed(lambda m: put(graph_of(m), inputs=[2])), "an input is tensor 2 of 2"),
    "output": (lambda: changed(lambda m: put(graph_of(m), outputs=[-1])), "an output is tensor -1 of 2"),
    "operator's input": (
        lambda: changed(lambda m: put(graph_of(m).operators[0], inputs=[9])),
        r"operator 0 \(NEG\): an input is tensor 9 of 2",
    ),
    "operator's output": (
        lambda: changed(lambda m: put(graph_of(m).operators[0], outputs=[-1])),
        r"operator 0 \(NEG\): an output is tensor -1",
    ),
    "intermediate": (
        lambda: changed(lambda m: put(graph_of(m).operators[0], intermediates=[-2])),
        "an intermediate is tensor -2",
    ),
    "kind of operator": (
        lambda: changed(lambda m: put(graph_of(m).operators[0], opcodeIndex=3)),
        "operator 0 is of kind 3 of 1",
    ),
    "early": (
        lambda: changed(lambda m: put(graph_of(m).operators[0], inputs=[1])),
        "reads tensor 1 before anything has given it a value",
    ),
    "order": (
        lambda: changed(lambda m: graph_of(m).operators.clear()),
        "no operator gives its output 1 a value",
    ),
    "unknown graph": (lambda: calls(1), r"\(CALL_ONCE\) calls graph 1 of 1"),
    "negative graph": (lambda: calls(-1), "calls graph -1 of 1"),
    "itself": (lambda: calls(0), "graph 0 calls itself"),
    "circle": (lambda: calls(1, 2, 1), "graph 0 calls itself|graph 1 calls itself"),
    "offset": (lambda: changed(lambda m: put(m.buffers[0], offset=2**62, size=16)), "buffer 0 reaches beyond"),
    "2 GiB": (lambda: changed(lambda m: put(m.buffers[0], offset=2**31, size=2**31)), "buffer 0 reaches beyond"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    maker, words = REFUSED[case]
    with pytest.raises(DamagedError, match=words):
        check_model(pack(maker().model))
    with pytest.raises(DamagedError):
        check_foreign(pack(maker().model))


def variable(model: Any) -> None:
    graph_of(model).tensors[1].isVariable = True
    graph_of(model).operators.clear()


def test_what_is_right_passes() -> None:
    for maker in (negation(), with_constant()):
        check_foreign(pack(maker.model))
    check_model(pack(quantized([0.1] * 4, [0], 1).model))
    check_model(pack(quantized([0.1], [0], 7).model))  # one scale has no dimension
    check_model(pack(changed(variable).model))  # a variable needs no operator
    check_model(pack(changed(lambda m: put(graph_of(m).operators[0], inputs=[0, -1])).model))  # an input left out
    for path in sorted(MODELS.glob("*.tflite")):
        totals = check_foreign(path.read_bytes())
        assert totals.fixed >= path.stat().st_size and totals.values > totals.inputs > 0


def test_what_a_stranger_may_not() -> None:
    custom = ModelMaker()
    taken, given = custom.tensor([1]), custom.tensor([1])
    custom.operator("CUSTOM", [taken], [given], custom="FlexEverything\x1b[2J")
    data = custom.finish([taken], [given])
    check_model(data)
    with pytest.raises(UnusableError, match=r"operator CUSTOM 'FlexEverything.*which foreign models may not"):
        check_foreign(data)
    behind = changed(lambda m: put(m.buffers[1], data=None, offset=64, size=16), with_constant())
    check_model(pack(behind.model))
    with pytest.raises(UnusableError, match="behind the end of the model"):
        check_foreign(pack(behind.model))


@pytest.mark.parametrize("what", ["MAX_GRAPHS", "MAX_TENSORS", "MAX_OPERATORS", "MAX_BUFFERS", "MAX_LINKS"])
def test_too_many(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(with_constant().model)
    check_model(data)
    monkeypatch.setattr(check, what, 0)
    with pytest.raises(DamagedError, match=r"declares|more than 0"):
        check_model(data)


def test_needed_grows_with_the_inputs() -> None:
    totals = check_model(pack(with_constant().model))
    assert totals.inputs == 16 and totals.values == 32
    assert totals.needed(16) == totals.fixed + 32
    assert totals.needed(160) == totals.fixed + 320
    assert totals.needed(0) == totals.needed(16)  # never less than it stores


def test_every_cut_and_every_offset() -> None:
    """A file that ends early, and one whose every word in turn is an offset to nowhere, give one error or none."""
    data = pack(with_constant().model)
    for end in range(len(data)):
        with pytest.raises(DamagedError):
            check_model(data[:end])
    chance = Random(1)
    for place in range(0, len(data) - 3, 2):
        for value in (0, 1, len(data) - 1, len(data), 2**31 - 1, 2**31, 2**32 - 1, chance.getrandbits(32)):
            damaged = bytearray(data)
            struct.pack_into("<I", damaged, place, value)
            try:
                check_model(bytes(damaged))
            except DamagedError as error:
                assert str(error)
