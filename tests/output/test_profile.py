"""Colour profiles that can hold nothing but colours."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from aicli.output.pictures.profile import plain_profile, tags_of, written

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PICTURE = bytes(range(255, 0, -1)) * 8


def with_tags(**tags: bytes) -> bytes:
    return written(bytearray(SRGB[:128]), dict(tags_of(SRGB)) | {name.encode(): data for name, data in tags.items()})


def seen(profile: bytes) -> np.ndarray:
    """What the colours of a picture look like."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    lab = ImageCms.profileToProfile(Image.fromarray(pixels), source, ImageCms.createProfile("LAB"), outputMode="LAB")
    return np.asarray(lab)


@pytest.mark.parametrize("version", [2, 4])
def test_the_colours_are_kept(version: int) -> None:
    profile = bytearray(SRGB)
    profile[8:12] = (b"\x02\x40\0\0", b"\x04\x40\0\0")[version == 4]
    plain = plain_profile(bytes(profile))
    assert plain is not None and np.array_equal(seen(plain), seen(SRGB))
    opened = ImageCms.ImageCmsProfile(io.BytesIO(plain))
    assert ImageCms.getProfileDescription(opened).strip() == "colours of the photo"
    assert ImageCms.getProfileCopyright(opened).strip() == "colours of the photo"
    assert plain_profile(plain) == plain
    tags = dict(tags_of(plain))  # a text is written in another way since version 4
    assert (tags[b"desc"][:4], tags[b"cprt"][:4]) == ((b"desc", b"text"), (b"mluc", b"mluc"))[version == 4]
    places = [struct.unpack_from(">4sII", plain, 132 + 12 * number)[1:] for number in range(len(tags))]
    assert all(start % 4 == 0 for start, _ in places)
    assert len(plain) == struct.unpack_from(">I", plain)[0] == max(start + -(-size // 4) * 4 for start, size in places)


def test_curves_of_grey_and_tables() -> None:
    rising = struct.pack(">4s4xI", b"curv", 256) + struct.pack(">256H", *range(0, 65536, 256))
    grey = bytearray(SRGB[:128])
    grey[16:20] = b"GRAY"
    profile = written(grey, {b"kTRC": rising, b"wtpt": dict(tags_of(SRGB))[b"wtpt"]})
    plain = plain_profile(profile)
    assert plain is not None and rising in plain


@pytest.mark.parametrize(
    "tags",
    [
        {"face": b"data\0\0\0\0" + PICTURE},
        {"desc": b"text\0\0\0\0" + PICTURE},
        {"chad": b"sf32\0\0\0\0" + PICTURE},
        {"wtpt": dict(tags_of(SRGB))[b"wtpt"] + PICTURE},
    ],
)
def test_nothing_else_is(tags: dict[str, bytes]) -> None:
    profile = with_tags(**tags) + PICTURE
    plain = plain_profile(profile)
    assert PICTURE in profile and plain is not None and PICTURE not in plain and len(plain) < 1000
    header = bytearray(profile)
    header[84:128] = PICTURE[:44]
    assert PICTURE[:44] not in (plain_profile(bytes(header)) or b"")


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        SRGB[:140],
        with_tags(rTRC=struct.pack(">4s4xI", b"curv", 1000) + PICTURE[:2000]),  # a picture as a table of a curve
        with_tags(rTRC=struct.pack(">4s4xI", b"curv", 1) + b"\2\0" + PICTURE),
        with_tags(gTRC=struct.pack(">4s4xHH", b"para", 0, 0) + PICTURE),
        with_tags(rXYZ=b"XYZ \0\0\0\0" + PICTURE),
        SRGB[:16] + b"CMYK" + SRGB[20:],
        written(bytearray(SRGB[:128]), {b"A2B0": b"mft2\0\0\0\0" + PICTURE}),
    ],
)
def test_what_is_not_made_of_primaries_and_curves_is_left_out(profile: bytes) -> None:
    assert plain_profile(profile) is None
