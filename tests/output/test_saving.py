"""Pictures and text files are written whole or not at all, with the metadata that was asked for."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from aicli.errors import AicliError, UsageError
from aicli.output.pictures.profile import plain_profile
from aicli.output.pictures.saving import ImageMetadata, atomic_text_file, save_image
from aicli.output.records import make_writer

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SUFFIXES = [".png", ".jpg", ".JPEG", ".webp"]


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def exif_with_thumbnail() -> bytes:
    """An EXIF block as cameras write it: orientation 6, a date, a position, and a thumbnail directory."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera maker"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0xA002: 30, 0xA003: 40, 0x927C: b"maker note"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 14.0)}
    block = exif.tobytes()
    # Append IFD1 (a JPEG thumbnail) by hand: Pillow does not write one.
    tiff = bytearray(block[6:])
    order: Any = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], order)
    link = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], order)
    tiff[link : link + 4] = len(tiff).to_bytes(4, order)
    thumbnail = io.BytesIO()
    photo((16, 12)).save(thumbnail, "JPEG")
    start = len(tiff) + 2 + 24 + 4
    tiff += (2).to_bytes(2, order)
    for tag, value in ((0x0201, start), (0x0202, len(thumbnail.getvalue()))):
        tiff += tag.to_bytes(2, order) + (4).to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
    tiff += (0).to_bytes(4, order) + thumbnail.getvalue()
    return b"Exif\0\0" + bytes(tiff)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_image(photo(), path)
    with Image.open(path) as image:
        assert image.format == {"PNG": "PNG", "WEBP": "WEBP"}.get(suffix[1:].upper(), "JPEG")
        assert image.size == (40, 30)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a.gif", "a", "a.tar.xz"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
        save_image(photo(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata_is_kept_upright_and_without_thumbnail(tmp_path: Path, suffix: str) -> None:
    source = exif_with_thumbnail()
    check = Image.Exif()
    check.load(source)
    assert check.get_ifd(ExifTags.IFD.IFD1), "the sample has a thumbnail"
    path = tmp_path / f"a{suffix}"
    save_image(photo(), path, metadata=ImageMetadata(SRGB, source))
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        assert image.info["icc_profile"] == SRGB
        assert exif[0x0112] == 1
        assert exif[0x010F] == "Camera maker"
        details = exif.get_ifd(0x8769)
        assert details[0x9003].startswith("2024")
        assert (details[0xA002], details[0xA003]) == (40, 30)
        assert exif.get_ifd(0x8825)[1] == "N"
        assert 0x927C not in details
        assert not exif.get_ifd(ExifTags.IFD.IFD1)
    assert path.read_bytes().count(b"\xff\xd8\xff") == (suffix.lower() in (".jpg", ".jpeg"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_exif_nothing_of_the_source_is_left(tmp_path: Path, suffix: str) -> None:
    image = photo()
    secrets = {
        "exif": exif_with_thumbnail(),
        "comment": b"secret",
        "xmp": b"secret",
        "dpi": (300, 300),
        "icc_profile": b"secret",
    }
    image.info.update(secrets)
    image.info["pnginfo"] = PngInfo()
    path = tmp_path / f"a{suffix}"
    save_image(image, path, metadata=ImageMetadata(SRGB, exif_with_thumbnail()), exif="dropped")
    data = path.read_bytes()
    assert b"secret" not in data
    assert b"Camera" not in data
    assert b"Exif" not in data
    with Image.open(path) as result:
        result.load()
        assert not result.getexif()
        assert result.info.get("icc_profile") == plain_profile(SRGB)
        assert not {"comment", "xmp", "exif", "dpi"} & set(result.info)
    assert image.info["comment"] == b"secret", "the caller's image stays as it is"


def test_plain_exif_is_what_is_known_and_short(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "Camera maker", "x" * 201
    lens: dict[int, Any] = {0xA433: "Lens maker", 0xA434: "y" * 201, 0x9286: b"ASCII\0\0\0secret", 0xA432: (24.0, 70.0)}
    exif[0x8769] = lens
    exif[0x8825] = {1: "N", 0x1B: b"ASCII\0\0\0secret", 0x1D: "2024:05:06"}
    save_image(photo(), tmp_path / "a.jpg", metadata=ImageMetadata(exif=exif.tobytes()), exif="plain")
    with Image.open(tmp_path / "a.jpg") as image:
        kept = image.getexif()
    assert set(kept) - {0x8769, 0x8825} == {0x010F, 0x0112}
    assert set(kept.get_ifd(0x8769)) == {0xA432, 0xA433}
    assert kept.get_ifd(0x8825) == {1: "N", 0x1D: "2024:05:06"}
    assert b"secret" not in (tmp_path / "a.jpg").read_bytes()


def test_a_profile_of_another_colour_space_and_damaged_exif_are_dropped(tmp_path: Path) -> None:
    cmyk = SRGB[:16] + b"CMYK" + SRGB[20:]
    for number, exif in enumerate((b"Exif\0\0nonsense", b"", b"x" * 50, exif_with_thumbnail()[:60])):
        path = tmp_path / f"{number}.jpg"
        save_image(photo(), path, metadata=ImageMetadata(cmyk, exif))
        with Image.open(path) as image:
            assert "icc_profile" not in image.info


def test_exif_too_large_for_jpeg_is_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    for name, kept in (("a.jpg", False), ("a.png", True)):
        save_image(photo(), tmp_path / name, metadata=ImageMetadata(exif=exif.tobytes()))
        with Image.open(tmp_path / name) as image:
            assert (0x010E in image.getexif()) is kept


def test_quality_and_limits(tmp_path: Path) -> None:
    save_image(photo((200, 200)), tmp_path / "low.jpg", quality=20)
    save_image(photo((200, 200)), tmp_path / "high.jpg", quality=95)
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size / 2
    for quality in (1, 100):
        save_image(photo(), tmp_path / "a.jpg", quality=quality)
    for quality in (0, 101):
        with pytest.raises(UsageError, match=f"must be 1 to 100, not {quality}"):
            save_image(photo(), tmp_path / "a.jpg", quality=quality)
    with pytest.raises(AicliError, match=r"a\.webp: 16384 x 1 pixels are too large for WEBP; write \.png"):
        save_image(photo((16384, 1)), tmp_path / "a.webp")
    save_image(photo().convert("RGBA"), tmp_path / "alpha.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    import resource

    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The first write falls short, as on a disk that has room for the beginning of the picture only.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(AicliError, match=rf"cannot write .*a\{suffix}: File too large"):
            save_image(photo((300, 300)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_errors_name_the_file_and_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(AicliError, match=r"missing.a\.png: No such file or directory; make its folder first"):
        save_image(photo(), tmp_path / "missing" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AicliError, match=r"folder\.png: it is a folder"):
        save_image(photo(), tmp_path / "folder.png")


def test_links_and_permissions_survive(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_text_file(link) as file:
        file.write("new\n")
    assert link.is_symlink()
    assert real.read_text() == "new\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_text_appears_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with atomic_text_file(path) as file:
        file.write("Zürich\r\n\n")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "Zürich\r\n\n".encode()
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileNotFoundError])
def test_a_failed_block_leaves_nothing_and_keeps_its_error(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old.txt").write_text("old")
    for name in ("new.txt", "old.txt"):
        with pytest.raises(error, match="photo"), atomic_text_file(tmp_path / name) as file:
            file.write("half")
            raise error("photo")
    assert os.listdir(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_appending_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1")  # a line without an end
    with atomic_text_file(path, append=True) as file:
        file.write("1\n")
    with pytest.raises(RuntimeError), atomic_text_file(path, append=True) as file:
        file.write("2")
        file.flush()
        raise RuntimeError
    with atomic_text_file(path, append=True) as file:
        file.write("3\n")
    assert path.read_text() == "1\n1\n2\n3\n"
    with pytest.raises(AicliError, match="make its folder first"), atomic_text_file(tmp_path / "b" / "c", append=True):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_devices_are_written_not_replaced() -> None:
    with atomic_text_file("/dev/null") as file:
        file.write("x")
    assert not os.path.isfile("/dev/null")
    with pytest.raises(AicliError, match="/dev/full: No space left"), atomic_text_file("/dev/full") as file:
        file.write("x")
    with pytest.raises(AicliError, match="/dev/full: No space left"), atomic_text_file("/dev/full") as file:
        make_writer("jsonl", file, task="classify").failure("a", "b")
