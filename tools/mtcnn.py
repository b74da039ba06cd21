"""MTCNN's three nets (Zhang et al., 2016, "Joint Face Detection and Alignment Using Multitask Cascaded CNNs").

Input: RGB, (x - 127.5) / 128, NHWC. Outputs, in this order:

    P-Net  boxes [1, h, w, 4]   probs [1, h, w, 2]                        any image from 12 x 12
    R-Net  boxes [n, 4]         probs [n, 2]                              n crops of 24 x 24
    O-Net  boxes [n, 4]         landmarks [n, 10]        probs [n, 2]     n crops of 48 x 48

With ``pixels`` the input is the image's bytes, uint8, and the net makes (x - 127.5) / 128 of them itself: the same
numbers to the last bit, as each step is exact in float32, and a quarter of the bytes to hand over.

A box is (dx1, dy1, dx2, dy2) relative to the width and height of the candidate, landmarks are x1..x5 and y1..y5
relative to it, and ``probs[..., 1]`` is the probability of a face.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lz4.frame
import numpy as np
from numpy.typing import NDArray
from tflite_graph import DYNAMIC, Graph, Tensor
from weights import read_joblib

__all__ = ["onet", "pnet", "read_weights", "rnet"]


class Pool(NamedTuple):
    """A max pooling: window and stride in pixels, and whether the border is padded (SAME) or cut (VALID)."""

    size: int
    stride: int
    same: bool


Weights = Iterator[NDArray[Any]]


def read_weights(data: bytes) -> list[NDArray[np.float32]]:
    """The arrays of one of the package's ``.lz4`` files, in the order of the net's layers."""
    arrays: list[NDArray[np.float32]] = read_joblib(lz4.frame.decompress(data))
    return arrays


def pnet(arrays: list[NDArray[np.float32]], *, pixels: bool = False) -> bytes:
    weights = iter(arrays)
    graph = Graph("MTCNN P-Net: boxes [1,h,w,4], probs [1,h,w,2]")
    # A stored shape below the cell's 12 x 12 would leave the convolutions nothing, and the first allocation would fail.
    image = _input(graph, (1, DYNAMIC, DYNAMIC, 3), (1, 12, 12, 3), pixels=pixels)
    last = _features(graph, image, weights, [Pool(2, 2, same=True), None, None])
    boxes = _conv(graph, "boxes", last, weights)
    scores = _conv(graph, "scores", last, weights)
    return _finish(graph, weights, [boxes, graph.softmax("probs", scores)])


def rnet(arrays: list[NDArray[np.float32]], *, pixels: bool = False) -> bytes:
    weights = iter(arrays)
    graph = Graph("MTCNN R-Net: boxes [n,4], probs [n,2]")
    image = _input(graph, (DYNAMIC, 24, 24, 3), (1, 24, 24, 3), pixels=pixels)
    last = _features(graph, image, weights, [Pool(3, 2, same=True), Pool(3, 2, same=False), None])
    hidden = _hidden(graph, last, weights)
    boxes = _dense(graph, "boxes", hidden, weights)
    scores = _dense(graph, "scores", hidden, weights)
    return _finish(graph, weights, [boxes, graph.softmax("probs", scores)])


def onet(arrays: list[NDArray[np.float32]], *, pixels: bool = False) -> bytes:
    weights = iter(arrays)
    graph = Graph("MTCNN O-Net: boxes [n,4], landmarks [n,10], probs [n,2]")
    image = _input(graph, (DYNAMIC, 48, 48, 3), (1, 48, 48, 3), pixels=pixels)
    pools = [Pool(3, 2, same=True), Pool(3, 2, same=False), Pool(2, 2, same=True), None]
    last = _features(graph, image, weights, pools)
    hidden = _hidden(graph, last, weights)
    boxes = _dense(graph, "boxes", hidden, weights)
    landmarks = _dense(graph, "landmarks", hidden, weights)
    scores = _dense(graph, "scores", hidden, weights)
    return _finish(graph, weights, [boxes, landmarks, graph.softmax("probs", scores)])


def _input(graph: Graph, shape: tuple[int, ...], stored: tuple[int, ...], *, pixels: bool) -> Tensor:
    """The image as float32; its bytes come in with ``pixels``: (x - 128) / 128 + 1 / 256, as a zero point is whole."""
    if not pixels:
        return graph.input("image", shape, stored)
    image = graph.input("image", shape, stored, quantised=(1 / 128, 128))
    real = graph.dequantize("image/real", image)
    return graph.add("image/normalised", real, graph.constant("image/half_step", np.full(1, 1 / 256)))


def _features(graph: Graph, image: Tensor, weights: Weights, pools: list[Pool | None]) -> Tensor:
    """The convolutions, each with its PReLU and, where ``pools`` has one, its pooling."""
    last = image
    for number, pool in enumerate(pools, start=1):
        last = _conv(graph, f"conv{number}", last, weights)
        last = graph.prelu(f"prelu{number}", last, next(weights))
        if pool:
            last = graph.max_pool2d(f"pool{number}", last, pool.size, pool.stride, same=pool.same)
    return last


def _hidden(graph: Graph, last: Tensor, weights: Weights) -> Tensor:
    """The first fully connected layer with its PReLU.

    Its weights expect the features column by column (the nets were trained in a column-major framework); reordering
    the weights once spares the net a transposition on every run.
    """
    _, height, width, channels = last.shape
    dense = next(weights)
    by_row = dense.reshape(width, height, channels, -1).transpose(1, 0, 2, 3).reshape(dense.shape)
    flat = graph.flatten("flat", last)
    hidden = graph.fully_connected("hidden", flat, by_row.T, next(weights))
    return graph.prelu("prelu_hidden", hidden, next(weights))


def _conv(graph: Graph, name: str, source: Tensor, weights: Weights) -> Tensor:
    """A VALID convolution with the next kernel [height, width, in, out] and bias."""
    return graph.conv2d(name, source, next(weights).transpose(3, 0, 1, 2), next(weights))


def _dense(graph: Graph, name: str, source: Tensor, weights: Weights) -> Tensor:
    """A fully connected layer with the next matrix [in, out] and bias."""
    return graph.fully_connected(name, source, next(weights).T, next(weights))


def _finish(graph: Graph, weights: Weights, outputs: list[Tensor]) -> bytes:
    left = len(list(weights))
    if left:
        raise ValueError(f"{left} arrays of weights are left over: this is another net's file")
    return graph.finish(outputs)
