"""The two ways of resizing that ``wasmedge_image`` had: pixel for pixel what its guests were made with.

All arrays are height x width x 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize_corners", "resize_cubic"]

PLAIN = np.arange(256, dtype=np.float32)
"""A pixel's steps as numbers."""


def resize_corners(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bilinear between the four nearest pixels, corner on corner, cut to whole numbers; no antialiasing.

    Source: Boost GIL ``extension/numeric`` (``resize_view`` with ``bilinear_sampler``), as the image functions of
    WasmEdge-image and SSVM used it. Products and sums are in GIL's order, for the last bit decides where it cuts.
    """
    left, right, weight_left, weight_right = corner_weights(pixels.shape[1], width)
    top, bottom, weight_top, weight_bottom = corner_weights(pixels.shape[0], height)
    out = np.empty((height, width, 3), np.uint8)
    for row in range(height):
        above, below = pixels[top[row]], pixels[bottom[row]]
        total = above[left] * (weight_left * weight_top[row])[:, None]
        total += above[right] * (weight_right * weight_top[row])[:, None]
        total += below[left] * (weight_left * weight_bottom[row])[:, None]
        total += below[right] * (weight_right * weight_bottom[row])[:, None]
        out[row] = total
    return out


def corner_weights(
    size: int, wanted: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """For each place along an axis: the two pixels that it lies between and their weights."""
    source, target = float(max(size - 1, 1)), float(max(wanted - 1, 1))
    scale = source / target
    places = np.arange(wanted) * scale + (-target / 2 * scale + source / 2)
    first = np.floor(places).astype(np.intp)
    second_weight = places - first
    first_weight = 1 - second_weight
    # Rounding may lead just before the first pixel; beyond the border its neighbour has all the weight.
    first_weight[first < 0], second_weight[first < 0] = 0, 1
    last = first + 1 >= size
    first_weight[last], second_weight[last] = 1, 0
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), first_weight, second_weight


def resize_cubic(
    pixels: NDArray[np.uint8], width: int, height: int, values: NDArray[np.float32] = PLAIN
) -> NDArray[np.float32]:
    """Antialiased: Mitchell's filter where the image shrinks, Catmull-Rom where it grows, edges repeated.

    ``values`` are what the 256 steps of a pixel stand for. Only the rows that a new row is made of are looked up at a
    time, for the whole would take four times the memory of the pixels.

    Source: the default filters of stb_image_resize, which WasmEdge's plugin uses.
    """
    down = values[pixels] if pixels.shape[0] == height else filter_rows(pixels, height, values)
    if down.shape[1] == width:
        return down
    return np.ascontiguousarray(filter_rows(down.transpose(1, 0, 2), width).transpose(1, 0, 2))


def filter_rows(
    pixels: NDArray[np.generic], wanted: int, values: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Resizes the first axis of numbers, or of what ``values`` has for them."""
    size = pixels.shape[0]
    scale = size / wanted
    kernel, reach = (mitchell, 2 * scale) if scale > 1 else (catmull_rom, 2.0)
    flat = np.ascontiguousarray(pixels).reshape(size, -1)
    out = np.empty((wanted, flat.shape[1]), np.float32)
    for row in range(wanted):
        centre = (row + 0.5) * scale
        taps = np.arange(int(np.floor(centre - reach)), int(np.ceil(centre + reach)) + 1)
        weights = kernel((taps + 0.5 - centre) / max(scale, 1.0))
        folded = np.bincount(np.clip(taps, 0, size - 1) - max(0, taps[0]), weights / weights.sum())
        first = max(0, int(taps[0]))
        rows = flat[first : first + folded.size]
        out[row] = folded.astype(np.float32) @ (rows if values is None else values[rows])
    return out.reshape(wanted, *pixels.shape[1:])


def mitchell(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mitchell and Netravali's cubic with B = C = 1/3."""
    x = np.abs(x)
    near = (16 + x * x * (21 * x - 36)) / 18
    far = (32 + x * (-60 + x * (36 - 7 * x))) / 18
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def catmull_rom(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic through its points, B = 0 and C = 1/2."""
    x = np.abs(x)
    near = 1 - x * x * (2.5 - 1.5 * x)
    far = 2 - x * (4 + x * (0.5 * x - 2.5))
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
