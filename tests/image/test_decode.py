"""aicli.image.decode: every kind of source to the pixels that a person would see, or to a one-line error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli.errors import ImageError, ImageTooLargeError
from aicli.image import decode as images
from aicli.image.decode import DecodedImage, open_image
from aicli.image.formats import foreign_kind, identify, quiet_pillow
from aicli.image.original import open_original
from tests.corpus import encode, exif, photo, png, samples, samples_jpeg

WHITE, BLACK = [255, 255, 255], [0, 0, 0]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def one_line(caught: pytest.ExceptionInfo[ImageError], *words: str) -> None:
    message = str(caught.value)
    assert message.isprintable() and "; " in message
    for word in words:
        assert word in message


def test_sources_give_the_same_pixels(tmp_path: Path) -> None:
    data = encode(photo(), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    expected = np.asarray(photo())
    stream = io.BytesIO(b"before" + data)
    stream.seek(6)
    with open(path, "rb", buffering=0) as raw:
        sources: list[Any] = [str(path), path, data, bytearray(data), memoryview(data), stream, raw, photo(), expected]
        for source in sources:
            answer = open_image(source)
            assert np.array_equal(answer.pixels, expected)
            assert answer.pixels.flags.c_contiguous and not answer.pixels.flags.writeable
            assert (answer.width, answer.height) == (answer.full_width, answer.full_height) == (61, 43)


def test_names() -> None:
    path = EXAMPLES / "chelsea.png"
    assert open_image(path).name == str(path)
    assert open_image(path, name="cat").name == "cat"
    assert open_image(path.read_bytes()).name == "<bytes>"
    assert open_image(np.zeros((1, 1, 3), np.uint8)).name == "<array>"
    with path.open("rb") as stream:
        assert open_image(stream).name == str(path)
    with Image.open(path) as image:
        assert open_image(image).name == str(path)


def test_file_names_as_bytes_cannot_be_mistaken_for_images() -> None:
    with pytest.raises(ImageError) as caught:
        open_image(b"photo.jpg")
    one_line(caught, "<bytes>: not an image")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_turned_upright(orientation: int, order: str) -> None:
    # Where the visual top left corner (the red pixel) is stored, for each orientation.
    upright = Image.new("RGB", (3, 2), "white")
    upright.putpixel((0, 0), (255, 0, 0))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Transpose that leads back to the stored picture
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    answer = open_image(encode(stored, "PNG", exif=exif(orientation, order)))
    assert np.array_equal(answer.pixels, np.asarray(upright))
    assert answer.exif == exif(1, order)
    assert answer.to_pil().getexif()[0x0112] == 1


def test_metadata_outlives_the_decoder() -> None:
    with Image.open(EXAMPLES / "astronaut.png") as image:
        profile = image.info["icc_profile"]
    answer = open_image(EXAMPLES / "astronaut.png")
    assert answer.icc_profile == profile
    assert answer.to_pil().info["icc_profile"] == profile
    block = Image.Exif()
    block[0x010F], block[0x0112] = "A camera", 6
    answer = open_image(encode(photo(), "JPEG", exif=block.tobytes()))
    kept = answer.to_pil().getexif()
    assert (kept[0x010F], kept[0x0112]) == ("A camera", 1)
    assert (answer.width, answer.height) == (43, 61)


def test_the_profile_of_another_colour_space_is_dropped() -> None:
    profile = bytes(16) + b"CMYK" + bytes(120)
    assert open_image(encode(photo(mode="CMYK"), "JPEG", icc_profile=profile)).icc_profile is None


@pytest.mark.parametrize(
    ("mode", "stored", "seen"),
    [
        ("1", 255, WHITE),
        ("L", 128, [128] * 3),
        ("LA", (0, 0), WHITE),
        ("LA", (10, 255), [10] * 3),
        ("RGBA", (0, 0, 0, 0), WHITE),
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (0, 0, 0, 51), [204] * 3),
        ("La", (0, 0), WHITE),
        ("RGBa", (0, 0, 0, 0), WHITE),
        ("PA", (0, 0), WHITE),
        ("CMYK", (0, 0, 0, 0), WHITE),
        ("CMYK", (0, 0, 0, 255), BLACK),
        ("YCbCr", (255, 128, 128), WHITE),
        ("HSV", (0, 255, 255), [255, 0, 0]),
        ("LAB", (255, 128, 128), WHITE),
        ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
        ("I;16", 65535, WHITE),
        ("I;16", 32768, [128] * 3),
        ("I;16B", 65535, WHITE),
        ("I", 200, [200] * 3),
        ("I", 65535, WHITE),
        ("F", 1.0, WHITE),
        ("F", 0.5, [128] * 3),
        ("F", float("nan"), BLACK),
        ("F", -5.0, BLACK),
    ],
)
def test_modes(mode: str, stored: object, seen: list[int]) -> None:
    pixels = open_image(Image.new(mode, (3, 2), stored)).pixels  # type: ignore[arg-type]
    assert pixels.shape == (2, 3, 3)
    assert np.abs(pixels.astype(int) - seen).max() <= (1 if mode == "LAB" else 0)


def test_adobe_cmyk_is_not_inverted() -> None:
    red = open_image(encode(Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK"), "JPEG", quality=95)).pixels
    assert np.abs(red.astype(int) - [250, 10, 10]).max() < 12


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        pixels = open_image(encode(Image.fromarray(ramp), kind)).pixels
        assert np.array_equal(pixels[:, :, 0].ravel(), np.arange(256))
    assert open_image(b"P5 2 1 65535 \x80\x00\x00\x80").pixels[0, :, 0].tolist() == [128, 0]
    row = b"\0" + b"\xff\xff\x80\x00\x00\x00"
    assert open_image(png(1, 1, depth=16, data=row)).pixels[0, 0].tolist() == [255, 128, 0]


def test_float_ranges() -> None:
    def grey(*values: float) -> list[int]:
        tiff = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
        return [int(value) for value in open_image(tiff).pixels[0, :, 0]]

    assert grey(0, 0.5, 1) == [0, 128, 255]
    assert grey(0, 128, 200) == [0, 128, 200]
    assert grey(0, 65535) == [0, 255]
    assert grey(-1, 0, 1) == [0, 128, 255]
    assert grey(float("inf"), 0, 1) == [0, 0, 255]


def test_transparent_palettes_and_colours() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert open_image(encode(palette, "PNG", transparency=0)).pixels[0].tolist() == [WHITE, [40, 50, 60]]
    assert open_image(encode(palette, "GIF", transparency=0)).pixels[0].tolist() == [WHITE, [40, 50, 60]]
    black = Image.new("RGB", (1, 1))
    assert open_image(encode(black, "PNG", transparency=(0, 0, 0))).pixels[0].tolist() == [WHITE]
    assert open_image(encode(black, "PNG", transparency=(0, 0, 1))).pixels[0].tolist() == [BLACK]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_image(data).pixels[0, 0].tolist() == [255, 0, 0], kind


def test_strips_meet_without_a_seam() -> None:
    tall = photo(701, 900)
    assert np.array_equal(open_image(tall).pixels, np.asarray(tall))
    wide = photo(300_000, 2)
    assert np.array_equal(open_image(wide).pixels, np.asarray(wide))


def test_pillow_images_are_left_as_they_are() -> None:
    image = Image.open(io.BytesIO(encode(photo(), "JPEG", exif=exif(6))))
    before = image.copy()
    answer = open_image(image)
    assert (answer.width, answer.height) == (43, 61)
    assert image.size == (61, 43) and image.mode == "RGB" and image.getexif()[0x0112] == 6
    assert np.array_equal(np.asarray(image), np.asarray(before))


def test_arrays_are_not_copied_unless_they_have_to_be() -> None:
    array = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    assert np.shares_memory(open_image(array).pixels, array)
    assert array.flags.writeable
    flipped = open_image(array[:, ::-1]).pixels
    assert flipped.flags.c_contiguous and np.array_equal(flipped, array[:, ::-1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.array(7, np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(array)
    one_line(caught, "<array>", str(array.dtype), "height x width x 3")


def test_entries_of_a_folder_named_in_bytes_have_text_for_a_name(tmp_path: Path) -> None:
    photo(20, 10).save(tmp_path / "a.png")
    (entry,) = os.scandir(os.fsencode(tmp_path))
    assert open_image(entry).name == str(tmp_path / "a.png")  # type: ignore[arg-type]
    assert open_original(entry).size == (20, 10)  # type: ignore[arg-type]


def test_other_types_are_refused() -> None:
    for thing in (None, 7, ["a.jpg"]):
        with pytest.raises(TypeError, match="an image is a path"):
            open_image(thing)  # type: ignore[arg-type]


def test_min_size_skips_detail_but_keeps_the_full_size() -> None:
    data = encode(photo(1600, 1200), "JPEG", exif=exif(6))
    answer = open_image(data, min_size=100)
    assert (answer.full_width, answer.full_height) == (1200, 1600)
    assert (answer.width, answer.height) == (300, 400)
    for min_size in (None, 0, 400, 10_000):
        answer = open_image(data, min_size=min_size)
        assert (answer.width, answer.height) == (1200, 1600)
    for min_size in range(1, 800, 37):
        answer = open_image(data, min_size=min_size)
        assert min(answer.width, answer.height) >= min(2 * min_size, 1200)
    assert open_image(encode(photo(), "PNG"), min_size=1).width == 61


def test_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    for source in (png(50_000, 50_000), np.zeros((2, 3, 3), np.uint8), Image.new("1", (3, 2))):
        with pytest.raises(ImageTooLargeError) as caught:
            open_image(source, max_pixels=5)
        one_line(caught, "the limit is 5", "raise the limit with max_pixels")
    assert open_image(encode(photo(2, 3), "PNG"), max_pixels=6).width == 2
    with pytest.raises(ImageTooLargeError, match="50,000 x 50,000 pixels, the limit is 100,000,000"):
        open_image(png(50_000, 50_000))


def test_limit_counts_what_is_decoded() -> None:
    wide = photo(1600, 1200)
    assert open_image(encode(wide, "JPEG"), min_size=70, max_pixels=30_000).pixels.shape == (150, 200, 3)
    odd = open_image(encode(photo(1603, 1201), "JPEG"), min_size=70, max_pixels=31_000)
    assert (odd.pixels.shape, odd.full_width, odd.full_height) == ((151, 201, 3), 1603, 1201)
    for data in (encode(wide, "JPEG", progressive=True), encode(wide, "PNG")):  # in memory in full
        with pytest.raises(ImageTooLargeError, match="1,600 x 1,200 pixels"):
            open_image(data, min_size=70, max_pixels=30_000)


def test_pillows_own_limit_is_neither_needed_nor_changed() -> None:
    before = Image.MAX_IMAGE_PIXELS
    data = encode(Image.new("1", (10_000, 9_500)), "PNG")  # more than Pillow's warning threshold
    assert open_image(data).width == 10_000
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.jpg", "no such file"),
        ("", "no such file"),
        ("https://example.org/a.jpg", "download"),
        ("nul\0.jpg", "not a file name"),
        ("x" * 5000, "cannot be read"),
        ("\x1b[31m\n.jpg", r"\x1b[31m\n.jpg: no such file"),
        (".", "a folder"),
    ],
)
def test_paths_that_are_no_file(name: str, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(name)
    one_line(caught, words)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX files")
def test_special_files_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    names = {"pipe.jpg": "a named pipe", "loop.jpg": "leads back to itself", "broken.jpg": "a link to a file"}
    for name, words in names.items():
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        one_line(caught, words)
    with pytest.raises(ImageError, match="a device"):
        open_image("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "closed.jpg"
    path.write_bytes(samples_jpeg())
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission to read it"):
        open_image(path)


def test_permission_errors_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ImageError, match="no permission to read it"):
        open_image("a.jpg")


def test_file_names_that_are_no_unicode(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")
    with pytest.raises(ImageError) as caught:
        open_image(path)
    one_line(caught, r"\xff.jpg")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (samples_jpeg()[:300], "truncated JPEG"),
        (encode(photo(), "PNG")[:200], "truncated PNG"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04...", "a zip archive"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "an XML document"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PAR1...", "a Parquet file, not an image"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"\x1aE\xdf\xa3", "a video or audio file, not an image"),
        (b"\0\0\0\x18ftypisom", "a video or audio file, not an image"),
        (b"\x1c\0\0\0TFL3", "a TFLite model"),
        (b"\xff\x0a\xfa", "a JPEG XL image, a format that is not supported"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (encode(photo(), "PNG").replace(b"\r\n", b"\n"), "a PNG image whose line ends were changed"),
        (b"hello", "not an image"),
    ],
)
def test_data_that_is_no_image(data: bytes, words: str) -> None:
    for source in (data, io.BytesIO(data)):
        with pytest.raises(ImageError) as caught:
            open_image(source)
        one_line(caught, words)


class Endless(io.RawIOBase):
    """A stream without end that counts what is taken from it and hands it out in small pieces."""

    def __init__(self, head: bytes = b"") -> None:
        self.head, self.taken = head, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self.head[self.taken : self.taken + min(size, 100)] or bytes(size)
        self.taken += len(piece)
        return piece


def test_streams_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    noise: Any = Endless()
    with pytest.raises(ImageError, match="not an image"):
        open_image(noise)
    assert noise.taken <= 512
    monkeypatch.setattr(images, "MAX_STREAM_BYTES", 100_000)
    with pytest.raises(ImageTooLargeError, match="on a stream"):
        longer: Any = Endless(samples_jpeg())
        open_image(longer)


def test_streams_that_are_no_binary_streams() -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ImageError) as caught:
        open_image(closed)
    one_line(caught, "closed")
    with pytest.raises(ImageError, match="mode 'rb'"):
        open_image(io.StringIO("text"))  # type: ignore[arg-type]


def test_pipes(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    data = samples_jpeg()
    assert len(data) < 4096  # fits the pipe, so that no second thread is needed
    with os.fdopen(writer, "wb") as sink:
        sink.write(data)
    with os.fdopen(reader, "rb", buffering=0) as stream:
        assert open_image(stream, name="-").width == 61


def test_heif_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"mif1"):
        with pytest.raises(ImageError) as caught:
            open_image(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(40))
        one_line(caught, "pip install 'pillow-heif")


def test_heif() -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(photo(64, 48)).save(stream, quality=95)
    pixels = open_image(stream.getvalue()).pixels
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(photo(64, 48))).mean() < 12


def test_every_sample_is_identified() -> None:
    for suffix, data in samples().items():
        assert identify(data[:512], "." + suffix.split(".")[-1]), suffix
        assert (foreign_kind(data[:512]) is not None) == suffix.endswith(("avif", "webp")), suffix


def test_only_the_needed_plugin_is_imported() -> None:
    code = (
        "import sys; from aicli.image.decode import open_image; open_image(sys.argv[1]);"
        "print(*sorted(m for m in sys.modules if m.endswith('ImagePlugin')), 'click' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(EXAMPLES / "grace_hopper.jpg")]
    root = EXAMPLES.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    # Exif is laid out as TIFF, so that Pillow's JPEG plugin may need its TIFF plugin.
    loaded = set(done.stdout.split())
    assert "PIL.JpegImagePlugin" in loaded
    assert loaded <= {"PIL.JpegImagePlugin", "PIL.TiffImagePlugin", "False"}


def test_warnings_are_back_afterwards() -> None:
    before = list(warnings.filters)
    with quiet_pillow(), quiet_pillow():
        warnings.warn_explicit("noise", UserWarning, "x.py", 1, module="PIL.PngImagePlugin")
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", stacklevel=1)
    assert warnings.filters == before


def test_decoded_image_is_a_plain_value() -> None:
    image = DecodedImage("a", np.zeros((2, 3, 3), np.uint8))
    assert (image.width, image.height, image.full_width, image.full_height) == (3, 2, 3, 2)
    assert image.to_pil().size == (3, 2)
    with pytest.raises(AttributeError):
        image.name = "b"  # type: ignore[misc]
    assert image != DecodedImage("a", image.pixels)  # whose pixels nobody compares
    assert {image: 1}[image] == 1
    smaller = DecodedImage("a", image.pixels, full_width=30, full_height=20)
    assert (smaller.full_width, smaller.full_height) == (30, 20)
    assert smaller.replace(name="b").full_width == 30


def test_the_examples() -> None:
    sizes = {path.name: open_image(path).pixels.shape[1::-1] for path in EXAMPLES.glob("*.[jp]*g")}
    assert sizes == {"grace_hopper.jpg": (512, 600), "astronaut.png": (512, 512), "chelsea.png": (451, 300)}
