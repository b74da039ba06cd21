"""Where photos come from and records go: buckets, one's own models, a dataset of somebody's pipeline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from PIL import Image

from tests.cluster.conftest import Aicli, lines_of, rows_of

pytestmark = pytest.mark.slow


def keys(bucket: Any, prefix: str) -> list[str]:
    found = bucket.list_objects_v2(Bucket="photos", Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", [])]


def test_from_a_bucket_to_a_bucket(bucket: Any, cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path) -> None:
    for name in ("chelsea.png", "astronaut.png"):
        bucket.upload_file(str(examples / name), "photos", f"in/{name}")
    bucket.put_object(Bucket="photos", Key="in/empty.png", Body=b"")
    alone = aicli("detect-faces", "s3://photos/in/", "-O", tmp_path / "alone.jsonl")
    assert alone.code == 1
    arguments = ("detect-faces", "s3://photos/in/", "-O", "s3://photos/out/", "--cluster", cluster.address)
    run = aicli(*arguments, "-o", "s3://photos/boxed/", "--crop", tmp_path / "faces", "--landmarks")
    assert run.code == 1, run.err
    part = next(key for key in keys(bucket, "out/") if key.startswith("out/part-"))
    bucket.download_file("photos", part, str(tmp_path / "part-0.parquet"))
    rows = rows_of(tmp_path)
    pictures = {row["image"]: (row.pop("output", None), row.pop("crops", None)) for row in rows}
    assert rows == lines_of(tmp_path / "alone.jsonl")
    picture, crops = pictures["s3://photos/in/astronaut.png"]
    assert re.fullmatch(r"s3://photos/boxed/astronaut-[0-9a-f]{24}\.png", picture)
    assert re.fullmatch(rf"{tmp_path}/faces/astronaut-[0-9a-f]{{24}}\.face1\.jpg", *crops)
    bucket.download_file("photos", picture.removeprefix("s3://photos/"), str(tmp_path / "boxed.png"))
    with Image.open(tmp_path / "boxed.png") as boxed, Image.open(examples / "astronaut.png") as photo:
        assert boxed.size == photo.size and boxed.tobytes() != photo.tobytes()
    assert [path.name for path in (tmp_path / "faces").iterdir()] == [crops[0].rpartition("/")[2]]
    assert len(keys(bucket, "boxed/")) == 2
    assert "out/_SUCCESS" in keys(bucket, "out/")

    bucket.upload_file(str(examples / "chelsea.png"), "photos", "in/astronaut.png")  # another photo of that name
    bucket.upload_file(str(examples / "chelsea.png"), "photos", "in/empty.png")
    resumed = aicli(*arguments, "--resume")
    assert resumed.code == 0 and "2 images in" in resumed.err and "1 answered before" in resumed.err, resumed.err
    counts = json.loads(bucket.get_object(Bucket="photos", Key="out/_SUCCESS")["Body"].read())
    assert counts["failed"] == 0


def test_a_model_of_ones_own_travels(cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path, shared: Path) -> None:
    model = shutil.copy(shared / "cases" / "models" / "plain.tflite", tmp_path / "mine.tflite")
    labels = tmp_path / "labels.txt"
    labels.write_text("dog\ncat\nfood\nbird\n")
    chosen = (examples / "chelsea.png", examples / "astronaut.png", "-m", model, "-l", labels)
    alone = aicli("classify", *chosen, "-O", tmp_path / "alone.jsonl")
    run = aicli("classify", *chosen, "-O", tmp_path / "out", "--to", "jsonl", "--cluster", cluster.address)
    assert run.code == 0, run.err
    assert rows_of(tmp_path / "out") == lines_of(tmp_path / "alone.jsonl")
    notes = [line for line in alone.err.splitlines() if "note:" in line]
    assert notes and [line for line in run.err.splitlines() if "note:" in line] == notes


PIPELINE = """
import logging, sys
import ray
ray.init(address=sys.argv[1], logging_level=logging.CRITICAL, log_to_driver=False)
import json
import ray.data
ray.data.DataContext.get_current().enable_progress_bars = False
from aicli.cluster import classify, detect_faces
folder = sys.argv[2]
paths = [f"{folder}/chelsea.png", f"{folder}/astronaut.png", f"{folder}/absent.png"]
found = classify(ray.data.from_items([{"photo": path, "n": n} for n, path in enumerate(paths)]), "photo", top_k=2)
rows = found.take_all()
photos = [{"bytes": open(path, "rb").read(), "path": path} for path in paths[:2]]
faces = detect_faces(ray.data.from_items(photos), jobs=1).take_all()
print(json.dumps([rows, faces]))
"""


def test_a_dataset_of_a_pipeline(cluster: Any, aicli: Aicli, examples: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PIPELINE, cluster.address, str(examples)], capture_output=True, text=True, timeout=400
    )
    assert run.returncode == 0, run.stderr
    rows, faces = json.loads(run.stdout.splitlines()[-1])
    rows.sort(key=lambda row: row["n"])
    assert [row["predictions"][0]["label"] for row in rows[:2]] == ["Egyptian cat", rows[1]["predictions"][0]["label"]]
    assert [len(row["predictions"]) for row in rows[:2]] == [2, 2] and "photo" not in rows[0]
    assert rows[2]["predictions"] is None and "absent.png: no such file" in rows[2]["error"]
    by_name = {row["image"]: row for row in faces}
    assert len(by_name[f"{examples}/astronaut.png"]["faces"]) == 1
    assert by_name[f"{examples}/chelsea.png"]["faces"] == []
    assert "bytes" not in faces[0] and faces[0]["path"] == faces[0]["image"]


def test_local_does_not_follow_another_cluster(
    aicli: Aicli, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that an environment variable or a file of a former cluster names."""
    from tests.cluster.conftest import require_ray

    require_ray()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with TemporaryDirectory(prefix="r") as short:  # sockets have short names
        monkeypatch.setenv("RAY_TMPDIR", short)
        (Path(short) / "ray").mkdir()
        (Path(short) / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        run = aicli("classify", examples / "chelsea.png", "-O", tmp_path / "out", "--cluster", "local", "-q")
    assert run.code == 0 and run.err == "", run.err
    assert rows_of(tmp_path / "out")[0]["predictions"][0]["label"] == "Egyptian cat"


def test_a_node_with_other_packages_is_named(
    cluster: Any, aicli: Aicli, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This end believes to have another Pillow than the nodes, which were started before."""
    info = tmp_path / "path" / "pillow-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 0.1\n")
    monkeypatch.setenv("PYTHONPATH", f"{info.parent}{os.pathsep}{os.environ['PYTHONPATH']}")
    run = aicli("classify", examples / "chelsea.png", "-O", tmp_path / "out", "--cluster", cluster.address, "-q")
    assert run.code == 2 and run.err.count("\n") == 1, run.err
    assert re.search(r"node [\d.]+ has pillow \d+\.[\d.]+, this machine 0\.1; install the same on every node", run.err)
    assert not (tmp_path / "out").exists()
