"""The zip at a model's end: read here or by ``zipfile``, the answer is the same."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib

import pytest

from aicli.catalog.formats.appended import Archive, open_appended, plain_members

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 8
LABELS = {"labels.txt": b"cat\ndog\n", "labels_de.txt": b"Katze\nHund\n", "empty.txt": b""}


def appended(
    method: int = zipfile.ZIP_STORED, comment: bytes = b"", prefix: bytes = MODEL, files: dict[str, bytes] = LABELS
) -> bytes:
    """A model with these files behind it, as ``zipfile`` writes them."""
    target = io.BytesIO(prefix)
    with zipfile.ZipFile(target, "a", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
        archive.comment = comment
    return target.getvalue()


def contents(archive: Archive) -> dict[str, bytes]:
    return {name: archive.read(name) for name in archive.sizes}


def answer(data: bytes) -> dict[str, bytes] | None:
    try:
        with open_appended(data) as archive:
            found = contents(archive)
            return found
    except (ValueError, OSError, EOFError, RuntimeError, NotImplementedError):
        return None


def wanted(data: bytes) -> dict[str, bytes] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (ValueError, OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None


def test_files_as_they_are_take_no_zipfile() -> None:
    data = appended()
    assert plain_members(data) is not None
    assert answer(data) == LABELS == wanted(data)


@pytest.mark.parametrize(
    "data",
    [
        appended(zipfile.ZIP_DEFLATED),
        appended(comment=b"made by hand"),
        MODEL + appended(prefix=b""),
        appended(files={"été.txt": b"summer"}),
    ],
    ids=["deflated", "comment", "places counted from the zip", "name in UTF-8"],
)
def test_others_are_left_to_zipfile(data: bytes) -> None:
    assert plain_members(data) is None
    assert answer(data) == wanted(data) is not None


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", MODEL, bytes(22)])
def test_no_zip_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a zip file"), open_appended(data):
        pass


def test_no_more_is_unpacked_than_a_file_is_said_to_have() -> None:
    size = 32 << 20
    data = bytearray(appended(zipfile.ZIP_DEFLATED, files={"labels.txt": bytes(size)}))
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + 16, zlib.crc32(bytes(100)))
    struct.pack_into("<L", data, entry + 24, 100)
    tracemalloc.start()
    try:
        with open_appended(bytes(data)) as archive:
            assert (archive.sizes, archive.read("labels.txt")) == ({"labels.txt": 100}, bytes(100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 2


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93], ids=["bzip2", "lzma", "zstandard"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_cannot_be_unpacked_in_part_is_refused(method: int, damaged: bool) -> None:
    files = {"labels.txt": b"cat\n" * 100, "more.txt": b"dog\n"}
    data = bytearray(appended(zipfile.ZIP_DEFLATED if method == 93 else method, files=files))
    entry = data.index(b"PK\x01\x02")
    for place in (data.index(b"PK\x03\x04") + 8, entry + 10):
        struct.pack_into("<H", data, place, method)
    if damaged:
        begin = data.index(b"labels.txt") + 16
        data[begin : begin + 8] = bytes(8)
    with (
        open_appended(bytes(data)) as archive,
        pytest.raises(ValueError, match=r"labels\.txt is compressed by another"),
    ):
        archive.read("labels.txt")


def test_a_changed_byte_of_a_file_is_noticed() -> None:
    data = appended()
    at = data.index(b"cat")
    with open_appended(data[:at] + b"b" + data[at + 1 :]) as archive, pytest.raises(ValueError, match="Bad CRC-32"):
        archive.read("labels.txt")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_zips_are_read_as_zipfile_reads_them(method: int) -> None:
    whole = appended(method)
    chance = random.Random(7)
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(MODEL), len(data))
            data[place] = chance.choice((0, 1, 0xFF, data[place] ^ 1 << chance.randrange(8)))
        if chance.random() < 0.1:
            del data[chance.randrange(len(MODEL), len(data)) :]
        assert answer(bytes(data)) == wanted(bytes(data))
