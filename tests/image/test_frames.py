"""Files with several pictures, and raw photos: which one is answered, and that it is said."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli.errors import ImageError, ImageTooLargeError
from aicli.image.decode import open_frames, open_image
from aicli.image.headers import count_gif
from tests.corpus import encode, photo

COLOURS = ("red", "lime", "blue")
LETTERS = {1: "B", 3: "H", 4: "I"}
THUMBNAIL, SENSOR = (102, 120), (1536, 1800)


def animation(kind: str, **options: Any) -> bytes:
    first, *others = (Image.new("RGB", (40, 30), colour) for colour in COLOURS)
    return encode(first, kind, save_all=True, append_images=others, **options)


@pytest.mark.parametrize(
    ("kind", "options", "duration"),
    [
        ("GIF", {"duration": 100}, 100),
        ("PNG", {"duration": 100}, 100),
        ("WEBP", {"duration": 100, "lossless": True}, 100),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("MPO", {"quality": 95}, 0),
        ("AVIF", {"quality": 95}, None),
    ],
)
def test_every_frame_is_counted_and_decoded(kind: str, options: dict[str, Any], duration: int | None) -> None:
    data = animation(kind, **options)
    first = open_image(data)
    assert (first.frame, first.frames) == (0, 3)
    frames = list(open_frames(data))
    assert [(image.frame, image.frames) for image in frames] == [(0, 3), (1, 3), (2, 3)]
    assert np.array_equal(frames[0].pixels, first.pixels)
    for image, colour in zip(frames, ([255, 0, 0], [0, 255, 0], [0, 0, 255]), strict=True):
        assert np.abs(image.pixels[15, 20].astype(int) - colour).max() < 12
    if duration is not None:
        assert {image.duration for image in frames} == {duration}


def test_a_heif_file_with_several_pictures() -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    several = heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    several.add_from_pillow(Image.new("RGB", (64, 64), "blue"))
    several.save(stream, quality=95)
    assert [image.frames for image in open_frames(stream.getvalue())] == [2, 2]


def test_one_picture_is_one_frame() -> None:
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        image = open_image(encode(photo(), kind))
        assert (image.frame, image.frames, image.part) == (0, 1, None), kind
        assert len(list(open_frames(encode(photo(), kind)))) == 1
    assert len(list(open_frames(np.zeros((2, 2, 3), np.uint8)))) == 1


def test_a_gif_is_counted_as_pillow_counts_it() -> None:
    data = animation("GIF")
    for end in range(13, len(data)):
        assert 1 <= count_gif(io.BytesIO(data[:end])) <= 3
    with Image.open(io.BytesIO(data)) as image:
        assert count_gif(io.BytesIO(data)) == image.n_frames == 3  # type: ignore[attr-defined]
    assert count_gif(io.BytesIO(data[:13] + b"\x2c" * 5)) == 1


def test_a_frame_that_is_not_there_is_an_error() -> None:
    data = animation("TIFF", compression="tiff_lzw")
    frames = open_frames(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ImageError):
        list(frames)


def test_a_frame_that_is_larger_than_its_animation() -> None:
    data = bytearray(animation("GIF"))
    at = data.rindex(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<HH", 3000, 2000)
    with pytest.raises(ImageTooLargeError, match="3,000 x 2,000"):
        open_image(bytes(data), max_pixels=1_000_000)


def test_gain_maps_are_no_pictures_of_their_own() -> None:
    data = animation("MPO")
    at = data.rindex(b"\xff\xd8\xff")
    marked = data[:at] + data[at:].replace(b"\xff\xdb\x00\x43", b"\xff\xe1\x00\x43hdrgm", 1)
    assert open_image(marked).frames == 2


def directory(at: int, entries: dict[int, tuple[int, list[int]]]) -> bytes:
    """An image file directory that lies at ``at``: tag to type and values."""
    table, extra, behind = b"", b"", at + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        raw = struct.pack(f"<{len(values)}{LETTERS[kind]}", *values)
        if len(raw) > 4:
            raw, extra = struct.pack("<I", behind + len(extra)), extra + raw
        table += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return struct.pack("<H", len(entries)) + table + bytes(4) + extra


@pytest.mark.parametrize("reduced", [(1, 0), (0, 1), (0, 4), (0, 0)], ids=str)
def test_smaller_copies_and_masks_in_a_tiff_do_not_count(reduced: tuple[int, int]) -> None:
    """``NewSubfileType`` 1 is a smaller copy, 4 a mask; the first page is 40 x 30, the second 400 x 300."""
    data, link = bytearray(b"II*\0" + bytes(4)), 4
    for kind, (width, height) in zip(reduced, ((40, 30), (400, 300)), strict=True):
        pixels = len(data)
        data += bytes(3 * width * height)
        entries = {254: (4, [kind]), 256: (4, [width]), 257: (4, [height]), 258: (3, [8, 8, 8]), 259: (3, [1])}
        entries |= {
            262: (3, [2]),
            273: (4, [pixels]),
            277: (3, [3]),
            278: (4, [height]),
            279: (4, [3 * width * height]),
        }
        struct.pack_into("<I", data, link, len(data))
        link = len(data) + 2 + 12 * len(entries)
        data += directory(len(data), entries)
    answer = open_image(bytes(data))
    assert (answer.width, answer.frames) == {(1, 0): (400, 1), (0, 0): (40, 2)}.get(reduced, (40, 1))


def raw_photo(*, jpeg: tuple[int, int] | None = None, rgb: tuple[int, int] | None = None, turn: int = 1) -> bytes:
    """A DNG with a thumbnail first, the sensor's values unless it has an ``rgb`` picture, and an embedded ``jpeg``."""
    body = bytearray(8)

    def put(data: bytes) -> int:
        body.extend(bytes(len(body) % 2) + data)
        return len(body) - len(data)

    def picture(size: tuple[int, int], data: bytes, reduced: int, **tags: int) -> dict[int, tuple[int, list[int]]]:
        entries = {254: (4, [reduced]), 256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, [8, 8, 8])}
        entries |= {259: (3, [tags.get("compression", 1)]), 262: (3, [tags.get("photometric", 2)])}
        return entries | {273: (4, [put(data)]), 277: (3, [3]), 278: (4, [size[1]]), 279: (4, [len(data)])}

    def add(entries: dict[int, tuple[int, list[int]]]) -> int:
        return put(directory(len(body) + len(body) % 2, entries))

    inner = []
    if rgb is None:
        sensor = picture(SENSOR, bytes(2 * SENSOR[0] * SENSOR[1]), 0, photometric=32803)
        inner.append(add({**sensor, 258: (3, [16]), 277: (3, [1])}))
    else:
        inner.append(add(picture(rgb, Image.new("RGB", rgb, "red").tobytes(), 0)))
    if jpeg is not None:
        data = encode(Image.new("RGB", jpeg, "red"), "JPEG", quality=95)
        inner.append(add(picture(jpeg, data, 1, compression=7, photometric=6)))
    first = picture(THUMBNAIL, Image.new("RGB", THUMBNAIL, "blue").tobytes(), 1)
    start = add({**first, 274: (3, [turn]), 330: (4, inner), 50706: (1, [1, 4, 0, 0])})
    body[:8] = b"II*\0" + struct.pack("<I", start)
    return bytes(body)


def test_a_raw_photo_is_never_its_thumbnail() -> None:
    with pytest.raises(ImageError, match=r"a raw photo with no more than a thumbnail of 102 x 120 in it; convert"):
        open_image(raw_photo())


def test_the_largest_jpeg_of_a_raw_photo_is_answered_and_named() -> None:
    answer = open_image(raw_photo(jpeg=(1000, 1200)))
    assert answer.pixels.shape == (1200, 1000, 3)
    assert answer.pixels[0, 0, 0] > 200
    assert answer.part == "embedded JPEG, 1000 x 1200 of 1536 x 1800"
    turned = open_image(raw_photo(jpeg=(1000, 1200), turn=6))
    assert turned.pixels.shape == (1000, 1200, 3)
    assert (turned.full_width, turned.full_height) == (1200, 1000)
    with pytest.raises(ImageTooLargeError, match="1,000 x 1,200"):
        open_image(raw_photo(jpeg=(1000, 1200)), max_pixels=1_199_999)


def test_a_finished_picture_in_a_subdirectory_is_answered() -> None:
    answer = open_image(raw_photo(rgb=(800, 600)))
    assert answer.pixels.shape == (600, 800, 3)
    assert answer.pixels[0, 0].tolist() == [255, 0, 0]
    assert answer.part == "embedded picture, 800 x 600"


@pytest.mark.parametrize(
    "head",
    [b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0\0\0", b"IIU\0\x08\0\0\0\0\0"],
)
def test_raw_photos_of_other_layouts(head: bytes) -> None:
    small, large = (encode(Image.new("RGB", size, "red"), "JPEG") for size in ((160, 120), (1600, 1080)))
    answer = open_image(head + bytes(50) + small + bytes(20) + large + bytes(1000))
    assert answer.pixels.shape == (1080, 1600, 3)
    assert answer.part is not None and answer.part.startswith("embedded JPEG, 1600 x 1080")
    with pytest.raises(ImageError, match="thumbnail of 160 x 120"):
        open_image(head + bytes(50) + small + bytes(1000))
    with pytest.raises(ImageError, match="no picture that can be decoded"):
        open_image(head + bytes(1000))


def test_damaged_directories_end(tmp_path: Path) -> None:
    data = raw_photo(jpeg=(700, 700))
    for at in range(len(data) - 700, len(data), 3):
        for value in (0, 255):
            broken = bytearray(data)
            broken[at] = value
            try:
                open_image(bytes(broken))
            except ImageError as error:
                assert "\n" not in str(error)
