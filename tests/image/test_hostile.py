"""Files that lie about their size or make their decoder talk: limits hold, and nothing is printed."""

from __future__ import annotations

import io
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from aicli.errors import ImageError, ImageTooLargeError
from aicli.image import decoder_process
from aicli.image.av1 import stream_sizes
from aicli.image.decode import open_frames, open_image
from aicli.image.guard import DecoderDied, Messages
from tests.corpus import encode, photo

shows_damaged_faxes = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 12, reason="before 12 Pillow refuses damaged faxes at their first bad line"
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process so")


def fax(width: int, height: int, compression: int, data: bytes) -> bytes:
    """A black and white TIFF whose one strip is ``data``."""
    entries = ((256, width), (257, height), (258, 1), (259, compression), (262, 0), (273, 8), (277, 1), (278, height))
    tags = [*entries, (279, len(data))]
    data += b"\0" * (len(data) % 2)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + table + bytes(4)


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def lying(data: bytes, box: bytes, before: int) -> bytes:
    """The file with 50 x 50 for the size in all boxes of a kind; ``before`` bytes come before it in the box."""
    parts = data.split(box)
    assert len(parts) > 1
    size = struct.pack(">II", 50, 50)
    return box.join([parts[0], *(part[:before] + size + part[before + 8 :] for part in parts[1:])])


@shows_damaged_faxes
def test_what_a_decoder_prints_is_counted_and_shown_to_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    answer = open_image(fax(20000, 400, 3, noise(600)))
    assert answer.width == 20000
    count, first = answer.messages
    assert count >= len(first) >= 1
    assert any("Bad code word" in line for line in first)
    assert all(len(line) <= 200 for line in first) and len(first) <= 3
    assert capfd.readouterr() == ("", "")
    assert open_image(encode(photo(), "TIFF", compression="tiff_lzw")).messages == (0, ())


def test_what_a_decoder_printed_is_part_of_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="Bad code word"):
        open_image(fax(20000, 400, 2, noise(600)))
    assert capfd.readouterr() == ("", "")


@shows_damaged_faxes
def test_a_flood_is_bounded(tmp_path: Path) -> None:
    """A thousand lines and more that libtiff would print for 1.1 KB: the process that looks at the file prints none."""
    path = tmp_path / "flood.tif"
    path.write_bytes(fax(20000, 4000, 3, noise(1000)))
    code = "import sys; from aicli.image.decode import open_image; print(open_image(sys.argv[1]).messages[0])"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stderr == "" and int(done.stdout) > 3000


def test_a_decoder_has_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processor in the decoder process, and of the wall here."""
    process = decoder_process.DecoderProcess()
    monkeypatch.setattr(decoder_process, "_mine", process)
    data = encode(photo(2000, 1500), "TIFF", compression="tiff_lzw")
    assert open_image(data).pixels.shape == (1500, 2000, 3)
    monkeypatch.setattr(decoder_process, "processor_seconds", lambda kind, pixels: 1.0)
    child = process._process
    assert child is not None
    child.send_signal(signal.SIGSTOP)  # it stands still, and takes no time of the processor
    monkeypatch.setattr(decoder_process, "PATIENCE", 0.3)
    with pytest.raises(ImageError, match=r"TIFF image ended \(it took too long\)"):
        open_image(data)
    monkeypatch.undo()
    assert open_image(data).pixels.shape == (1500, 2000, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on processor time")
@shows_damaged_faxes
def test_a_flood_is_cut_off_by_the_time_of_the_processor(tmp_path: Path) -> None:
    """Nine million lines for 1 KB: some 25 seconds of work, of which a small picture may have none."""
    code = (
        "from aicli.image import decoder_child as child; child.PROCESSOR_SECONDS = 1; "
        "child.MICROSECONDS_PER_PIXEL = {'TIFF': 0}; child.main()"
    )
    process = decoder_process.DecoderProcess()
    flood = fax(10, 9_000_000, 3, noise(600))
    messages = Messages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_process, "python_command", lambda _: [sys.executable, "-c", code])
        owner = object()
        try:
            process.open(owner, "TIFF", flood, messages)
            with pytest.raises(DecoderDied, match="it took too long"):
                process.frame(owner, "TIFF", flood, 0, 100_000_000, messages)
        finally:
            process.end()


def test_what_a_decoder_printed_is_the_reason_of_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(photo(400, 300), "TIFF", compression="tiff_lzw")
    with pytest.raises(ImageError, match="damaged or truncated TIFF image") as caught:
        open_image(data.replace(data[8:2000], noise(1992)))
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def icon(picture: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(picture), 22) + picture


def test_icons_are_as_large_as_the_picture_in_them() -> None:
    png = encode(Image.new("L", (3000, 2000)), "PNG")
    bitmap = struct.pack("<IiiHHIIiiII", 40, 3000, 4000, 1, 1, 0, 0, 0, 0, 0, 0) + bytes(20)
    for picture in (png, bitmap):
        with pytest.raises(ImageTooLargeError, match="3,000 x 2,000 pixels, the limit is 5,999,999"):
            open_image(icon(picture), max_pixels=5_999_999)
    assert open_image(icon(png)).pixels.shape == (2000, 3000, 3)


def test_tiles_of_a_tiff_count() -> None:
    data = bytearray(fax(50, 50, 4, noise(50)))
    start = struct.unpack_from("<I", data, 4)[0]
    tags = {256: 50, 257: 50, 258: 1, 259: 4, 262: 0, 277: 1, 322: 32000, 323: 32000, 324: 8, 325: 50}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    with pytest.raises(ImageTooLargeError, match="32,000 x 32,000"):
        open_image(bytes(data[:start]) + struct.pack("<H", len(tags)) + table + bytes(4))


def test_avif_is_as_large_as_its_stream() -> None:
    data = lying(encode(Image.new("RGB", (2000, 1500), "red"), "AVIF", speed=10), b"ispe", 4)
    assert list(stream_sizes(data)) == [(2000, 1500)]
    with pytest.raises(ImageTooLargeError, match="2,000 x 1,500 pixels, the limit is 10,000"):
        open_image(data, max_pixels=10_000)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_stream_of_an_avif_is_found_behind_other_units(version: int) -> None:
    """A padding of 200 bytes, whose length takes two, before the sequence header; ``iloc`` in each of its versions."""
    encoded = encode(Image.new("RGB", (2000, 1500), "red"), "AVIF", speed=10)
    stream = encoded[encoded.index(b"mdat") + 4 :]
    padding = bytes([15 << 3 | 2, 0x80 | 200 & 127, 200 >> 7]) + bytes(200)
    count, construction = struct.pack(">H" if version < 2 else ">I", 1), b"" if version == 0 else bytes(2)
    index = b"" if version == 0 else bytes(4)
    item = (1).to_bytes(2 if version < 2 else 4, "big") + construction + bytes(2)
    sizes = bytes([0x44, 0x40 if version == 0 else 0x44])  # offset, length, base and index in four bytes each

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    def file(base: int) -> bytes:
        extent = index + struct.pack(">II", 8, 400)  # the offset counts from the base
        places = bytes([version, 0, 0, 0]) + sizes + count + item + struct.pack(">IH", base, 1) + extent
        return box(b"meta", bytes(4) + box(b"iloc", places)) + box(b"mdat", padding + stream)

    assert list(stream_sizes(file(len(file(0)) - len(padding + stream) - 8))) == [(2000, 1500)]


def test_jpeg_2000_is_as_large_as_its_stream() -> None:
    data = lying(encode(Image.new("RGB", (600, 400), "red"), "JPEG2000"), b"ihdr", 0)
    with pytest.raises(ImageTooLargeError, match="600 x 400"):
        open_image(data, max_pixels=10_000)


@linux
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_decoder_takes_no_more_memory_than_the_header_is_worth(kind: str) -> None:
    picture = Image.new("RGB", (6000, 6000), "red")
    if kind == "HEIF":
        heif = pytest.importorskip("pillow_heif")
        stream = io.BytesIO()
        heif.from_pillow(picture).save(stream, quality=30)
        data = lying(stream.getvalue(), b"ispe", 4)
    else:
        data = lying(encode(picture, "AVIF", speed=10), b"ispe", 4)
    try:
        assert open_image(data).pixels.shape == (50, 50, 3)
    except ImageError as error:
        assert "\n" not in str(error)
    process = decoder_process.decoder_process()._process
    assert process is not None and process.poll() is None
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 450_000


def test_a_decoder_that_dies_costs_one_file() -> None:
    good = encode(photo(), "TIFF", compression="tiff_lzw")
    assert open_image(good).width == 61
    process = decoder_process.decoder_process()._process
    assert process is not None
    process.kill()
    with pytest.raises(ImageError, match="ended \\(signal 9\\)"):
        open_image(good)
    assert open_image(good).width == 61


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
def test_the_decoder_process_ends_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(encode(photo(), "TIFF", compression="tiff_lzw"))
    code = (
        "import sys, os, signal; from aicli.image.decode import open_image;"
        "from aicli.image import decoder_process; open_image(sys.argv[1]);"
        "print(decoder_process.decoder_process()._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    pid, until = int(done.stdout), time.monotonic() + 5
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB"])
def test_pixels_are_the_same_as_without_the_process(mode: str) -> None:
    picture = photo().convert("RGB").convert("L").convert("I;16") if mode == "I;16" else None
    if picture is None:
        picture = Image.new("LAB", (61, 43), (200, 120, 140)) if mode == "LAB" else photo().convert(mode)
    compression = "group4" if mode == "1" else "tiff_adobe_deflate"
    apart = open_image(encode(picture, "TIFF", compression=compression))
    here = open_image(encode(picture, "TIFF"))
    assert (apart.pixels == here.pixels).all()


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    stream = io.BytesIO()
    photo().resize((64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    """Of 100 megapixels each takes 60 ms, for 139 bytes."""
    assert open_image(with_scans(50)).width == 64
    for data in (with_scans(120), with_scans(120).replace(b"\xff\xda", b"\xff\xff\xff\xda")):
        with pytest.raises(ImageError, match="more than 100 scans"):
            open_image(data)


def test_what_looks_like_a_scan_elsewhere_does_not_count() -> None:
    data = with_scans(0)
    inside = b"\xff\xe5" + struct.pack(">H", 2 + 600) + b"\xff\xda" * 300
    assert open_image(data[:2] + inside + data[2:] + b"\xff\xda" * 300).width == 64
    plain = encode(photo(), "JPEG")
    assert open_image(plain[:2] + inside + plain[2:] + b"\xff\xda" * 300).width == photo().width


def test_the_markers_of_a_jpeg_do_not_hide_its_scans() -> None:
    """What reads as a plain header where the decoder sees fill bytes."""
    data = with_scans(120)
    plain = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 64, 64, 1) + b"\1\x11\0" + b"\xff\xda" + b"\0\x08\1" + bytes(5)
    hidden = b"\xff\xff\xff\xe5" + struct.pack(">H", 2 + len(plain)) + plain
    with pytest.raises(ImageError, match="more than 100 scans"):
        open_image(data[:2] + hidden + data[2:])


def paged(*compressions: str | None) -> bytes:
    """A TIFF with a page for each."""
    from PIL.TiffImagePlugin import AppendingTiffWriter

    stream = io.BytesIO()
    with AppendingTiffWriter(stream, True) as writer:
        for compression in compressions:
            photo().save(writer, "TIFF", compression=compression)
            writer.newFrame()
    return stream.getvalue()


def test_compressed_pages_behind_a_plain_one_are_unpacked_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = paged(None, "tiff_deflate", None, "tiff_lzw")
    here = []
    load = TiffImageFile._load_libtiff
    monkeypatch.setattr(TiffImageFile, "_load_libtiff", lambda image: here.append(image) or load(image))
    frames = list(open_frames(data))
    assert len(frames) == 4 and here == []
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, np.asarray(photo()))
    # libtiff reads all of the file, and prints what it thinks of its first page.
    damaged = data.replace(struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 9, 1, 1), 1)
    assert damaged != data
    list(open_frames(damaged))
    assert capfd.readouterr() == ("", "")


def test_what_pillow_logs_is_printed_by_nobody() -> None:
    data = encode(photo(), "TIFF")
    many = data.replace(struct.pack("<HHI", 277, 3, 1) + struct.pack("<H", 3), struct.pack("<HHIH", 277, 3, 1, 60928))
    assert many != data
    code = "import sys; from aicli.image.decode import open_image; open_image(sys.stdin.buffer.read())"
    done = subprocess.run([sys.executable, "-c", code], input=many, capture_output=True, check=False)
    assert b"ImageError" in done.stderr and b"More samples" not in done.stderr.partition(b"Traceback")[0]
