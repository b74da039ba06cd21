"""What MobileNetV2 and EfficientNet-Lite share: convolutions with folded batch norms, and the block made of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray
from tflite_graph import Graph, Tensor

__all__ = ["Convolution", "add_block", "add_classifier"]


class Convolution(NamedTuple):
    """A kernel in TensorFlow Lite's layout and its bias."""

    kernel: NDArray[Any]
    bias: NDArray[Any]


def add_block(
    graph: Graph,
    name: str,
    source: Tensor,
    expand: Convolution | None,
    depthwise: Convolution,
    project: Convolution,
    stride: int,
) -> Tensor:
    """An inverted residual block (Sandler et al., 2018, "MobileNetV2", section 3.3).

    A wide 1 x 1 convolution, a depthwise one and a narrow linear one; the source is added where the shape stays.
    """
    last = source
    if expand:
        last = graph.conv2d(f"{name}/expand", last, *expand, relu6=True)
    last = graph.depthwise_conv2d(f"{name}/depthwise", last, *depthwise, stride=stride, relu6=True)
    last = graph.conv2d(f"{name}/project", last, *project)
    return graph.add(f"{name}/add", last, source) if last.shape == source.shape else last


def add_classifier(
    graph: Graph, source: Tensor, head: Convolution, weights: NDArray[Any], bias: NDArray[Any]
) -> Tensor:
    """The last convolution, the average over the image, and ``weights`` [classes, features] with a softmax."""
    last = graph.conv2d("head", source, *head, relu6=True)
    last = graph.global_average("features", last)
    return graph.softmax("probabilities", graph.fully_connected("scores", last, weights, bias))
