"""What pictures are like when they are written: standard output, compression, and no trace of a hidden face."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo

from aicli.output.pictures.profile import tags_of, written

FACE = (150, 20, 300, 210)
"""Where astronaut.png shows a face, and some of what lies around it."""


@pytest.fixture
def photo(examples: Path) -> Image.Image:
    with Image.open(examples / "astronaut.png") as image:
        return image.convert("RGB")


@pytest.fixture
def standard_output(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command writes to standard output, as bytes."""

    def run(aicli: Any, *arguments: object, stdin: bytes = b"") -> tuple[Any, bytes]:
        import sys

        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            result = aicli(*arguments, stdin=stdin)
        stream.flush()
        return result, stream.buffer.getvalue()

    return run


def test_pictures_through_a_pipe(aicli: Any, standard_output: Any, examples: Path, tmp_path: Path) -> None:
    data = (examples / "astronaut.png").read_bytes()
    records = tmp_path / "r.jsonl"
    _, out = standard_output(aicli, "detect-faces", "-", "-o", "-", "--blur", "-O", records, stdin=data)
    assert Image.open(io.BytesIO(out)).format == "PNG"
    assert json.loads(records.read_text())["metadata"] == "dropped"
    for command in ("classify", "detect-faces"):
        for option in ("-o", "--sheet"):
            _, out = standard_output(aicli, command, "-", option, "-", "--picture-format", "jpeg", stdin=data)
            assert Image.open(io.BytesIO(out)).format == "JPEG", (command, option)
    result, out = standard_output(aicli, "detect-faces", "-", "-o", "-", "-f", "jsonl", stdin=data)
    assert result.code == 2 and "-O" in result.err and not out
    assert not Path("-").exists()


def test_no_picture_for_a_terminal(aicli: Any, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    result = aicli("detect-faces", examples / "astronaut.png", "-o", "-")
    assert result.code == 2 and "terminal" in result.err


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_keeps_its_compression(aicli: Any, photo: Image.Image, tmp_path: Path, subsampling: int) -> None:
    path, out = tmp_path / "a.jpg", tmp_path / "out" / "a.jpg"
    photo.crop((0, 250, 300, 512)).save(path, quality=70, subsampling=subsampling)  # no face
    assert aicli("detect-faces", path, "-o", out.parent, "--blur").code == 0
    assert abs(out.stat().st_size - path.stat().st_size) < 0.05 * path.stat().st_size
    with Image.open(path) as one, Image.open(out) as other:
        assert one.quantization == other.quantization and get_sampling(other) == subsampling  # type: ignore[attr-defined]
        difference = np.abs(np.asarray(one.convert("RGB")).astype(int) - np.asarray(other.convert("RGB")))
        assert difference.mean() < 0.3
    aicli("detect-faces", path, "-o", out.parent, "--blur", "--quality", 20, "--overwrite")
    assert out.stat().st_size < path.stat().st_size * 0.6


def test_grey_stays_grey_and_transparent_stays_transparent(aicli: Any, photo: Image.Image, tmp_path: Path) -> None:
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, (0, 400, 100, 512))
    made = {"L": photo.convert("L"), "RGBA": photo.convert("RGBA"), "LA": photo.convert("LA")}
    for mode, image in made.items():
        if "A" in mode:
            image.putalpha(alpha)
        image.save(tmp_path / f"{mode}.png")
    photo.convert("L").save(tmp_path / "grey.jpg")
    aicli("detect-faces", tmp_path, "-o", tmp_path / "out", "--pixelate")
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["L.png", "LA.png", "RGBA.png", "grey.jpg"]
    for path in written:
        with Image.open(path) as image:
            mode = "L" if path.name == "grey.jpg" else path.stem
            assert image.mode == mode
            if "A" in mode:
                assert ImageChops.difference(image.getchannel("A"), alpha).getbbox() is None
            assert abs(np.asarray(image.convert("L")).astype(int) - np.asarray(photo.convert("L")))[60:170].mean() > 1


def jpeg_with_everything(photo: Image.Image) -> bytes:
    """A JPEG as cameras and editors write them: a thumbnail, a maker note, XMP, Photoshop's resources, a comment, and
    a second image behind the first (MPO), each with the face."""
    small = io.BytesIO()
    photo.crop(FACE).resize((96, 120)).save(small, "JPEG", quality=60)
    face = small.getvalue()
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif[0x010E] = "A portrait"
    exif[0x9C9C] = face  # XPComment
    exif[0x8649] = face  # Photoshop
    exif[0x02BC] = face  # XMP
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0x927C: face, 0x9286: b"ASCII\0\0\0" + face, 0x829A: 0.01}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 14.0), 0x1B: face}
    main = io.BytesIO()
    more = {"comment": face[:60_000], "xmp": b"<x:xmpmeta>" + face.hex().encode(), "icc_profile": profile_with(face)}
    photo.save(main, "JPEG", exif=exif, quality=90, **more)
    data = main.getvalue()
    block = b"Photoshop 3.0\0" + face
    segment = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    return data[:2] + segment + data[2:] + face


def profile_with(picture: bytes) -> bytes:
    """sRGB with a picture in a tag of its own."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return written(bytearray(srgb[:128]), {**dict(tags_of(srgb)), b"face": b"data\0\0\0\0" + picture})


def png_with_everything(photo: Image.Image) -> bytes:
    small = io.BytesIO()
    photo.crop(FACE).resize((96, 120)).save(small, "JPEG", quality=60)
    info = PngInfo()
    info.add_text("thumbnail", small.getvalue().hex(), zip=True)
    info.add_itxt("XML:com.adobe.xmp", small.getvalue().hex())
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x9C9C] = small.getvalue()
    profile = profile_with(small.getvalue())
    photo.convert("RGBA").save(out, "PNG", pnginfo=info, exif=exif, icc_profile=profile)
    return out.getvalue()


def traces(data: bytes, photo: Image.Image, plain: Image.Image) -> list[str]:
    """Where a file still shows something of the face: every embedded stream is looked at."""
    found = []
    face = io.BytesIO()
    photo.crop(FACE).resize((96, 120)).save(face, "JPEG", quality=60)
    needle = face.getvalue()[-400:-368]  # its pixels; other parts are in every JPEG
    streams = [data]
    at = 0
    while (at := data.find(b"\x78", at)) >= 0 and len(streams) < 200:  # zlib streams in PNG chunks
        with suppress(zlib.error):
            streams.append(zlib.decompressobj().decompress(data[at:], 1 << 20))
        at += 1
    if any(needle in stream or needle.hex().encode() in stream for stream in streams):
        found.append("bytes")
    if data[:2] == b"\xff\xd8" and (data.count(b"\xff\xd8\xff") != 1 or not data.endswith(b"\xff\xd9")):
        found.append("another image")
    with Image.open(io.BytesIO(data)) as image:
        if getattr(image, "n_frames", 1) != 1:
            found.append("frames")
        shown = image.convert("RGBA").convert("RGB").crop(FACE).convert("L").resize((75, 95))
    original = plain.crop(FACE).convert("L").resize((75, 95))
    inner = (slice(22, 75), slice(17, 57))
    rows = np.stack([np.asarray(one, float)[inner].ravel() for one in (shown, original)])
    detail = rows - np.stack([blurred(one)[inner].ravel() for one in (shown, original)])
    if detail[0].std() and abs(np.corrcoef(detail)[0, 1]) > 0.5:
        found.append("pixels")
    return found


def blurred(image: Image.Image) -> Any:
    from PIL import ImageFilter

    return np.asarray(image.filter(ImageFilter.GaussianBlur(2)), float)


@pytest.mark.parametrize(
    "method", [("--blur",), ("--pixelate",), ("--cover", "solid"), ("--blur", "--shape", "ellipse")]
)
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_no_trace_of_a_hidden_face(
    aicli: Any, photo: Image.Image, tmp_path: Path, method: tuple[str, ...], kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(jpeg_with_everything(photo) if kind == "jpg" else png_with_everything(photo))
    assert set(traces(path.read_bytes(), photo, photo)) >= {"bytes", "pixels"}, "the sample shows the face"
    out = tmp_path / "out" / path.name
    result = aicli("detect-faces", path, "-o", out.parent, *method, "-f", "jsonl")
    assert json.loads(result.out)["metadata"] == "dropped"
    assert traces(out.read_bytes(), photo, photo) == []


def test_kept_metadata_cannot_show_a_face(aicli: Any, photo: Image.Image, tmp_path: Path) -> None:
    path, out = tmp_path / "a.jpg", tmp_path / "out.jpg"
    path.write_bytes(jpeg_with_everything(photo))
    result = aicli("detect-faces", path, "-o", out, "--blur", "--keep-metadata", "-f", "jsonl")
    assert json.loads(result.out)["metadata"] == "kept"
    with Image.open(out) as image:
        exif = image.getexif()
        assert (exif[0x010F], exif[0x0112]) == ("camera", 1)
        assert exif.get_ifd(0x8769)[0x9003].startswith("2024")
        assert exif.get_ifd(0x8825)[1] == "N"
        assert len(image.info["exif"]) < 1000
    assert traces(out.read_bytes(), photo, photo) == []


@pytest.mark.parametrize("opacity", [0, 30])
def test_what_transparency_hides_is_hidden_for_good(
    aicli: Any, photo: Image.Image, tmp_path: Path, opacity: int
) -> None:
    hidden = photo.convert("RGBA")
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(opacity, FACE)
    hidden.putalpha(alpha)
    hidden.save(tmp_path / "a.png")
    out = tmp_path / "out.png"
    aicli("detect-faces", tmp_path / "a.png", "-o", out, "--blur")
    assert traces(out.read_bytes(), photo, photo) == []
    with Image.open(out) as image:
        assert image.mode == "RGBA"


def test_some_faces_may_be_spared(aicli: Any, photo: Image.Image, tmp_path: Path, examples: Path) -> None:
    both = Image.new("RGB", (1024, 600), "white")
    with Image.open(examples / "grace_hopper.jpg") as other:
        both.paste(other, (0, 0))
    both.paste(photo, (512, 0))
    path, out = tmp_path / "a.png", tmp_path / "out.png"
    both.save(path)
    faces = json.loads(aicli("detect-faces", path, "-f", "jsonl", "--min-box", 60).out)["faces"]
    assert len(faces) == 2
    x1, y1, x2, y2 = map(int, faces[1]["box"])
    for option in (("--keep", "2"), ("--spare", f"{(x1 + x2) / 2},{(y1 + y2) / 2}")):
        aicli("detect-faces", path, "-o", out, "--min-box", 60, "--blur", *option)
        with Image.open(out) as image:
            difference = ImageChops.difference(image, both)
            assert difference.crop((x1, y1, x2, y2)).getbbox() is None
            assert difference.crop(tuple(faces[0]["box"])).getbbox() is not None


def test_a_wider_margin_hides_more(aicli: Any, photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "a.png")
    hidden = []
    for margin in (0, 0.15, 0.6):
        aicli("detect-faces", tmp_path / "a.png", "-o", tmp_path / "out.png", "--pixelate", "--margin", margin)
        with Image.open(tmp_path / "out.png") as image:
            hidden.append(np.asarray(ImageChops.difference(image, photo)).any(axis=2).sum())
    assert hidden[0] < hidden[1] < hidden[2]


@pytest.mark.parametrize(
    "options",
    [
        *(("--margin", 1), ("--align",), ("--size", 9), ("--landmarks",), ("--scores",), ("--quality", 9)),
        *(("--color", "red"), ("--line-width", 2), ("--dry-run",), ("--copy",), ("-o", "o.png", "--shape", "box")),
        *(("-o", "o.png", "--keep", 1), ("-o", "o.png", "--spare", "1,1"), ("-o", "o.png", "--keep-metadata")),
        *(("-o", "o.png", "--picture-format", "png"), ("-o", "o.png", "--align"), ("--crop", "c", "--landmarks")),
        *(("-o", "o.png", "--blur", "--color", "red"), ("--blur",), ("--cover", "solid")),
    ],
)
def test_options_without_effect_are_errors(aicli: Any, examples: Path, options: tuple[object, ...]) -> None:
    result = aicli("detect-faces", examples / "chelsea.png", *options)
    assert result.code == 2 and any(str(option) in result.err for option in options if str(option).startswith("--"))


def test_boxes_within_limits(aicli: Any, photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo.crop((190, 40, 512, 512)).save(path)  # a face at the border

    def faces(*options: object) -> list[Any]:
        return list(json.loads(aicli("detect-faces", path, "-f", "jsonl", *options).out)["faces"])

    (face,) = faces()
    x1, y1, x2, y2 = face["box"]
    shorter, longer = sorted((x2 - x1, y2 - y1))
    assert faces("--min-box", shorter + 1) == [] and faces("--max-box", longer - 1) == []
    assert len(faces("--min-box", shorter - 1, "--max-box", longer + 1, "--max-faces", 1)) == 1
    (clipped,) = faces("--clip")
    assert clipped["box"] == [max(0, x1), max(0, y1), x2, y2]


def test_groups_of_photos_with_and_without_faces(aicli: Any, examples: Path, tmp_path: Path) -> None:
    root = tmp_path / "by"
    result = aicli("detect-faces", examples, "--group", root, "-f", "jsonl")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.*")) == [
        *("with faces/astronaut.png", "with faces/grace_hopper.jpg", "without faces/chelsea.png"),
    ]
    assert all(Path(json.loads(line)["group"]).exists() for line in result.out.splitlines())


def test_crops_of_one_size(aicli: Any, examples: Path, tmp_path: Path) -> None:
    aicli("detect-faces", examples, "--crop", tmp_path / "c", "--size", 96)
    crops = sorted((tmp_path / "c").iterdir())
    assert [path.name for path in crops] == ["astronaut.face1.jpg", "grace_hopper.face1.jpg"]
    for path in crops:
        with Image.open(path) as image:
            assert image.size == (96, 96)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
@pytest.mark.parametrize("command", [("detect-faces", "--scores", "--landmarks"), ("classify",)])
def test_what_is_transparent_stays_so(
    aicli: Any, tmp_path: Path, examples: Path, command: tuple[str, ...], suffix: str
) -> None:
    photo, sheet = tmp_path / f"photo.{suffix}", tmp_path / "sheet.png"
    with Image.open(examples / "grace_hopper.jpg") as image:
        clear = image.convert("RGBA").resize((256, 300))
    clear.paste((255, 0, 0, 0), (0, 0, 60, 200))
    clear.save(photo, save_all=suffix == "gif", append_images=[clear.copy()], duration=100)
    frames = ["--all-frames"] if suffix == "gif" else []
    answer = aicli(*command, photo, "-o", tmp_path / "out.png", "--sheet", sheet, *frames)
    assert answer.code == 0, answer.err
    with Image.open(tmp_path / "out.png") as written, Image.open(sheet) as thumbnails:
        picture = np.asarray(written.convert("RGBA"))
        assert picture[100, 30, 3] == 0 and picture[100, 128, 3] == 255
        assert not (np.asarray(thumbnails.convert("RGB")) == (255, 0, 0)).all(axis=2).any()
        drawn = (picture[..., :3] == ((0, 255, 0) if command[0] == "detect-faces" else (255, 255, 255))).all(axis=2)
        assert (picture[drawn][:, 3] == 255).any(), "boxes and letters are not transparent"
    flat = aicli(*command, photo, "-o", tmp_path / "out.jpg")
    assert flat.code == 0
    with Image.open(tmp_path / "out.jpg") as jpeg:
        assert np.asarray(jpeg.convert("RGB"))[100, 30].min() > 240
