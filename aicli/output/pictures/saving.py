"""Files written whole or not at all, and without saying more about the source than they should."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, TextIO

from aicli._files import closing, naming, replacing
from aicli.errors import AicliError, UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageMetadata",
    "atomic_text_file",
    "encode_image",
    "image_format",
    "save_image",
]

PathLike = str | os.PathLike[str]

IMAGE_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "PNG": 2**31 - 1}
_LARGEST_JPEG_EXIF = 65533
_ORIENTATION, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0x0112, 0xA002, 0xA003
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKER_NOTE, _INTEROP = 0x927C, 0xA005
_THUMBNAIL_TAGS = (0x0201, 0x0202)


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


def save_image(
    image: Image.Image,
    path: PathLike,
    *,
    metadata: ImageMetadata | None = None,
    keep_exif: bool = True,
    quality: int = 90,
) -> None:
    """Write a picture as PNG, JPEG or WebP, by the suffix of ``path``.

    An older file is replaced at the moment the new one is complete, and stays as it is on any failure. The folder
    must exist. Of ``metadata`` the colour profile is kept where it fits the image's mode, and with ``keep_exif`` the
    EXIF block: its orientation is set to upright; its thumbnail and maker note, which may show the unedited picture,
    are dropped. Nothing else is carried over: no XMP, no comment, nothing from ``image.info``.

    ``quality``: 1 to 100, for JPEG and WebP. Raises :class:`UsageError` for another suffix or a bad quality,
    :class:`AicliError` when the file cannot be written.
    """
    data = encode_image(image, image_format(path), name=path, metadata=metadata, keep_exif=keep_exif, quality=quality)
    with replacing(path) as file, naming(path):
        file.write(data)


def encode_image(
    image: Image.Image,
    format: str,
    *,
    name: PathLike = "the picture",
    metadata: ImageMetadata | None = None,
    keep_exif: bool = True,
    quality: int = 90,
) -> memoryview:
    """The bytes of a picture, as :func:`save_image` writes them: ``format`` is PNG, JPEG or WEBP.

    Pillow's encoders write to a file's descriptor themselves and take a short write, on a disk that is nearly full, for
    success; the picture would lack its end. Raises as :func:`save_image` does, with ``name`` in the message.
    """
    if not 1 <= quality <= 100:
        raise UsageError(f"the quality of a picture must be 1 to 100, not {quality}")
    if max(image.size) > _LARGEST_SIDE[format]:
        size = f"{image.width} x {image.height}"
        raise AicliError(f"{os.fspath(name)}: {size} pixels are too large for {format}; write .png instead")
    plain = image.copy() if image.mode in ("RGB", "L") else image.convert("RGB")
    plain.info = {}  # Pillow writes some of it (a JPEG comment, a PNG's profile) without being asked
    options = _options(plain, format, metadata or ImageMetadata(), keep_exif, quality)
    encoded = io.BytesIO()
    try:
        plain.save(encoded, format, **options)
    except (ValueError, SyntaxError, OSError) as error:  # what Pillow raises for pictures that a format cannot hold
        raise AicliError(f"{os.fspath(name)}: cannot be written as {format}: {error}") from error
    return encoded.getbuffer()


def _options(image: Image.Image, format: str, metadata: ImageMetadata, keep_exif: bool, quality: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if format != "PNG":
        options["quality"] = quality
    if format == "JPEG":
        options["subsampling"] = 0  # thin coloured lines smear when colour has half the resolution
    profile = metadata.icc_profile
    if profile and profile[16:20] == (b"GRAY" if image.mode == "L" else b"RGB "):  # ICC.1 header: the colour space
        options["icc_profile"] = profile
    if keep_exif and metadata.exif:
        exif = _upright_exif(metadata.exif, image.size, _LARGEST_JPEG_EXIF if format == "JPEG" else None)
        if exif:
            options["exif"] = exif
    return options


def _upright_exif(data: bytes, size: tuple[int, int], limit: int | None) -> bytes | None:
    """The EXIF block for upright pixels of ``size``; ``None`` when it is damaged or over ``limit`` bytes.

    The thumbnail goes (Pillow writes no second directory) and so does the maker note: it may hold a preview of the
    unedited picture, and its inner offsets would no longer be right.
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
        for directory, tags in ((_EXIF_IFD, details), (_GPS_IFD, dict(exif.get_ifd(_GPS_IFD)))):
            if tags:
                exif[directory] = tags
        block = exif.tobytes()
    except Exception:  # damaged EXIF makes Pillow raise almost anything; the picture matters more
        return None
    return None if limit and len(block) > limit else block


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
