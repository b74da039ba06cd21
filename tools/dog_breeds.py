"""MobileNetV2 (Sandler et al., 2018) at 160 x 160, retrained to tell 19 dog breeds.

Input [1, 160, 160, 3]: RGB, x / 127.5 - 1. Output [1, 19]: probabilities.
"""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
from inverted_residual import Convolution, add_block, add_classifier
from numpy.typing import NDArray
from tflite_graph import Graph
from weights import fold_batch_norm, read_joblib

__all__ = ["breed_labels", "dog_breeds"]

BACKBONE = "mobilenetv2_1.00_160"
BLOCKS = 17
# All inputs of these blocks have even sides, where Keras' explicit padding before a VALID convolution is SAME.
STRIDE_2 = {1, 3, 6, 13}


def dog_breeds(h5: bytes) -> bytes:
    """The .tflite file for a Keras .h5 file with the layer names of the package's file."""
    with h5py.File(io.BytesIO(h5), "r") as file:
        layers = file["model_weights"]
        backbone, dense = layers[BACKBONE], layers["dense/dense"]
        graph = Graph("MobileNetV2, dog breeds: probabilities [1,19]")
        image = graph.input("image", (1, 160, 160, 3), (1, 160, 160, 3))
        stem = _convolution(backbone, "Conv1", "bn_Conv1")
        last = graph.conv2d("stem", image, *stem, stride=2, same=True, relu6=True)
        for number in range(BLOCKS):
            name = f"block_{number}" if number else "expanded_conv"  # the first block has nothing to expand
            expand = _convolution(backbone, f"{name}_expand") if number else None
            depthwise = _depthwise(backbone, f"{name}_depthwise")
            project = _convolution(backbone, f"{name}_project")
            stride = 2 if number in STRIDE_2 else 1
            last = add_block(graph, f"block{number}", last, expand, depthwise, project, stride)
        head = _convolution(backbone, "Conv_1", "Conv_1_bn")
        weights, bias = np.asarray(dense["kernel"]).T, np.asarray(dense["bias"])
        return graph.finish([add_classifier(graph, last, head, weights, bias)])


def breed_labels(encoder: bytes) -> list[str]:
    """The breeds in the order of the net's classes, from a pickled label encoder (``n02085936-Maltese_dog``, ...)."""
    classes = read_joblib(encoder).classes_.tolist()
    return [str(name).split("-", 1)[1].replace("_", " ") for name in classes]


def _convolution(backbone: Any, name: str, norm: str | None = None) -> Convolution:
    """Keras' kernel [height, width, in, out] as [out, height, width, in]."""
    return _folded(backbone, name, norm, axis=0)


def _depthwise(backbone: Any, name: str) -> Convolution:
    """Keras' kernel [height, width, channels, 1] as [1, height, width, channels]."""
    return _folded(backbone, name, None, axis=3)


def _folded(backbone: Any, name: str, norm: str | None, *, axis: int) -> Convolution:
    """The last axis to the front, whichever layout, and the batch norm folded in along ``axis`` of the result."""
    kernel: NDArray[Any] = np.asarray(backbone[f"{name}/kernel"]).transpose(3, 0, 1, 2)
    norms = backbone[norm or f"{name}_BN"]
    parts = (np.asarray(norms[part]) for part in ("gamma", "beta", "moving_mean", "moving_variance"))
    return Convolution(*fold_batch_norm(kernel, *parts, axis=axis))
