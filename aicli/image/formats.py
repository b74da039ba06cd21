"""Which decoder a file needs, told from its first bytes, so that only that one Pillow plugin is imported.

No format whose plugin starts another program (EPS) or reads documents (PDF, PSD) is in the table.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from aicli.errors import UnavailableError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ARCHIVES",
    "HEAD_BYTES",
    "RAW",
    "SUFFIXES",
    "foreign_kind",
    "identify",
    "is_archive",
    "open_with",
    "quiet_pillow",
    "require_plugin",
]

HEAD_BYTES = 512
"""So many first bytes :func:`identify` wants to see."""

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".ico", ".jp2", ".j2k", ".j2c",
    ".jpc", ".jpf", ".jpx", ".tga", ".icb", ".vda", ".vst", ".qoi", ".heic", ".heif", ".hif",
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".sr2", ".srf", ".pef", ".orf", ".rw2", ".rwl", ".raf", ".srw",
    ".x3f", ".3fr", ".fff", ".iiq", ".erf", ".kdc", ".dcr", ".mos", ".mef", ".mrw",
))
# fmt: on
"""The suffixes, in lower case, of files that are taken from a folder."""

_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "ICO": ("PIL.IcoImagePlugin", "IcoImageFile"),
    "JPEG 2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "TGA": ("PIL.TgaImagePlugin", "TgaImageFile"),
    "QOI": ("PIL.QoiImagePlugin", "QoiImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\1\0", "ICO"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"qoif", "QOI"),
    (b"FUJIFILMCCD-RAW", "RAF"),
    (b"IIRO", "ORF"),
    (b"IIRS", "ORF"),
    (b"MMOR", "ORF"),
    (b"IIU\0", "RW2"),
    (b"FOVb", "X3F"),
    (b"\0MRM", "MRW"),
    (b"BM", "BMP"),
)

# What people hand over by mistake; the message then says what the file is.
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"rar!\x1a", "a RAR archive"),
    (b"par1", "a Parquet file"),
    (b"\x1a\x45\xdf\xa3", "a video or audio file"),
    (b"\x7fELF", "a program"),
    (b"\0asm", "a WebAssembly module"),
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull gets the file)"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_UNSUPPORTED = (
    (b"\xff\n", "a JPEG XL image"),
    (b"\0\0\0\x0cjxl ", "a JPEG XL image"),
    (b"v/1\1", "an OpenEXR image"),
    (b"#?radiance", "a Radiance HDR image"),
    (b"simple  =", "a FITS image"),
)

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
RAW = frozenset(("CR3", "RAF", "ORF", "RW2", "X3F", "MRW"))
"""Raw photos that are not laid out as TIFF; of those that are, :mod:`aicli.image.raw` knows."""

_AVIF_BRANDS = frozenset((b"avif", b"avis"))


def identify(head: bytes, suffix: str = "") -> str | None:
    """The format of a file that begins with ``head``, or ``None``; ``suffix`` decides for TGA, which has no mark."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:1] == b"P" and head[1:2] in tuple(b"%c" % mark for mark in b"0123456fy"):
        return "PPM"
    if head[4:8] == b"ftyp":
        return _isobmff(head)
    if suffix.lower() in (".tga", ".icb", ".vda", ".vst") and len(head) >= 18 and foreign_kind(head) is None:
        return "TGA"
    return None


def _isobmff(head: bytes) -> str | None:
    """AVIF, HEIF or Canon's raw format, by the major brand and then by the compatible brands of the ``ftyp`` box."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    if head[8:12] == b"crx ":
        return "CR3"
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIF_BRANDS:
            return "HEIF"
    return "HEIF" if brands[0] in (b"mif1", b"msf1") else None


def foreign_kind(head: bytes) -> str | None:
    """What a file is that no decoder here reads, in words, if its first bytes tell."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    for magic, words in _FOREIGN:
        if start.startswith(magic.lower()):
            return f"{words}, not an image"
    for magic, words in _UNSUPPORTED:
        if start.startswith(magic):
            return f"{words}, a format that is not supported"
    if head[4:8] == b"ftyp" or head[:4] == b"RIFF":
        return "a video or audio file, not an image"
    if head[4:8] == b"TFL3":
        return "a TFLite model, not an image"
    if head.startswith(b"\x89PNG") and not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "a PNG image whose line ends were changed on its way, as if it were text"
    return None


def open_with(kind: str, stream: IO[bytes]) -> Image.Image:
    """Read the header of ``stream`` with the plugin of ``kind``; the pixels are decoded when they are asked for.

    The plugin's class is called directly: ``Image.open`` would import five plugins and apply its own, process-wide
    pixel limit. Raises UnavailableError when the plugin is not installed, and whatever the plugin raises.
    """
    module, name = _PLUGINS[kind]
    try:
        plugin = importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(kind) from error
    if kind == "AVIF" and not plugin.SUPPORTED:
        raise UnavailableError(kind)
    factory = cast("Callable[[IO[bytes]], Image.Image]", getattr(plugin, name))
    return factory(stream)


def require_plugin(kind: str) -> None:
    """Raises UnavailableError when the plugin of ``kind`` is not installed; loads nothing."""
    if importlib.util.find_spec(_PLUGINS[kind][0].partition(".")[0]) is None:
        raise UnavailableError(kind)


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filter: Any = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore the warnings of Pillow's modules while the block runs, in any number of threads at once.

    ``warnings.catch_warnings`` puts back the whole list of filters and so is not safe in threads. Here the first
    thread to enter adds one filter and the last one to leave takes that same filter away.
    """
    global _quiet_users, _quiet_filter
    with _quiet_lock:
        if _quiet_users == 0:
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
            _quiet_filter = warnings.filters[0]
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                with suppress(ValueError):
                    cast("list[Any]", warnings.filters).remove(_quiet_filter)


ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(name: str) -> bool:
    """Whether a file is taken for an archive of photos, by its suffix."""
    return name.lower().endswith(ARCHIVES)
