"""The unpicklers read what the packages' files have and refuse everything else."""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any

import numpy as np
import pytest
import weights


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def torch_file(
    shape: tuple[int, ...], stride: tuple[int, ...], values: list[float], offset: int = 0, storage: str = "FloatStorage"
) -> bytes:
    """A file of PyTorch's legacy format with one tensor, ``weight``, written opcode by opcode."""
    system: dict[str, Any] = {}
    head = b"".join(pickle.dumps(item, 2) for item in (weights.TORCH_MAGIC, weights.TORCH_PROTOCOL, system))
    state = b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n("
    state += b"(X\x07\x00\x00\x00storagectorch\n" + storage.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    state += b"K" + bytes([len(values)]) + b"NtQ"
    for value in (offset, shape, stride):
        state += pickle.dumps(value, 2)[2:-1]
    state += b"\x89ccollections\nOrderedDict\n)RtRs."
    return (
        head + state + pickle.dumps(["0"], 2) + struct.pack("<q", len(values)) + np.array(values, np.float32).tobytes()
    )


def test_strided_tensor_is_read() -> None:
    state = weights.read_torch(torch_file((2, 3), (1, 2), [0, 1, 2, 3, 4, 5]))
    assert state["weight"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_tensor_beyond_its_storage_is_refused() -> None:
    for shape, stride, offset in (((2, 3), (3, 1), 1), ((7,), (1,), 0), ((2,), (-1,), 1)):
        with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
            weights.read_torch(torch_file(shape, stride, [0, 1, 2, 3, 4, 5], offset))


def test_storage_of_another_kind_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.HalfStorage is not admitted"):
        weights.read_torch(torch_file((1,), (1,), [0], storage="HalfStorage"))


def test_other_file_is_no_torch_file() -> None:
    with pytest.raises(pickle.UnpicklingError, match="legacy format"):
        weights.read_torch(pickle.dumps(1) * 3)


@pytest.mark.parametrize("read", [weights.read_joblib, weights.read_torch])
@pytest.mark.parametrize("call", [Call(os.system, "true"), Call(eval, "1"), Call(getattr, [], "append")])
def test_call_of_anything_else_is_refused(read: Any, call: Call) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is not admitted in this file"):
        read(pickle.dumps(call))


def joblib_array(dtype: bytes, raw: bytes, order: bytes = b"C") -> bytes:
    """A joblib pickle of one array of shape [2, 3], with three bytes of padding."""
    state = b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
    state += b"\x8c\x05shapeK\x02K\x03\x86\x8c\x05order\x8c\x01" + order
    state += b"\x8c\x05dtypecnumpy\ndtype\n\x8c" + bytes([len(dtype)]) + dtype + b"\x89\x88\x87R"
    state += b"(K\x03\x8c\x01<NNNK\x04K\x04K\x00tbub"
    return state + b"\x03\xff\xff\xff" + raw + b"."


def test_joblib_array_is_read_in_its_order() -> None:
    raw = np.arange(6, dtype="<f4").tobytes()
    assert weights.read_joblib(joblib_array(b"f4", raw)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weights.read_joblib(joblib_array(b"f4", raw, b"F")).tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("dtype", [b"O", b"f8", b"U", b"V8"])
def test_array_of_another_dtype_is_refused(dtype: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is not expected here"):
        weights.read_joblib(joblib_array(dtype, bytes(64)))


def test_folded_batch_norm_equals_convolution_and_batch_norm() -> None:
    random = np.random.default_rng(2)
    kernel, source = random.normal(size=(4, 1, 1, 3)), random.normal(size=3)
    gamma, beta, mean = random.normal(size=(3, 4))
    variance = random.uniform(0.1, 2, 4)
    plain = kernel[:, 0, 0] @ source
    folded, bias = weights.fold_batch_norm(kernel, gamma, beta, mean, variance, axis=0)
    expected = (plain - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(folded[:, 0, 0] @ source + bias, expected)
