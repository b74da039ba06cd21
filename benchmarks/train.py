"""What training takes: features a second beside `aicli classify`, the head of a large set, and memory.

    python benchmarks/train.py [--photos 300] [--report benchmarks/train.md]

Features and answers are computed in turn, in three rounds of one run, so that a busy machine slows both. Processor time
is given too where it says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLES = ("chelsea.png", "grace_hopper.jpg", "astronaut.png")
ROUNDS = 3
HEADS = ((10_000, 100), (40_000, 10), (80_000, 10))
HARD = 0.13
"""How far the classes of synthetic features lie apart: about two of three photos are named rightly with 100 classes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--report", type=Path, default=PROJECT / "benchmarks" / "train.md")
    parser.add_argument("--head", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.head:
        print(json.dumps(measure_head(*map(int, options.head.split("x")))))
        return
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    lines = [
        "# Training, measured",
        "",
        "Written by `python benchmarks/train.py`.",
        "",
        f"Machine: {processor()}, {cores} cores, {platform.system()}, Python {platform.python_version()}; load average",
        f"at the start {load:.1f}: " + ("the cores were shared." if load > 1.5 else "the machine was quiet."),
    ]
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder) / "photos", options.photos)
        lines += ["", *rates(Path(folder), options.photos, cores)]
        lines += ["", *train_memory(Path(folder), options.photos)]
    lines += ["", *heads()]
    options.report.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def make_photos(folder: Path, count: int) -> None:
    """So many different crops of the examples, in folders of their classes, as JPEGs of 640 x 480."""
    from PIL import Image

    for number in range(count):
        name = EXAMPLES[number % len(EXAMPLES)]
        with Image.open(PROJECT / "examples" / name) as opened:
            image = opened.convert("RGB")
        shift = number // len(EXAMPLES) / max(1, count)
        left, top = shift * image.width / 2, shift * image.height / 2
        target = folder / Path(name).stem / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        box = (left, top, left + image.width / 2, top + image.height / 2)
        image.resize((640, 480), box=box).save(target, quality=90)


def run(cache: Path, *arguments: str) -> tuple[float, int]:
    """Seconds and the largest anonymous memory in bytes of one aicli command and of each of its workers."""
    environment = {**os.environ, "AICLI_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "aicli", *arguments]
    begun, most = time.perf_counter(), 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd=PROJECT) as process:
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.05)
    assert process.returncode == 0, arguments
    return time.perf_counter() - begun, most


def anonymous(pid: int | str) -> int:
    """The bytes of memory that no file stands for: what a process really uses up."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")), 0)


def rates(folder: Path, count: int, jobs: int) -> list[str]:
    photos, cache = folder / "photos", folder / "cache"
    of_photos = ["-j", str(jobs), "-q"]
    own = ["-o", str(folder / "own.tflite")]
    commands = {
        "`aicli classify`": ["classify", str(photos), "-f", "jsonl", *of_photos],
        "`aicli classify` of one photo": ["classify", str(next(photos.rglob("*.jpg"))), "-f", "jsonl", *of_photos],
        "`aicli train`": ["train", str(photos), "--no-resume", *own, *of_photos],
        "`aicli train`, features known": ["train", str(photos), *own, *of_photos],
    }
    for command in commands.values():  # the compiled guest, and the features
        run(cache, *command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(run(cache, *command)[0])
    many, one, new, known = times.values()
    ratios = [(each - start) / (all_new - fit) for each, start, all_new, fit in zip(many, one, new, known, strict=True)]
    return [
        f"## {count} photos of 640 x 480, `--jobs {jobs}`, whole commands",
        "",
        "| command | median s |",
        "|---|---|",
        *(f"| {name} | {statistics.median(found):.2f} |" for name, found in times.items()),
        "",
        f"Features come at {statistics.median(ratios):.2f} of the rate of `aicli classify`: each less its second",
        f"line: start and, of a training, fit and file ({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds).",
    ]


def train_memory(folder: Path, count: int) -> list[str]:
    """Anonymous memory of whole trainings of a part of the photos and of all, with features of a former run."""
    each = count // len(EXAMPLES)
    rows = []
    for limit in (each // 4, each):
        more = ["--limit", str(limit), "-j", "1", "-q"]
        run(folder / "cache", "train", str(folder / "photos"), "-o", str(folder / "own.tflite"), *more)
        seconds, most = run(folder / "cache", "train", str(folder / "photos"), "-o", str(folder / "own.tflite"), *more)
        rows.append(f"| {limit * len(EXAMPLES)} | {seconds:.1f} | {most / 1e6:.0f} |")
    return [
        "## The same photos again: features are known",
        "",
        "| photos | seconds | anonymous memory, MB |",
        "|---|---|---|",
        *rows,
    ]


def heads() -> list[str]:
    rows = []
    for photos, classes in HEADS:
        command = [sys.executable, __file__, "--head", f"{photos}x{classes}"]
        most = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                most = max(most, anonymous(process.pid))
                time.sleep(0.05)
            assert process.stdout is not None
            found = json.loads(process.stdout.read())
        rows.append(
            f"| {photos} | {classes} | {4 * 1280 * photos / 1e6:.0f} | {found['seconds']:.1f} "
            f"| {found['processor']:.1f} "
            f"| {most / 1e6:.0f} | {found['accuracy']:.1%} |"
        )
    return [
        "## The head alone: synthetic features, 1280 in a row",
        "",
        "Its seconds by the clock, and those that the processor worked for it, on one core. Memory without the file",
        "that features beyond 128 MB lie in.",
        "",
        "| photos | classes | features, MB | seconds | processor seconds | anonymous memory, MB | accuracy |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def measure_head(photos: int, classes: int) -> dict[str, Any]:
    sys.path.insert(0, str(PROJECT))
    import numpy as np

    from aicli._blas import start_no_threads

    start_no_threads()
    from aicli.training.head import Sample, fit_head, rows_for

    random = np.random.default_rng(0)
    centres = HARD * random.standard_normal((classes, 1280), dtype=np.float32)
    labels = random.integers(0, classes, photos)
    rows = rows_for(photos, 1, 1280)
    for place in range(0, photos, 256):
        block = labels[place : place + 256]
        noise = random.standard_normal((len(block), 1280), dtype=np.float32)
        rows[place : place + 256, 0] = np.maximum(0, centres[block] + noise)
    begun, worked = time.perf_counter(), time.process_time()
    head = fit_head(Sample(rows, labels), classes, seed=0)
    seconds, processor = time.perf_counter() - begun, time.process_time() - worked
    seen = ~np.isnan(head.out_of_fold[:, 0])
    accuracy = float((head.out_of_fold[seen].argmax(axis=1) == labels[seen]).mean())
    return {"seconds": seconds, "processor": processor, "accuracy": accuracy}


if __name__ == "__main__":
    main()
