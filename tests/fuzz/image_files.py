"""Image files of every format that are damaged with knowledge of it, through the commands' and the service's work."""

from __future__ import annotations

import importlib.util
import io
import json
import resource
import struct
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from aicli.cli.batch.job import Job
from aicli.cli.batch.work import ClassifyRecipe, DetectRecipe
from aicli.errors import AicliError, ImageError
from aicli.image.decode import open_frames
from aicli.options import ClassifyOptions, DetectOptions, FrameOptions, PictureOptions, SandboxOptions
from tests.fuzz.driver import Outcome

__all__ = ["ImageFiles", "mutate", "seeds"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MAX_PIXELS = 1 << 20
SOME_FRAMES = 8
TIME = 10.0
GROWTH = 700 << 20
"""Bytes by which the process may grow over its cases."""
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    127,
    128,
    255,
    256,
    1000,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**32 - 1,
)


class ImageFiles:
    """A file, decoded frame by frame, then given to both commands and to a worker of the service."""

    name = "images"

    def prepare(self) -> None:
        from aicli.serve.worker.trusted import Tasks

        sandbox: dict[str, Any] = {"max_pixels": MAX_PIXELS, "threads": 1}
        self.classify = ClassifyRecipe(ClassifyOptions("dog_breeds", **sandbox)).start()
        pictures = PictureOptions(anonymize="blur", picture_format="jpeg", keep_metadata=True)
        self.detect = DetectRecipe(DetectOptions(**sandbox), pictures).start()
        every = FrameOptions(all_frames=True, max_frames=SOME_FRAMES)
        self.frames = DetectRecipe(
            DetectOptions(**sandbox), pictures.replace(picture_format="webp"), False, every
        ).start()
        self.service = Tasks(SandboxOptions(**sandbox))
        self.start_memory = 0

    def run(self, random: Random) -> Outcome:
        return self.try_bytes(*mutate(random), random)

    def try_bytes(self, name: str, data: bytes, random: Random) -> Outcome:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            return self.try_file(path, data)

    def try_file(self, path: Path, data: bytes) -> Outcome:
        name = path.name
        kind = name.partition(".")[2]
        outcome = Outcome()
        begun = time.monotonic()
        self.decode(name, data, outcome)
        # The commands read a file by its name too; what the service gets has none.
        works = (("classify", self.classify), ("detect-faces", self.detect), ("all-frames", self.frames))
        for step, work in works:
            picture = None if step == "classify" else "-"
            try:
                done = work(Job(name, path, picture))
            except AicliError as error:
                assert isinstance(error, ImageError), error
                outcome.note(f"{step} {kind}", type(error).__name__, False, self.line(error))
            else:
                json.dumps([answer.result.to_dict() for answer in done.answers()], allow_nan=False)
                assert done.problem is None or isinstance(done.problem, ImageError), done.problem
                assert (done.picture is None) == (picture is None or done.problem is not None)
                outcome.note(f"{step} {kind}", "answered", True)
        for task in ("classify", "faces"):
            job = {"kind": task, "options": {"model": "dog_breeds"} if task == "classify" else {}, "names": [name]}
            header, _ = self.service((job, [data]))
            record = header["results"][0]
            status = record.get("status", 200)
            assert header["status"] == 200 and status in (200, 413, 422), (header, record)
            outcome.note(f"service {kind}", status, status == 200, record.get("error", {}).get("message", ""))
        taken = time.monotonic() - begun
        assert taken < TIME, f"{taken:.1f} s for {len(data)} bytes"
        self.check_memory()
        return outcome

    def decode(self, name: str, data: bytes, outcome: Outcome) -> None:
        """Decodes the first frames."""
        count, kind = 0, name.partition(".")[2]
        try:
            for image in open_frames(io.BytesIO(data), name=name, max_pixels=MAX_PIXELS):
                pixels = image.pixels
                assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
                assert pixels.size <= 3 * MAX_PIXELS and pixels.flags.c_contiguous
                assert image.frame < image.frames
                count += 1
                if count == SOME_FRAMES:
                    break
        except ImageError as error:
            outcome.note(f"decode {kind}", type(error).__name__, False, self.line(error))
        else:
            outcome.note(f"decode {kind}", "decoded", True)

    def line(self, error: AicliError) -> str:
        message = str(error)
        assert message and message.isprintable() and len(message) < 900, repr(message)
        return message.partition(": ")[2]

    def check_memory(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.start_memory = self.start_memory or used
        assert used - self.start_memory < GROWTH, f"{used - self.start_memory} bytes more"


@cache
def photo(side: int = 80) -> Image.Image:
    """A face."""
    with Image.open(EXAMPLES / "grace_hopper.jpg") as image:
        return image.convert("RGB").crop((150, 30, 390, 270)).resize((side, side), Image.Resampling.BOX)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    if "append_images" in options:  # a picture that was saved before keeps what its encoder was told
        options["append_images"] = [other.copy() for other in options["append_images"]]
    image.copy().save(stream, kind, **options)
    return stream.getvalue()


@cache
def seeds() -> list[tuple[str, bytes]]:
    """Files that are right, each with a name whose suffix is that of its format."""
    face = photo()
    grey, clear, palette = face.convert("L"), face.convert("RGBA"), face.quantize(32)
    clear.putalpha(grey)
    frames = [face.rotate(90 * turn) for turn in range(1, 4)]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames, "duration": 70, "loop": 0}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x9286: b"ASCII\0\0\0words"}
    profile = b"\0" * 16 + b"RGB XYZ " + b"\0" * 12 + b"acsp" + b"\0" * 88
    made = [
        ("jpg", encoded(face, "JPEG", exif=exif, icc_profile=profile, comment=b"words")),
        ("jpg", encoded(face, "JPEG", progressive=True, subsampling=2)),
        ("jpg", encoded(face.convert("CMYK"), "JPEG")),
        ("jpg", encoded(grey, "JPEG", restart_marker_blocks=2)),
        ("jpg", encoded(photo(400), "JPEG", quality=40)),
        ("mpo", encoded(face, "MPO", save_all=True, append_images=frames[:1])),
        ("png", encoded(face, "PNG", exif=exif, icc_profile=profile)),
        ("png", encoded(clear, "PNG")),
        ("png", encoded(palette, "PNG", transparency=3)),
        ("png", encoded(grey.convert("I;16"), "PNG")),
        ("png", encoded(face, "PNG", **moving)),
        ("gif", encoded(palette, "GIF", transparency=3)),
        ("gif", encoded(face, "GIF", **moving)),
        ("webp", encoded(face, "WEBP", exif=exif.tobytes())),
        ("webp", encoded(clear, "WEBP", lossless=True)),
        ("webp", encoded(face, "WEBP", **moving)),
        ("tif", encoded(face, "TIFF")),
        ("tif", encoded(palette, "TIFF", compression="packbits")),
        ("tif", encoded(clear, "TIFF", compression="tiff_lzw")),
        ("tif", encoded(face, "TIFF", compression="tiff_deflate", save_all=True, append_images=frames)),
        ("tif", encoded(face, "TIFF", compression="jpeg")),
        ("tif", encoded(face, "TIFF", big_tiff=True)),
        ("bmp", encoded(face, "BMP")),
        ("bmp", encoded(palette, "BMP")),
        ("ppm", encoded(face, "PPM")),
        ("ppm", b"P3 8 8 255 " + b" ".join(b"%d" % n for n in range(192))),
        ("pgm", encoded(grey, "PPM")),
        ("ico", encoded(face, "ICO", sizes=[(16, 16), (64, 64)])),
        ("ico", encoded(clear, "ICO", sizes=[(32, 32)], bitmap_format="bmp")),
        ("jp2", encoded(face, "JPEG2000", quality_layers=[20])),
        ("tga", encoded(face, "TGA", compression="tga_rle")),
        ("tga", encoded(palette, "TGA")),
        ("qoi", encoded(clear, "QOI")),
        ("avif", encoded(face, "AVIF", exif=exif, speed=9)),
        ("avif", encoded(face, "AVIF", speed=9, save_all=True, append_images=frames[:1])),
    ]
    if importlib.util.find_spec("pillow_heif") is not None:
        from pillow_heif import from_pillow

        stream = io.BytesIO()
        from_pillow(face).save(stream, quality=50)
        made.append(("heic", stream.getvalue()))
    return [(f"{number}.{suffix}", data) for number, (suffix, data) in enumerate(made)]


def mutate(random: Random) -> tuple[str, bytes]:
    """A file with one to four faults, and its name."""
    name, data = random.choice(seeds())
    for _ in range(random.choice((1, 1, 1, 1, 1, 1, 2, 3))):
        pieces = split(data)
        if random.random() < 0.4 or len(pieces) < 2:
            data = in_bytes(random, data)
        elif random.random() < 0.7:
            at = random.randrange(len(pieces))
            pieces[at] = in_piece(random, pieces[at])
            data = joined(data, pieces)
        else:
            data = joined(data, among_pieces(random, pieces, name))
    return name, data


def in_bytes(random: Random, data: bytes) -> bytes:
    """Changed without regard to the format, but for the first bytes that say which it is."""
    changed = bytearray(data)
    if len(changed) < 16:
        return data
    choice = random.random()
    if choice < 0.15:
        del changed[random.randrange(12, len(changed)) :]
    elif choice < 0.25:
        changed += random.randbytes(random.choice((1, 16, 500)))
    elif choice < 0.45:  # where the numbers stand
        place = random.randrange(4, min(len(changed), 120))
        write_number(random, changed, place)
    else:
        for _ in range(random.choice((1, 2, 8))):
            place = random.randrange(random.choice((8, len(changed) // 2, len(changed) * 7 // 8)), len(changed))
            changed[place] = random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, changed[place] ^ (1 << random.randrange(8))))
    return bytes(changed)


def write_number(random: Random, data: bytearray, place: int) -> None:
    form = random.choice(("<H", ">H", "<I", ">I", "B"))
    size = struct.calcsize(form)
    if place + size <= len(data):
        struct.pack_into(form, data, place, random.choice(NUMBERS) & ((1 << 8 * size) - 1))


def in_piece(random: Random, piece: bytes) -> bytes:
    changed = bytearray(piece)
    if not changed:
        return random.randbytes(3)
    choice = random.random()
    if choice < 0.5:
        write_number(random, changed, random.randrange(min(len(changed), 40)))
    elif choice < 0.7:
        changed[random.randrange(len(changed))] = random.randrange(256)
    elif choice < 0.85:
        del changed[random.randrange(len(changed)) :]
    else:
        at = random.randrange(len(changed) + 1)
        changed[at:at] = changed[: random.choice((1, 4, 100))]
    return bytes(changed)


def among_pieces(random: Random, pieces: list[bytes], name: str) -> list[bytes]:
    """One lost, doubled, moved, or from another file of the format."""
    at = random.randrange(len(pieces))
    choice = random.random()
    if choice < 0.3:
        del pieces[at]
    elif choice < 0.5:
        pieces[at:at] = [pieces[at]] * random.choice((1, 1, 3, 100))
    elif choice < 0.75:
        pieces.insert(random.randrange(len(pieces)), pieces.pop(at))
    else:
        suffix = name.partition(".")[2]
        others = [split(data) for other, data in seeds() if other.partition(".")[2] == suffix]
        strange = random.choice(others)
        if strange:
            pieces.insert(at, random.choice(strange))
    return pieces


def split(data: bytes) -> list[bytes]:
    """What a file is made of, behind its first bytes: a chunk's type with its content, a segment, a box, an entry."""
    return next((pieces(data) for start, pieces, _ in FORMS if start(data)), [])


def joined(data: bytes, pieces: list[bytes]) -> bytes:
    """The file with these pieces, their lengths and sums right."""
    return next(join(data, pieces) for start, _, join in FORMS if start(data))


def png_pieces(data: bytes) -> list[bytes]:
    at, found = 8, []
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 8 + size])
        at += 12 + size
    return found


def png_join(data: bytes, pieces: list[bytes]) -> bytes:
    chunks = (
        struct.pack(">I", max(0, len(piece) - 4)) + piece + struct.pack(">I", zlib.crc32(piece)) for piece in pieces
    )
    return data[:8] + b"".join(chunks)


def jpeg_pieces(data: bytes) -> list[bytes]:
    at, found = 2, []
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append(data[at + 1 : at + 2] + data[at + 4 : at + 2 + size])
        at += 2 + size
    return [*found, b"\xda" + data[at + 2 :]]


def jpeg_join(data: bytes, pieces: list[bytes]) -> bytes:
    def segment(piece: bytes) -> bytes:
        if piece[:1] == b"\xda":  # the scan has its length with it
            return b"\xff" + piece
        return b"\xff" + piece[:1] + struct.pack(">H", min(65535, len(piece) + 1)) + piece[1:]

    return data[:2] + b"".join(map(segment, pieces))


def riff_pieces(data: bytes) -> list[bytes]:
    at, found = 12, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append(data[at : at + 4] + data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def riff_join(data: bytes, pieces: list[bytes]) -> bytes:
    body = b"".join(
        piece[:4].ljust(4) + struct.pack("<I", len(piece[4:])) + piece[4:] + b"\0" * (len(piece[4:]) % 2)
        for piece in pieces
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def gif_pieces(data: bytes) -> list[bytes]:
    """The colours; then blocks, each to its empty sub-block."""
    at = 13 + table(data[10:11])
    found = [data[6:at]]
    while at + 10 < len(data) and data[at] in (0x21, 0x2C):
        begin = at
        at += 2 if data[at] == 0x21 else 11 + table(data[at + 9 : at + 10])
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
        found.append(data[begin:at])
    return [*found, data[at:]]


def table(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def box_pieces(data: bytes) -> list[bytes]:
    at, found = 0, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        size = size if size >= 8 else len(data) - at
        found.append(data[at + 4 : at + size])
        at += size
    return found


def box_join(data: bytes, pieces: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(piece) + 4) + piece for piece in pieces)


def tiff_pieces(data: bytes) -> list[bytes]:
    """The entries of the first directory, which keep their place."""
    place, count, _ = tiff_directory(data)
    return [data[place + 12 * n : place + 12 * n + 12] for n in range(count)]


def tiff_join(data: bytes, pieces: list[bytes]) -> bytes:
    place, count, order = tiff_directory(data)
    entries = b"".join(piece[:12].ljust(12, b"\0") for piece in pieces)
    rest = data[place + 12 * count :]
    begin = struct.pack(order + "H", min(65535, len(pieces)))
    return data[: place - 2] + begin + entries + rest[max(0, len(entries) - 12 * count) :]


def tiff_directory(data: bytes) -> tuple[int, int, str]:
    order = "<" if data[:1] == b"I" else ">"
    if len(data) < 8:
        return 8, 0, order
    place = struct.unpack_from(order + "I", data, 4)[0]
    if place + 2 > len(data):
        return 8, 0, order
    count = struct.unpack_from(order + "H", data, place)[0]
    return place + 2, min(count, (len(data) - place) // 12), order


def plain_join(data: bytes, pieces: list[bytes]) -> bytes:
    return data[:6] + b"".join(pieces)


Form = tuple[Callable[[bytes], bool], Callable[[bytes], list[bytes]], Callable[[bytes, list[bytes]], bytes]]
FORMS: tuple[Form, ...] = (
    (lambda data: data.startswith(b"\x89PNG"), png_pieces, png_join),
    (lambda data: data.startswith(b"\xff\xd8"), jpeg_pieces, jpeg_join),
    (lambda data: data.startswith(b"RIFF"), riff_pieces, riff_join),
    (lambda data: data.startswith(b"GIF8"), gif_pieces, plain_join),
    (lambda data: data[:4] in (b"II*\0", b"MM\0*"), tiff_pieces, tiff_join),
    (lambda data: data[4:8] in (b"ftyp", b"jP  "), box_pieces, box_join),
)
