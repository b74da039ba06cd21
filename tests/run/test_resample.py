"""The two ways of resizing, on pixels whose answers are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from aicli.nn.dialects.resample import resize_corners, resize_cubic
from aicli.nn.dialects.wasmedge_image import ANY_FORMAT, decode, encode_current, encode_legacy
from aicli.nn.session import NnError


def checkerboard(height: int, width: int) -> np.ndarray:
    values = (np.indices((height, width)).sum(axis=0) % 2 * 255).astype(np.uint8)
    return np.repeat(values[:, :, None], 3, axis=2)


def test_corners_meet_corners_without_antialiasing() -> None:
    pixels = np.arange(9 * 9 * 3, dtype=np.uint8).reshape(9, 9, 3)
    assert np.array_equal(resize_corners(pixels, 5, 5), pixels[::2, ::2])
    assert np.array_equal(resize_corners(pixels, 9, 9), pixels)
    # Every second pixel of a checkerboard: one colour, where antialiasing gives grey.
    assert set(np.unique(resize_corners(checkerboard(9, 9), 5, 5))) == {0}


def test_corners_cut_what_is_not_whole() -> None:
    pixels = np.array([[[0] * 3, [255] * 3]], np.uint8)
    assert resize_corners(pixels, 3, 1)[0, :, 0].tolist() == [0, 127, 255]
    assert resize_corners(pixels[:, :1], 4, 4).shape == (4, 4, 3)


def test_cubic_keeps_flat_areas_and_averages_fine_ones() -> None:
    flat = np.full((50, 70, 3), 90, np.float32)
    assert np.allclose(resize_cubic(flat, 13, 200), 90, atol=1e-3)
    grey = resize_cubic(checkerboard(64, 64).astype(np.float32), 8, 8)
    assert np.abs(grey[2:6, 2:6] - 127.5).max() < 8


def test_cubic_filters_are_those_of_stb_image_resize() -> None:
    """Mitchell where it shrinks: an impulse spreads by 8/9 and 1/18; Catmull-Rom where it grows: it passes through."""
    line = np.zeros((1, 6, 3), np.float32)
    line[0, 2] = 1
    half = resize_cubic(line, 3, 1)[0, :, 0]
    assert half.sum() == pytest.approx(0.5, abs=0.02)
    double = resize_cubic(line, 12, 1)[0, :, 0]
    assert double[4:6].tolist() == pytest.approx([0.8671875] * 2)
    assert double[2:4].tolist() == pytest.approx([-0.0703125, 0.2265625])


def test_scaling_of_both_generations() -> None:
    pixels = np.full((4, 4, 3), 128, np.uint8)
    assert encode_legacy(pixels, 2, 2, "rgb32f") == pytest.approx(128 / 255)
    assert encode_current(pixels, 2, 2, "rgb32f") == pytest.approx((128 / 255) ** 2.2, abs=1e-5)
    assert np.all(encode_current(pixels, 2, 2, "rgb8") == 128)


def encoded(format_: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (3, 2), 100 if mode == "L" else (100,) * len(mode)).save(file, format_)
    return file.getvalue()


def test_decoding() -> None:
    assert decode(encoded("JPEG"), ("JPEG",)).shape == (2, 3, 3)
    assert decode(encoded("PNG", "L"), ANY_FORMAT)[0, 0].tolist() == [100] * 3
    assert decode(encoded("PNG", "RGBA"), ("PNG",))[0, 0].tolist() == [100] * 3
    for data, formats in ((encoded("PNG"), ("JPEG",)), (b"", ANY_FORMAT), (encoded("PNG")[:40], ANY_FORMAT)):
        with pytest.raises(NnError):
            decode(data, formats)
