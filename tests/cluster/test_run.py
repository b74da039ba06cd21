"""Runs on two real nodes: the records of one machine, whatever dies on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cluster.conftest import Aicli, lines_of, rows_of, start, started

pytestmark = pytest.mark.slow


def many(folder: Path, examples: Path, count: int, prefix: str = "img") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    small = examples / "chelsea.png"
    for number in range(count):
        os.link(small, folder / f"{prefix}{number}.png") if number % 2 else shutil.copy(
            small, folder / f"{prefix}{number}.png"
        )
    return folder


def wait_for(what: Any, seconds: float = 300.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return found


def photos_answered(folder: Path) -> int:
    """In the files of records that are there."""
    state = folder / "_aicli"
    said = [json.loads((state / f"{part.stem}.json").read_text()) for part in folder.glob("part-*")]
    return sum(len(photos) for _, photos in said)


def actors() -> list[int]:
    """The processes of Ray's actors that hold a task."""
    return [number for number, command in started().items() if command.startswith("ray::Map") and "Answerer" in command]


def test_records_are_those_of_one_machine(cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path) -> None:
    photos = many(tmp_path / "photos", examples, 12)
    for name in ("grace_hopper.jpg", "astronaut.png", "rocket.jpg"):
        if (examples / name).exists():
            shutil.copy(examples / name, photos / name)
    (photos / "broken.jpg").write_bytes((examples / "grace_hopper.jpg").read_bytes()[:2000])
    shutil.copy(examples / "chelsea.png", photos / "poison.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(examples / "chelsea.png", "deep/a.png")
        archive.add(examples / "grace_hopper.jpg", "b.jpg")
    inputs = (photos, tmp_path / "shard.tar", tmp_path / "absent.png")
    alone = aicli("classify", *inputs, "-O", tmp_path / "alone.jsonl", "-j", 2)
    assert alone.code == 1
    expected = lines_of(tmp_path / "alone.jsonl")
    failed = [record["image"] for record in expected if "error" in record]
    assert len(failed) == 3 and "the worker process ended (signal 6)" in str(expected)

    out = tmp_path / "labels"
    run = aicli("classify", *inputs, "-O", out, "--cluster", cluster.address)
    assert run.code == 1, run.err
    assert rows_of(out) == expected
    lines = run.err.splitlines()
    assert len(lines) == 4 and sorted(lines[:3]) == sorted(alone.err.splitlines()[:3])
    assert f"{len(expected)} images in" in lines[3] and "3 failed; 1 file of records in" in lines[3]
    counts = json.loads((out / "_SUCCESS").read_text())
    assert counts == {"photos": len(expected), "failed": 3, "records": len(expected), "files": 1}

    again = aicli("classify", *inputs, "-O", out, "--cluster", cluster.address)
    assert again.code == 2 and "holds the records of a run; continue with --resume" in again.err
    (photos / "broken.jpg").write_bytes((examples / "grace_hopper.jpg").read_bytes())
    resumed = aicli("classify", *inputs, "-O", out, "--cluster", cluster.address, "--resume")
    assert resumed.code == 1 and f"{len(expected) - 3} answered before" in resumed.err
    images = [record["image"] for record in rows_of(out)]
    assert images == [record["image"] for record in expected], "each photo once"
    assert [record["image"] for record in rows_of(out) if "error" in record] == [
        name for name in failed if "broken" not in name
    ]


def test_rows_of_parquet_and_every_picture_of_a_file(
    cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path
) -> None:
    """``--column`` and ``--all-frames``: the records of one machine, also where paths begin at the command's folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copy(examples / "chelsea.png", tmp_path / "one.png")
    with Image.open(examples / "astronaut.png") as photo:
        frames = [photo.resize((64 + 16 * number, 64)).resize((96, 96)) for number in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "rows").mkdir()
    paths = ["one.png", "moving.gif", None, "absent.png", "one.png"]
    pq.write_table(pa.table({"image": paths}), tmp_path / "rows" / "paths.parquet")
    for name in ("bytes", "twice"):
        photos = [{"bytes": (tmp_path / photo).read_bytes(), "path": None} for photo in ("moving.gif", "one.png")]
        pq.write_table(pa.table({"image": photos, "n": [1, 2]}), tmp_path / "rows" / f"{name}.parquet")
    command = ("classify", "rows", "rows/twice.parquet", "--column", "image", "--all-frames", "-O")
    alone = aicli(*command, "alone.jsonl", cwd=tmp_path)
    run = aicli(*command, "out/", "--cluster", cluster.address, cwd=tmp_path)
    assert (alone.code, run.code) == (1, 1), run.err
    expected = lines_of(tmp_path / "alone.jsonl")
    assert rows_of(tmp_path / "out") == expected, run.err
    assert len(expected) == 5 + 3 * 4 + 2 and sum("frame" in record for record in expected) == 5 + 3 * 4
    resumed = aicli(*command, "out/", "--cluster", cluster.address, "--resume", cwd=tmp_path)
    assert "9 answered before" in resumed.err and rows_of(tmp_path / "out") == expected


def test_an_actor_killed_and_a_node_removed(cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path) -> None:
    photos = many(tmp_path / "photos", examples, 110, "slow")
    for number in range(0, 110, 10):
        os.unlink(photos / f"slow{number}.png")
        shutil.copy(examples / "astronaut.png", photos / f"slow{number}.png")
    node = cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    cluster.wait_for_nodes()
    out, crops = tmp_path / "faces", tmp_path / "crops"
    command = ("detect-faces", photos, "--min-size", 60, "-O")
    run = start(*command, out, "--crop", crops, "--to", "jsonl", "--cluster", cluster.address)
    try:
        wait_for(lambda: len(actors()) == 2)
        time.sleep(3)
        os.kill(actors()[0], signal.SIGKILL)
        wait_for(lambda: out.exists() and photos_answered(out) >= 64)
        cluster.remove_node(node, allow_graceful=False)
        _, err = run.communicate(timeout=240)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 0, err
    alone = aicli(*command, tmp_path / "alone.jsonl", "--crop", tmp_path / "alone", "-j", 2)
    assert alone.code == 0
    rows, expected = rows_of(out), lines_of(tmp_path / "alone.jsonl")
    ours = [path for row in rows for path in row.pop("crops", ())]
    theirs = [path for record in expected for path in record.pop("crops", ())]
    assert rows == expected
    assert len(theirs) == 11 and [Path(path).read_bytes() for path in ours] == [
        Path(path).read_bytes() for path in theirs
    ]
    assert sorted(map(str, crops.iterdir())) == sorted(ours), "no unfinished file is left"


def test_a_driver_ended_and_resumed(cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path) -> None:
    photos = many(tmp_path / "photos", examples, 120, "slow")
    out = tmp_path / "labels"
    run = start("classify", photos, "-O", out, "--cluster", cluster.address)
    try:
        wait_for(lambda: out.exists() and photos_answered(out) >= 64)
        second = aicli("classify", photos, "-O", out, "--cluster", cluster.address, "--resume")
        assert second.code == 2 and f"another run writes into it (process {run.pid} on " in second.err, second.err
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 128 + signal.SIGTERM
    assert err == f"aicli: interrupted; the records so far are in {out}, continue with --resume\n"
    before = photos_answered(out)
    assert not (out / "_SUCCESS").exists()
    resumed = aicli("classify", photos, "-O", out, "--cluster", cluster.address, "--resume")
    assert resumed.code == 0, resumed.err
    assert f"{before} answered before" in resumed.err
    images = [record["image"] for record in rows_of(out)]
    assert images == sorted(f"{photos}/slow{number}.png" for number in range(120))


def test_records_that_cannot_be_written_end_the_run(cluster: Any, examples: Path, tmp_path: Path) -> None:
    photos = many(tmp_path / "photos", examples, 8, "slow")
    out = tmp_path / "labels"
    run = start("classify", photos, "-O", out, "--cluster", cluster.address, "-q")
    try:
        wait_for(lambda: (out / "_aicli" / "run.json").exists())
        shutil.rmtree(out)
        _, err = run.communicate(timeout=300)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 1
    assert err.count("\n") == 1 and f"cannot write {out}/_aicli/part-" in err, err
