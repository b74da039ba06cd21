"""Files written whole or not at all, and without saying more about the source than they should."""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, TextIO

from aicli.errors import AicliError, UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_SUFFIXES", "ImageMetadata", "atomic_text_file", "image_format", "save_image", "unique_path"]

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
    format = image_format(path)
    if not 1 <= quality <= 100:
        raise UsageError(f"the quality of a picture must be 1 to 100, not {quality}")
    if max(image.size) > _LARGEST_SIDE[format]:
        size = f"{image.width} x {image.height}"
        raise AicliError(f"{os.fspath(path)}: {size} pixels are too large for {format}; write .png instead")
    plain = image.copy() if image.mode in ("RGB", "L") else image.convert("RGB")
    plain.info = {}  # Pillow writes some of it (a JPEG comment, a PNG's profile) without being asked
    options = _options(plain, format, metadata or ImageMetadata(), keep_exif, quality)
    # Encoded in memory first: Pillow's encoders write to a file's descriptor themselves and take a short write, on a
    # disk that is nearly full, for success. The picture would lack its end.
    encoded = io.BytesIO()
    try:
        plain.save(encoded, format, **options)
    except (ValueError, SyntaxError, OSError) as error:  # what Pillow raises for pictures that a format cannot hold
        raise AicliError(f"{os.fspath(path)}: cannot be written as {format}: {error}") from error
    with _replacing(path) as file, _named_errors(path):
        file.write(encoded.getbuffer())


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


def unique_path(folder: PathLike, name: str, taken: set[str]) -> Path:
    """``folder/name``, or ``name-2``, ``name-3``, ... before the suffix when this run has given that name away.

    ``taken`` remembers the names, in lower case because many file systems do not tell cases apart. Files that exist
    already are no obstacle: a second run writes the same names as the first.
    """
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    candidate, number = name, 1
    while (key := os.path.join(folder, candidate).casefold()) in taken:
        number += 1
        candidate = f"{stem}-{number}{suffix}"
    taken.add(key)
    return Path(folder, candidate)


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
    with _appending(path) if append else _replacing(path) as file:
        text = _Utf8File(file, os.fspath(path))
        try:
            yield text
            with _named_errors(path):
                text.flush()
        finally:
            with suppress(OSError, ValueError):  # after a failed write it would only fail to flush again
                text.detach()


@contextmanager
def _appending(path: PathLike) -> Iterator[IO[bytes]]:
    with _named_errors(path):
        file = open(path, "ab")  # noqa: SIM115 - closed below, where an error has another meaning
    with _closing(file, path):
        if os.path.isfile(path) and _last_byte(path) not in (b"", b"\n"):
            file.write(b"\n")
        yield file


def _last_byte(path: PathLike) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read(1)


@contextmanager
def _replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` that takes its place when the block ends without an error, else is removed."""
    if os.path.isdir(path):
        raise AicliError(f"cannot write {os.fspath(path)}: it is a folder; give a file name")
    direct = os.path.exists(path) and not os.path.isfile(path)
    target = os.path.realpath(path)  # a symbolic link stays one: the file that it names is replaced
    temporary = os.path.join(os.path.dirname(target), f".aicli-{secrets.token_hex(6)}.part")
    with _named_errors(path):
        file = open(path, "wb") if direct else open(temporary, "xb")  # noqa: SIM115 - closed below
    try:
        with _closing(file, path):
            yield file
        if not direct:
            with _named_errors(path):
                if os.path.exists(target):
                    os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
                os.replace(temporary, target)
    except BaseException:
        if not direct:
            with suppress(OSError):
                os.unlink(temporary)
        raise


@contextmanager
def _closing(file: IO[bytes], path: PathLike) -> Iterator[None]:
    """Close the file; an error then (a full disk) counts only when the block had none."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    with _named_errors(path):
        file.close()


@contextmanager
def _named_errors(path: PathLike) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "; make its folder first" if isinstance(error, FileNotFoundError) else ""
        raise AicliError(f"cannot write {os.fspath(path)}: {reason}{hint}") from error
