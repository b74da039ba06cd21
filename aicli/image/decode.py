"""Decoding: from a file, bytes or an array to upright RGB pixels, or to an :class:`~aicli.errors.ImageError`.

>>> photo = open_image("examples/grace_hopper.jpg")
>>> photo.pixels.shape, photo.pixels.dtype
((600, 512, 3), dtype('uint8'))
"""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aicli._extras import install_command
from aicli._text import shown
from aicli.errors import ImageError, ImageTooLargeError, UnavailableError
from aicli.image.formats import HEAD_BYTES, foreign_kind, identify, open_with, quiet_pillow
from aicli.image.pixels import orientation, rgb_pixels, rgb_profile, turn_upright, upright_exif
from aicli.options import SandboxOptions

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "MAX_STREAM_BYTES",
    "DecodedImage",
    "ImageSource",
    "open_image",
    "read_stream",
]

DEFAULT_MAX_PIXELS = SandboxOptions.max_pixels
"""The most pixels that an image may have unless the caller says otherwise."""

MAX_STREAM_BYTES = 1 << 30
"""The most bytes that are read from a stream, which may have no end."""

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""What :func:`open_image` takes."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image, upright.

    ``pixels`` is RGB, uint8, height x width x 3, C-contiguous and read-only. ``icc_profile`` describes its colours
    where it is not None. ``exif`` is the metadata block (from ``Exif\\0\\0`` on) with its orientation set to 1.
    ``full_width`` and ``full_height`` are the upright size of the original; they differ from ``width`` and
    ``height`` only where ``min_size`` let the decoder skip detail.
    """

    name: str
    pixels: NDArray[np.uint8]
    icc_profile: bytes | None = None
    exif: bytes | None = None
    full_width: int = 0
    full_height: int = 0

    def __post_init__(self) -> None:
        if not self.full_width:
            object.__setattr__(self, "full_width", self.width)
            object.__setattr__(self, "full_height", self.height)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def to_pil(self) -> Image.Image:
        """A new Pillow image, RGB, with the metadata in its ``info``."""
        image = Image.fromarray(self.pixels)
        for key, value in (("icc_profile", self.icc_profile), ("exif", self.exif)):
            if value is not None:
                image.info[key] = value
        return image


def open_image(
    source: ImageSource,
    *,
    name: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    min_size: int | None = None,
) -> DecodedImage:
    """Decode the first frame of ``source``, turn it upright and make it RGB, 8 bits a sample.

    ``source`` is a path, the bytes of a file, a binary stream (read from where it stands), a Pillow image (left as it
    is, apart from being loaded) or a uint8 RGB array height x width x 3 (not copied if it is contiguous).
    ``name`` stands for the image in results and messages; by default the path. Transparent pixels become white.
    ``max_pixels`` is checked against the header before anything is decoded. ``min_size`` allows a JPEG to be decoded
    at 1/2, 1/4 or 1/8 of its size where that leaves no remainder and both sides keep ``2 * min_size`` pixels, which is
    several times faster.

    Raises ImageError (missing, no regular file, unreadable, empty, truncated, no image, HEIC without its extra) and
    ImageTooLargeError; TypeError for a source of another type.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), name, max_pixels, min_size)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), name or "<bytes>", max_pixels, min_size)
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "<array>", max_pixels)
    if isinstance(source, Image.Image):
        label = name or os.fsdecode(getattr(source, "filename", "") or "<image>")
        return _guarded(label, None, lambda: _finish(source, label, None, max_pixels, None))
    if hasattr(source, "read"):
        label = name or _stream_name(source)
        data = read_stream(source, label)
        return _decode(io.BytesIO(data), label, max_pixels, min_size, suffix=os.path.splitext(label)[1])
    raise TypeError(f"an image is a path, bytes, a binary stream, a Pillow image or an array, not {type(source)!r}")


def _open_path(path: str, name: str | None, max_pixels: int, min_size: int | None) -> DecodedImage:
    label = path if name is None else name
    try:
        # Asked before opening, because opening a device can already do something, and opening a fifo waits.
        _require_regular(os.stat(path).st_mode, label)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        with open(path, "rb", opener=lambda file, _: os.open(file, flags | getattr(os, "O_CLOEXEC", 0))) as stream:
            status = os.fstat(stream.fileno())
            _require_regular(status.st_mode, label)
            return _decode(stream, label, max_pixels, min_size, suffix=os.path.splitext(path)[1])
    except OSError as error:
        raise ImageError(f"{shown(label)}: {_os_reason(error, path)}") from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(f"{shown(label)}: not a file name ({error}); check the path") from error


def _require_regular(mode: int, label: str) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ImageError(f"{shown(label)}: a folder, not an image; give the image files in it")
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((words for test, words in kinds if test(mode)), "a device")
    raise ImageError(f"{shown(label)}: {kind}, not an image file; pipe the image to standard input and give '-'")


def _os_reason(error: OSError, path: str) -> str:
    if error.errno == errno.ENOENT:
        if "://" in path:
            return "an address, not a file; download the image first"
        if os.path.islink(path):
            return "a link to a file that does not exist; check where it points"
        return "no such file; check the path"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read it; check the permissions of the file and its folders"
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself; check where it points"
    return f"cannot be read ({error.strerror or error}); check the path and the disk"


def _stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "<stream>"


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """All bytes of an image on a stream, but no more than its first ones if they are no image's.

    Raises ImageError when there is no image on the stream, ImageTooLargeError beyond ``MAX_STREAM_BYTES``.
    """
    try:
        head = _read_exactly(stream, HEAD_BYTES, name)
        _require_kind(head, name, os.path.splitext(name)[1])
        data = head + _read_exactly(stream, MAX_STREAM_BYTES + 1 - len(head), name)
    except (OSError, ValueError) as error:  # ValueError: closed
        raise ImageError(f"{shown(name)}: cannot be read ({_one_line(error)}); check where it comes from") from error
    if len(data) > MAX_STREAM_BYTES:
        raise ImageTooLargeError(
            f"{shown(name)}: more than {MAX_STREAM_BYTES:,} bytes on a stream; save it as a file first"
        )
    return data


def _read_exactly(stream: BinaryIO, size: int, label: str) -> bytes:
    """Up to ``size`` bytes, fewer only at the end: a raw pipe hands out what it has."""
    chunks: list[bytes] = []
    while size > 0:
        chunk = cast("Any", stream).read(min(size, 1 << 22))
        if not chunk:
            break
        if not isinstance(chunk, bytes):
            raise ImageError(f"{shown(label)}: a text stream, not a binary one; open it with mode 'rb'")
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _from_array(array: NDArray[Any], label: str, max_pixels: int) -> DecodedImage:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        shape = "x".join(map(str, array.shape)) or "no"
        raise ImageError(
            f"{shown(label)}: an array of {array.dtype}, shape {shape}; give uint8 RGB, height x width x 3"
        )
    _check_size(array.shape[1], array.shape[0], label, max_pixels)
    pixels = np.ascontiguousarray(array).view(np.ndarray)
    return DecodedImage(label, _read_only(pixels))


def _read_only(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = np.ascontiguousarray(pixels).view()
    view.flags.writeable = False
    return view


def _require_kind(head: bytes, label: str, suffix: str) -> str:
    if not head:
        raise ImageError(f"{shown(label)}: empty; nothing to decode, get the file again")
    kind = identify(head, suffix)
    if kind is None:
        foreign = foreign_kind(head)
        reason = f"{foreign}, not an image" if foreign else "not an image, or a format that is not supported"
        raise ImageError(f"{shown(label)}: {reason}; give a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file")
    return kind


def _decode(stream: IO[bytes], label: str, max_pixels: int, min_size: int | None, *, suffix: str = "") -> DecodedImage:
    kind = _require_kind(stream.read(HEAD_BYTES), label, suffix)
    stream.seek(0)

    def read() -> DecodedImage:
        with open_with(kind, stream) as image:
            return _finish(image, label, kind, max_pixels, min_size)

    return _guarded(label, kind, read)


def _guarded(label: str, kind: str | None, read: Any) -> DecodedImage:
    """What ``read`` answers; whatever goes wrong in a decoder becomes an ImageError.

    Decoders raise nearly every exception on damaged files (SyntaxError, struct.error, IndexError, OSError, ...).
    """
    what = f"{kind} image" if kind else "image"
    try:
        with quiet_pillow():
            return cast("DecodedImage", read())
    except ImageError:
        raise
    except UnavailableError as error:
        how = install_command("heif") if kind == "HEIF" else "install a Pillow that supports it, or convert it"
        raise ImageError(f"{shown(label)}: no decoder for {kind} is installed; {how}") from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"{shown(label)}: larger than Pillow decodes ({_one_line(error)}); make it smaller first"
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError(f"{shown(label)}: not enough memory to decode it; make it smaller first") from error
    except Exception as error:
        raise ImageError(
            f"{shown(label)}: a damaged or truncated {what} ({_one_line(error)}); get or export it again"
        ) from error


def _finish(image: Image.Image, label: str, kind: str | None, max_pixels: int, min_size: int | None) -> DecodedImage:
    width, height = image.size
    _check_size(width, height, label, max_pixels)
    if kind == "JPEG" and min_size is not None and min_size > 0:
        for part in (8, 4, 2):
            # A part that leaves a remainder would stretch the image by up to a pixel.
            if width % part == height % part == 0 and min(width, height) // part >= 2 * min_size:
                image.draft(None, (width // part, height // part))
                break
    image.load()
    # Only now: TIFF turns itself while it loads, and PNG may carry its Exif block behind the pixels.
    turn = orientation(image)
    pixels = rgb_pixels(turn_upright(image, turn), kind)
    if image.size != (width, height) and kind == "JPEG":
        full = (height, width) if turn >= 5 else (width, height)
    else:
        full = (pixels.shape[1], pixels.shape[0])
    return DecodedImage(label, _read_only(pixels), rgb_profile(image), upright_exif(image), *full)


def _check_size(width: int, height: int, label: str, max_pixels: int) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(f"{shown(label)}: has no pixels ({width} x {height}); give another image")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{shown(label)}: {width:,} x {height:,} pixels, the limit is {max_pixels:,}; "
            "make it smaller or raise the limit with --max-pixels"
        )


def _one_line(error: BaseException) -> str:
    return shown(" ".join(str(error).split())[:200] or type(error).__name__)
