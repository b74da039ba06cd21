"""EfficientNet-Lite0 for ImageNet's 1000 classes (Tan and Le, 2019; the Lite variant has no squeeze-and-excite).

Input [1, 224, 224, 3]: RGB, (x - 127) / 128. Output [1, 1000]: probabilities.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from inverted_residual import Convolution, add_block, add_classifier
from numpy.typing import NDArray
from tflite_graph import Graph
from weights import fold_batch_norm

__all__ = ["efficientnet_lite0"]


class Stage(NamedTuple):
    """Blocks that follow each other; only the first has the stride. Kernels and channels are checked against these."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = [
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
]

State = dict[str, NDArray[Any]]


def efficientnet_lite0(state: State) -> bytes:
    """The .tflite file for a PyTorch state dict with the layer names of the package's file."""
    graph = Graph("EfficientNet-Lite0: probabilities [1,1000]")
    image = graph.input("image", (1, 224, 224, 3), (1, 224, 224, 3))
    last = graph.conv2d("stem", image, *_convolution(state, "_conv_stem", "_bn0"), stride=2, same=True, relu6=True)
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            prefix = f"_blocks.{number}."
            expand = _convolution(state, f"{prefix}_expand_conv", f"{prefix}_bn0") if stage.expand > 1 else None
            depthwise = _depthwise(state, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
            project = _convolution(state, f"{prefix}_project_conv", f"{prefix}_bn2")
            _check(prefix, stage, last.shape[3], depthwise, project)
            stride = stage.stride if repeat == 0 else 1
            last = add_block(graph, f"block{number}", last, expand, depthwise, project, stride)
            number += 1
    head = _convolution(state, "_conv_head", "_bn1")
    return graph.finish([add_classifier(graph, last, head, state["_fc.weight"], state["_fc.bias"])])


def _convolution(state: State, name: str, norm: str) -> Convolution:
    """PyTorch's kernel [out, in, height, width] as [out, height, width, in]."""
    return _folded(state, state[f"{name}.weight"].transpose(0, 2, 3, 1), norm, axis=0)


def _depthwise(state: State, name: str, norm: str) -> Convolution:
    """PyTorch's kernel [channels, 1, height, width] as [1, height, width, channels]."""
    return _folded(state, state[f"{name}.weight"].transpose(1, 2, 3, 0), norm, axis=3)


def _folded(state: State, kernel: NDArray[Any], norm: str, *, axis: int) -> Convolution:
    parts = (state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    return Convolution(*fold_batch_norm(np.asarray(kernel), *parts, axis=axis))


def _check(prefix: str, stage: Stage, channels: int, depthwise: Convolution, project: Convolution) -> None:
    wanted = (1, stage.kernel, stage.kernel, channels * stage.expand), stage.channels
    found = depthwise.kernel.shape, project.kernel.shape[0]
    if found != wanted:
        raise ValueError(f"{prefix} has {found} where EfficientNet-Lite0 has {wanted}: these are another net's weights")
