"""Read the weights that packages ship: joblib pickles and PyTorch's legacy format, without joblib or PyTorch.

A pickle can run any code, so the unpicklers here admit only the few names that these files need and give them
harmless stand-ins; any other name is an error.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["fold_batch_norm", "read_joblib", "read_torch"]

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
TORCH_PROTOCOL = 1001
TORCH_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _DType:
    """A stand-in for numpy.dtype: float32 or text of a fixed width, and nothing else."""

    def __init__(self, code: str, *_: bool) -> None:
        if code != "f4" and not (code[:1] == "U" and code[1:].isdigit()):
            raise pickle.UnpicklingError(f"an array of dtype {code!r} is not expected here")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise pickle.UnpicklingError("only little-endian arrays are expected here")


class _Bag:
    """A stand-in for a class of which only the attributes matter."""


class _ArrayWrapper(_Bag):
    """A stand-in for joblib's NumpyArrayWrapper: the head of an array whose raw bytes follow in the file."""

    shape: tuple[int, ...]
    order: str
    dtype: _DType

    def read(self, source: IO[bytes]) -> NDArray[Any]:
        padding = source.read(1)  # one byte: how many bytes of padding follow
        source.read(padding[0])
        dtype = np.dtype("<" + self.dtype.code)
        count = int(np.prod(self.shape))
        flat = np.frombuffer(source.read(count * dtype.itemsize), dtype=dtype, count=count)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


JOBLIB_NAMES: dict[tuple[str, str], Any] = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayWrapper,
    ("numpy", "ndarray"): _Bag,
    ("numpy", "dtype"): _DType,
    ("sklearn.preprocessing._label", "LabelEncoder"): _Bag,
}
load_build: Any = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _JoblibUnpickler(pickle._Unpickler):  # the C one has no hook between two opcodes
    """Follows joblib's format: an array's bytes lie in the stream just after the wrapper that announces them."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(source)
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        return _admit(JOBLIB_NAMES, module, name)

    def load_build_then_array(self) -> None:
        load_build(self)
        if isinstance(self.stack[-1], _ArrayWrapper):
            self.stack[-1] = self.stack[-1].read(self._source)

    dispatch[pickle.BUILD[0]] = load_build_then_array


class _Storage:
    """A PyTorch storage: a flat array whose values come later in the file."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.values: NDArray[Any] = np.empty(0, dtype)


class _TorchTensor:
    """A stand-in for what ``torch._utils._rebuild_tensor_v2`` makes: a strided view into a storage."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> NDArray[Any]:
        values = self.storage.values
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if min(self.shape, default=1) < 1 or min((self.offset, *self.stride)) < 0 or last >= len(values):
            raise pickle.UnpicklingError(f"a tensor of shape {self.shape} reaches beyond its storage")
        steps = [step * values.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)


TORCH_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _TorchTensor,
    **{("torch", name): dtype for name, dtype in TORCH_STORAGES.items()},
}


class _TorchUnpickler(pickle.Unpickler):
    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(source)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        return _admit(TORCH_NAMES, module, name)

    def persistent_load(self, pid: tuple[Any, ...]) -> _Storage:
        kind, dtype, key = pid[:3]
        if kind != "storage" or dtype not in TORCH_STORAGES.values():
            raise pickle.UnpicklingError(f"persistent object {pid!r} is not expected here")
        return self.storages.setdefault(key, _Storage(dtype))


def _admit(admitted: dict[tuple[str, str], Any], module: str, name: str) -> Any:
    try:
        return admitted[module, name]
    except KeyError:
        raise pickle.UnpicklingError(f"the name {module}.{name} is not admitted in this file") from None


def read_joblib(data: bytes) -> Any:
    """What ``joblib.load`` gives for uncompressed ``data``: arrays, lists and objects with attributes.

    Raises pickle.UnpicklingError when the file names anything but arrays and a label encoder.
    """
    return _JoblibUnpickler(io.BytesIO(data)).load()


def read_torch(data: bytes) -> dict[str, NDArray[Any]]:
    """A state dict saved in PyTorch's legacy format (before 1.6): names and arrays.

    Five pickles (magic, protocol, system, state, storage keys), then per storage its length as int64 and its values.
    Raises pickle.UnpicklingError when the file is of another format or names anything but tensors.
    """
    source = io.BytesIO(data)
    magic, protocol, _system = (_TorchUnpickler(source).load() for _ in range(3))
    if (magic, protocol) != (TORCH_MAGIC, TORCH_PROTOCOL):
        raise pickle.UnpicklingError("not a file of PyTorch's legacy format")
    states = _TorchUnpickler(source)
    state = states.load()
    for key in _TorchUnpickler(source).load():
        storage = states.storages[key]
        count = int.from_bytes(source.read(8), "little")
        raw = source.read(count * np.dtype(storage.dtype).itemsize)
        storage.values = np.frombuffer(raw, dtype=storage.dtype, count=count)
    return {name: tensor.array() for name, tensor in state.items()}


def fold_batch_norm(
    kernel: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    mean: NDArray[Any],
    variance: NDArray[Any],
    *,
    axis: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A convolution's kernel and the bias that stand for it and the batch norm (epsilon 1e-3) after it.

    ``axis`` is the kernel's axis of output channels. Computed in float64, so that rounding to FLOAT16 is the only
    rounding that shows.
    """
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + 1e-3)
    shape = [1] * kernel.ndim
    shape[axis] = -1
    return kernel * scale.reshape(shape), beta - mean * scale
