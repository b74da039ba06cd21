"""``--all-frames``: a record for each frame, a picture of all, and nothing lost where one cannot be read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli import Classifier, FaceDetector
from aicli.errors import ImageTooLargeError
from aicli.image.decode import open_frames
from tests.cli.conftest import Aicli

DURATIONS = [100, 200, 300]
FACES = ["image", "frame", "face", "x1"]


def frames(examples: Path, mode: str = "RGB") -> list[Image.Image]:
    """A face that moves to the right; it is 60 pixels wide."""
    with Image.open(examples / "grace_hopper.jpg") as image:
        face = image.convert("RGB").resize((128, 150))
    found = []
    for step in range(3):
        frame = Image.new(mode, (240, 160), (0, 0, 0, 0) if mode == "RGBA" else (40 * step, 90, 120))
        frame.paste(face, (50 * step, 5))
        found.append(frame)
    return found


def animation(path: Path, examples: Path, mode: str = "RGB", **options: Any) -> Path:
    first, *others = frames(examples, mode)
    times: dict[str, Any] = {} if path.suffix in (".tif", ".mpo") else {"duration": DURATIONS}
    first.save(path, save_all=True, append_images=others, **times, **options)
    return path


@pytest.fixture
def gif(tmp_path: Path, examples: Path) -> Path:
    return animation(tmp_path / "a.gif", examples, loop=0)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_blurred(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], box: list[float]) -> bool:
    """Whether what is fine in the middle of a face has gone."""
    x1, y1, x2, y2 = map(int, box)

    def fine(pixels: np.ndarray[Any, Any]) -> float:
        area = pixels[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].astype(int)
        return float(np.abs(np.diff(area, axis=1)).mean())

    return fine(after) < fine(before) / 2


def test_every_format_of_results_tells_frames_apart(gif: Path, photos: Path, aicli: Aicli) -> None:
    photo = photos / "img10.jpg"
    done = aicli("detect-faces", "--all-frames", gif, photo, "-f", "jsonl")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [(line["frames"], line["frame"], len(line["faces"])) for line in lines] == [
        *((3, 0, 1), (3, 1, 1), (3, 2, 1)),
        (1, 0, 1),
    ]
    lefts = [line["faces"][0]["box"][0] for line in lines[:3]]
    assert lefts[1] - lefts[0] == pytest.approx(50, abs=4) and lefts[2] - lefts[1] == pytest.approx(50, abs=4)
    assert "note" not in done.err
    text = aicli("detect-faces", "--all-frames", gif, photo).out.splitlines()
    assert [line.split("\t")[1] for line in text] == ["0", "1", "2", "0"]
    rows = list(csv.reader(io.StringIO(aicli("detect-faces", "--all-frames", gif, photo, "-f", "csv").out)))
    assert rows[0][:4] == FACES and {len(row) for row in rows} == {len(rows[0])}
    assert [row[1] for row in rows[1:]] == ["0", "1", "2", "0"]
    table = aicli("classify", "--all-frames", gif, "-f", "table").out
    assert all(f"a.gif, frame {number}" in table for number in range(3))


def test_without_it_the_columns_are_as_ever_and_the_note_names_it(gif: Path, aicli: Aicli) -> None:
    done = aicli("detect-faces", gif, "-f", "csv")
    assert done.out.startswith("image,face,x1") and len(done.out.splitlines()) == 2
    assert "an animated GIF of 3 frames, of which frame 0 was answered; --all-frames answers each" in done.err


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_blurred_in_every_frame(name: str, jobs: int, tmp_path: Path, examples: Path, aicli: Aicli) -> None:
    source = animation(tmp_path / name, examples)
    out = tmp_path / "out"
    done = aicli("detect-faces", "--all-frames", source, "--blur", "-o", out, "-O", tmp_path / "r.jsonl", "-j", jobs)
    assert done.code == 0, done.err
    found = records(tmp_path / "r.jsonl")
    assert {record["output"] for record in found} == {str(out / name)} and {r["metadata"] for r in found} == {"dropped"}
    before, after = list(open_frames(source)), list(open_frames(out / name))
    assert len(after) == len(found) == 3
    for record, old, new in zip(found, before, after, strict=True):
        assert is_blurred(old.pixels, new.pixels, record["faces"][0]["box"])
        assert (new.duration, new.plays) == (old.duration, old.plays)
    assert json.loads(aicli("detect-faces", "--all-frames", out / name, "-f", "json").out)[0]["faces"] == []


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_what_is_transparent_stays_so(name: str, tmp_path: Path, examples: Path, aicli: Aicli) -> None:
    source = animation(tmp_path / name, examples, "RGBA", **({"disposal": 2} if name == "a.gif" else {}))
    assert aicli("detect-faces", "--all-frames", source, "--pixelate", "-o", tmp_path / "out").code == 0
    for image in open_frames(tmp_path / "out" / name, keep_transparent=True):
        assert image.transparent is not None
        assert image.transparent.convert("RGBA").getpixel((235, 2))[3] == 0  # type: ignore[index]
        assert image.transparent.convert("RGBA").getpixel((50 * image.frame + 64, 100))[3] == 255  # type: ignore[index]


def test_boxes_labels_and_crops(gif: Path, tmp_path: Path, aicli: Aicli) -> None:
    done = aicli("detect-faces", "--all-frames", gif, "-o", tmp_path / "b.webp", "--crop", tmp_path / "c", "-f", "json")
    found = json.loads(done.out)
    assert [record["crops"] for record in found] == [[str(tmp_path / "c" / f"a.face{n}.jpg")] for n in (1, 2, 3)]
    assert all(Path(crop).is_file() for record in found for crop in record["crops"])
    for image, record in zip(open_frames(tmp_path / "b.webp"), found, strict=True):
        x1, y1, x2, _ = map(round, record["faces"][0]["box"])
        line = image.pixels[y1 - 1 : y1 + 2, x1 + 5 : x2 - 5].astype(int)
        assert (line[..., 1] - line[..., 0]).max(axis=0).min() > 60, "a green line"
    assert aicli("classify", "--all-frames", gif, "-o", tmp_path / "l.gif").code == 0
    assert len(list(open_frames(tmp_path / "l.gif"))) == 3


def test_anonymised_without_it_only_the_frame_that_was_searched_is_written(
    tmp_path: Path, examples: Path, aicli: Aicli
) -> None:
    for name in ("a.png", "a.webp", "a.gif", "a.tif", "a.mpo"):
        source = animation(tmp_path / name, examples)
        done = aicli("detect-faces", source, "--blur", "-o", tmp_path / f"out-{name[2:]}", "-f", "json")
        (record,) = json.loads(done.out)
        with Image.open(record["output"]) as written:
            assert getattr(written, "n_frames", 1) == 1
        assert "frame 0 was answered" in done.err
        (image,) = open_frames(record["output"])
        assert is_blurred(next(open_frames(source)).pixels, image.pixels, record["faces"][0]["box"])


def test_a_frame_without_a_face_is_named(tmp_path: Path, examples: Path, aicli: Aicli) -> None:
    first, *others = frames(examples)
    first.save(tmp_path / "a.png", save_all=True, append_images=[*others, Image.new("RGB", first.size)], duration=50)
    done = aicli("detect-faces", "--all-frames", tmp_path / "a.png", "--blur", "-o", tmp_path / "out.png")
    assert "in 1 of 4 frames no face was found, and nothing is hidden there" in done.err


def test_what_was_answered_before_a_broken_frame_is_kept(gif: Path, tmp_path: Path, aicli: Aicli) -> None:
    data = gif.read_bytes()
    gif.write_bytes(data[: data.rindex(b"\x21\xf9\x04") + 60])  # in the last frame
    out = tmp_path / "out"
    done = aicli("detect-faces", "--all-frames", gif, "-O", tmp_path / "r.jsonl", "-o", out)
    assert done.code == 1 and "(frame 2 of 3)" in done.err
    *found, problem = records(tmp_path / "r.jsonl")
    assert [record["frame"] for record in found] == [0, 1] and "error" in problem
    assert not list(out.glob("*")) and all("output" not in record for record in found)
    gif.write_bytes(data)  # mended
    done = aicli("detect-faces", "--all-frames", gif, "-O", tmp_path / "r.jsonl", "-o", out, "--resume")
    assert done.code == 0 and [record["frame"] for record in records(tmp_path / "r.jsonl")] == [0, 1, 2]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_resume_answers_an_image_again_that_lacks_a_frame(
    format: str, gif: Path, photos: Path, tmp_path: Path, aicli: Aicli
) -> None:
    file = tmp_path / f"r.{format}"
    line = ("detect-faces", "--all-frames", photos / "img10.jpg", gif, photos / "img2.png", "-O", file)
    assert aicli(*line).code == 0
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    header = format == "csv"
    file.unlink()
    Path(f"{file}.part").write_text("".join(lines[: 3 + header]))  # ended within the animation
    assert aicli(*line, "--resume").code == 0
    assert sorted(file.read_text().splitlines()) == sorted(whole.splitlines())


def test_csv_is_resumed_as_it_was_begun(gif: Path, tmp_path: Path, aicli: Aicli) -> None:
    file = tmp_path / "r.csv"
    assert aicli("detect-faces", gif, "-O", file).code == 0
    done = aicli("detect-faces", "--all-frames", gif, "-O", file, "--resume")
    assert done.code == 2 and "resume it as it was" in done.err
    assert aicli("detect-faces", gif, "-O", file, "--resume").code == 0


def test_pictures_of_one_frame_are_what_they_are_without_it(photos: Path, tmp_path: Path, aicli: Aicli) -> None:
    for more in ((), ("--all-frames",)):
        done = aicli("detect-faces", photos / "img10.jpg", "--blur", "-o", tmp_path / f"out{len(more)}/", *more)
        assert done.code == 0
    assert (tmp_path / "out0" / "img10.jpg").read_bytes() == (tmp_path / "out1" / "img10.jpg").read_bytes()


def test_limits_and_combinations(gif: Path, tmp_path: Path, aicli: Aicli) -> None:
    done = aicli("classify", "--all-frames", "--max-frames", "2", gif)
    assert (
        done.code == 1 and "a.gif: 3 frames, the limit is 2; split it or raise the limit with --max-frames" in done.err
    )
    assert "--max-frames has no effect without --all-frames" in aicli("classify", "--max-frames", "2", gif).err
    done = aicli("classify", "--all-frames", "--max-pixels", "80000", gif, "-o", tmp_path / "x.gif", "-f", "jsonl")
    assert done.code == 1 and "raise the limit with --max-pixels" in done.err
    assert len(done.out.splitlines()) == 4 and not (tmp_path / "x.gif").exists(), "the records are there"
    done = aicli("classify", "--all-frames", gif, "-o", tmp_path / "x.jpg", "-f", "jsonl")
    assert done.code == 1 and "a JPEG cannot hold 3 frames" in done.err and len(done.out.splitlines()) == 4
    assert "choose one" in aicli("classify", "--all-frames", gif, "--group", tmp_path / "g").err
    assert aicli("classify", gif, "-o", tmp_path / "x.gif").code == 2


def test_in_python(gif: Path) -> None:
    detector, classifier = FaceDetector(), Classifier()
    assert [(answer.frame, len(answer.faces)) for answer in detector.frames(gif)] == [(0, 1), (1, 1), (2, 1)]
    assert [answer.frame for answer in classifier.frames(gif, top_k=1)] == [0, 1, 2]
    with pytest.raises(ImageTooLargeError, match="3 frames, the limit is 2"):
        list(classifier.frames(gif, max_frames=2))


@pytest.mark.parametrize("command", [("detect-faces", "--blur"), ("classify",)])
def test_pictures_behind_a_jpeg_are_written_as_png(
    tmp_path: Path, examples: Path, aicli: Aicli, command: tuple[str, ...]
) -> None:
    name, *options = command
    with Image.open(examples / "grace_hopper.jpg") as image:
        small = image.convert("RGB").resize((205, 240))
    small.save(tmp_path / "pair.jpg", "MPO", save_all=True, append_images=[small.rotate(5)])
    small.save(tmp_path / "one.jpg")
    written = tmp_path / "out"
    answer = aicli(name, tmp_path, "--all-frames", "-o", written, *options)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in written.iterdir()) == ["one.jpg", "pair.png"]
    with Image.open(written / "pair.png") as picture:
        assert getattr(picture, "n_frames", 1) == 2
    assert name == "classify" or not any(found.faces for found in FaceDetector().frames(written / "pair.png"))
    answer = aicli(name, tmp_path / "pair.jpg", "--all-frames", "-o", written, "--picture-format", "jpeg", *options)
    assert (
        answer.code == 1 and "cannot hold 2 frames; write .png" in answer.err and "--picture-format png" in answer.err
    )
