"""A corpus of broken, odd and hostile image files, the same bytes on every run with the same Pillow.

:func:`build` writes it into a folder. Each :class:`Case` says what a decoder has to make of its file.
"""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, features

Outcome = Literal["image", "error", "either"]


@dataclass(frozen=True)
class Case:
    """One file: ``image`` has to decode, ``error`` has to be refused, ``either`` only must not do anything else."""

    path: Path
    outcome: Outcome


Entry = tuple[str, bytes, Outcome]


def photo(width: int = 61, height: int = 43, mode: str = "RGB") -> Image.Image:
    """A smooth picture with some noise; odd sides, so that chroma blocks do not come out even."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(7).integers(0, 24, (height, width))
    planes = [columns * 3 % 232 + noise, rows * 5 % 232 + noise, (rows + columns) * 2 % 232 + noise]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int, order: str = "<") -> bytes:
    """An Exif block with one entry."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + b"\0\0\0\0"


def samples() -> dict[str, bytes]:
    """One good file for each format that is read, by suffix."""
    picture = photo()
    made = {
        "jpg": encode(picture, "JPEG"),
        "progressive.jpg": encode(picture, "JPEG", progressive=True),
        "png": encode(picture, "PNG"),
        "webp": encode(picture, "WEBP"),
        "lossless.webp": encode(picture, "WEBP", lossless=True),
        "gif": encode(picture, "GIF"),
        "bmp": encode(picture, "BMP"),
        "tif": encode(picture, "TIFF"),
        "lzw.tif": encode(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encode(picture, "TIFF", compression="jpeg"),
        "ppm": encode(picture, "PPM"),
        "ico": encode(photo(48, 48), "ICO", sizes=[(16, 16), (48, 48)]),
        "tga": encode(picture, "TGA"),
        "rle.tga": encode(picture, "TGA", compression="tga_rle"),
        "qoi": qoi(),
    }
    if features.check("jpg_2000"):
        made["jp2"] = encode(picture, "JPEG2000")
    with suppress(KeyError):  # Pillow before 11.3 has no AVIF
        made["avif"] = encode(picture, "AVIF", speed=10)
    return made


def qoi() -> bytes:
    """A QOI picture, 4 x 2, of plain RGB operations."""
    pixels = b"".join(b"\xfe" + bytes((n * 30, n * 20, n * 10)) for n in range(8))
    return b"qoif" + struct.pack(">IIBB", 4, 2, 3, 0) + pixels + b"\0" * 7 + b"\1"


def good() -> Iterator[Entry]:
    for suffix, data in samples().items():
        yield f"good.{suffix}", data, "image"
    for mode in ("L", "RGB", "CMYK"):
        for sampling in (0, 1, 2) if mode != "L" else (0,):
            data = encode(photo(mode=mode), "JPEG", subsampling=sampling)
            yield f"jpeg-{mode}-{sampling}.jpg", data, "image"
    yield "jpeg-keep-rgb.jpg", encode(photo(), "JPEG", keep_rgb=True), "image"
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        for kind, suffix in (("PNG", "png"), ("TIFF", "tif")):
            if mode != "P" or kind == "PNG":
                source = Image.new("I;16", (9, 7), 40_000) if mode == "I;16" else photo(mode=mode)
                yield f"mode-{mode}.{suffix}", encode(source, kind), "image"
    for mode in ("I", "F", "CMYK", "YCbCr", "LAB"):
        source = Image.new("LAB", (9, 7), (120, 130, 140)) if mode == "LAB" else photo(mode=mode)
        # Pillow 12 writes YCbCr in a way that it cannot read back.
        yield f"mode-{mode}.tif", encode(source, "TIFF"), "either" if mode == "YCbCr" else "image"
    yield "rgb16.png", png(5, 4, depth=16, data=(b"\0" + bytes(range(30))) * 4), "image"
    yield "transparent-rgb.png", encode(photo(), "PNG", transparency=(0, 0, 0)), "image"
    yield (
        "transparent-grey16.png",
        png(2, 1, depth=16, colour=0, extra=chunk(b"tRNS", b"\1\2"), data=b"\0\1\2\3\4"),
        "image",
    )
    yield "palette-alpha.png", encode(photo(mode="P"), "PNG", transparency=bytes(range(256))), "image"
    frames = [photo(mode="L").convert("P"), photo(30, 20, "L").convert("P")]
    yield "animated.gif", encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), "image"
    yield (
        "animated.png",
        encode(photo(), "PNG", save_all=True, append_images=[photo(61, 43, "L").convert("RGB")]),
        "image",
    )
    yield "animated.webp", encode(photo(), "WEBP", save_all=True, append_images=[photo()]), "image"
    yield "plain.ppm", b"P3 2 1 255  1 2 3  4 5 6\n", "image"
    yield "bits.pbm", b"P4 9 1 \xaa\x80", "image"
    yield "deep.pgm", b"P5 2 1 65535 \xff\xff\x00\x00", "image"
    # Pillow reads it from 10.3 on.
    yield "float.pfm", b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0.25, 1.0), "either"
    yield "one-pixel.png", encode(photo(1, 1), "PNG"), "image"
    yield "wide.png", encode(photo(20_000, 1), "PNG"), "image"
    yield "tall.jpg", encode(photo(1, 20_000), "JPEG"), "image"


def oriented() -> Iterator[Entry]:
    for value in range(1, 9):
        for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield f"orientation-{value}.{suffix}", encode(photo(), kind, exif=exif(value)), "image"
        yield f"orientation-{value}-motorola.jpg", encode(photo(), "JPEG", exif=exif(value, ">")), "image"
        yield f"orientation-{value}.tif", encode(photo(), "TIFF", tiffinfo={0x0112: value}), "image"
    for value in (0, 9, 65535):
        yield f"orientation-{value}.jpg", encode(photo(), "JPEG", exif=exif(value)), "image"


def odd_metadata() -> Iterator[Entry]:
    whole = exif(6)
    for cut in range(6, len(whole), 3):
        yield f"exif-cut-{cut}.jpg", encode(photo(), "JPEG", exif=whole[:cut]), "image"
    loop = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    far = b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0)
    many = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535)
    for name, block in (("loop", loop), ("far", far), ("many", many), ("noise", b"Exif\0\0" + bytes(range(200)))):
        yield f"exif-{name}.jpg", encode(photo(), "JPEG", exif=block), "image"
    yield "icc-noise.jpg", encode(photo(), "JPEG", icc_profile=b"no profile"), "image"
    yield "icc-noise.png", encode(photo(), "PNG", icc_profile=b"\0" * 5000), "image"
    bomb = zlib.compress(b"\0" * 80_000_000, 9)
    for kind, name in ((b"zTXt", "text"), (b"iCCP", "profile")):
        extra = chunk(kind, b"name\0\0" + bomb)
        yield f"{name}-bomb.png", png(2, 2, data=bytes(14), extra=extra), "either"
    yield "bad-animation.png", png(2, 2, data=bytes(14), extra=chunk(b"acTL", struct.pack(">II", 0, 0))), "image"


def bombs() -> Iterator[Entry]:
    side = 50_000
    yield "bomb.png", png(side, side, data=b"\0" * 1000), "error"
    yield "bomb-bits.png", png(side, side, depth=1, colour=0), "error"
    yield (
        "bomb.gif",
        b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"," + bytes(9) + b"\2\2\x4c\1\0;",
        "error",
    )
    yield (
        "bomb.bmp",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        "error",
    )
    yield "bomb.ppm", b"P6 50000 50000 255\n", "error"
    yield "bomb.pbm", b"P1 50000 50000\n1 0 1", "error"
    yield "bomb.qoi", b"qoif" + struct.pack(">IIBB", side, side, 3, 0) + b"\xfd" * 64, "error"
    yield "bomb.tga", struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, side, side, 24, 0) + bytes(64), "error"
    yield "bomb.jpg", _resized_jpeg(side, side), "error"
    yield "bomb.tif", _resized_tiff(side, side), "error"
    yield "bomb-vp8x.webp", _webp_canvas(16_384, 16_384), "error"
    yield "negative.bmp", _bmp(-5, 7), "either"
    yield "lowest.bmp", _bmp(-(2**31), -(2**31)), "error"
    yield "highest.bmp", _bmp(2**31 - 1, 2**31 - 1), "error"
    for width, height in ((0, 0), (0, 5), (5, 0)):
        yield f"zero-{width}x{height}.png", png(width, height), "error"
        yield f"zero-{width}x{height}.jpg", _resized_jpeg(width, height), "error"
        yield f"zero-{width}x{height}.bmp", _bmp(width, height), "error"
        yield f"zero-{width}x{height}.ppm", b"P6 %d %d 255\n" % (width, height), "error"
        yield f"zero-{width}x{height}.tif", _resized_tiff(width, height), "error"
    yield "short.png", png(3000, 3000, data=b"\0" * 1000), "error"
    yield "short.ppm", b"P6 3000 3000 255\n\0\0", "error"


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99)


def _resized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(samples_jpeg())
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data)


def samples_jpeg() -> bytes:
    return encode(photo(), "JPEG")


def _resized_tiff(width: int, height: int) -> bytes:
    data = bytearray(encode(photo(), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (256, 257):
            struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(data)


def _webp_canvas(width: int, height: int) -> bytes:
    plain = encode(photo(), "WEBP")[12:]
    header = (
        b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    body = b"WEBP" + header + plain
    return b"RIFF" + struct.pack("<I", len(body)) + body


def damaged() -> Iterator[Entry]:
    """Every format cut at 12 places and with flipped bits 6 times. Some decoders do not notice either."""
    dice = random.Random(20)
    for suffix, data in samples().items():
        for step in range(12):
            cut = len(data) * step // 12 if step else 3
            outcome: Outcome = "error" if step < 6 and not suffix.endswith(("webp", "ico")) else "either"
            yield f"cut-{step}.{suffix}", data[:cut], outcome
        for turn in range(6):
            flipped = bytearray(data)
            for _ in range(turn * 3 + 1):
                place = dice.randrange(len(data))
                flipped[place] ^= 1 << dice.randrange(8)
            yield f"flip-{turn}.{suffix}", bytes(flipped), "either"
        header = data[:40] + dice.randbytes(400)
        yield f"noise.{suffix}", header, "either"


def impostors() -> Iterator[Entry]:
    """What has an image's name and is none, and formats that are not read on purpose."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), "text")
    for suffix in ("jpg", "png", "tga", "heic"):
        yield f"zip.{suffix}", packed.getvalue(), "error"
        yield f"pdf.{suffix}", b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n" * 3, "error"
        yield f"empty.{suffix}", b"", "error"
        yield f"zeros.{suffix}", bytes(4096), "error"
        yield f"text.{suffix}", b"not a picture at all\n" * 9, "error"
        yield f"page.{suffix}", b"<!DOCTYPE html><html><body>404</body></html>", "error"
    yield "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", "error"
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "error"
    yield "sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "error"
    yield "film.avif", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(40), "error"
    yield "photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "error"
    yield "photoshop.png", b"8BPS\0\1" + bytes(60), "error"
    for kind in ("PCX", "SGI", "EPS", "PDF", "IM", "DDS", "ICNS"):
        source = photo(32, 32)
        yield f"refused-{kind.lower()}.jpg", encode(source, kind), "error"
    for kind in ("XBM", "MSP"):
        yield f"refused-{kind.lower()}.jpg", encode(photo(32, 32, "1"), kind), "error"
    yield "wrong-suffix.png", samples_jpeg(), "image"
    yield "no-suffix", samples_jpeg(), "image"
    yield "photo\nwith a line break.jpg", b"nothing", "error"
    yield "\x1b[31mred.jpg", b"nothing", "error"
    yield "фото 🐈.jpg", samples_jpeg(), "image"


def special(folder: Path) -> Iterator[Case]:
    """Folders, links, pipes, sockets, devices and files without permission."""
    links: dict[str, str] = {"loop-a.jpg": "loop-b.jpg", "loop-b.jpg": "loop-a.jpg", "broken.jpg": "nowhere.jpg"}
    for name, target in links.items():
        (folder / name).symlink_to(folder / target)
        yield Case(folder / name, "error")
    (folder / "linked.jpg").symlink_to(folder / "good.jpg")
    yield Case(folder / "linked.jpg", "image")
    (folder / "folder.jpg").mkdir()
    yield Case(folder / "folder.jpg", "error")
    os.mkfifo(folder / "pipe.jpg")
    yield Case(folder / "pipe.jpg", "error")
    with suppress(OSError), socket.socket(socket.AF_UNIX) as server:  # the path may be too long for a socket
        server.bind(str(folder / "s.jpg"))
        yield Case(folder / "s.jpg", "error")
    closed = folder / "closed.jpg"
    closed.write_bytes(samples_jpeg())
    closed.chmod(0)
    yield Case(closed, "image" if os.access(closed, os.R_OK) else "error")
    for path in (folder / "missing.jpg", folder / "good.jpg" / "below.jpg", folder / ("x" * 300), Path("/dev/null")):
        yield Case(path, "error")


PARTS: tuple[Callable[[], Iterator[Entry]], ...] = (good, oriented, odd_metadata, bombs, damaged, impostors)


def build(folder: Path) -> list[Case]:
    """Write the corpus into ``folder``, which exists and is empty."""
    cases = []
    for part in PARTS:
        for name, data, outcome in part():
            path = folder / name
            path.write_bytes(data)
            cases.append(Case(path, outcome))
    if hasattr(os, "mkfifo"):
        cases += special(folder)
    return cases
