"""The writer's files: alignment, versions, dynamic shapes, and the operators that the bundled nets are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy_nets
import pytest

writer = pytest.importorskip("tflite_graph", reason="needs flatbuffers and ai-edge-litert", exc_type=ImportError)


def small_net() -> bytes:
    random = np.random.default_rng(3)
    graph = writer.Graph("a small net")
    image = graph.input("image", (1, -1, -1, 3), (1, 5, 5, 3))
    first = graph.conv2d("first", image, random.normal(size=(4, 3, 3, 3)), np.zeros(4), stride=2, same=True, relu6=True)
    second = graph.conv2d("second", first, random.normal(size=(4, 1, 1, 4)), np.ones(4))
    return bytes(graph.finish([graph.softmax("probs", graph.add("sum", first, second))]))


def parsed(data: bytes) -> Any:
    return writer.schema.ModelT.InitFromPackedBuf(data)


def test_same_calls_give_same_bytes() -> None:
    assert small_net() == small_net()


def test_buffers_are_aligned_to_16_bytes() -> None:
    data = small_net()
    model = writer.schema.Model.GetRootAs(data)
    starts = []
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if not buffer.DataIsNone():
            values = buffer.DataAsNumpy()
            starts.append(values.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).ctypes.data)
    assert len(starts) == 4
    assert all(start % 16 == 0 for start in starts)


def test_weights_are_float16_with_dequantize_version_3() -> None:
    model = parsed(small_net())
    codes = {code.builtinCode: code for code in model.operatorCodes}
    operators = writer.schema.BuiltinOperator
    assert codes[operators.DEQUANTIZE].version == 3
    assert {code.version for number, code in codes.items() if number != operators.DEQUANTIZE} == {1}
    assert all(code.deprecatedBuiltinCode == number for number, code in codes.items())
    constants = [tensor for tensor in model.subgraphs[0].tensors if tensor.buffer]
    assert {tensor.type for tensor in constants} == {writer.schema.TensorType.FLOAT16}


def test_dynamic_sides_go_through_the_net(tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(small_net())
    for height, width in ((5, 5), (8, 3), (1, 20)):
        (probs,) = numpy_nets.run_tflite(path, np.zeros((1, height, width, 3), np.float32))
        assert probs.shape == (1, -(-height // 2), -(-width // 2), 4)


def test_values_beyond_float16_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel: values that FLOAT16 cannot hold"):
        writer.Graph("").weights("kernel", np.array([1e5]))
