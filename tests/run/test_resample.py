"""The two ways of resizing, on pixels whose answers are known."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aicli.nn.dialects.resample import resize_corners, resize_cubic
from aicli.nn.dialects.wasmedge_image import ANY_FORMAT, Size, decode, encode_current, encode_legacy
from aicli.nn.session import NnError

SMALL = Size(2, 2)


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
    flat = np.full((50, 70, 3), 90, np.uint8)
    assert np.allclose(resize_cubic(flat, 13, 200), 90, atol=1e-3)
    grey = resize_cubic(checkerboard(64, 64), 8, 8)
    assert np.abs(grey[2:6, 2:6] - 127.5).max() < 8


def test_cubic_filters_are_those_of_stb_image_resize() -> None:
    """Mitchell where it shrinks: an impulse spreads by 8/9 and 1/18; Catmull-Rom where it grows: it passes through."""
    line = np.zeros((1, 6, 3), np.uint8)
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
    assert decode(encoded("JPEG"), ("JPEG",), SMALL).shape == (2, 3, 3)
    assert decode(encoded("PNG", "L"), ANY_FORMAT, SMALL)[0, 0].tolist() == [100] * 3
    assert decode(encoded("PNG", "RGBA"), ("PNG",), SMALL)[0, 0].tolist() == [100] * 3
    for data, formats in ((encoded("PNG"), ("JPEG",)), (b"", ANY_FORMAT), (encoded("PNG")[:40], ANY_FORMAT)):
        with pytest.raises(NnError):
            decode(data, formats, SMALL)


def test_a_large_picture_is_refused_without_a_warning_of_the_decoder() -> None:
    file = io.BytesIO()
    Image.new("L", (9999, 10000)).save(file, "PNG")  # Pillow warns of it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NnError, match="9999 x 10000 pixels to 8 x 8 needs more memory"):
            decode(file.getvalue(), ("PNG",), Size(8, 8))


def test_both_directions_have_a_budget() -> None:
    tall = encoded("PNG")
    assert decode(tall, ANY_FORMAT, Size(2000, 2000)).shape == (2, 3, 3)
    for wanted in (Size(1, 300_000_000), Size(300_000_000, 1), Size(8000, 8000)):
        with pytest.raises(NnError, match="more memory than there is for one"):
            decode(tall, ANY_FORMAT, wanted)
    wide = io.BytesIO()
    Image.new("L", (60_000, 1)).save(wide, "PNG")
    # Neither of the two is large, but what lies between them is.
    with pytest.raises(NnError, match="60000 x 1 pixels to 1 x 60000 needs more memory"):
        decode(wide.getvalue(), ANY_FORMAT, Size(1, 60_000))


MEASURE = """
import io, resource, sys
import numpy as np
from PIL import Image
from aicli.nn.dialects import wasmedge_image as tested

def work(data, wanted, kind):
    encode = getattr(tested, sys.argv[3])
    values = encode(tested.decode(data, tested.ANY_FORMAT, wanted), *wanted, kind)
    np.ascontiguousarray(values[:, :, ::-1])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

small = io.BytesIO()
Image.new(sys.argv[2], (8, 8)).save(small, "PNG")
source, wanted = tested.Size(*map(int, sys.argv[5:7])), tested.Size(*map(int, sys.argv[7:9]))
work(small.getvalue(), tested.Size(4, 4), sys.argv[4])
before = peak()
work(open(sys.argv[1], "rb").read(), wanted, sys.argv[4])
print((peak() - before) / tested.work_bytes(source, wanted))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
@pytest.mark.parametrize("encode", ["encode_current", "encode_legacy"])
@pytest.mark.parametrize(
    ("mode", "kind", "sizes"),
    [
        ("RGBA", "rgb8", (2500, 2000, 224, 224)),
        ("RGB", "rgb32f", (1200, 1200, 1200, 1199)),
        ("L", "rgb32f", (2, 3, 1500, 1500)),
        ("RGB", "rgb8", (2000, 200, 200, 2000)),
    ],
)
def test_the_budget_counts_what_is_used(
    encode: str, mode: str, kind: str, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.new(mode, (sizes[0], sizes[1])).save(photo)
    line = [sys.executable, "-c", MEASURE, str(photo), mode, encode, kind, *map(str, sizes)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 1.1
