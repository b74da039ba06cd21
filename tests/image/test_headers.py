"""The parsers behind the limits, fed with files made field by field: what each field means, to the bit."""

from __future__ import annotations

import io
import itertools
import struct
from typing import Any

import pytest
from PIL import Image

from aicli.errors import ImageError
from aicli.image.av1 import stream_sizes
from aicli.image.headers import count_gif, hidden_sizes
from aicli.image.raw import find_embedded
from aicli.image.tiff import pages, read_directories
from tests.corpus import encode
from tests.image.test_frames import raw_photo

# AV1: the sequence header (5.5 of the specification), in its unit, in the boxes of a file.


class Bits:
    """Big-endian bit fields, put one behind the other."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, value: int, count: int) -> None:
        assert 0 <= value < 1 << count
        self.text += f"{value:0{count}b}"

    def bytes(self) -> bytes:
        padded = self.text + "0" * (-len(self.text) % 8)
        return int(padded, 2).to_bytes(len(padded) // 8, "big")


def sequence_header(
    size: tuple[int, int],
    *,
    reduced: bool = False,
    ticks: int | None = None,
    timed: bool = False,
    delay_bits: int = 0,
    display_delay: bool = False,
    levels: tuple[int, ...] = (8,),
) -> bytes:
    """One with every optional field as the arguments say; what is skipped is all ones, so that a wrong step shows."""
    bits = Bits()
    bits.put(0, 3)  # seq_profile
    bits.put(1, 1)  # still_picture
    bits.put(reduced, 1)
    if reduced:
        bits.put(31, 5)
    else:
        bits.put(timed, 1)
        if timed:
            bits.put(2**64 - 1, 64)
            bits.put(ticks is not None, 1)  # equal_picture_interval
            if ticks is not None:
                length = (ticks + 1).bit_length()
                bits.put(ticks + 1, 2 * length - 1)  # uvlc: as many zeros as bits behind the first one
            bits.put(delay_bits > 0, 1)
            if delay_bits:
                bits.put(delay_bits - 1, 5)
                bits.put(2**42 - 1, 42)
        bits.put(display_delay, 1)
        bits.put(len(levels) - 1, 5)
        for number, level in enumerate(levels):
            bits.put(0xFFF, 12)
            bits.put(level, 5)
            if level > 7:
                bits.put(1, 1)  # seq_tier
            if delay_bits:
                bits.put(number % 2 == 0, 1)
                if number % 2 == 0:
                    bits.put(2 ** (2 * delay_bits + 1) - 1, 2 * delay_bits + 1)
            if display_delay:
                bits.put(number % 2, 1)
                if number % 2:
                    bits.put(15, 4)
    for side in size:
        bits.put((side - 1).bit_length() - 1, 4)
    for side in size:
        bits.put(side - 1, (side - 1).bit_length())
    bits.put(0b1011, 4)  # more follows
    return bits.bytes()


def unit(kind: int, content: bytes, *, sized: bool = True, extended: bool = False) -> bytes:
    """An open bitstream unit; its length in seven bits at a time, as far as it is written."""
    head = bytes([kind << 3 | extended << 2 | sized << 1]) + b"\xff" * extended
    length, rest = b"", len(content)
    while sized:
        length += bytes([rest & 127 | (128 if rest > 127 else 0)])
        rest >>= 7
        if not rest:
            break
    return head + length + content


def box(kind: bytes, content: bytes, form: str = "short") -> bytes:
    """A box whose size stands in four bytes, in eight (``long``), or is left to the end of the file (``open``)."""
    if form == "long":
        return struct.pack(">I", 1) + kind + struct.pack(">Q", 16 + len(content)) + content
    return struct.pack(">I", 0 if form == "open" else 8 + len(content)) + kind + content


def avif(stream: bytes, form: str = "short", behind: bytes = b"") -> bytes:
    """A file with one item of two extents, of which the first is the stream."""

    def file(offset: int) -> bytes:
        places = bytes([0, 0, 0, 0, 0x44, 0]) + struct.pack(">HHHH", 1, 7, 0, 2)
        places += struct.pack(">IIII", offset, len(stream), 3, 5)
        meta = box(
            b"meta", bytes(4) + box(b"free", b"iloc") + box(b"iloc", places, form if form == "long" else "short")
        )
        return box(b"ftyp", b"avif") + box(b"free", b"") + meta + box(b"mdat", stream + behind, form)

    return file(len(file(0)) - len(behind) - len(stream))


HEADERS = [
    {"reduced": True},
    *(
        {"timed": timed, "ticks": ticks, "delay_bits": delay_bits, "display_delay": display_delay, "levels": levels}
        for timed, ticks, delay_bits in [
            (False, None, 0), (True, None, 0), (True, 0, 0), (True, 6, 0), (True, 7, 1), (True, None, 5), (True, 1, 32)
        ]
        for display_delay, levels in itertools.product((False, True), ((7,), (8,), (8, 7, 31)))
    ),
]  # fmt: skip


@pytest.mark.parametrize("fields", HEADERS, ids=str)
@pytest.mark.parametrize("size", [(2000, 1500), (3, 65536), (65, 2)], ids=str)
def test_the_size_in_an_av1_stream_is_found_behind_every_optional_field(
    fields: dict[str, Any], size: tuple[int, int]
) -> None:
    assert list(stream_sizes(avif(unit(1, sequence_header(size, **fields))))) == [size]


@pytest.mark.parametrize("form", ["short", "long", "open"])
@pytest.mark.parametrize(
    "before",
    [
        b"",
        unit(2, b""),
        unit(2, b"", extended=True),
        unit(15, b"\x0a" * 127),
        unit(15, b"\x0a" * 128, extended=True),
        unit(15, b"\x0a" * 300) + unit(2, b""),
    ],
    ids=len,
)
def test_the_sequence_header_is_found_among_other_units(form: str, before: bytes) -> None:
    header = sequence_header((2000, 1500))
    for last in (unit(1, header), unit(1, header, extended=True), unit(1, header, sized=False)):
        assert list(stream_sizes(avif(before + last, form, bytes(40)))) == [(2000, 1500)]


def test_an_item_in_the_box_of_small_items_counts_from_there() -> None:
    stream = unit(1, sequence_header((640, 480)))
    places = bytes([1, 0, 0, 0, 0x44, 0]) + struct.pack(">HHHHH", 1, 7, 1, 0, 1) + struct.pack(">II", 2, len(stream))
    data = box(b"meta", bytes(4) + box(b"iloc", places) + box(b"idat", b"\xff\xff" + stream))
    assert list(stream_sizes(data)) == [(640, 480)]


def test_every_item_has_its_size() -> None:
    streams = [unit(1, sequence_header(size)) for size in ((640, 480), (64, 48), (3, 2))]

    def file(first: int) -> bytes:
        places, offset = bytes([0, 0, 0, 0, 0x48, 0x40]) + struct.pack(">H", 3), first
        for number, stream in enumerate(streams):
            base = offset // 3
            places += struct.pack(">HHIHIQ", number, 0, base, 1, offset - base, len(stream))
            offset += len(stream)
        return box(b"meta", bytes(4) + box(b"iloc", places)) + b"".join(streams)

    assert list(stream_sizes(file(len(file(0)) - sum(map(len, streams))))) == [(640, 480), (64, 48), (3, 2)]


def test_a_length_of_zero_is_the_rest_of_the_file() -> None:
    stream = unit(1, sequence_header((640, 480)))
    places = bytes([0, 0, 0, 0, 0x40, 0]) + struct.pack(">HHHH", 1, 7, 0, 1)  # a length of no bytes
    meta = box(b"meta", bytes(4) + box(b"iloc", places + bytes(4)))
    places += struct.pack(">I", len(meta))
    assert list(stream_sizes(box(b"meta", bytes(4) + box(b"iloc", places)) + stream)) == [(640, 480)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        box(b"ftyp", b"avif"),
        box(b"meta", bytes(4)),
        box(b"meta", bytes(4) + box(b"iloc", b"")),
        struct.pack(">I", 7) + b"free" + avif(unit(1, sequence_header((640, 480)))),  # a box smaller than its head
        avif(unit(15, bytes(100))),  # no sequence header
        avif(unit(15, bytes(600)) + unit(1, sequence_header((640, 480)))),  # none where a decoder would look for one
    ],
)
def test_a_stream_that_is_not_there_has_no_size(data: bytes) -> None:
    assert list(stream_sizes(data)) == []


# TIFF


@pytest.mark.parametrize("order", "<>")
def test_the_numbers_of_a_directory_are_read_from_the_entry_or_from_where_it_points(order: str) -> None:
    entries = [
        (1, [7]), (1, [1, 2, 3, 4]), (1, [1, 2, 3, 4, 5]),
        (3, [500]), (3, [500, 600]), (3, [500, 600, 700]),
        (4, [70_000]), (4, [70_000, 80_000]), (13, [90_000]),
    ]  # fmt: skip
    letters, sizes = {1: "B", 3: "H", 4: "I", 13: "I"}, {1: 1, 3: 2, 4: 4, 13: 4}
    others = [(2, 3, b"abc\0"), (5, 1, bytes(4)), (1, 0, bytes(4))]  # text, a fraction, no number at all
    start, table, extra = 8, b"", b""
    behind = start + 2 + 12 * (len(entries) + len(others)) + 4
    for tag, (kind, values) in enumerate(entries, 100):
        raw = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
        if len(values) * sizes[kind] > 4:
            raw, extra = struct.pack(order + "I", behind + len(extra)), extra + raw
        table += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    for tag, (kind, number, raw) in enumerate(others, 200):
        table += struct.pack(order + "HHI", tag, kind, number) + raw
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    count = struct.pack(order + "H", len(entries) + len(others))
    following = behind + len(extra)
    second = struct.pack(order + "HHHI", 1, 254, 4, 1) + struct.pack(order + "I", 1) + bytes(4)
    data = head + count + table + struct.pack(order + "I", following) + extra + second

    first, reduced = read_directories(io.BytesIO(data))
    assert dict(first) == {tag: tuple(values) for tag, (_, values) in enumerate(entries, 100)}
    assert (first.offset, first.page, first.is_reduced) == (start, 0, False)
    assert (dict(reduced), reduced.offset, reduced.page, reduced.is_reduced) == ({254: (1,)}, following, 1, True)
    assert pages([first, reduced]) == [0]
    assert pages([reduced]) == [1]


def test_a_chain_of_directories_that_bites_its_tail_ends() -> None:
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 8)
    assert [directory.offset for directory in read_directories(io.BytesIO(data))] == [8]


# Raw photos


def jpeg(size: tuple[int, int]) -> bytes:
    return encode(Image.new("RGB", size, "red"), "JPEG")


def canon(*parts: bytes) -> bytes:
    return b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"".join(parts) + bytes(100)


def without(data: bytes, *entries: tuple[int, int, int, int]) -> bytes:
    """The file with each entry (tag, type, count, value) turned into one of a private tag, where it stands last."""
    for entry in entries:
        at = data.rindex(struct.pack("<HHII", *entry))
        data = data[:at] + struct.pack("<H", 65001) + data[at + 2 :]
    return data


def test_a_raw_photo_is_known_by_what_its_directories_hold() -> None:
    """By its version of DNG, by the sensor's picture, or by a smaller copy in front of a picture in a subdirectory."""
    version, copy = (50706, 1, 4, 0x0401), (254, 4, 1, 1)
    sensor = without(raw_photo(jpeg=(1000, 1200)), version)
    for data in (sensor, without(sensor, copy)):
        found = find_embedded("TIFF", io.BytesIO(data), "a.dng")
        assert found is not None and found.part == "embedded JPEG, 1000 x 1200 of 1536 x 1800"
    finished = without(raw_photo(rgb=(800, 600)), version)
    found = find_embedded("TIFF", io.BytesIO(finished), "a.tif")
    assert found is not None and (found.kind, found.part) == ("TIFF", "embedded picture, 800 x 600")
    assert find_embedded("TIFF", io.BytesIO(without(finished, copy)), "a.tif") is None  # a picture with another one


@pytest.mark.parametrize("compression", [6, 7])
def test_a_lossless_jpeg_in_a_raw_photo_is_the_sensors(compression: int) -> None:
    whole = raw_photo(jpeg=(1000, 1200))
    entry = struct.pack("<HHIHH", 259, 3, 1, 7, 0)
    assert whole.count(entry) == 1
    data = whole.replace(entry, struct.pack("<HHIHH", 259, 3, 1, compression, 0))
    found = find_embedded("TIFF", io.BytesIO(data), "a.dng")
    assert found is not None and found.part == "embedded JPEG, 1000 x 1200 of 1536 x 1800"
    lossless = data.replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11")
    assert lossless != data
    with pytest.raises(ImageError, match="no more than a thumbnail of 102 x 120"):
        find_embedded("TIFF", io.BytesIO(lossless), "a.dng")


def test_a_canon_photo_has_the_turn_of_its_first_box_of_exif() -> None:
    exif = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIHHI", 1, 274, 3, 1, 6, 0, 0)
    found = find_embedded("CR3", io.BytesIO(canon(box(b"CMT1", exif), jpeg((700, 500)))), "a.cr3")
    assert found is not None
    assert (found.kind, found.orientation) == ("JPEG", 6)
    with Image.open(io.BytesIO(found.data)) as picture:
        assert picture.size == (700, 500)
    without = find_embedded("CR3", io.BytesIO(canon(jpeg((700, 500)))), "a.cr3")
    assert without is not None and without.orientation == 1


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC7, 0xC9, 0xCF, 0xD9])
def test_a_jpeg_that_no_decoder_takes_is_passed_over(marker: int) -> None:
    """Lossless and arithmetic ones, and one that ends before its data begins."""
    large, small = jpeg((1600, 1200)), jpeg((700, 500))
    at = large.index(b"\xff\xc0")
    data = canon(large[: at + 1] + bytes([marker]) + large[at + 2 :], small)
    found = find_embedded("CR3", io.BytesIO(data), "a.cr3")
    assert found is not None and found.part == "embedded JPEG, 700 x 500"


def test_the_header_of_a_jpeg_may_have_fill_bytes_and_markers_without_length() -> None:
    data = jpeg((700, 500))
    at = data.index(b"\xff\xc0")
    for more in (b"\xff", b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xfe\0\x02", b"\xff\xfe\0\x05abc"):
        found = find_embedded("CR3", io.BytesIO(canon(data[:at] + more + data[at:])), "a.cr3")
        assert found is not None and found.part == "embedded JPEG, 700 x 500", more


# Icons and GIF


def test_an_icon_has_the_sizes_of_its_pictures() -> None:
    png = encode(Image.new("L", (300, 200)), "PNG")
    core = struct.pack("<IHHHH", 12, 70, 120, 1, 1) + bytes(20)  # the height counts the mask
    upside_down = struct.pack("<Iii", 40, 90, -80) + bytes(40)
    table, body = b"", b""
    for picture in (png, core, upside_down, b"short"):
        table += struct.pack("<BBBBHHII", 1, 1, 0, 0, 1, 32, len(picture), 6 + 16 * 4 + len(body))
        body += picture
    data = struct.pack("<HHH", 0, 1, 4) + table + body
    assert list(hidden_sizes("ICO", io.BytesIO(data))) == [(300, 200), (70, 60), (90, 40)]


def test_every_picture_of_a_gif_counts_with_its_place() -> None:
    colours = bytes(3 * 4)
    place = struct.pack("<4HB", 10, 20, 30, 40, 0x81)  # with four colours of its own
    plain = struct.pack("<4HB", 0, 0, 7, 8, 7)  # the number of colours counts with bit 7 alone
    control = b"\x21\xf9\x04\0\0\0\0\0"
    data = b"GIF89a" + struct.pack("<HHBBB", 50, 60, 0x80, 0, 0) + bytes(6)
    data += control + b"\x2c" + place + colours + b"\x02\x03abc\x02de\0" + b"\x2c" + plain + b"\x02\0" + b"\x3b"
    assert list(hidden_sizes("GIF", io.BytesIO(data))) == [(40, 60), (7, 8)]
    assert count_gif(io.BytesIO(data)) == 2
    assert count_gif(io.BytesIO(data[:10])) == 1
