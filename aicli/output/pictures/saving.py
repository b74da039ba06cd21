"""Files written whole or not at all, and without saying more about the source than they should."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Literal, TextIO

from aicli._files import closing, naming, replacing
from aicli.errors import AicliError, UsageError
from aicli.output.pictures.profile import plain_profile

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageMetadata",
    "JpegTables",
    "atomic_text_file",
    "check_quality",
    "check_sides",
    "encode_image",
    "fitting",
    "image_format",
    "jpeg_tables",
    "metadata_options",
    "save_bytes",
    "save_image",
]

PathLike = str | os.PathLike[str]

IMAGE_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "PNG": 2**31 - 1, "GIF": 65535, "TIFF": 2**31 - 1}
_LARGEST_JPEG_EXIF = 65533
_ORIENTATION, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0x0112, 0xA002, 0xA003
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKER_NOTE, _INTEROP = 0x927C, 0xA005
_THUMBNAIL_TAGS = (0x0201, 0x0202)
_LONGEST_TEXT, _MOST_NUMBERS = 200, 16
# Exif 2.32, tables 3 to 8: description, camera, orientation, resolution, software, date, artist, copyright; exposure,
# dates, lens and their like, but for comments, other files and what a camera's maker defines; the position.
_PLAIN_TAGS = frozenset((0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298))
_PLAIN_DETAILS = frozenset(
    (
        *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833, 0x9000, 0x9003, 0x9004, 0x9010, 0x9011),
        *(0x9012, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x9207, 0x9208, 0x9209, 0x920A, 0x9290, 0x9291),
        *(0x9292, 0xA001, 0xA002, 0xA003, 0xA20E, 0xA20F, 0xA210, 0xA215, 0xA217, 0xA401, 0xA402, 0xA403, 0xA404),
        *(0xA405, 0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C, 0xA431, 0xA432, 0xA433, 0xA434, 0xA435),
    )
)
_PLAIN_POSITION = frozenset((*range(0x1B), 0x1D, 0x1E, 0x1F))


@dataclass(frozen=True)
class ImageMetadata:
    """What a picture may inherit from its source: the colour profile and the EXIF block, as bytes of the file."""

    icc_profile: bytes | None = None
    exif: bytes | None = None


def image_format(path: PathLike) -> str:
    """Pillow's name of the format that a file's suffix asks for. Raises :class:`UsageError` for any other suffix."""
    suffix = PurePath(path).suffix
    try:
        return IMAGE_SUFFIXES[suffix.lower()]
    except KeyError:
        accepted = ", ".join(IMAGE_SUFFIXES)
        found = f"not {suffix}" if suffix else "but there is none"
        raise UsageError(f"{os.fspath(path)}: pictures are written as {accepted} by their suffix, {found}") from None


@dataclass(frozen=True)
class JpegTables:
    """How a JPEG was compressed: with these a picture loses next to nothing when it is written again."""

    quantization: tuple[tuple[int, ...], ...]
    subsampling: int
    """Pillow's: 0 is 4:4:4, 1 4:2:2, 2 4:2:0."""
    progressive: bool = False


def jpeg_tables(source: PathLike | bytes) -> JpegTables | None:
    """The tables of a JPEG file in grey or YCbCr; ``None`` for any other file."""
    from PIL.JpegImagePlugin import JpegImageFile, get_sampling

    try:
        with JpegImageFile(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.mode not in ("L", "RGB"):
                return None
            used = {layer[3] for layer in image.layer}
            tables = tuple(tuple(image.quantization[number]) for number in sorted(used))
            sampling = get_sampling(image) if image.mode == "RGB" else 0
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            if sampling < 0 or (sampling == 1 and turned):  # what Pillow cannot write, or would halve the other side
                sampling = 0
            return JpegTables(tables, sampling, "progressive" in image.info)
    except Exception:  # damaged, or no JPEG at all
        return None


def save_image(image: Image.Image, path: PathLike, **how: Any) -> None:
    """Write a picture as PNG, JPEG or WebP, by the suffix of ``path``; ``how`` is as for :func:`encode_image`.

    An older file is replaced at the moment the new one is complete, and stays as it is on any failure. The folder
    must exist. Raises :class:`UsageError` for another suffix, :class:`AicliError` when the file cannot be written.
    """
    save_bytes(encode_image(image, image_format(path), name=path, **how), path)


def save_bytes(data: bytes | memoryview, path: PathLike) -> None:
    """Write what :func:`encode_image` made, as :func:`save_image` does. Raises :class:`AicliError`."""
    with replacing(path) as file, naming(path):
        file.write(data)


def encode_image(
    image: Image.Image,
    format: str,
    *,
    name: PathLike = "the picture",
    metadata: ImageMetadata | None = None,
    exif: Literal["kept", "plain", "dropped"] = "kept",
    quality: int | None = None,
    tables: JpegTables | None = None,
    png_level: int = 6,
) -> memoryview:
    """The bytes of a picture: ``format`` is PNG, JPEG or WEBP; what JPEG cannot show through becomes white.

    Of ``metadata`` the colour profile is kept where it fits the image's mode, and the EXIF block as ``exif`` says. Its
    orientation is set to upright; its thumbnail and maker note, which may show the unedited picture, are dropped;
    ``plain`` keeps no more than texts and numbers that the standard knows. Unless EXIF is ``kept`` the profile is made
    anew of its primaries and curves. Nothing else is carried over: no XMP, no comment, nothing from ``image.info``.

    ``quality``: 1 to 100, for JPEG and WebP; by default 90, or for JPEG the ``tables`` that the source was compressed
    with. ``png_level``: 1 (fast) to 9 (small). Raises :class:`UsageError` for a bad quality and :class:`AicliError`
    for what the format cannot hold, with ``name`` in the message.
    """
    check_quality(quality)
    check_sides(image, format, name)
    plain = fitting(image, format)
    options = metadata_options(plain, format, metadata or ImageMetadata(), exif)
    if format == "JPEG":
        options["subsampling"] = 0  # thin coloured lines smear when colour has half the resolution
    if format == "JPEG" and tables is not None and quality is None:
        qtables = [list(table) for table in tables.quantization[: 1 if plain.mode == "L" else None]]
        options |= {"qtables": qtables, "subsampling": tables.subsampling, "progressive": tables.progressive}
    elif format == "PNG":
        options["compress_level"] = png_level
    else:
        options["quality"] = quality or 90
    # Encoded in memory first: Pillow's encoders write to a file's descriptor themselves and take a short write, on a
    # disk that is nearly full, for success. The picture would lack its end.
    encoded = io.BytesIO()
    try:
        plain.save(encoded, format, **options)
    except (ValueError, SyntaxError, OSError) as error:  # what Pillow raises for pictures that a format cannot hold
        raise AicliError(f"{os.fspath(name)}: cannot be written as {format}: {error}") from error
    return encoded.getbuffer()


def check_quality(quality: int | None) -> None:
    """Raises :class:`UsageError`."""
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"the quality of a picture must be 1 to 100, not {quality}")


def check_sides(image: Image.Image, format: str, name: PathLike) -> None:
    """Raises :class:`AicliError` for a picture that the format cannot hold."""
    if max(image.size) > _LARGEST_SIDE[format]:
        size = f"{image.width} x {image.height}"
        raise AicliError(f"{os.fspath(name)}: {size} pixels are too large for {format}; write .png instead")


def fitting(image: Image.Image, format: str) -> Image.Image:
    """A copy in a mode that the format has, with nothing beside its pixels."""
    from PIL import Image

    if image.mode in ("LA", "RGBA") and format == "JPEG":
        white = Image.new("RGBA", image.size, "white")
        plain = Image.alpha_composite(white, image.convert("RGBA")).convert(image.mode.removesuffix("A"))
    elif image.mode in ("RGB", "L") or (image.mode in ("LA", "RGBA") and format != "JPEG"):
        plain = image.copy()
    else:
        plain = image.convert("RGB")
    plain.info = {}  # Pillow writes some of it (a JPEG comment, a PNG's profile) without being asked
    return plain


def metadata_options(image: Image.Image, format: str, metadata: ImageMetadata, exif: str) -> dict[str, Any]:
    """What of the metadata is kept, as options of Pillow's ``save``; ``exif`` is as for :func:`encode_image`."""
    options: dict[str, Any] = {}
    profile = metadata.icc_profile
    if profile and exif != "kept":
        profile = plain_profile(profile)
    if profile and profile[16:20] == (b"GRAY" if image.mode in ("L", "LA") else b"RGB "):  # ICC.1: the colour space
        options["icc_profile"] = profile
    if exif != "dropped" and metadata.exif:
        limit = _LARGEST_JPEG_EXIF if format == "JPEG" else None
        block = _upright_exif(metadata.exif, image.size, limit, plain=exif == "plain")
        if block:
            options["exif"] = block
    return options


def _upright_exif(data: bytes, size: tuple[int, int], limit: int | None, *, plain: bool) -> bytes | None:
    """The EXIF block for upright pixels of ``size``; ``None`` when it is damaged or over ``limit`` bytes.

    The thumbnail goes (Pillow writes no second directory) and so does the maker note: it may hold a preview of the
    unedited picture, and its inner offsets would no longer be right. ``plain`` keeps what the standard has as a short
    text or numbers, since any other field may hold a picture (Photoshop's resources, XMP, comments).
    """
    from PIL import Image

    try:
        exif = Image.Exif()
        exif.load(data)
        exif[_ORIENTATION] = 1
        for tag in _THUMBNAIL_TAGS:
            exif.pop(tag, None)
        details = {tag: value for tag, value in exif.get_ifd(_EXIF_IFD).items() if tag not in (_MAKER_NOTE, _INTEROP)}
        details.update(
            {tag: side for tag, side in zip((_PIXEL_WIDTH, _PIXEL_HEIGHT), size, strict=True) if tag in details}
        )
        position = dict(exif.get_ifd(_GPS_IFD))
        if plain:
            main = {tag: value for tag, value in exif.items() if tag in _PLAIN_TAGS and _is_plain(value)}
            exif = Image.Exif()
            exif.update(main)
            details = {tag: value for tag, value in details.items() if tag in _PLAIN_DETAILS and _is_plain(value)}
            position = {tag: value for tag, value in position.items() if tag in _PLAIN_POSITION and _is_plain(value)}
        for directory, tags in ((_EXIF_IFD, details), (_GPS_IFD, position)):
            if tags:
                exif[directory] = tags
        block = exif.tobytes()
    except Exception:  # damaged EXIF makes Pillow raise almost anything; the picture matters more
        return None
    return None if limit and len(block) > limit else block


def _is_plain(value: Any) -> bool:
    """Whether a value of EXIF is a number, a few numbers or a short text."""
    if isinstance(value, (str, bytes)):
        return len(value) <= _LONGEST_TEXT
    return len(value) <= _MOST_NUMBERS if isinstance(value, tuple) else True


class _Utf8File(io.TextIOWrapper):
    """A UTF-8 text file that names its target, not its temporary file, to whoever reports an error."""

    def __init__(self, file: IO[bytes], target: str) -> None:
        super().__init__(file, encoding="utf-8", newline="")
        self._target = target

    @property
    def name(self) -> str:
        return self._target


@contextmanager
def atomic_text_file(path: PathLike, *, append: bool = False) -> Iterator[TextIO]:
    """A text file (UTF-8, line ends as written) that appears under its name when the block ends without an error.

    With ``append`` the text goes to the end of the file itself (made if need be) as it is flushed, and stays there
    whatever happens: a run that is broken off can be taken up again. A last line without an end gets one first.
    Pipes and devices (``/dev/stdout``) cannot be replaced and are written directly too. Raises :class:`AicliError`.
    """
    with _appending(path) if append else replacing(path) as file:
        text = _Utf8File(file, os.fspath(path))
        try:
            yield text
            with naming(path):
                text.flush()
        finally:
            with suppress(OSError, ValueError):  # after a failed write it would only fail to flush again
                text.detach()


@contextmanager
def _appending(path: PathLike) -> Iterator[IO[bytes]]:
    with naming(path):
        file = open(path, "ab")  # noqa: SIM115 - closed below, where an error has another meaning
    with closing(file, path):
        if os.path.isfile(path) and _last_byte(path) not in (b"", b"\n"):
            file.write(b"\n")
        yield file


def _last_byte(path: PathLike) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read(1)
