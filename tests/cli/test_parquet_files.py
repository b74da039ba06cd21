"""``-O FILE.parquet`` and ``-f parquet``: the records of ``-f jsonl``, whatever ends the run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli.output.parquet import read_records


def lines_of(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("task", ["classify", "detect-faces"])
def test_the_file_says_what_json_lines_say(aicli: Any, photos: Path, tmp_path: Path, task: str) -> None:
    path = tmp_path / "out.parquet"
    told = aicli(task, photos, "-f", "jsonl", "-q")
    assert told.code == 1, "one photo is broken"
    assert aicli(task, photos, "-O", path, "-q").code == 1
    assert list(read_records(str(path), task)) == lines_of(told.out)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.parquet", "photos"]


def test_a_finished_file_and_the_part_of_a_broken_run_are_resumed(aicli: Any, photos: Path, tmp_path: Path) -> None:
    path, part = tmp_path / "out.parquet", tmp_path / "out.parquet.part"
    broken = (photos / "broken.jpg").rename(photos / "last.jpg")
    good = broken.read_bytes()
    aicli("classify", photos, "-O", path, "-q")
    broken.write_bytes((photos / "img10.jpg").read_bytes())  # mended
    ended = aicli("classify", photos, "-O", path, "--resume", "-v")
    assert ended.code == 0 and [line.split(": ")[1] for line in ended.err.splitlines()] == [str(broken)]
    records = list(read_records(str(path), "classify"))
    assert len({record["image"] for record in records}) == len(records) == 4
    assert not any("error" in record for record in records)

    broken.write_bytes(good)
    stopped = aicli("classify", photos, "-O", tmp_path / "other.parquet", "--on-error", "stop", "-j", 1)
    assert stopped.code == 1 and "the records are in" in stopped.err
    assert "records of an interrupted run" in aicli("classify", photos, "-O", tmp_path / "other.parquet").err
    aicli("classify", photos, "-O", tmp_path / "other.parquet", "--resume", "-q")
    names = [record["image"] for record in read_records(str(tmp_path / "other.parquet"), "classify")]
    assert sorted(names) == sorted(record["image"] for record in records)
    assert not part.exists()

    other_task = aicli("detect-faces", photos, "-O", path, "--resume")
    assert other_task.code == 2 and "not those of aicli detect-faces" in other_task.err


def test_standard_output_holds_a_whole_file(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "piped"
    command = [sys.executable, "-m", "aicli", "classify", str(photos / "img2.png"), "-f", "parquet"]
    with path.open("wb") as stream:
        assert subprocess.run(command, stdout=stream, check=False).returncode == 0
    assert [record["image"] for record in read_records(str(path), "classify")] == [str(photos / "img2.png")]
    refused = subprocess.run([*command, "-O", "/dev/stdout"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "Parquet goes to a file" in refused.stderr


@pytest.mark.parametrize("task", ["classify", "detect-faces"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_frame_is_a_row(aicli: Any, photos: Path, tmp_path: Path, task: str, jobs: int) -> None:
    clip, path, part = tmp_path / "clip.gif", tmp_path / "out.parquet", tmp_path / "out.parquet.part"
    with Image.open(photos / "img10.jpg") as image:
        face = image.convert("RGB").resize((128, 150))
    face.save(clip, save_all=True, append_images=[face.rotate(4), face.rotate(8)], duration=100)
    line = (task, "--all-frames", photos / "img10.jpg", clip, photos / "img2.png", "-j", jobs, "-q")
    lines = aicli(*line, "-f", "jsonl").out.splitlines(keepends=True)
    assert aicli(*line, "-O", path).code == 0
    whole = list(read_records(str(path), task))
    assert whole == lines_of("".join(lines))
    assert [(record.get("frames"), record.get("frame")) for record in whole][1:4] == [(3, 0), (3, 1), (3, 2)]
    part.write_text("".join(lines[:3]))  # ended within the animation
    path.unlink()
    assert aicli(*line, "-O", path, "--resume").code == 0
    again = list(read_records(str(path), task))
    assert sorted(map(str, again)) == sorted(map(str, whole)) and not part.exists()
    assert aicli(*line, "-O", path, "--resume").code == 0
    assert list(read_records(str(path), task)) == again, "nothing is answered twice"
