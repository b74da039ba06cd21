"""A plain NumPy forward pass of MTCNN's nets from unfolded weights, written apart from the converter, and the
interpreter to compare it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def conv(image: Array, kernel: Array, bias: Array) -> Array:
    """``image`` [h, w, in], ``kernel`` [kh, kw, in, out], no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape[:2], axis=(0, 1))
    return np.asarray(np.einsum("hwcij,ijco->hwo", windows, kernel) + bias, np.float32)


def max_pool(image: Array, size: int, *, same: bool) -> Array:
    """Stride 2; with ``same`` the border is padded as TensorFlow does, the odd pixel at the bottom and the right."""
    if same:
        pads = [max((-(-side // 2) - 1) * 2 + size - side, 0) for side in image.shape[:2]]
        margins = [(pad // 2, pad - pad // 2) for pad in pads]
        image = np.pad(image, [*margins, (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))[::2, ::2]
    return np.asarray(windows.max(axis=(3, 4)))


def softmax(scores: Array) -> Array:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def prelu(values: Array, alpha: Array) -> Array:
    return np.where(values > 0, values, values * alpha)


def forward(name: str, arrays: list[Array], image: Array) -> list[Array]:
    """The outputs of ``pnet``, ``rnet`` or ``onet`` for one ``image`` [h, w, 3], in the order of the .tflite files."""
    pools: dict[str, list[tuple[int, bool] | None]] = {
        "pnet": [(2, True), None, None],
        "rnet": [(3, True), (3, False), None],
        "onet": [(3, True), (3, False), (2, True), None],
    }
    weights: Any = iter(arrays)
    for pool in pools[name]:
        image = prelu(conv(image, next(weights), next(weights)), next(weights))
        if pool:
            image = max_pool(image, pool[0], same=pool[1])
    if name == "pnet":
        heads = [conv(image, next(weights), next(weights)) for _ in range(2)]
    else:
        by_column = image.transpose(1, 0, 2).reshape(-1)
        hidden = prelu(by_column @ next(weights) + next(weights), next(weights))
        heads = [hidden @ next(weights) + next(weights) for _ in range(3 if name == "onet" else 2)]
    return [*heads[:-1], softmax(heads[-1])]


def interpreter_class() -> Any:
    """The TFLite interpreter that is installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter


def run_tflite(path: Path, batch: Array) -> list[Array]:
    """The outputs of the file, in its own order, for ``batch`` [n, h, w, 3], given in the type of its input."""
    interpreter = interpreter_class()(str(path))
    source = interpreter.get_input_details()[0]
    index = source["index"]
    interpreter.resize_tensor_input(index, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, np.ascontiguousarray(batch, dtype=source["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
