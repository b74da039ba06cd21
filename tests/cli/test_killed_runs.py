"""Runs that are killed at random points and resumed: every picture and record as in a run that nobody disturbed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")

KILLS = int(os.environ.get("AICLI_TEST_KILLS", "4"))

CASES = [
    ("detect-faces", ("--blur", "-o", "out/", "--crop", "faces/"), "jsonl", signal.SIGKILL, 1),
    ("detect-faces", ("--blur", "-o", "out/", "--crop", "faces/"), "jsonl", signal.SIGINT, 2),
    ("detect-faces", ("-o", "out/", "--crop", "out/"), "csv", signal.SIGKILL, 2),
    ("classify", ("-o", "out/", "--group", "groups", "--move"), "jsonl", signal.SIGKILL, 2),
    ("classify", ("-o", "out/", "--group", "groups", "--move"), "csv", signal.SIGINT, 1),
    ("classify", ("--group", "groups"), "csv", signal.SIGKILL, 1),
]


@pytest.fixture
def make(tmp_path: Path, examples: Path) -> Any:
    """Makes a folder with photos of the same names in four folders, and files of somebody else where results go."""

    def make_in(name: str) -> Path:
        root = tmp_path / name
        for number, folder in enumerate("abcd"):
            (root / "photos" / folder).mkdir(parents=True)
            for other, example in enumerate(("astronaut.png", "grace_hopper.jpg", "chelsea.png")):
                with Image.open(examples / example) as image:
                    small = image.convert("RGB").resize((160, 160 + 8 * number))
                small = ImageEnhance.Brightness(small).enhance(0.8 + 0.05 * number)
                small.save(root / "photos" / folder / f"x{other}.jpg")
                small.save(root / "photos" / folder / f"x{other}.png")
        (root / "photos" / "b" / "x1.jpg").write_bytes(b"broken")
        (root / "out").mkdir()
        (root / "out" / "x0.jpg").write_bytes(b"somebody else's")
        return root

    return make_in


def command(root: Path, case: Any) -> list[str]:
    task, options, suffix, _, jobs = case
    return [sys.executable, "-m", "aicli", task, "photos", *options, "-O", f"r.{suffix}", "--resume", "-j", str(jobs)]


def start(root: Path, case: Any) -> subprocess.Popen[bytes]:
    project = Path(__file__).resolve().parents[2]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.Popen(command(root, case), cwd=root, env=environment, **quiet)  # type: ignore[call-overload, no-any-return]


def files(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and path.parent != root]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def records(root: Path, suffix: str) -> list[Any]:
    text = (root / f"r.{suffix}").read_text()
    if suffix == "csv":
        return sorted(map(tuple, csv.reader(text.splitlines())))
    return sorted(text.splitlines())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}-{case[3].name}-{case[4]}")
def test_a_run_that_is_killed_and_resumed_ends_like_one_that_was_not(make: Any, case: Any) -> None:
    _, options, suffix, kind, _ = case
    whole, broken = make("whole"), make("broken")
    _, error = start(whole, case).communicate(timeout=120)
    assert b"1 failed" in error
    chance = random.Random(os.environ.get("AICLI_TEST_SEED", repr(case)))
    kills = 0
    while True:
        process = start(broken, case)
        while not kills and process.poll() is None and not (broken / f"r.{suffix}.plan").exists():
            time.sleep(0.005)
        pause = chance.uniform(0.3, 1.0) if kills else chance.uniform(0, 0.1)
        try:
            _, error = process.communicate(timeout=pause if kills < KILLS else 120)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(kind)
            process.communicate(timeout=60)
            kills += 1
    assert process.returncode == 1, error
    assert kills
    one, other = files(whole), files(broken)
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []
    assert records(whole, suffix) == records(broken, suffix)
    assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert one["out/x0.jpg"] == b"somebody else's"
    if suffix == "jsonl" and "-o" in options:
        answers = [record for line in records(broken, suffix) if "error" not in (record := json.loads(line))]
        pictures = [record["output"] for record in answers]
        assert len(set(pictures)) == len(pictures) == 23
        assert len([name for name in one if name.startswith("out/")]) == 24
