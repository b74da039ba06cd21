"""The zip at a model's end: read here or by ``zipfile``, the answer is the same."""

import io
import random
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
