"""Pictures of several frames: every format keeps frames, times, repeats and what is transparent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli.errors import AicliError, ImageError, ImageTooLargeError, UsageError
from aicli.image.decode import open_frames
from aicli.output.pictures.animation import Animation, animation_format, encode_animation
from aicli.output.pictures.saving import ImageMetadata

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
DURATIONS = (100, 250, 1000)


def made(plays: int = 0, size: tuple[int, int] = (40, 30), *, clear: bool = False) -> Animation:
    animation = Animation("a", 10_000_000, plays)
    for number, (colour, duration) in enumerate(zip(COLOURS, DURATIONS, strict=True)):
        image = Image.new("RGBA", size, (0, 0, 0, 0)) if clear else Image.new("RGB", size, (90, 90, 90))
        image.paste(colour if not clear else (*colour, 255), (10 * number, 5, 10 * number + 12, 25))
        animation.add(image, duration)
    return animation


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("plays", [0, 1, 4])
def test_frames_times_and_repeats_come_back(format: str, clear: bool, plays: int) -> None:
    animation = made(plays, clear=clear)
    data = bytes(encode_animation(animation, format, quality=100 if format == "WEBP" else None))
    frames = list(open_frames(data, keep_transparent=True))
    assert len(frames) == 3
    if format != "TIFF":
        assert tuple(frame.duration for frame in frames) == DURATIONS
        assert {frame.plays for frame in frames} == {plays}
    for frame, shown in zip(frames, animation.frames, strict=True):
        if clear:
            assert frame.transparent is not None
            alpha = np.asarray(frame.transparent.convert("RGBA"))[..., 3]
            assert np.array_equal(alpha, np.asarray(shown.image)[..., 3]), "nothing of the frame before shines through"
        white = Image.new("RGBA", shown.image.size, "white")
        expected = Image.alpha_composite(white, shown.image.convert("RGBA")).convert("RGB")
        differs = np.abs(frame.pixels.astype(int) - np.asarray(expected))
        assert np.median(differs) <= 2 and differs.mean() < (12 if format == "WEBP" else 2)


def test_a_gif_of_every_colour_hides_what_is_hidden_and_nothing_else() -> None:
    """256 colours are one too many beside the transparent one: two of them share an entry, none becomes a hole."""
    image = Image.new("RGBA", (16, 17), (0, 0, 0, 0))
    for number in range(256):
        image.putpixel((number % 16, number // 16), (number, 255 - number, (37 * number) % 256, 255))
    image.putpixel((0, 16), (9, 9, 9, 127))  # rather hidden than seen
    image.putpixel((1, 16), (9, 9, 9, 128))
    (frame,) = open_frames(bytes(encode_animation(Animation.of(image), "GIF")), keep_transparent=True)
    assert frame.transparent is not None
    alpha = np.asarray(frame.transparent.convert("RGBA"))[..., 3]
    assert (alpha[:16] == 255).all()
    assert alpha[16].tolist() == [0, 255, *[0] * 14]


def test_quality_counts_for_webp() -> None:
    animation = Animation.of(Image.effect_noise((100, 100), 80).convert("RGB"))
    low, usual, high = (len(encode_animation(animation, "WEBP", quality=quality)) for quality in (10, None, 100))
    assert low < usual / 2 < high / 2


def test_equal_frames_become_one_that_is_shown_as_long() -> None:
    animation = Animation("a", 10_000_000)
    for colour in ("red", "red", "blue"):
        animation.add(Image.new("RGB", (9, 9), colour), 50)
    for format in ("GIF", "PNG", "WEBP"):
        frames = list(open_frames(bytes(encode_animation(animation, format))))
        assert sum(frame.duration for frame in frames) == 150


def test_one_picture_is_a_gif_or_a_tiff_too() -> None:
    for format in ("GIF", "TIFF"):
        data = bytes(encode_animation(Animation.of(Image.new("RGB", (8, 8), "red")), format))
        (image,) = open_frames(data)
        assert image.pixels[4, 4].tolist() == [255, 0, 0]


def test_what_a_format_cannot_hold() -> None:
    with pytest.raises(AicliError, match=r"x\.jpg: a JPEG cannot hold 3 frames; write \.png"):
        encode_animation(made(), "JPEG", name="x.jpg")
    animation = made()
    animation.add(Image.new("RGB", (8, 8)), 10)
    for format in ("GIF", "PNG", "WEBP"):
        with pytest.raises(ImageError, match=rf"several sizes, which {format} cannot hold; write \.tiff"):
            encode_animation(animation, format, name="x")
    pages = list(open_frames(bytes(encode_animation(animation, "TIFF"))))
    assert [page.pixels.shape for page in pages] == [(30, 40, 3)] * 3 + [(8, 8, 3)]


def test_the_frames_together_are_bounded() -> None:
    animation = Animation("a.gif", 2400)
    animation.add(Image.new("RGB", (40, 30)), 10)
    animation.add(Image.new("RGB", (40, 30)), 10)
    with pytest.raises(ImageTooLargeError, match=r"a\.gif: the 3 first frames have 3,600 pixels together"):
        animation.add(Image.new("RGB", (40, 30)), 10)


def test_suffixes() -> None:
    wanted = {"a.gif": "GIF", "b.TIF": "TIFF", "c.tiff": "TIFF", "d.png": "PNG", "e.webp": "WEBP", "f.jpg": "JPEG"}
    assert {name: animation_format(name) for name in wanted} == wanted
    with pytest.raises(UsageError, match=r"x\.bmp: all frames are written as \.png, \.gif"):
        animation_format("x.bmp")


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_metadata_is_kept_or_dropped_as_for_one_picture(format: str) -> None:
    exif = Image.Exif()
    exif[0x013B] = "the artist"
    metadata = ImageMetadata(exif=exif.tobytes())
    dropped = bytes(encode_animation(made(), format, metadata=metadata, exif="dropped"))
    assert b"the artist" not in dropped
    kept: dict[str, Any] = {"metadata": metadata, "exif": "plain"}
    assert (b"the artist" in bytes(encode_animation(made(), format, **kept))) == (format != "GIF")


def test_nothing_of_the_pictures_own_information_is_written() -> None:
    animation = Animation("a", 10_000_000)
    for colour in COLOURS:
        image = Image.new("RGB", (8, 8), colour)
        image.info |= {"comment": b"secret words", "duration": 5, "loop": 9, "transparency": (200, 30, 30)}
        animation.add(image, 100)
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        data = bytes(encode_animation(animation, format))
        assert b"secret" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert not image.has_transparency_data


@pytest.mark.parametrize(("format", "plays"), [("GIF", 65_536), ("WEBP", 65_535), ("PNG", 15_990_784)])
def test_more_plays_and_longer_times_than_a_format_can_say(format: str, plays: int) -> None:
    """A damaged file may claim any number; the picture of it is written with the most that there is."""
    animation = made(15_990_784)
    if format != "PNG":
        animation.add(Image.new("RGB", (40, 30)), 1 << 30)
    frames = list(open_frames(bytes(encode_animation(animation, format))))
    assert {frame.plays for frame in frames} == {plays}
    assert frames[-1].duration == {"GIF": 655_350, "WEBP": (1 << 24) - 1, "PNG": 1000}[format]
